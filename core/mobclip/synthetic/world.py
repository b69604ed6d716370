"""The land: where it lies, its coast, cells, mountains and rivers."""

from dataclasses import dataclass

import numpy as np
import shapely
from jaxtyping import Float, UInt64
from pyproj import CRS, Transformer
from scipy import ndimage
from scipy.spatial import cKDTree

from mobclip import grid
from mobclip.errors import ConfigError
from mobclip.synthetic.coast import HeightGrid
from mobclip.synthetic.fields import Field, fractal_field, smooth_field, standardised

COUNTRY = "Halcyonia"
NOTICE = f"{COUNTRY} is an invented country: all data are synthetic (mobclip.synthetic)."
CENTRE = (-22.0, -30.5)  # lon, lat: open South Atlantic
MAX_AREA_KM2 = 9e6  # what fits between South America and Africa: 218,000 cells of resolution 6
MIN_CELLS = 100


@dataclass(frozen=True, kw_only=True)
class World:
    """Land of the country. Plane coordinates are km in `crs` (equal area, centred on the land)."""

    cells: UInt64[np.ndarray, "cells"]  # sorted; the land, exactly as many as were asked for
    resolution: int
    lonlat: Float[np.ndarray, "cells 2"]  # degrees
    xy: Float[np.ndarray, "cells 2"]  # km
    area_km2: Float[np.ndarray, "cells"]
    spacing_km: float  # between neighbouring cell centres
    scale_km: float  # square root of the land area: the size of the country
    crs: CRS  # metres
    land: shapely.MultiPolygon  # km
    coast_km: Float[np.ndarray, "cells"]  # distance to the sea
    elevation_m: Float[np.ndarray, "cells"]
    relief: Field  # fine terrain, for hill shades
    rivers: list[shapely.LineString]  # km, from source to mouth
    river_km: Float[np.ndarray, "cells"]  # distance to a river
    gulf: Float[np.ndarray, "2"]  # km, head of the great gulf

    def to_lonlat(self, geometry: np.ndarray) -> np.ndarray:
        """Shapely geometries from km to degrees lon, lat."""
        return shapely.transform(geometry, self._degrees)

    def _degrees(self, xy: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "n 2"]:
        to_degrees = Transformer.from_crs(self.crs, 4326, always_xy=True)
        return np.column_stack(to_degrees.transform(xy[:, 0] * 1000, xy[:, 1] * 1000))


def make_world(rng: np.random.Generator, *, cells: int, resolution: int) -> World:
    """Raise the land out of the sea.

    Raises
    ------
    ConfigError : fewer than 100 cells, or more land than the ocean there has room for
    """
    if cells < MIN_CELLS:
        raise ConfigError(f"cells={cells}: the synthetic country needs at least {MIN_CELLS} cells.")
    middle = grid.points_to_cells(
        lon=np.array(CENTRE[:1]), lat=np.array(CENTRE[1:]), resolution=resolution
    )
    cell_km2 = float(grid.areas_km2(middle)[0])  # H3 cells differ in area by place
    if cells * cell_km2 > MAX_AREA_KM2:
        most = int(MAX_AREA_KM2 / cell_km2)
        raise ConfigError(
            f"cells={cells} at resolution {resolution} is {cells * cell_km2:,.0f} km² of land; the "
            f"open ocean there takes {MAX_AREA_KM2:,.0f} km². Ask for at most {most} cells, or a "
            f"finer resolution."
        )
    crs = CRS.from_proj4(
        f"+proj=laea +lat_0={CENTRE[1]} +lon_0={CENTRE[0]} +datum=WGS84 +units=m +no_defs"
    )
    scale = float(np.sqrt(cells * cell_km2))
    spacing = float(np.sqrt(cell_km2 * 2 / np.sqrt(3)))

    height, gulf = _height(rng, scale=scale, spacing=spacing)
    candidates = _cells_of_box(height, crs, resolution)
    lonlat = grid.centers(candidates)
    to_plane = Transformer.from_crs(4326, crs, always_xy=True)
    xy = np.column_stack(to_plane.transform(lonlat[:, 0], lonlat[:, 1])) / 1000
    above = height.at(xy)
    order = np.argsort(-above, kind="stable")
    chosen = np.sort(order[:cells])
    sea_level = float(above[order[cells - 1 : cells + 1]].mean())
    land = _land(height, sea_level, xy[chosen], sea=np.delete(xy, chosen, axis=0))

    xy, lonlat = xy[chosen], lonlat[chosen]
    shore = shapely.get_coordinates(shapely.segmentize(land.boundary, spacing / 4))
    coast_km = np.asarray(cKDTree(shore).query(xy)[0])
    relief = fractal_field(rng, length_km=0.12 * scale, finest_km=spacing / 2, gain=0.6)
    elevation = _elevation(rng, xy, coast_km, relief, scale=scale, spacing=spacing)
    rivers = _rivers(rng, height, sea_level, xy, elevation, scale=scale, spacing=spacing)
    banks = shapely.get_coordinates(shapely.segmentize(np.array(rivers, object), spacing / 4))
    return World(
        cells=candidates[chosen],
        resolution=resolution,
        lonlat=lonlat,
        xy=xy,
        area_km2=grid.areas_km2(candidates[chosen]),
        spacing_km=spacing,
        scale_km=scale,
        crs=crs,
        land=land,
        coast_km=coast_km,
        elevation_m=elevation,
        relief=relief,
        rivers=rivers,
        river_km=np.asarray(cKDTree(banks).query(xy)[0]),
        gulf=gulf,
    )


def _height(
    rng: np.random.Generator, *, scale: float, spacing: float
) -> tuple[HeightGrid, np.ndarray]:
    """Height above the sea bed on a grid: an ellipse, less a gulf and bays, plus islands, fractal.

    The level that leaves the wanted number of cells dry becomes the sea level.
    """
    step = spacing / 1.6
    half = np.array([1.05, 0.95]) * scale
    columns, rows = (2 * half / step).astype(int) + 1
    empty = HeightGrid(x0=-half[0], y0=-half[1], step_km=step, values=np.zeros((rows, columns)))
    unit = empty.nodes() / scale
    tilt = rng.uniform(0.2, 0.55)
    along = unit[:, 0] * np.cos(tilt) + unit[:, 1] * np.sin(tilt)
    across = -unit[:, 0] * np.sin(tilt) + unit[:, 1] * np.cos(tilt)
    height = -np.hypot(along / 0.76, across / 0.47)

    rough = fractal_field(rng, length_km=0.22 * scale, finest_km=spacing, gain=0.68)
    height += 0.2 * rough(unit * scale)

    # The great gulf opens to the south-east and narrows inland to its head.
    bearing = rng.uniform(-1.25, -0.8)
    axis = np.array([np.cos(bearing), np.sin(bearing)])
    head = 0.07 * axis + rng.normal(0, 0.03, 2)
    reach = (unit - head) @ axis
    side = (unit - head) @ np.array([-axis[1], axis[0]])
    width = 0.045 + 0.22 * np.clip(reach, 0, None)
    gulf = np.exp(-((side / width) ** 2)) / (1 + np.exp(-reach / 0.025))
    height -= 0.95 * gulf

    # A peninsula on one side, and an arc of islands off the north-west.
    toward = bearing + rng.uniform(1.5, 1.9)
    for t in np.linspace(0.45, 0.86, 8):
        spot = t * np.array([np.cos(toward), np.sin(toward)])
        height += 0.16 * np.exp(-(((unit - spot) / 0.085) ** 2).sum(axis=1))
    start = rng.uniform(2.1, 2.5)
    for angle in start + np.cumsum(rng.uniform(0.10, 0.24, 7)):
        radius = rng.uniform(0.62, 0.74)
        spot = radius * np.array([np.cos(angle), np.sin(angle)])
        size = rng.uniform(0.035, 0.08)
        height += rng.uniform(0.5, 0.8) * np.exp(-(((unit - spot) / size) ** 2).sum(axis=1))

    # Deep water all around, so that the coast closes inside the grid.
    edge = np.maximum(np.abs(unit[:, 0]) / 1.05, np.abs(unit[:, 1]) / 0.95)
    height -= 8 * np.clip(edge - 0.9, 0, None) / 0.1
    values = height.reshape(rows, columns)
    return HeightGrid(x0=-half[0], y0=-half[1], step_km=step, values=values), head * scale


def _cells_of_box(height: HeightGrid, crs: CRS, resolution: int) -> UInt64[np.ndarray, "cells"]:
    columns = height.values.shape[1]
    inner = 0.92  # the rim is deep sea
    east = -height.x0 * inner
    north = -height.y0 * inner
    box = shapely.segmentize(shapely.box(-east, -north, east, north), height.step_km * columns / 40)
    to_degrees = Transformer.from_crs(crs, 4326, always_xy=True)

    def degrees(xy: np.ndarray) -> np.ndarray:
        return np.column_stack(to_degrees.transform(xy[:, 0] * 1000, xy[:, 1] * 1000))

    return grid.polygon_to_cells(shapely.transform(box, degrees), resolution)


def _land(
    height: HeightGrid,
    level: float,
    xy: Float[np.ndarray, "n 2"],
    *,
    sea: Float[np.ndarray, "m 2"],
) -> shapely.MultiPolygon:
    """Land polygons that hold a cell centre, largest first; lakes without a centre are filled.

    So the cells whose centre lies in the land are exactly those at `xy`, and none of those at
    `sea`.
    """
    tree = shapely.STRtree(shapely.points(xy))
    wet = shapely.STRtree(shapely.points(sea))
    kept = []
    for polygon in height.above(level):
        if len(tree.query(polygon, predicate="intersects")):
            lakes = [
                ring
                for ring in polygon.interiors
                if len(wet.query(shapely.Polygon(ring), predicate="intersects"))
            ]
            kept.append(shapely.Polygon(polygon.exterior, lakes))
    # An island in a lake that was filled is part of the land around it.
    parts = shapely.get_parts(shapely.union_all(kept))
    return shapely.MultiPolygon(sorted(parts, key=lambda polygon: -polygon.area))


def _elevation(
    rng: np.random.Generator,
    xy: Float[np.ndarray, "n 2"],
    coast_km: Float[np.ndarray, " n"],
    relief: Field,
    *,
    scale: float,
    spacing: float,
) -> Float[np.ndarray, " n"]:
    """Metres: a bent range of ridged mountains, hills around it, plains towards the sea."""
    unit = xy / scale
    bearing = rng.uniform(0.25, 0.6)
    along = unit[:, 0] * np.cos(bearing) + unit[:, 1] * np.sin(bearing)
    across = -unit[:, 0] * np.sin(bearing) + unit[:, 1] * np.cos(bearing)
    bend = 0.10 * np.sin(3.2 * along + rng.uniform(0, 2 * np.pi))
    bend += 0.05 * smooth_field(rng, length_km=0.2 * scale)(xy)
    centre_line = 0.16 + bend
    width = 0.095 + 0.035 * standardised(smooth_field(rng, length_km=0.3 * scale)(xy))
    range_ = np.exp(-(((across - centre_line) / np.clip(width, 0.03, None)) ** 2))
    ridged = 1 - np.abs(standardised(relief(xy))) / 2
    hills = np.clip(0.5 + 0.5 * smooth_field(rng, length_km=0.12 * scale)(xy), 0, None)
    inland = 1 - np.exp(-coast_km / (0.05 * scale))
    metres = 2300 * range_ * np.clip(ridged, 0.15, None) + 430 * hills + 110 * ridged
    return np.clip(metres * (0.15 + 0.85 * inland) + rng.normal(0, 15, len(xy)), 0, None)


def _rivers(
    rng: np.random.Generator,
    height: HeightGrid,
    level: float,
    xy: Float[np.ndarray, "n 2"],
    elevation: Float[np.ndarray, " n"],
    *,
    scale: float,
    spacing: float,
) -> list[shapely.LineString]:
    """Rivers fall from high cells down the smoothed height, meander, and end in the sea."""
    sources = int(np.clip(30 * scale / 850, 12, 80))
    weight = np.clip(elevation - np.quantile(elevation, 0.7), 0, None)
    start = rng.choice(len(xy), sources, replace=False, p=weight / weight.sum())
    smooth = ndimage.gaussian_filter(height.values, 0.035 * scale / height.step_km)
    slope_y, slope_x = np.gradient(smooth)
    wander = smooth_field(rng, length_km=0.025 * scale)
    position = xy[start]
    direction = np.zeros_like(position)
    step = spacing / 2
    tracks = [position]
    wet = np.zeros(sources, bool)
    for _ in range(int(1.2 * scale / step)):
        at = np.stack([(position[:, 1] - height.y0), (position[:, 0] - height.x0)]) / height.step_km
        down = -np.column_stack(
            [ndimage.map_coordinates(g, at, order=1) for g in (slope_x, slope_y)]
        )
        down /= np.linalg.norm(down, axis=1, keepdims=True) + 1e-12
        turn = 1.1 * wander(position)
        down = np.column_stack(
            [
                down[:, 0] * np.cos(turn) - down[:, 1] * np.sin(turn),
                down[:, 0] * np.sin(turn) + down[:, 1] * np.cos(turn),
            ]
        )
        direction = 0.6 * direction + 0.4 * down
        wet |= height.at(position) < level
        position = np.where(wet[:, None], position, position + step * direction)
        tracks.append(position)
        if wet.all():
            break
    paths = np.stack(tracks, axis=1)
    rivers = []
    for path in paths[wet]:  # the others circle in a basin without an outlet
        moved = np.concatenate([[True], np.abs(np.diff(path, axis=0)).sum(axis=1) > 1e-9])
        if moved.sum() > 3:
            rivers.append(shapely.LineString(path[moved]))
    # A country without any river to the sea keeps the first track, so that distances are defined.
    return rivers or [shapely.LineString(paths[0][:10])]
