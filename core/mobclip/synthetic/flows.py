"""Trips between cells: a gravity model with functions and ties, sampled by purpose."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from jaxtyping import Float

from mobclip import grid
from mobclip.synthetic.latents import FUNCTIONS, TIES, Latents
from mobclip.synthetic.world import World

TRIPS_PER_CELL = 90.0  # mean over the country
NEAR_RINGS = 4  # every cell within this many steps is a possible destination
FAR_CHOICES = (6, 500)  # fewest and most destinations farther off that an origin weighs
TIE_STRENGTH = 2.6  # log-odds between equal and unrelated ties


@dataclass(frozen=True, kw_only=True)
class Purpose:
    """One reason to travel."""

    name: str
    share: float  # of all trips
    origins: Float[np.ndarray, " cells"]
    attraction: Float[np.ndarray, " cells"]
    reach_km: Float[np.ndarray, " cells"]  # by origin
    decay: float  # weight of a destination at distance d: (1 + d / reach) ** -decay
    like: Float[np.ndarray, "cells features"] | None  # affinity: exp(like_i . like_j)


def purposes(world: World, latents: Latents) -> tuple[Purpose, ...]:
    """The five purposes; only `work` (asymmetric) knows `commute`, only `kin` knows the ties."""
    people = (latents.population + 5) ** 0.75
    commute = latents.z("commute")
    h = world.spacing_km
    one = np.ones(len(people))
    jobs = people * np.exp(
        1.3 * latents["centre"]
        + 1.4 * latents["industry"]
        + 0.9 * latents["logistics"]
        + 0.9 * latents["campus"]
        + 0.7 * latents["port"]
    )
    freight = 0.02 + 3 * latents["logistics"] + 2 * latents["port"] + latents["industry"]
    freight *= (latents.population + 50) ** 0.35
    ties = np.sqrt(TIE_STRENGTH) * np.column_stack([latents[name] for name in TIES])
    functions = np.sqrt(1.6) * np.column_stack(
        [latents[name] for name in FUNCTIONS if name != "centre"]
    )
    visits = people**0.7 * np.exp(2.6 * latents["tourism"] + 0.9 * latents["centre"])
    study = people**0.5 * np.exp(3.2 * latents["campus"])
    return (
        Purpose(
            name="work",
            share=0.40,
            origins=people * np.exp(0.55 * commute),
            attraction=jobs,
            reach_km=1.6 * h * np.exp(0.45 * commute),
            decay=3.0,
            like=None,
        ),
        Purpose(
            name="kin",
            share=0.30,
            origins=people,
            attraction=people,
            reach_km=3.0 * h * one,
            decay=1.6,
            like=np.column_stack([ties, functions]),
        ),
        Purpose(
            name="leisure",
            share=0.14,
            origins=people,
            attraction=visits,
            reach_km=6.0 * h * one,
            decay=1.7,
            like=None,
        ),
        Purpose(
            name="study",
            share=0.06,
            origins=people,
            attraction=study,
            reach_km=4.0 * h * one,
            decay=1.8,
            like=None,
        ),
        Purpose(
            name="freight",
            share=0.10,
            origins=freight,
            attraction=freight,
            reach_km=40 * h * one,
            decay=1.0,
            like=None,
        ),
    )


def make_flows(rng: np.random.Generator, world: World, latents: Latents) -> pa.Table:
    """Columns origin, destination (H3 strings) and trips; each directed pair once, sorted.

    For each purpose an origin weighs all cells near it and, in proportion to its trips, some
    others, drawn in proportion to their attraction and weighted back (McFadden's sampling of
    alternatives); counts are Poisson with gamma-distributed means.
    """
    n = len(world.cells)
    keys, counts = [], []
    block = 40_000  # origins at a time, so that a million cells fit in memory
    for purpose in purposes(world, latents):
        trips = purpose.origins / purpose.origins.sum() * purpose.share * TRIPS_PER_CELL * n
        cumulative = np.cumsum(purpose.attraction)
        for start in range(0, n, block):
            rows = np.arange(start, min(start + block, n))
            index, neighbour = grid.disk(world.cells[rows], NEAR_RINGS)
            near, known = grid.locate(world.cells, neighbour)
            near_i, near_j = rows[index[known]], near[known]
            choices = np.clip(np.round(trips[rows]), *FAR_CHOICES).astype(np.int64)
            far_i = np.repeat(rows, choices)
            far_j = np.searchsorted(cumulative, rng.random(len(far_i)) * cumulative[-1])
            origin = np.concatenate([near_i, far_i])
            destination = np.concatenate([near_j, np.minimum(far_j, n - 1)])
            away = world.xy[origin] - world.xy[destination]
            km = np.hypot(away[:, 0], away[:, 1])
            weight = (1 + km / purpose.reach_km[origin]) ** -purpose.decay
            split = len(near_i)
            weight[:split] *= purpose.attraction[near_j]
            weight[split:] *= cumulative[-1] / np.repeat(choices, choices)
            # The near ones are all there already.
            weight[split:] *= km[split:] > (NEAR_RINGS + 0.5) * world.spacing_km
            if purpose.like is not None:
                affinity = np.zeros(len(origin))
                for feature in purpose.like.T:
                    affinity += feature[origin] * feature[destination]
                weight *= np.exp(affinity)
            total = np.bincount(origin, weight, n)
            mean = trips[origin] * weight / total[origin]
            drawn = rng.poisson(mean * rng.gamma(2.0, 0.5, len(mean)))
            some = drawn > 0
            keys.append(origin[some] * np.int64(n) + destination[some])
            counts.append(drawn[some])
    key = np.concatenate(keys)
    order = np.argsort(key, kind="stable")
    key, count = key[order], np.concatenate(counts)[order]
    first = np.flatnonzero(np.concatenate([[True], key[1:] != key[:-1]]))
    name = pa.array(grid.to_strings(world.cells))
    return pa.table(
        {
            "origin": name.take(pa.array(key[first] // n)),
            "destination": name.take(pa.array(key[first] % n)),
            "trips": np.add.reduceat(count, first),
        }
    )
