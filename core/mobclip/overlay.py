"""Zones x cells: how much of each zone lies in each cell, exactly, as a sparse matrix of areas.

Areal interpolation (Goodchild and Lam 1980) needs these areas: a count is spread over cells by the
share of the zone in each cell; an average is averaged over zones by the share of the cell in each
zone. Areas are planar areas in an equal-area projection chosen from the data.
"""

from dataclasses import dataclass

import numpy as np
import pyproj
import shapely
from jaxtyping import Float64, UInt64
from scipy import sparse

from mobclip import grid
from mobclip.errors import RecordError
from mobclip.records import ZoneRecords

# A chunk is a stretch of sorted cells, which lie together: few zones meet it.
_CHUNK = 20_000
# An edge is straight in degrees; cut finer than this, its image is straight in any projection.
_EDGE_DEGREES = 0.1
# Farther than this from its centre, an azimuthal map bends shapes too much to clip them well.
_AZIMUTHAL_DEGREES = 45.0


@dataclass(frozen=True, kw_only=True)
class Overlay:
    """Areas shared by zones and cells."""

    ids: np.ndarray  # (zones,) object str
    cells: UInt64[np.ndarray, "cells"]  # sorted, unique
    area_km2: sparse.csr_array  # (zones, cells) float64
    zone_area_km2: Float64[np.ndarray, "zones"]  # whole zone, with what lies outside all cells
    cell_area_km2: Float64[np.ndarray, "cells"]  # whole cell

    def shares_of_zones(self) -> sparse.csr_array:
        """(zones, cells) fraction of each zone in each cell; a row sums to 1 inside the cells.

        `shares_of_zones().T @ counts` spreads counts, such as people, over cells.
        """
        return sparse.csr_array(sparse.diags_array(1 / self.zone_area_km2) @ self.area_km2)

    def shares_of_cells(self) -> sparse.csr_array:
        """(zones, cells) fraction of each cell covered by each zone; a column sums to at most 1.

        `shares_of_cells().T @ values` divided by the column sums averages an intensive variable.
        """
        return sparse.csr_array(self.area_km2 @ sparse.diags_array(1 / self.cell_area_km2))


def overlay(zones: ZoneRecords, cells: UInt64[np.ndarray, "cells"]) -> Overlay:
    """Area that each zone shares with each cell.

    Parameters
    ----------
    zones : polygons in degrees lon, lat; they may overlap one another
    cells : sorted, unique, one resolution

    Raises
    ------
    RecordError : a zone without area
    """
    transformer = _equal_area(zones.geometry)
    shapes = _projected(zones.geometry, transformer)
    zone_areas = shapely.area(shapes)
    if (zone_areas <= 0).any():
        zone = zones.ids[np.flatnonzero(zone_areas <= 0)[0]]
        raise RecordError(
            f"{zones.source}: zone {zone!r} has no area. Zones are polygons; "
            "leave this one out with `where` in the manifest."
        )
    rows, columns, areas = [], [], []
    cell_areas = np.empty(len(cells))
    for start in range(0, len(cells), _CHUNK):
        stop = min(start + _CHUNK, len(cells))
        hexagons = _projected(grid.boundaries(cells[start:stop]), transformer)
        cell_areas[start:stop] = shapely.area(hexagons)
        zone, cell, area = _pairs(shapes, hexagons, cell_areas[start:stop])
        rows.append(zone)
        columns.append(cell + start)
        areas.append(area)
    matrix = sparse.csr_array(
        (
            np.concatenate(areas) if areas else np.empty(0),
            (
                np.concatenate(rows) if rows else np.empty(0, np.int64),
                np.concatenate(columns) if columns else np.empty(0, np.int64),
            ),
        ),
        shape=(len(shapes), len(cells)),
    )
    matrix.sort_indices()
    return Overlay(
        ids=zones.ids,
        cells=cells,
        area_km2=matrix,
        zone_area_km2=zone_areas,
        cell_area_km2=cell_areas,
    )


def _pairs(
    shapes: np.ndarray, hexagons: np.ndarray, hexagon_areas: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Zone, cell and area of every pair that shares area."""
    tree = shapely.STRtree(hexagons)
    near = np.unique(shapely.STRtree(shapes).query(shapely.box(*shapely.total_bounds(hexagons))))
    # GEOS prepares the zones, which are the large shapes, and looks up the cells in the tree.
    zone, cell = tree.query(shapes[near], predicate="intersects")
    inside_zone, inside_cell = tree.query(shapes[near], predicate="covers")
    # A cell entirely inside a zone, which is most of them, needs no intersection.
    width = len(hexagons)
    crossing = ~np.isin(zone * width + cell, inside_zone * width + inside_cell)
    zone, cell = zone[crossing], cell[crossing]
    area = shapely.area(shapely.intersection(hexagons[cell], shapes[near][zone]))
    real = area > 0  # neighbours that touch share an edge and no area
    return (
        near[np.concatenate([inside_zone, zone[real]])],
        np.concatenate([inside_cell, cell[real]]),
        np.concatenate([hexagon_areas[inside_cell], area[real]]),
    )


def _equal_area(geometry: np.ndarray) -> pyproj.Transformer:
    """From degrees to kilometres: azimuthal around the zones, cylindrical for half the world."""
    corners = shapely.bounds(geometry)
    lonlat = np.concatenate([corners[:, [0, 1]], corners[:, [2, 3]], corners[:, [0, 3]]])
    lon, lat = np.radians(lonlat).T
    # The mean of directions knows no date line.
    directions = np.column_stack(
        [np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)]
    )
    x, y, z = directions.mean(axis=0)
    centre_lon, centre_lat = np.degrees([np.arctan2(y, x), np.arctan2(z, np.hypot(x, y))])
    middle = np.array([x, y, z]) / max(np.linalg.norm([x, y, z]), 1e-12)
    farthest = np.degrees(np.arccos(np.clip((directions @ middle).min(), -1, 1)))
    if farthest > _AZIMUTHAL_DEGREES:
        definition = "+proj=cea +lat_ts=30 +datum=WGS84 +units=km"  # EPSG:6933, in kilometres
    else:
        definition = (
            f"+proj=laea +lat_0={centre_lat:.6f} +lon_0={centre_lon:.6f} +datum=WGS84 +units=km"
        )
    return pyproj.Transformer.from_crs("EPSG:4326", definition, always_xy=True)


def _projected(geometry: np.ndarray, transformer: pyproj.Transformer) -> np.ndarray:
    fine = shapely.segmentize(geometry, _EDGE_DEGREES)
    shapes = shapely.transform(
        fine, lambda xy: np.column_stack(transformer.transform(xy[:, 0], xy[:, 1]))
    )
    broken = ~shapely.is_valid(shapes)
    shapes[broken] = shapely.make_valid(shapes[broken])
    return np.asarray(shapes)
