"""What is to be predicted: columns of zones, points at cells, zones' points, single points."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import shapely
from jaxtyping import Bool, Float64, Int64, UInt64
from scipy import sparse

from mobclip import grid
from mobclip.errors import ManifestError, RecordError
from mobclip.graph import MobilityGraph
from mobclip.manifest import POPULATION, PlaceSpec, TargetSpec
from mobclip.overlay import Overlay, overlay
from mobclip.place import Target
from mobclip.records import PointRecords, Records, ZoneRecords

logger = logging.getLogger(__name__)

# A zone of which less than this share lies in cells of the place has too little to be known by.
MIN_INSIDE = 0.5


def build(
    records: Mapping[str, Records],
    place: PlaceSpec,
    cells: UInt64[np.ndarray, "cells"],
    graph: MobilityGraph | None = None,
) -> dict[str, Target]:
    """Targets by name, of all sources that declare some.

    =============================  =========================================================
    source and level               unit, value and weights
    =============================  =========================================================
    zones                          zone; its value, or value per km² of the zone; its cells
                                   by shared area, or as `weighting` says
    points at level ``cell``       cell; count, sum, mean or count per km² of its points
    points at a level of zones     zone; the same for the points inside its polygon
    points at level ``point``      record; its value; the cell that it lies in
    =============================  =========================================================

    What the value is made into (a number, a class, shares), and the weightings, are described in
    `mobclip.manifest`. A zone with less than half of its area in cells of the place is left out.
    A value that is not known is left out. ``absent: zero`` gives 0 to units without any point
    only inside the convex hull of the source's points: beyond it nobody may have looked.

    Parameters
    ----------
    records : by source name; also the polygons of levels that are zones
    place : its sources declare the targets
    cells : sorted, unique, one resolution: the columns of the weights
    graph : flows of the place, for targets of `weighting: flows`
    """
    zones = _Zones(records, place, cells, graph)
    targets: dict[str, Target] = {}
    for source, spec in place.sources.items():
        rows = records[source]
        for name, target in spec.targets.items():
            if isinstance(rows, ZoneRecords):
                units = zones.units(rows, target)
                amounts, labels = _of_zones(rows, target, units)
            elif isinstance(rows, PointRecords):
                units = _units_of_points(rows, target, cells, zones)
                amounts, labels = _of_points(rows, target, units)
            else:
                raise ManifestError(
                    f"places.{place.name}.sources.{source}: targets come from points and zones, "
                    f"not from {spec.kind}."
                )
            if target.per is not None:
                amounts = amounts * zones.rate(target, units)
            values, labels = _of_kind(amounts, labels, target)
            known = np.isfinite(values.sum(axis=1) if values.ndim == 2 else values)
            if not known.any():
                raise RecordError(
                    f"target {name!r} of {source} has no value in this place: check its column "
                    "and level in data_manifest.yaml."
                )
            targets[name] = Target(
                name=name,
                title=target.title,
                unit=target.unit,
                level=target.level,
                unit_ids=units.ids[known],
                values=values[known],
                weights=sparse.csr_array(units.weights[np.flatnonzero(known)]),
                kind=target.kind,
                classes=labels,
                transform=target.transform,
                ceiling=target.ceiling,
                note=target.note,
            )
            logger.info(
                "target %s: %d units at level %s, %d without a value",
                *(name, known.sum(), target.level, (~known).sum()),
            )
    return targets


# ---- units -------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class _Units:
    """What a value is known of: cells, zones or single points."""

    ids: np.ndarray  # (units,) object str
    weights: sparse.csr_array  # (units, cells), each row sums to 1
    rows: Int64[np.ndarray, " units"]  # of zones and of single points: their rows in the records
    area_km2: Float64[np.ndarray, " units"]
    of_point: Int64[np.ndarray, " points"]  # unit of each point, -1 outside all
    near: Bool[np.ndarray, " units"]  # whether the source of the points has looked there


class _Zones:
    """Weights of zones and what they are made of, each made once and only when asked for."""

    def __init__(
        self,
        records: Mapping[str, Records],
        place: PlaceSpec,
        cells: UInt64[np.ndarray, "cells"],
        graph: MobilityGraph | None,
    ) -> None:
        self._records = records
        self._place = place
        self._cells = cells
        self._graph = graph
        self._overlays: dict[str, Overlay] = {}
        self._members: dict[tuple[str, str], tuple[np.ndarray, sparse.csr_array]] = {}

    def polygons(self, level: str) -> ZoneRecords:
        """The zones of a level."""
        zones = self._records[level]
        assert isinstance(zones, ZoneRecords)  # checked by the manifest
        return zones

    def units(self, zones: ZoneRecords, target: TargetSpec) -> _Units:
        """Zones that lie in the place; points are not told apart yet."""
        key = (zones.source, target.weighting)
        if key not in self._members:
            self._members[key] = self._weighted(zones, target.weighting)
        inside, weights = self._members[key]
        if left_out := len(zones) - len(inside):
            logger.info("target %s: %d zones lie outside the place", target.name, left_out)
        return _Units(
            ids=zones.ids[inside],
            weights=weights,
            rows=inside,
            area_km2=self._overlay(zones).zone_area_km2[inside],
            of_point=np.empty(0, np.int64),
            near=np.zeros(len(inside), bool),
        )

    def rate(self, target: TargetSpec, units: _Units) -> Float64[np.ndarray, " units"]:
        """What the amount of each unit is multiplied with; NaN where too few are counted."""
        assert target.per is not None
        zones = self.polygons(target.level)
        column = self._place.sources[target.level].counts[target.per.count]
        count_of = dict(zip(zones.ids, zones.values[column], strict=True))
        count = np.array([count_of.get(one, np.nan) for one in units.ids], np.float64)
        enough = (count > 0) & (count >= target.per.at_least)
        if not enough.all():
            logger.info(
                "target %s: %d zones have no %s, or less than %g",
                *(target.name, (~enough).sum(), target.per.count, target.per.at_least),
            )
        return np.divide(target.per.times, count, out=np.full(len(count), np.nan), where=enough)

    def _overlay(self, zones: ZoneRecords) -> Overlay:
        if zones.source not in self._overlays:
            self._overlays[zones.source] = overlay(zones, self._cells)
        return self._overlays[zones.source]

    def _weighted(self, zones: ZoneRecords, weighting: str) -> tuple[np.ndarray, sparse.csr_array]:
        """Rows of the zones that lie in the place, and the weights of their cells."""
        areas = self._overlay(zones)
        covered = np.asarray(areas.area_km2.sum(axis=1)).ravel()
        inside = np.flatnonzero(covered >= MIN_INSIDE * areas.zone_area_km2)
        amounts = sparse.csr_array(areas.area_km2[inside])
        if weighting != "area":
            by_area = amounts
            if weighting == "plain":
                amounts = self._members_by_centre(zones.geometry[inside])
            else:
                size = self._people if weighting == "population" else self._flow
                shares = sparse.csr_array(areas.shares_of_cells()[inside])
                amounts = sparse.csr_array(shares @ sparse.diags_array(size))
            empty = np.asarray(amounts.sum(axis=1)).ravel() <= 0
            if empty.any():
                logger.warning(
                    "%s: %d of %d zones have no weight by %s; their cells are weighted by area",
                    *(zones.source, empty.sum(), len(inside), weighting),
                )
            amounts = sparse.csr_array(
                sparse.diags_array((~empty).astype(float)) @ amounts
                + sparse.diags_array(empty.astype(float)) @ by_area
            )
            amounts.eliminate_zeros()
        total = np.asarray(amounts.sum(axis=1)).ravel()
        return inside, sparse.csr_array(sparse.diags_array(1 / total) @ amounts)

    def _members_by_centre(self, polygons: np.ndarray) -> sparse.csr_array:
        """(zones, cells) 1 where the centre of the cell lies in the zone."""
        cell, zone = shapely.STRtree(polygons).query(
            shapely.points(grid.centers(self._cells)), predicate="intersects"
        )
        return sparse.csr_array(
            (np.ones(len(cell)), (zone, cell)), shape=(len(polygons), len(self._cells))
        )

    @cached_property
    def _people(self) -> Float64[np.ndarray, "cells"]:
        """People in each cell: counts of zones spread by area, of the first source that knows."""
        people = np.full(len(self._cells), np.nan)
        for name, spec in self._place.sources.items():
            if POPULATION not in spec.counts:
                continue
            zones = self.polygons(name)
            areas = self._overlay(zones)
            count = zones.values[spec.counts[POPULATION]]
            known = np.isfinite(count)
            spread = areas.shares_of_zones().T @ np.where(known, count, 0.0)
            heard = areas.area_km2.T @ known.astype(float) > 0
            fresh = np.isnan(people) & heard
            people[fresh] = spread[fresh]
        return np.nan_to_num(people)

    @cached_property
    def _flow(self) -> Float64[np.ndarray, "cells"]:
        """Flow out of and into each cell."""
        assert self._graph is not None  # a mobility modality is demanded by the manifest
        row, known = grid.locate(self._graph.cells, self._cells)
        flow = self._graph.out_strength.astype(np.float64) + self._graph.in_strength
        return np.where(known, flow[row], 0.0)


def _units_of_points(
    points: PointRecords, spec: TargetSpec, cells: UInt64[np.ndarray, "cells"], zones: _Zones
) -> _Units:
    """The units of a level, and which of them each point lies in."""
    if spec.level in ("cell", "point"):
        found = grid.points_to_cells(
            lon=points.lon, lat=points.lat, resolution=grid.resolution_of(cells)
        )
        cell, known = grid.locate(cells, found)
        everywhere = sparse.eye_array(len(cells), format="csr")
    if spec.level == "point":
        rows = np.flatnonzero(known)
        of_point = np.full(len(points), -1)
        of_point[rows] = np.arange(len(rows))
        return _Units(
            ids=rows.astype(str).astype(object),
            weights=sparse.csr_array(everywhere[cell[rows]]),
            rows=rows,
            area_km2=np.zeros(len(rows)),
            of_point=of_point,
            near=np.zeros(len(rows), bool),
        )
    if spec.level == "cell":
        centres = grid.centers(cells)
        return _Units(
            ids=np.array(grid.to_strings(cells), dtype=object),
            weights=everywhere,
            rows=np.arange(len(cells)),
            area_km2=grid.areas_km2(cells),
            of_point=np.where(known, cell, -1),
            near=shapely.contains_xy(_hull(points), centres[:, 0], centres[:, 1]),
        )
    polygons = zones.polygons(spec.level)
    units = zones.units(polygons, spec)
    shapes = polygons.geometry[units.rows]
    point, zone = shapely.STRtree(shapes).query(
        shapely.points(points.lon, points.lat), predicate="intersects"
    )
    # A point on a border lies in two zones: it counts in the first.
    of_point = np.full(len(points), -1)
    of_point[point[::-1]] = zone[::-1]
    return replace(units, of_point=of_point, near=shapely.intersects(shapes, _hull(points)))


def _hull(points: PointRecords) -> shapely.Geometry:
    """Convex hull of all points: where the source has looked."""
    return shapely.convex_hull(shapely.multipoints(np.column_stack([points.lon, points.lat])))


# ---- amounts -----------------------------------------------------------------------------------

# (units,) numbers, or (units, classes) amounts of each class; NaN where not known. And the classes.
_Amounts = tuple[np.ndarray, tuple[str, ...]]


def _of_zones(zones: ZoneRecords, spec: TargetSpec, units: _Units) -> _Amounts:
    if spec.classes:
        parts = [zones.values[column] for column in spec.classes.values()]
        return np.column_stack(parts).astype(np.float64)[units.rows], tuple(spec.classes)
    values = np.asarray(zones.values[spec.column or ""], np.float64)[units.rows]
    return values / units.area_km2 if spec.aggregate == "density" else values, ()


def _of_points(points: PointRecords, spec: TargetSpec, units: _Units) -> _Amounts:
    if spec.classes or spec.most_frequent:
        return _counted_by_category(points, spec, units)
    if spec.level == "point":
        return np.asarray(points.values[spec.column or ""], np.float64)[units.rows], ()
    return _aggregated(points, spec, units), ()


def _aggregated(
    points: PointRecords, spec: TargetSpec, units: _Units
) -> Float64[np.ndarray, " units"]:
    """Count, sum, mean or density of points; NaN where not known."""
    count_of = len(units.ids)
    value = np.ones(len(points)) if spec.column is None else points.values[spec.column]
    used = (units.of_point >= 0) & np.isfinite(value)
    unit, weight = units.of_point[used], points.weight[used]
    amount = np.bincount(unit, weights=weight * value[used], minlength=count_of)
    count = np.bincount(unit, weights=weight, minlength=count_of)
    seen = np.bincount(unit, minlength=count_of) > 0
    if spec.aggregate == "mean":
        seen = count > 0
        amount = np.divide(amount, count, out=np.zeros(count_of), where=seen)
    elif spec.aggregate == "density":
        amount = amount / units.area_km2
    if spec.absent == "zero":
        seen = seen | units.near
    return np.where(seen, amount, np.nan)


def _counted_by_category(points: PointRecords, spec: TargetSpec, units: _Units) -> _Amounts:
    """(units, classes) weight of the points of each class."""
    assert points.category is not None  # checked by the manifest
    used = (units.of_point >= 0) & (points.category != "")
    names, category = np.unique(points.category[used].astype(str), return_inverse=True)
    unit, weight = units.of_point[used], points.weight[used]
    labels = dict(spec.classes)
    if spec.most_frequent:
        often = np.bincount(category, weights=weight, minlength=len(names))
        # Of equals the first in alphabetical order, which is that of `names`.
        common = names[np.argsort(-often, kind="stable")[: spec.most_frequent]]
        labels = {str(name): str(name) for name in common}
    class_of_name = {name: index for index, name in enumerate(labels.values())}
    of_category = np.array([class_of_name.get(str(name), -1) for name in names], np.int64)
    which = of_category[category]
    counted = which >= 0
    shape = (len(units.ids), len(labels))
    amounts = np.bincount(
        unit[counted] * len(labels) + which[counted],
        weights=weight[counted],
        minlength=shape[0] * shape[1],
    )
    return amounts.reshape(shape), tuple(labels)


# ---- kinds -------------------------------------------------------------------------------------


def _of_kind(amounts: np.ndarray, labels: tuple[str, ...], spec: TargetSpec) -> _Amounts:
    """Values as the kind has them, NaN where not known, and the classes that there are."""
    if spec.kind == "number":
        return amounts, ()
    known = np.isfinite(amounts)
    if spec.kind == "binary":
        if spec.above is not None:
            return np.where(known, amounts > spec.above, np.nan), ()
        bad = known & (amounts != 0) & (amounts != 1)
        if bad.any():
            raise RecordError(
                f"target {spec.name!r} is binary, but its column holds {amounts[bad][0]:g} "
                f"({bad.sum()} units): say `above` which number it is so, or choose another kind."
            )
        return amounts, ()
    total = amounts.sum(axis=1)
    usable = known.all(axis=1) & (amounts >= 0).all(axis=1) & (total > 0)
    if not usable.all():
        logger.info(
            "target %s: %d units without parts, or with parts that are negative or not known",
            *(spec.name, (~usable).sum()),
        )
    if spec.kind == "composition":
        shares = np.full(amounts.shape, np.nan)
        shares[usable] = amounts[usable] / total[usable, None]
        return shares, labels
    values = np.full(len(amounts), np.nan)
    # A class that no unit has cannot be learned or scored.
    largest = amounts[usable].argmax(axis=1)
    found, values[usable] = np.unique(largest, return_inverse=True)
    if 0 < len(found) < 2:
        raise RecordError(
            f"target {spec.name!r} has one class alone in this place, "
            f"{labels[found[0]]!r}: nothing to learn. Choose other classes, or a finer level."
        )
    if len(found) < len(labels):
        missing = [label for index, label in enumerate(labels) if index not in found]
        logger.info("target %s: no unit is of the class %s", spec.name, ", ".join(missing))
    return values, tuple(labels[index] for index in found)
