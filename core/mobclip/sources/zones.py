"""Zones: ids, polygons and numbers; the polygons may come from another source."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyproj
import shapely

from mobclip.errors import RecordError
from mobclip.manifest import SourceSpec
from mobclip.records import ZoneRecords
from mobclip.sources.positions import agreed_crs, shapes_to_degrees
from mobclip.sources.rows import Dropped, check_not_negative, filtered, ids, numbers
from mobclip.sources.tables import open_table

_POLYGONAL = (int(shapely.GeometryType.POLYGON), int(shapely.GeometryType.MULTIPOLYGON))
# Bins of published tables are rounded: their sum may miss the total by this much.
_PARTITION_TOLERANCE = 0.05


def read_zones(spec: SourceSpec, path: Path, zones: Mapping[str, ZoneRecords]) -> ZoneRecords:
    """Zones of one file; rows without an id or a polygon are left out and counted."""
    table = open_table(spec, path, texts=spec.columns["id"], geometry=spec.geometry_from is None)
    dropped = Dropped(spec, len(table.frame))
    position = filtered(table.frame, spec, dropped)
    names = ids(table.frame[spec.columns["id"][0]].iloc[position], spec.id_width)
    known = dropped.keep(names != None, "no id")  # noqa: E711 - elementwise
    names, position = names[known], position[known]
    if spec.geometry_from is not None:
        geometry = _borrowed(names, zones[spec.geometry_from])
        hint = (
            f" Ids here look like {names[0]!r}, ids of {spec.geometry_from!r} like "
            f"{zones[spec.geometry_from].ids[0]!r}: set id_width, or name another id column."
        )
        reason = f"id not in {spec.geometry_from}"
    else:
        if table.geometry is None:
            raise RecordError(f"{spec.name}: {spec.path} has no polygons.")
        geometry = _polygons(table.geometry[position])
        hint, reason = " Zones are polygons; for points use kind: points.", "no polygon"
    good = dropped.keep(~shapely.is_missing(geometry), reason, hint=hint)
    names, position, geometry = names[good], position[good], geometry[good]
    if spec.geometry_from is None:
        geometry = _valid_in_degrees(geometry, spec, table.crs)
    values = numbers(table.frame.iloc[position], spec)
    _check_values(values, spec)
    if spec.repeated_ids == "merge":
        names, geometry = _merged(names, geometry, spec)
    return ZoneRecords(
        source=spec.name,
        ids=names,
        geometry=geometry,
        values=values,
        dropped=dropped.counts,
        first_dropped=dropped.first,
    )


def _borrowed(names: np.ndarray, zones: ZoneRecords) -> np.ndarray:
    """Polygon of each id, None where there is none."""
    polygon = dict(zip(zones.ids, zones.geometry, strict=True))
    geometry = np.empty(len(names), object)
    geometry[:] = [polygon.get(name) for name in names]
    return geometry


def _polygons(geometry: np.ndarray) -> np.ndarray:
    """Valid polygons without height; None where a row has none."""
    geometry = shapely.force_2d(geometry)
    broken = ~shapely.is_valid(geometry)
    geometry[broken] = shapely.make_valid(geometry[broken])
    # Repair leaves loose lines and points beside the polygons.
    for row in np.flatnonzero(~np.isin(shapely.get_type_id(geometry), _POLYGONAL)):
        parts = [
            part
            for part in shapely.get_parts(geometry[row])
            if shapely.get_type_id(part) in _POLYGONAL
        ]
        geometry[row] = shapely.union_all(parts) if parts else None
    geometry[shapely.is_empty(geometry)] = None
    return np.asarray(geometry)


def _valid_in_degrees(geometry: np.ndarray, spec: SourceSpec, crs: pyproj.CRS | None) -> np.ndarray:
    degrees = shapes_to_degrees(geometry, agreed_crs(spec, crs))
    west, south, east, north = shapely.total_bounds(degrees)
    if not (west >= -180 and east <= 180 and south >= -90 and north <= 90):
        raise RecordError(
            f"{spec.name}: polygons of {spec.path} reach lon {west:.6g} to {east:.6g}, lat "
            f"{south:.6g} to {north:.6g}, which are not degrees. The CRS stated is wrong: find "
            "the right one and correct the file or `crs` in the manifest."
        )
    return _polygons(degrees)


def _merged(
    names: np.ndarray, geometry: np.ndarray, spec: SourceSpec
) -> tuple[np.ndarray, np.ndarray]:
    """One zone per id, the union of its polygons."""
    if spec.value_columns:
        raise RecordError(
            f"{spec.name}: repeated_ids: merge is for zones without values, but it names "
            f"{', '.join(spec.value_columns)}. Give each row an id of its own."
        )
    unique, inverse = np.unique(names.astype(str), return_inverse=True)
    merged = np.empty(len(unique), object)
    for index in range(len(unique)):
        merged[index] = shapely.union_all(geometry[inverse == index])
    return unique.astype(object), merged


def _check_values(values: Mapping[str, np.ndarray], spec: SourceSpec) -> None:
    counted = {f"the count {name!r}": column for name, column in spec.counts.items()}
    for name, histogram in spec.histograms.items():
        counted |= {f"{name}, bin {label!r}": column for label, column in histogram.bins.items()}
    check_not_negative(values, counted, spec)
    for name, histogram in spec.histograms.items():
        parts = np.sum([values[column] for column in histogram.bins.values()], axis=0)
        if histogram.part_scale is not None:
            whole = np.full(len(parts), 1 / histogram.part_scale)
        elif histogram.total is not None:
            whole = values[histogram.total]
        else:
            continue
        used = (parts > 0) & (whole > 0)
        ratio = float(np.median(parts[used] / whole[used])) if used.any() else 1.0
        if abs(ratio - 1) > _PARTITION_TOLERANCE:
            raise RecordError(
                f"{spec.name}: the bins of the histogram {name!r} sum to {ratio:.2f} of their "
                "total in the median zone; a histogram's bins partition the total. Leave out "
                "subtotals, add what is missing, or correct `unit` or `total` in the manifest."
            )
