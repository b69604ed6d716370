"""Districts and city regions that tile the land, and the people counted in them."""

from dataclasses import dataclass

import geopandas as gpd
import numpy as np
import shapely
from jaxtyping import Bool, Float, Int64
from scipy.spatial import cKDTree

from mobclip.synthetic.fields import smooth_field
from mobclip.synthetic.latents import Latents
from mobclip.synthetic.settlements import Settlements
from mobclip.synthetic.world import World

WITHHELD = 0.06  # share of districts that publish no counts
CONCENTRATION = 400.0  # of the Dirichlet: how well a district follows its expectation


@dataclass(frozen=True, kw_only=True)
class Variable:
    """One census question: the bins are a partition of the people."""

    name: str
    bins: tuple[str, ...]
    base: tuple[float, ...]  # shares where all latents are at their mean
    tilt: dict[str, float]  # latent -> change of the log-share from the first bin to the last


VARIABLES: tuple[Variable, ...] = (
    Variable(
        name="age",
        bins=("0_4", "5_9", "10_14", "15_19", "20_29", "30_39", "40_54", "55_up"),
        base=(0.06, 0.06, 0.07, 0.07, 0.15, 0.15, 0.20, 0.24),
        tilt={"ageing": 1.1, "urban": -0.2},
    ),
    Variable(
        name="household",
        bins=("1", "2", "3", "4", "5_up"),
        base=(0.16, 0.26, 0.22, 0.21, 0.15),
        tilt={"household": 1.3, "urban": -0.3},
    ),
    Variable(
        name="occupation",
        bins=(
            "farming",
            "mining",
            "manufacturing",
            "building",
            "transport",
            "trade",
            "care",
            "office",
            "professional",
        ),
        base=(0.14, 0.01, 0.16, 0.09, 0.08, 0.17, 0.12, 0.13, 0.10),
        tilt={"affluence": 0.8, "urban": 0.7},
    ),
    Variable(
        name="income",
        bins=("q1", "q2", "q3", "q4", "q5", "top"),
        base=(0.20, 0.20, 0.20, 0.20, 0.15, 0.05),
        tilt={"affluence": 1.5},
    ),
    Variable(
        name="tenure",
        bins=("owned", "mortgaged", "rented", "social"),
        base=(0.40, 0.24, 0.26, 0.10),
        tilt={"urban": 0.8, "affluence": -0.5},
    ),
    Variable(
        name="vehicles",
        bins=("0", "1", "2", "3_up"),
        base=(0.28, 0.40, 0.24, 0.08),
        tilt={"affluence": 0.5, "urban": -0.7, "household": 0.3},
    ),
    Variable(
        name="dwelling",
        bins=("house", "terrace", "flat", "tower"),
        base=(0.48, 0.22, 0.22, 0.08),
        tilt={"urban": 1.3},
    ),
)
# Occupations that follow a function of the place rather than the order of the bins.
TRADES = {"mining": ("mining", 3.0), "manufacturing": ("industry", 1.2)}


def bin_columns() -> dict[str, list[str]]:
    """Variable -> its columns in districts.parquet."""
    return {v.name: [f"{v.name}_{b}" for b in v.bins] for v in VARIABLES}


@dataclass(frozen=True, kw_only=True)
class Districts:
    """Polygons in km and the membership of cells."""

    ids: list[str]
    names: list[str]
    geometry: np.ndarray  # of shapely geometries, km
    of_cell: Int64[np.ndarray, " cells"]
    city_ids: list[str]
    city_names: list[str]
    city_geometry: np.ndarray  # of shapely geometries, km
    city_of_district: Int64[np.ndarray, " districts"]
    withheld: Bool[np.ndarray, " districts"]

    @property
    def city_of_cell(self) -> Int64[np.ndarray, " cells"]:
        """City region of each cell."""
        return self.city_of_district[self.of_cell]


def district_count(cells: int) -> int:
    """One district for 133 cells (150 at the default size), 3,000 at most.

    32 at least, so that five folds of districts can be made; fewer where a district would have
    less than 4 cells.
    """
    return int(np.clip(cells / 133, min(32, cells // 4), 3000))


def make_districts(rng: np.random.Generator, world: World, towns: Settlements) -> Districts:
    """Voronoi regions of seeds on a warped plane, clipped to the coast.

    Each city is the seed of one district, its own; the other seeds follow the people. The other
    districts belong to a city by distance and size, so that no city is without a region.
    """
    warp = _Warp(rng, world)
    flat = warp.inverse(world.xy)
    weight = (towns.population + 50) ** 0.5
    wanted = district_count(len(flat))
    free = weight.copy()
    free[towns.cell] = 0
    seeds = flat[
        np.concatenate(
            [
                towns.cell,
                rng.choice(len(flat), wanted - len(towns.cell), replace=False, p=free / free.sum()),
            ]
        )
    ]
    for _ in range(3):  # Lloyd: evens out the sizes; the cities stay where they are
        nearest = cKDTree(seeds).query(flat)[1]
        mass = np.bincount(nearest, weight, wanted)
        moved = np.column_stack(
            [np.bincount(nearest, weight * flat[:, axis], wanted) for axis in (0, 1)]
        )
        mass[: len(towns.cell)] = 0
        seeds = np.where(mass[:, None] > 0, moved / np.maximum(mass, 1e-9)[:, None], seeds)

    frame = shapely.box(*(np.concatenate([flat.min(axis=0), flat.max(axis=0)])))
    cells = shapely.get_parts(
        shapely.voronoi_polygons(
            shapely.MultiPoint(seeds), extend_to=frame.buffer(20 * world.spacing_km)
        )
    )
    curved = shapely.transform(shapely.segmentize(cells, world.spacing_km / 2), warp)
    shapely.prepare(world.land)
    parts = shapely.intersection(curved, world.land)
    # Clipping may leave points and lines where a border touches the coast.
    parts = np.array([_polygonal(part) for part in parts], object)
    parts = parts[~shapely.is_empty(parts)]

    of_cell = _locate(parts, world.xy)
    used, of_cell = np.unique(of_cell, return_inverse=True)
    parts, of_cell = _absorb(parts, used, of_cell)

    centroid = shapely.get_coordinates(shapely.centroid(parts))
    nearest_city = _city_of(centroid, towns)
    # From the smallest city to the largest, which keeps a district that two would share.
    nearest_city[of_cell[towns.cell[::-1]]] = np.arange(len(towns.cell))[::-1]
    kept, city_of_district = np.unique(nearest_city, return_inverse=True)
    regions = np.array(
        [
            shapely.union_all(parts[city_of_district == city], grid_size=1e-6)
            for city in range(len(kept))
        ],
        object,
    )
    n = len(parts)
    withheld = np.zeros(n, bool)
    withheld[rng.choice(n, max(1, round(WITHHELD * n)), replace=False)] = True
    compass = ("North", "East", "South", "West", "Upper", "Lower", "Outer", "Inner")
    names = [
        f"{towns.names[kept[city]]} {compass[i % 8]} {i // 8 + 1}"
        for i, city in enumerate(city_of_district)
    ]
    return Districts(
        ids=[f"D{i:04d}" for i in range(n)],
        names=names,
        geometry=parts,
        of_cell=of_cell,
        city_ids=[f"C{i:03d}" for i in range(len(kept))],
        city_names=[towns.names[i] for i in kept],
        city_geometry=regions,
        city_of_district=city_of_district,
        withheld=withheld,
    )


class _Warp:
    """A smooth shift of the plane that bends straight borders."""

    def __init__(self, rng: np.random.Generator, world: World) -> None:
        length = 4.0 * world.spacing_km
        self._fields = [smooth_field(rng, length_km=length, features=48) for _ in (0, 1)]
        self._size = 0.22 * length  # small enough that the plane does not fold

    def __call__(self, xy: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "n 2"]:
        shift = [np.clip(field(xy), -2.5, 2.5) for field in self._fields]
        return np.asarray(xy + self._size * np.column_stack(shift))

    def inverse(self, xy: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "n 2"]:
        """Approximate: seeds and weights only need the neighbourhood."""
        flat = xy.copy()
        for _ in range(4):
            flat = flat - 0.7 * (self(flat) - xy)
        return flat


def _polygonal(geometry: shapely.Geometry) -> shapely.Geometry:
    if geometry.geom_type in ("Polygon", "MultiPolygon"):
        return geometry
    return shapely.MultiPolygon(
        [
            part
            for part in shapely.get_parts(geometry, return_index=False)
            if part.geom_type == "Polygon"
        ]
    )


def _locate(polygons: np.ndarray, xy: Float[np.ndarray, "n 2"]) -> Int64[np.ndarray, " n"]:
    """Polygon that holds each point; the nearest for points on a border."""
    tree = shapely.STRtree(polygons)
    points = shapely.points(xy)
    where = np.full(len(xy), -1)
    point, polygon = tree.query(points, predicate="intersects")
    where[point[::-1]] = polygon[::-1]
    lost = where < 0
    if lost.any():
        where[lost] = tree.nearest(points[lost])
    return where


def _absorb(
    parts: np.ndarray, used: Int64[np.ndarray, " used"], of_cell: Int64[np.ndarray, " cells"]
) -> tuple[np.ndarray, Int64[np.ndarray, " cells"]]:
    """Polygons without any cell centre join the nearest that has one."""
    kept = parts[used]
    lost = np.setdiff1d(np.arange(len(parts)), used)
    if len(lost):
        home = shapely.STRtree(kept).nearest(parts[lost])
        kept = kept.copy()
        for geometry, into in zip(parts[lost], home, strict=True):
            kept[into] = shapely.union(kept[into], geometry)
    return kept, of_cell


def _city_of(xy: Float[np.ndarray, "n 2"], towns: Settlements) -> Int64[np.ndarray, " n"]:
    size = towns.people / towns.people[0]
    distance = np.linalg.norm(xy[:, None] - towns.xy[None], axis=2)
    return np.asarray((distance / (0.5 + size[None] ** 0.3)).argmin(axis=1))


def make_census(
    rng: np.random.Generator, world: World, latents: Latents, districts: Districts
) -> gpd.GeoDataFrame:
    """Columns id, name, population and one count per bin; counts are null where withheld.

    Within a cell the shares of a variable are softmax(log base + tilts); a district's are their
    mean weighted by people, scattered by a Dirichlet, and its counts are multinomial.
    """
    n = len(districts.ids)
    people = np.bincount(districts.of_cell, latents.population, n)
    people_of_cell = latents.population + 1e-3
    columns: dict[str, object] = {
        "id": districts.ids,
        "name": districts.names,
        "population": np.where(districts.withheld, np.nan, people),
    }
    for variable in VARIABLES:
        shares = expected_shares(variable, latents)
        of_cells = people_of_cell[:, None] * shares
        of_district = np.zeros((n, len(variable.bins)))
        np.add.at(of_district, districts.of_cell, of_cells)
        of_district /= of_district.sum(axis=1, keepdims=True)
        draw = np.asarray(rng.gamma(CONCENTRATION * of_district), np.float64)
        counts = rng.multinomial(people.astype(np.int64), draw / draw.sum(axis=1, keepdims=True))
        for column, values in zip(bin_columns()[variable.name], counts.T, strict=True):
            columns[column] = np.where(districts.withheld, np.nan, values)
    return gpd.GeoDataFrame(columns, geometry=world.to_lonlat(districts.geometry), crs="EPSG:4326")


def expected_shares(variable: Variable, latents: Latents) -> Float[np.ndarray, "cells bins"]:
    """Expected shares of the bins in each cell."""
    position = np.linspace(-0.5, 0.5, len(variable.bins))
    score = np.log(np.array(variable.base))[None]
    for name, weight in variable.tilt.items():
        score = score + weight * latents.z(name)[:, None] * position
    if variable.name == "occupation":
        for trade, (function, weight) in TRADES.items():
            score[:, variable.bins.index(trade)] += weight * latents[function]
    shares = np.exp(score - score.max(axis=1, keepdims=True))
    return np.asarray(shares / shares.sum(axis=1, keepdims=True))


def make_cities(world: World, districts: Districts) -> gpd.GeoDataFrame:
    """City regions: columns id, name, geometry."""
    return gpd.GeoDataFrame(
        {"id": districts.city_ids, "name": districts.city_names},
        geometry=world.to_lonlat(districts.city_geometry),
        crs="EPSG:4326",
    )
