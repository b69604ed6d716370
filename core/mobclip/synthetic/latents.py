"""What every cell truly is: the planted latents that modalities show and targets depend on."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int64
from scipy.spatial import cKDTree

from mobclip.synthetic.fields import sigmoid, smooth_field, standardised
from mobclip.synthetic.settlements import Settlements
from mobclip.synthetic.world import World

FUNCTIONS = ("centre", "industry", "logistics", "port", "tourism", "campus", "mining")
LAND_COVER = ("built", "forest", "farmland", "bare", "grass")
TIES = ("ties_1", "ties_2", "ties_3", "ties_4")

# Which modality shows which latent. A target that needs a latent of one column only cannot be
# reached without that modality. `urban` shows in all four.
SHOWN_IN: dict[str, tuple[str, ...]] = {
    "urban": ("poi", "imagery", "demographics", "mobility"),
    "elevation": ("imagery",),
    "forest": ("imagery",),
    "farmland": ("imagery",),
    "bare": ("imagery",),
    "grass": ("imagery",),
    "built": ("imagery",),
    "centre": ("poi", "mobility"),
    "industry": ("poi", "imagery", "mobility", "demographics"),
    "logistics": ("poi", "mobility"),
    "port": ("poi", "mobility"),
    "tourism": ("poi", "mobility"),
    "campus": ("poi", "mobility"),
    "mining": ("poi", "imagery", "demographics", "mobility"),
    "affluence": ("demographics", "poi"),
    "retail_mix": ("poi",),
    "nightlife": ("poi",),
    "ageing": ("demographics",),
    "household": ("demographics",),
    "commute": ("mobility",),
    "ties_1": ("mobility",),
    "ties_2": ("mobility",),
    "ties_3": ("mobility",),
    "ties_4": ("mobility",),
}


@dataclass(frozen=True, kw_only=True)
class Latents:
    """One value of each latent per cell (units: see the package docstring)."""

    values: dict[str, Float[np.ndarray, " cells"]]
    population: Float[np.ndarray, " cells"]
    twins: Int64[np.ndarray, "pairs 2"]  # rows of far-apart cells with the same latents

    def __getitem__(self, name: str) -> Float[np.ndarray, " cells"]:
        return self.values[name]

    def z(self, name: str) -> Float[np.ndarray, " cells"]:
        """The latent with mean 0 and variance 1 over the country's cells."""
        return standardised(self.values[name])


def make_latents(rng: np.random.Generator, world: World, towns: Settlements) -> Latents:
    """Draw the latents, then make the twins."""
    xy, h, scale = world.xy, world.spacing_km, world.scale_km
    n = len(xy)

    def mixed(long: float, short: float, rough: float) -> Float[np.ndarray, " cells"]:
        """Field of two length scales and cell-by-cell roughness, variance 1."""
        smooth = long * smooth_field(rng, length_km=0.16 * scale)(xy)
        local = short * smooth_field(rng, length_km=3.0 * h, features=64)(xy)
        return standardised(smooth + local + rough * rng.normal(size=n))

    density = towns.population / world.area_km2
    values: dict[str, np.ndarray] = {"urban": np.log1p(density)}
    urban = standardised(values["urban"])
    for name in FUNCTIONS:
        values[name] = _function(rng, world, towns, name, urban)
    core = np.exp(-towns.city_km / towns.radius_km[towns.city_of_cell])
    values["affluence"] = standardised(mixed(0.7, 0.7, 0.4) + 0.5 * values["campus"] + 0.3 * core)
    values["retail_mix"] = mixed(0.5, 0.7, 0.5)
    values["nightlife"] = mixed(0.4, 0.7, 0.6)
    values["ageing"] = mixed(0.7, 0.8, 0.2)
    values["household"] = mixed(0.7, 0.8, 0.2)
    # Commuter belts: at some distance from larger cities, some towns and not others.
    ring = towns.city_km / (3.0 * towns.radius_km[towns.city_of_cell])
    belt = 2 * ring * np.exp(1 - ring)
    values["commute"] = standardised(mixed(0.3, 0.9, 0.4) + 0.35 * standardised(belt))
    raw = np.column_stack([mixed(0.75, 0.6, 0.15) for _ in TIES])
    raw /= np.linalg.norm(raw, axis=1, keepdims=True)
    values.update({name: raw[:, i] for i, name in enumerate(TIES)})

    values["elevation"] = world.elevation_m
    cover = _land_cover(rng, world, towns, density, values)
    values.update({name: cover[:, i] for i, name in enumerate(LAND_COVER)})

    population = towns.population.copy()
    twins = _twins(rng, world, values)
    for array in (*values.values(), population):
        array[twins[:, 1]] = array[twins[:, 0]]
    # The areas of two cells differ by a few per cent; the twin keeps the density.
    population[twins[:, 1]] = np.round(
        np.expm1(values["urban"][twins[:, 1]]) * world.area_km2[twins[:, 1]]
    )
    return Latents(values=values, population=population, twins=twins)


def _function(
    rng: np.random.Generator,
    world: World,
    towns: Settlements,
    name: str,
    urban: Float[np.ndarray, " cells"],
) -> Float[np.ndarray, " cells"]:
    """Strength of one function, 0 to 1: around the cities known for it, in patches."""
    xy, h = world.xy, world.spacing_km
    base = {"port": 0.10, "tourism": 0.15, "mining": 0.02, "campus": 0.12, "logistics": 0.25}
    strength = np.zeros(len(xy))
    by_city = np.exp(-towns.city_km / (1.1 * towns.radius_km[towns.city_of_cell] + 0.5 * h))
    known = np.array([_known_for(role, name, base.get(name, 0.35)) for role in towns.role])
    strength += 3.0 * known[towns.city_of_cell] * by_city
    patch = np.exp(0.9 * rng.normal(size=len(xy)) - 0.4)
    quay = np.exp(-world.coast_km / (0.7 * h))
    if name == "centre":
        strength = 1.3 * np.exp(
            -towns.city_km / (0.55 * towns.radius_km[towns.city_of_cell])
        ) + 0.35 * np.clip(urban, 0, None)
    elif name == "industry":
        # Works stand on the edge of a city rather than in its middle, and in some valleys.
        ring = towns.city_km / towns.radius_km[towns.city_of_cell]
        valley = np.clip(smooth_field(rng, length_km=4 * h)(xy) - 1.1, 0, None)
        strength = strength * (0.4 + ring) + 1.2 * valley * np.exp(-towns.road_km / (2 * h))
    elif name == "logistics":
        to_junction = cKDTree(towns.junctions).query(xy)[0]
        strength += 2.2 * np.exp(-to_junction / (1.4 * h)) * np.exp(-towns.road_km / h)
        depots = rng.random(len(xy)) < 0.02
        strength += 2.5 * depots * np.exp(-towns.road_km / h)
    elif name == "port":
        strength *= 1.6 * quay
    elif name == "tourism":
        sunny = np.clip(smooth_field(rng, length_km=0.14 * world.scale_km)(xy) + 0.2, 0, None)
        strength = strength * quay + 1.5 * sunny * quay
    elif name == "mining":
        ore = np.clip(smooth_field(rng, length_km=3.5 * h)(xy) - 1.3, 0, None)
        strength += 3.0 * ore * sigmoid((world.elevation_m - 350) / 120)
    return 1 - np.exp(-strength * patch)


def _known_for(role: str, name: str, base: float) -> float:
    if role == name:
        return 1.0
    if role == "capital":
        return 0.55 if name not in ("mining", "tourism") else 0.0
    return base if name != "mining" else 0.0


def _land_cover(
    rng: np.random.Generator,
    world: World,
    towns: Settlements,
    density: Float[np.ndarray, " cells"],
    values: dict[str, np.ndarray],
) -> Float[np.ndarray, "cells cover"]:
    """Shares of built, forest, farmland, bare and grass land; they sum to 1."""
    xy, h, scale = world.xy, world.spacing_km, world.scale_km
    moisture = smooth_field(rng, length_km=0.14 * scale)(xy)
    woods = smooth_field(rng, length_km=3.5 * h, features=64)(xy)
    high = world.elevation_m / 1000
    built = 0.85 * (1 - np.exp(-((density / 1500) ** 0.8)))
    built = np.clip(built + 0.12 * values["industry"] + 0.08 * values["port"], 0.002, 0.95)
    rough = 0.45 * rng.normal(size=(len(xy), 4))
    scores = np.column_stack(
        [
            0.6 * moisture + 1.1 * woods + 1.6 * high * np.exp(1 - high) - 1.0 + rough[:, 0],
            1.0 - 1.7 * high + 0.5 * moisture - 0.3 * woods + 0.25 * values["urban"] + rough[:, 1],
            -2.3 + 1.9 * high - 0.6 * moisture + 3.2 * values["mining"] + rough[:, 2],
            0.1 - 0.5 * moisture + 0.3 * high + rough[:, 3],
        ]
    )
    rest = np.exp(1.2 * scores)
    rest *= (1 - built)[:, None] / rest.sum(axis=1, keepdims=True)
    return np.column_stack([built, rest])


def _twins(
    rng: np.random.Generator, world: World, values: dict[str, np.ndarray]
) -> Int64[np.ndarray, "pairs 2"]:
    """Pairs to be made equal: for a cell of character, the most similar of cells far away."""
    n = len(world.xy)
    wanted = int(np.clip(n // 200, 4, 200))
    table = np.column_stack([standardised(value) for value in values.values()])
    interest = sum(values[name] for name in FUNCTIONS) + 0.1 * rng.random(n)
    first = np.argsort(-interest, kind="stable")[: 8 * wanted]
    first = rng.permutation(first)
    used = np.zeros(n, bool)
    pairs: list[tuple[int, int]] = []
    pool = rng.permutation(n)[:4000]
    for a in first.tolist():
        if len(pairs) == wanted:
            break
        if used[a]:
            continue
        far = np.linalg.norm(world.xy[pool] - world.xy[a], axis=1) > 0.35 * world.scale_km
        choice = pool[far & ~used[pool]]
        if len(choice) == 0:
            continue
        b = int(choice[((table[choice] - table[a]) ** 2).sum(axis=1).argmin()])
        pairs.append((a, b))
        used[[a, b]] = True
    return np.array(pairs, np.int64).reshape(-1, 2)
