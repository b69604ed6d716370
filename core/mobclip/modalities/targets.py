"""What is to be predicted: columns of zones, zones' points and cells' points -> targets."""

import logging
from collections.abc import Mapping

import numpy as np
import shapely
from jaxtyping import UInt64
from scipy import sparse

from mobclip import grid
from mobclip.errors import ManifestError, RecordError
from mobclip.manifest import PlaceSpec, TargetSpec
from mobclip.overlay import Overlay, overlay
from mobclip.place import Target
from mobclip.records import PointRecords, Records, ZoneRecords

logger = logging.getLogger(__name__)

# A zone of which less than this share lies in cells of the place has too little to be known by.
MIN_INSIDE = 0.5


def build(
    records: Mapping[str, Records], place: PlaceSpec, cells: UInt64[np.ndarray, "cells"]
) -> dict[str, Target]:
    """Targets by name, of all sources that declare some.

    =============================  =========================================================
    source and level               unit, value and weights
    =============================  =========================================================
    zones                          zone; its value, or value per km² of the zone; its cells
                                   by shared area
    points at level ``cell``       cell; count, sum, mean or count per km² of its points
    points at a level of zones     zone; the same for the points inside its polygon
    =============================  =========================================================

    A zone with less than half of its area in cells of the place is left out. A value that is not
    known is left out. ``absent: zero`` gives 0 to units without any point only inside the convex
    hull of the source's points: beyond it nobody may have looked.

    Parameters
    ----------
    records : by source name; also the polygons of levels that are zones
    place : its sources declare the targets
    cells : sorted, unique, one resolution: the columns of the weights
    """
    targets: dict[str, Target] = {}
    overlays: dict[str, Overlay] = {}

    def areas(polygons: ZoneRecords) -> Overlay:
        if polygons.source not in overlays:
            overlays[polygons.source] = overlay(polygons, cells)
        return overlays[polygons.source]

    for source, spec in place.sources.items():
        rows = records[source]
        for name, target in spec.targets.items():
            if isinstance(rows, ZoneRecords):
                ids, values, weights = _of_zones(rows, target, areas(rows))
            elif not isinstance(rows, PointRecords):
                raise ManifestError(
                    f"places.{place.name}.sources.{source}: targets come from points and zones, "
                    f"not from {spec.kind}."
                )
            elif target.level == "cell":
                ids, values, weights = _of_cells(rows, target, cells)
            else:
                polygons = records[target.level]
                assert isinstance(polygons, ZoneRecords)  # checked by the manifest
                ids, values, weights = _of_points_in_zones(rows, target, polygons, areas(polygons))
            known = np.isfinite(values)
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
                unit_ids=ids[known],
                values=values[known],
                weights=sparse.csr_array(weights[np.flatnonzero(known)]),
                transform=target.transform,
                note=target.note,
            )
            logger.info(
                "target %s: %d units at level %s, %d without a value",
                *(name, known.sum(), target.level, (~known).sum()),
            )
    return targets


_Units = tuple[np.ndarray, np.ndarray, sparse.csr_array]  # ids, values (NaN: not known), weights


def _members(areas: Overlay) -> tuple[np.ndarray, sparse.csr_array]:
    """Zones that lie in the place, and the weights of their cells, each row summing to 1."""
    covered = np.asarray(areas.area_km2.sum(axis=1)).ravel()
    inside = np.flatnonzero(covered >= MIN_INSIDE * areas.zone_area_km2)
    shared = sparse.csr_array(areas.area_km2[inside])
    weights = sparse.csr_array(sparse.diags_array(1 / covered[inside]) @ shared)
    return inside, weights


def _of_zones(zones: ZoneRecords, spec: TargetSpec, areas: Overlay) -> _Units:
    inside, weights = _members(areas)
    values = np.asarray(zones.values[spec.column or ""], np.float64)[inside]
    if spec.aggregate == "density":
        values = values / areas.zone_area_km2[inside]
    left_out = len(zones) - len(inside)
    if left_out:
        logger.info("target %s: %d zones lie outside the place", spec.name, left_out)
    return zones.ids[inside], values, weights


def _of_cells(points: PointRecords, spec: TargetSpec, cells: UInt64[np.ndarray, "cells"]) -> _Units:
    found = grid.points_to_cells(
        lon=points.lon, lat=points.lat, resolution=grid.resolution_of(cells)
    )
    row, known = grid.locate(cells, found)
    centres = grid.centers(cells)
    near = shapely.contains_xy(_hull(points), centres[:, 0], centres[:, 1])
    unit = np.where(known, row, -1)
    values = _aggregated(points, spec, unit, len(cells), near, grid.areas_km2(cells))
    ids = np.array(grid.to_strings(cells), dtype=object)
    return ids, values, sparse.eye_array(len(cells), format="csr")


def _of_points_in_zones(
    points: PointRecords, spec: TargetSpec, zones: ZoneRecords, areas: Overlay
) -> _Units:
    inside, weights = _members(areas)
    point, zone = shapely.STRtree(zones.geometry[inside]).query(
        shapely.points(points.lon, points.lat), predicate="intersects"
    )
    # A point on a border lies in two zones: it counts in the first.
    unit = np.full(len(points), -1)
    unit[point[::-1]] = zone[::-1]
    near = shapely.intersects(zones.geometry[inside], _hull(points))
    values = _aggregated(points, spec, unit, len(inside), near, areas.zone_area_km2[inside])
    return zones.ids[inside], values, weights


def _hull(points: PointRecords) -> shapely.Geometry:
    """Convex hull of all points: where the source has looked."""
    return shapely.convex_hull(shapely.multipoints(np.column_stack([points.lon, points.lat])))


def _aggregated(
    points: PointRecords,
    spec: TargetSpec,
    unit: np.ndarray,
    units: int,
    near: np.ndarray,
    area_km2: np.ndarray,
) -> np.ndarray:
    """(units,) count, sum, mean or density of points; NaN where not known.

    Parameters
    ----------
    unit : (points,) number of the unit of each point, -1 outside all
    near : (units,) whether the source has looked there
    """
    value = np.ones(len(points)) if spec.column is None else points.values[spec.column]
    used = (unit >= 0) & np.isfinite(value)
    weight = points.weight[used]
    amount = np.bincount(unit[used], weights=weight * value[used], minlength=units)
    count = np.bincount(unit[used], weights=weight, minlength=units)
    seen = np.bincount(unit[used], minlength=units) > 0
    if spec.aggregate == "mean":
        seen = count > 0
        amount = np.divide(amount, count, out=np.zeros(units), where=seen)
    elif spec.aggregate == "density":
        amount = amount / area_km2
    if spec.absent == "zero":
        seen = seen | near
    return np.where(seen, amount, np.nan)
