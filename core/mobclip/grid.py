"""The H3 grid: points, polygons and cells, vectorised. The only importer of h3 and h3ronpy.

Conventions: cells are `uint64` arrays; coordinates are degrees WGS84, keyword-only `lon=`, `lat=`
or (n, 2) arrays in **lon, lat** order. H3's own (lat, lng) order is crossed here and nowhere else.
Strings (15 hexadecimal digits) are for people, JSON and JavaScript, where numbers above 2^53 lose
bits. Bulk work runs in h3ronpy (Rust); h3-py is the oracle in the tests.
"""

from collections.abc import Sequence
from typing import Any

import h3.api.numpy_int as h3
import h3ronpy
import h3ronpy.vector as h3vector
import numpy as np
import pyarrow as pa
import shapely
import shapely.affinity
from jaxtyping import Bool, Float, Int64, Real, UInt64
from scipy import sparse

from mobclip.errors import CellError

Cells = UInt64[np.ndarray, "cells"]

MAX_RESOLUTION = 15


def _numpy(array: Any, dtype: type) -> np.ndarray:
    return np.asarray(pa.array(array).to_numpy(zero_copy_only=False), dtype=dtype)


def _check_resolution(resolution: int) -> None:
    if not 0 <= resolution <= MAX_RESOLUTION:
        raise CellError(f"resolution {resolution} is not an H3 resolution: choose 0 to 15.")


def _rows(bad: Bool[np.ndarray, " n"]) -> str:
    """First row numbers where `bad`, for an error message."""
    rows = np.flatnonzero(bad)
    listed = ", ".join(map(str, rows[:5]))
    return f"{len(rows)} rows, first {listed}"


def points_to_cells(
    *, lon: Real[np.ndarray, " n"], lat: Real[np.ndarray, " n"], resolution: int
) -> UInt64[np.ndarray, " n"]:
    """Cell of each point.

    Parameters
    ----------
    lon, lat : degrees WGS84; lon in [-180, 360], lat in [-90, 90]
    resolution : 0 (1,107 km across) to 15 (1 m)

    Raises
    ------
    CellError : a coordinate is NaN, infinite or out of range; the message gives row numbers
    """
    _check_resolution(resolution)
    lon = np.ascontiguousarray(lon, dtype=np.float64)
    lat = np.ascontiguousarray(lat, dtype=np.float64)
    bad = ~(np.isfinite(lon) & np.isfinite(lat))
    if bad.any():
        raise CellError(f"NaN coordinates ({_rows(bad)}): drop these rows or fill them in.")
    bad = (np.abs(lat) > 90) | (lon < -180) | (lon > 360)
    if bad.any():
        raise CellError(
            f"coordinates out of range ({_rows(bad)}): longitude is -180 to 360 and latitude "
            "-90 to 90 degrees. Are lon and lat swapped, or is this a projected CRS?"
        )
    if len(lon) == 0:
        return np.empty(0, np.uint64)
    return _numpy(h3vector.coordinates_to_cells(lat, lon, resolution), np.uint64)


def centers(cells: Cells) -> Float[np.ndarray, "cells 2"]:
    """Centre of each cell, degrees lon, lat."""
    if len(cells) == 0:
        return np.empty((0, 2))
    batch = pa.record_batch(h3vector.cells_to_coordinates(_checked(cells)))
    return np.column_stack([batch["lng"].to_numpy(), batch["lat"].to_numpy()])


def boundaries(cells: Cells) -> np.ndarray:
    """Polygon of each cell as an object array of shapely geometries, degrees lon, lat.

    A cell across the date line becomes a MultiPolygon of its two sides; a cell around a pole is
    closed along the pole.
    """
    if len(cells) == 0:
        return np.empty(0, dtype=object)
    polygons = _rings(cells)
    west, _, east, _ = shapely.bounds(polygons).T
    # No cell but those at a pole is half the world wide: such a width means the date line.
    for row in np.flatnonzero(east - west > 180):
        polygons[row] = _split_at_date_line(polygons[row])
    return polygons


def corners(
    cells: Cells,
) -> tuple[Float[np.ndarray, "corners 2"], Int64[np.ndarray, " corners"]]:
    """Corners of each cell, degrees lon, lat, counter-clockwise, and the row of the cell of each.

    Six to a cell, and more where an edge of the icosahedron crosses it; longitude jumps at the
    date line.
    """
    if len(cells) == 0:
        return np.empty((0, 2)), np.empty(0, np.int64)
    lonlat, index = shapely.get_coordinates(_rings(cells), return_index=True)
    closing = np.append(index[1:] != index[:-1], True)  # a ring ends where it began
    return lonlat[~closing], index[~closing]


def _rings(cells: Cells) -> np.ndarray:
    wkb = pa.array(h3vector.cells_to_wkb_polygons(_checked(cells)))
    return np.asarray(shapely.from_wkb(wkb.to_numpy(zero_copy_only=False)))


def _split_at_date_line(polygon: shapely.Polygon) -> shapely.Geometry:
    ring = np.asarray(polygon.exterior.coords)
    lon = np.unwrap(ring[:, 0], period=360)
    if abs(lon[-1] - lon[0]) > 180:  # the ring goes around a pole
        return _around_pole(ring[:-1])
    # Between 0 and 360 the line is at 180. Cut by hand: GEOS (3.14) answers some of the clips and
    # intersections of so small a shape with so large a box with a band from pole to pole.
    ring = np.column_stack([ring[:-1, 0] % 360, ring[:-1, 1]])
    sides = (_cut(ring, side=1.0), _cut(ring, side=-1.0) - [360.0, 0.0])
    # A ring that only touches the line has a side without area.
    return shapely.MultiPolygon([shapely.Polygon(side) for side in sides if len(side) > 2])


def _cut(ring: Float[np.ndarray, "corners 2"], *, side: float) -> Float[np.ndarray, "kept 2"]:
    """The part of a ring with longitude up to 180 (side 1) or from 180 on (side -1)."""
    kept: list[np.ndarray] = []
    for here, there in zip(ring, np.roll(ring, -1, axis=0), strict=True):
        inside, next_inside = side * (180 - np.array([here[0], there[0]])) >= 0
        if inside:
            kept.append(here)
        if inside != next_inside:
            share = (180 - here[0]) / (there[0] - here[0])
            kept.append(np.array([180.0, here[1] + share * (there[1] - here[1])]))
    return np.array(kept)


def _around_pole(corners: Float[np.ndarray, "corners 2"]) -> shapely.Polygon:
    """Everything from the ring to the pole, closed along the date line."""
    lon, lat = corners[np.argsort(corners[:, 0])].T
    pole = 90.0 if lat.mean() > 0 else -90.0
    (edge,) = np.interp([180.0], [lon[-1], lon[0] + 360], [lat[-1], lat[0]])
    around = zip(lon, lat, strict=True)
    return shapely.Polygon([(-180, pole), (-180, edge), *around, (180, edge), (180, pole)])


def polygon_to_cells(geometry: shapely.Geometry, resolution: int) -> Cells:
    """Sorted cells whose centre is inside a (Multi)Polygon in degrees lon, lat."""
    _check_resolution(resolution)
    parts = [
        _numpy(h3vector.geometry_to_cells(part, resolution), np.uint64)
        for part in shapely.get_parts(geometry)
        if isinstance(part, shapely.Polygon) and not part.is_empty
    ]
    return np.unique(np.concatenate(parts)) if parts else np.empty(0, np.uint64)


def parents(cells: Cells, resolution: int) -> Cells:
    """Parent of each cell at a coarser (or the same) resolution, row by row."""
    if len(cells) and resolution > resolution_of(cells):
        raise CellError(
            f"resolution {resolution} is finer than the cells' {resolution_of(cells)}: "
            "a parent is coarser. Use children()."
        )
    return _numpy(h3ronpy.change_resolution(_checked(cells), resolution), np.uint64)


def children(cells: Cells, resolution: int) -> UInt64[np.ndarray, " children"]:
    """Sorted cells of a finer (or the same) resolution inside the given ones."""
    _check_resolution(resolution)
    if len(cells) == 0:
        return np.empty(0, np.uint64)
    if resolution < resolution_of(cells):
        raise CellError(
            f"resolution {resolution} is coarser than the cells' {resolution_of(cells)}: "
            "a child is finer. Use parents()."
        )
    return np.unique(_numpy(h3ronpy.change_resolution(_checked(cells), resolution), np.uint64))


def disk(cells: Cells, k: int) -> tuple[Int64[np.ndarray, " pairs"], UInt64[np.ndarray, " pairs"]]:
    """Cells within `k` steps: `cells[index[i]]` has `neighbours[i]`, itself included."""
    if len(cells) == 0:
        return np.empty(0, np.int64), np.empty(0, np.uint64)
    lists = pa.array(h3ronpy.grid_disk(_checked(cells), k))
    counts = np.diff(lists.offsets.to_numpy())
    return np.repeat(np.arange(len(cells)), counts), lists.flatten().to_numpy()


def adjacency(cells: Cells, k: int = 1) -> sparse.csr_array:
    """(n, n) matrix of ones between sorted `cells` at most `k` steps apart, diagonal left out."""
    index, neighbours = disk(cells, k)
    position, known = locate(cells, neighbours)
    keep = known & (position != index)
    return sparse.csr_array(
        (np.ones(int(keep.sum()), np.float32), (index[keep], position[keep])),
        shape=(len(cells), len(cells)),
    )


def locate(
    cells: Cells, wanted: UInt64[np.ndarray, " m"]
) -> tuple[Int64[np.ndarray, " m"], Bool[np.ndarray, " m"]]:
    """Row of each `wanted` cell in sorted `cells`, and whether it is there (else row 0)."""
    if len(cells) == 0:
        return np.zeros(len(wanted), np.int64), np.zeros(len(wanted), bool)
    row = np.minimum(np.searchsorted(cells, wanted), len(cells) - 1)
    known = cells[row] == wanted
    return np.where(known, row, 0), known


def areas_km2(cells: Cells) -> Float[np.ndarray, "cells"]:
    """Exact spherical area of each cell, km²."""
    if len(cells) == 0:
        return np.empty(0)
    return _numpy(h3ronpy.cells_area_km2(_checked(cells)), np.float64)


def edge_km(resolution: int) -> float:
    """Mean edge length of a cell, which is also the radius of its circumscribed circle, km."""
    _check_resolution(resolution)
    return float(h3.average_hexagon_edge_length(resolution, unit="km"))


def resolution_of(cells: Cells) -> int:
    """The one resolution of `cells`; `CellError` if there are several, or no cells."""
    if len(cells) == 0:
        raise CellError("no cells: a resolution needs at least one.")
    # Bits 52-55 of an H3 index are its resolution.
    found = np.unique((np.asarray(cells, np.uint64) >> np.uint64(52)) & np.uint64(15))
    if len(found) > 1:
        raise CellError(
            f"mixed resolutions {', '.join(map(str, found))}: bring all to one with parents()."
        )
    return int(found[0])


def to_strings(cells: Cells) -> list[str]:
    """15-digit hexadecimal name of each cell."""
    return [f"{cell:x}" for cell in cells.tolist()]


def from_strings(strings: Sequence[str]) -> UInt64[np.ndarray, " n"]:
    """Cells from their names; `CellError` names the first that is not a cell."""
    cells = np.empty(len(strings), np.uint64)
    for row, text in enumerate(strings):
        try:
            cells[row] = int(str(text).strip(), 16)
        except (ValueError, OverflowError):
            cells[row] = 0
    valid = is_cell(cells)
    if not valid.all():
        row = int(np.flatnonzero(~valid)[0])
        raise CellError(
            f"{strings[row]!r} (row {row}) is not an H3 cell. "
            "A cell is written as 15 hexadecimal digits, such as 862a1072fffffff."
        )
    return cells


def is_cell(cells: UInt64[np.ndarray, " n"]) -> Bool[np.ndarray, " n"]:
    """Whether each number is a valid H3 cell."""
    if len(cells) == 0:
        return np.empty(0, bool)
    return _numpy(h3ronpy.cells_valid(np.asarray(cells, np.uint64), booleanarray=True), np.bool_)


def check_cells(cells: UInt64[np.ndarray, " n"]) -> None:
    """`CellError` unless `cells` are valid, sorted, unique and of one resolution."""
    _checked(cells)
    if len(cells):
        resolution_of(cells)
        if not (cells[1:] > cells[:-1]).all():
            raise CellError("cells are not sorted and unique: pass np.unique(cells).")


def _checked(cells: UInt64[np.ndarray, " n"]) -> np.ndarray:
    cells = np.ascontiguousarray(cells, dtype=np.uint64)
    valid = is_cell(cells)
    if not valid.all():
        row = int(np.flatnonzero(~valid)[0])
        raise CellError(f"{int(cells[row])} (row {row}) is not an H3 cell.")
    return cells


def distances_km(
    lonlat: Float[np.ndarray, "n 2"], other: Float[np.ndarray, "*m 2"]
) -> Float[np.ndarray, " n"]:
    """Great-circle distance between points in degrees lon, lat, km (Earth radius 6371.0088)."""
    lon, lat = np.radians(lonlat).T
    lon_other, lat_other = np.radians(np.atleast_2d(other)).T
    chord = (
        np.sin((lat - lat_other) / 2) ** 2
        + np.cos(lat) * np.cos(lat_other) * np.sin((lon - lon_other) / 2) ** 2
    )
    return 2 * 6371.0088 * np.arcsin(np.sqrt(np.clip(chord, 0, 1)))
