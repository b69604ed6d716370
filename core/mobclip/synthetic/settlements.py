"""Cities by the rank-size rule, towns along the roads between them, and the people."""

from dataclasses import dataclass

import numpy as np
import shapely
from jaxtyping import Float, Int64
from scipy.sparse import csr_array
from scipy.sparse.csgraph import minimum_spanning_tree
from scipy.spatial import Delaunay, cKDTree

from mobclip.synthetic.fields import smooth_field
from mobclip.synthetic.names import town_names
from mobclip.synthetic.world import World

PEOPLE_PER_KM2 = 55.0  # mean over the country
CITY_SHARE, TOWN_SHARE = 0.62, 0.2  # the rest live in villages
# What a city is known for, in order of rank; after these the cycle repeats from `SMALL_CITIES`.
ROLES = ("capital", "port", "campus", "logistics", "industry", "tourism", "port", "mining")
SMALL_CITIES = ("campus", "industry", "logistics", "tourism", "mining", "market", "market")


@dataclass(frozen=True, kw_only=True)
class Settlements:
    """Cities in order of rank, roads, and people per cell."""

    names: list[str]
    cell: Int64[np.ndarray, " cities"]  # row of the cell that the city stands on
    xy: Float[np.ndarray, "cities 2"]  # km
    people: Float[np.ndarray, " cities"]
    radius_km: Float[np.ndarray, " cities"]  # Clark's density gradient: exp(-d / radius)
    role: list[str]
    roads: list[shapely.LineString]  # km
    junctions: Float[np.ndarray, "junctions 2"]  # km, where three or more roads meet
    population: Float[np.ndarray, " cells"]
    road_km: Float[np.ndarray, " cells"]
    city_of_cell: Int64[np.ndarray, " cells"]  # the city that a cell looks to
    city_km: Float[np.ndarray, " cells"]  # distance to it


def city_count(cells: int) -> int:
    """One city for 333 cells (60 at the default size), 300 at most.

    24 at least, so that five folds of cities can be made; fewer where a city would have less than
    6 cells.
    """
    return int(np.clip(cells / 333, min(24, cells // 6), 300))


def make_settlements(rng: np.random.Generator, world: World) -> Settlements:
    """Place cities one after another, join them by roads, and let people live around them."""
    xy, h = world.xy, world.spacing_km
    n_cities = city_count(len(xy))
    fertile = smooth_field(rng, length_km=0.12 * world.scale_km)(xy)
    suitable = np.exp(-world.elevation_m / 500) * (
        0.25
        + 0.9 * np.exp(-world.coast_km / (1.5 * h))
        + 0.7 * np.exp(-world.river_km / (1.5 * h))
        + 0.35 * np.clip(fertile, 0, None)
    )
    size = np.arange(1, n_cities + 1) ** -1.02  # Zipf
    cell = _place_cities(rng, world, suitable, size)
    site = xy[cell]
    role = _roles(rng, world, cell, n_cities)
    names = town_names(rng, coastal=world.coast_km[cell] < 2 * h)

    roads, junctions = _roads(rng, world, site)
    road_points = shapely.get_coordinates(shapely.segmentize(np.array(roads, object), h / 3))
    road_km = np.asarray(cKDTree(road_points).query(xy)[0])

    total = PEOPLE_PER_KM2 * float(world.area_km2.sum())
    people = total * CITY_SHARE * size / size.sum()
    radius = h * (0.45 + 1.9 * size**0.45)
    density = np.zeros(len(xy))
    for spot, number, r in zip(site, people, radius, strict=True):
        density += _cluster(xy, spot, number, r)
        if number > 0.02 * total:  # subcentres of the few largest (polycentric)
            for _ in range(3):
                offset = rng.normal(0, 2.2 * r, 2)
                density += _cluster(xy, spot + offset, 0.12 * number, 0.35 * r)
    # Towns: more of them near roads; lognormal sizes.
    n_towns = max(8, len(xy) // 45)
    pull = suitable * (0.15 + np.exp(-road_km / (1.2 * h)))
    towns = rng.choice(len(xy), n_towns, replace=False, p=pull / pull.sum())
    town_people = rng.lognormal(0, 1.0, n_towns)
    town_people *= total * TOWN_SHARE / town_people.sum()
    near, which = cKDTree(xy[towns]).query(xy, k=6)
    share = town_people[which] * np.exp(-near / (0.6 * h))
    density += share.sum(axis=1) * total * TOWN_SHARE / share.sum()
    villages = suitable * rng.lognormal(0, 0.9, len(xy)) * (0.3 + np.exp(-road_km / (3 * h)))
    density += total * (1 - CITY_SHARE - TOWN_SHARE) * villages / villages.sum()
    # Steep and high ground holds few people; the capital cannot fill it either.
    density *= np.exp(-np.clip(world.elevation_m - 600, 0, None) / 350)
    density *= rng.lognormal(0, 0.25, len(xy))
    population = np.round(density * total / density.sum())

    city_of_cell = np.zeros(len(xy), np.int64)
    nearest = np.full(len(xy), np.inf)
    for city, spot in enumerate(site):  # a larger city reaches farther
        reach = np.hypot(xy[:, 0] - spot[0], xy[:, 1] - spot[1]) / (0.5 + size[city] ** 0.3)
        city_of_cell[reach < nearest] = city
        nearest = np.minimum(nearest, reach)
    return Settlements(
        names=names,
        cell=cell,
        xy=site,
        people=people,
        radius_km=radius,
        role=role,
        roads=roads,
        junctions=junctions,
        population=population,
        road_km=road_km,
        city_of_cell=city_of_cell,
        city_km=np.linalg.norm(xy - site[city_of_cell], axis=1),
    )


def _cluster(
    xy: Float[np.ndarray, "n 2"], spot: Float[np.ndarray, "2"], people: float, radius: float
) -> Float[np.ndarray, " n"]:
    """`people` spread by Clark's law over the land around `spot`."""
    weight = np.exp(-np.hypot(xy[:, 0] - spot[0], xy[:, 1] - spot[1]) / radius)
    total = float(weight.sum())
    return people * weight / total if total > 0 else weight


def _place_cities(
    rng: np.random.Generator,
    world: World,
    suitable: Float[np.ndarray, " n"],
    size: Float[np.ndarray, " cities"],
) -> Int64[np.ndarray, " cities"]:
    """The capital near the head of the gulf; each next city apart from the larger ones."""
    xy, scale = world.xy, world.scale_km
    pull = suitable * np.exp(-(((xy - world.gulf) / (0.12 * scale)) ** 2).sum(axis=1))
    pull *= np.exp(-world.coast_km / (2 * world.spacing_km))
    chosen = [int(pull.argmax())]
    free = np.ones(len(xy))
    luck = rng.gumbel(size=(len(size), len(xy))) if len(xy) * len(size) < 4e6 else None
    for rank in range(1, len(size)):
        last = xy[chosen[-1]]
        away = 0.045 * scale + 0.10 * scale * size[rank - 1] ** 0.5
        free *= 1 - np.exp(-(((xy - last) / away) ** 2).sum(axis=1))
        draw = luck[rank] if luck is not None else rng.gumbel(size=len(xy))
        chosen.append(int((2 * np.log(suitable * free + 1e-12) + draw).argmax()))
    return np.array(chosen)


def _roles(
    rng: np.random.Generator, world: World, cell: Int64[np.ndarray, " cities"], n: int
) -> list[str]:
    """Ports and resorts by the sea, mines near the mountains, the rest in turn."""
    wanted = list(ROLES) + [SMALL_CITIES[i % len(SMALL_CITIES)] for i in range(n)]
    wanted = wanted[:n]
    by_sea = world.coast_km[cell] < 2.5 * world.spacing_km
    near_ore = np.argsort(-world.elevation_m[cell], kind="stable")
    role = [""] * n
    role[0] = "capital"
    fit: dict[str, list[int]] = {
        "port": [i for i in range(1, n) if by_sea[i]],
        "tourism": [i for i in range(n - 1, 0, -1) if by_sea[i]],
        "mining": [int(i) for i in near_ore if i > 0],
    }
    for name in wanted[1:]:
        if name in fit:
            free = [i for i in fit[name] if not role[i]]
            if free:
                role[free[0]] = name
    rest = [name for name in wanted[1:] if name not in fit]
    rest = [*rest, *(["market"] * n)]
    for i in range(1, n):
        if not role[i]:
            role[i] = rest.pop(0)
    return role


def _roads(
    rng: np.random.Generator, world: World, site: Float[np.ndarray, "cities 2"]
) -> tuple[list[shapely.LineString], Float[np.ndarray, "junctions 2"]]:
    """Minimum spanning tree of the cities plus short Delaunay edges, bent, kept off the sea."""
    triangles = Delaunay(site).simplices
    edges = np.unique(
        np.sort(np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [0, 2]]])),
        axis=0,
    )
    straight = shapely.linestrings(site[edges])
    shapely.prepare(world.land)
    dry = shapely.length(shapely.intersection(straight, world.land)) / shapely.length(straight)
    cost = shapely.length(straight) * (1 + 6 * (1 - dry))
    n = len(site)
    tree = minimum_spanning_tree(csr_array((cost, (edges[:, 0], edges[:, 1])), shape=(n, n)))
    in_tree = {(int(a), int(b)) for a, b in zip(*tree.nonzero(), strict=True)}
    in_tree |= {(b, a) for a, b in in_tree}
    short = (cost < np.quantile(cost, 0.45)) & (dry > 0.93)
    kept = [i for i, (a, b) in enumerate(edges) if short[i] or ((int(a), int(b)) in in_tree)]
    kept = [i for i in kept if dry[i] > 0.6] or kept  # no bridge over the open sea
    bend_x = smooth_field(rng, length_km=0.05 * world.scale_km)
    bend_y = smooth_field(rng, length_km=0.05 * world.scale_km)
    roads = []
    for i in kept:
        line = np.linspace(site[edges[i, 0]], site[edges[i, 1]], 24)
        slack = np.sin(np.linspace(0, np.pi, 24)) * 0.008 * world.scale_km
        line = line + slack[:, None] * np.column_stack([bend_x(line), bend_y(line)])
        roads.append(shapely.LineString(line))
    degree = np.bincount(edges[kept].ravel(), minlength=n)
    junctions = site[degree >= np.sort(degree)[-max(2, n // 5)]]
    return roads, junctions
