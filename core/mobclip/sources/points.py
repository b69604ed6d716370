"""Points: a table with lon and lat, with cells, or a file with a geometry."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import shapely

from mobclip import grid
from mobclip.errors import RecordError
from mobclip.manifest import SourceSpec
from mobclip.records import PointRecords, ZoneRecords
from mobclip.sources.positions import agreed_crs, position_columns, to_degrees, usable, wrapped
from mobclip.sources.rows import Dropped, filtered, number, numbers, words
from mobclip.sources.tables import Table, open_table


def read_points(spec: SourceSpec, path: Path, _zones: Mapping[str, ZoneRecords]) -> PointRecords:
    """Points of one file; rows without a usable position are left out and counted."""
    roles = ("text", "category", "cell")
    texts = [column for role in roles for column in spec.columns.get(role, ())]
    from_geometry = not {"lon", "cell"} & set(spec.columns)
    table = open_table(spec, path, texts=texts, geometry=from_geometry)
    dropped = Dropped(spec, len(table.frame))
    position = filtered(table.frame, spec, dropped)
    frame = table.frame.iloc[position]
    lon, lat = _positions(table, frame, position, spec)
    good = usable(lon, lat, dropped)
    frame, lon, lat = frame[good], lon[good], lat[good]
    weight = np.ones(len(frame))
    if (column := spec.column("weight")) is not None:
        weight = number(frame, column, spec)
        good = dropped.keep(~np.isnan(weight), "no weight")
        frame, lon, lat, weight = frame[good], lon[good], lat[good], weight[good]
    category = spec.column("category")
    return PointRecords(
        source=spec.name,
        lon=wrapped(lon),
        lat=np.asarray(lat, np.float64),
        text=_joined(frame, spec.columns["text"]) if "text" in spec.columns else None,
        category=words(frame[category]) if category is not None else None,
        weight=weight,
        values=numbers(frame, spec),
        dropped=dropped.counts,
        first_dropped=dropped.first,
    )


def _positions(
    table: Table, frame: pd.DataFrame, position: np.ndarray, spec: SourceSpec
) -> tuple[np.ndarray, np.ndarray]:
    lon, lat, cell = spec.column("lon"), spec.column("lat"), spec.column("cell")
    if lon is not None and lat is not None:
        return position_columns(frame, spec, lon, lat)
    if cell is not None:
        return _centers(cell_ids(frame[cell], spec))
    if table.geometry is None:
        raise RecordError(f"{spec.name}: {spec.path} has no geometry: name lon and lat.")
    # A shop drawn as a building stands for a point inside it.
    inside = shapely.point_on_surface(table.geometry[position])
    return to_degrees(shapely.get_x(inside), shapely.get_y(inside), agreed_crs(spec, table.crs))


def _centers(cells: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Centres of cells, NaN where the cell is 0."""
    lonlat = np.full((len(cells), 2), np.nan)
    lonlat[cells > 0] = grid.centers(cells[cells > 0])
    return lonlat[:, 0], lonlat[:, 1]


def cell_ids(series: pd.Series, spec: SourceSpec) -> np.ndarray:
    """H3 cells as uint64, from hexadecimal text or whole numbers; 0 where missing."""
    known = series.notna().to_numpy()
    cells = np.zeros(len(series), np.uint64)
    if pd.api.types.is_integer_dtype(series.dtype):
        cells[known] = series[known].to_numpy(np.uint64)
        if not grid.is_cell(cells[known]).all():
            raise RecordError(
                f"{spec.name}: {series.name!r} holds whole numbers that are not H3 cells."
            )
    else:
        cells[known] = grid.from_strings(series[known].astype(str).tolist())
    return cells


def _joined(frame: pd.DataFrame, columns: tuple[str, ...]) -> np.ndarray:
    """Texts of several columns as one, empty ones left out."""
    parts = [words(frame[column]) for column in columns]
    texts = ["; ".join(filter(None, row)) for row in zip(*parts, strict=True)]
    return np.array(texts, dtype=object)
