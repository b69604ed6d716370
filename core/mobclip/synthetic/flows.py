"""Trips between cells: a doubly constrained gravity model with functions and ties, by purpose."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from jaxtyping import Float
from scipy.sparse import csr_array, vstack

from mobclip import grid
from mobclip.synthetic.latents import FUNCTIONS, TIES, Latents
from mobclip.synthetic.world import World

TRIPS_PER_CELL = 165.0  # mean over the country
NEAR_RINGS = 4  # every cell within this many steps is a possible destination
FAR_CHOICES = (6, 500)  # fewest and most destinations farther off that an origin weighs
TIE_STRENGTH = 2.6  # log-odds between equal and unrelated ties
SHAPE = 2.0  # of the gamma: a pair's count has variance mean + mean² / SHAPE
ROUNDS = 20  # of balancing
BLOCK = 40_000  # origins at a time, so that a million cells fit in memory
TINY = 1e-300  # a cell that no pair reaches keeps its total of nothing


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
    """The five purposes; only `work` (asymmetric) knows `commute`, only `kin` knows the ties.

    Functions complement each other: homes send to jobs, schools and resorts, and what works and
    mines make goes to depots, ports and shops.
    """
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
    room = (latents.population + 50) ** 0.35
    made = 0.02 + 2.5 * latents["industry"] + 2 * latents["mining"]
    made = room * (made + 2 * latents["logistics"] + 1.5 * latents["port"])
    stored = 0.02 + 3 * latents["logistics"] + 2.5 * latents["port"]
    stored = room * (stored + latents["industry"] + 0.6 * latents["centre"])
    ties = np.sqrt(TIE_STRENGTH) * np.column_stack([latents[name] for name in TIES])
    functions = np.sqrt(1.6) * np.column_stack(
        [latents[name] for name in FUNCTIONS if name != "centre"]
    )
    visits = people**0.7 * np.exp(2.6 * latents["tourism"] + 0.9 * latents["centre"])
    lessons = people**0.5 * np.exp(3.2 * latents["campus"])
    return (
        Purpose(
            name="work",
            share=0.38,
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
            share=0.12,
            origins=people,
            attraction=visits,
            reach_km=6.0 * h * one,
            decay=1.7,
            like=None,
        ),
        Purpose(
            name="school",
            share=0.10,
            origins=people,
            attraction=lessons,
            reach_km=4.0 * h * one,
            decay=1.8,
            like=None,
        ),
        Purpose(
            name="freight",
            share=0.10,
            origins=made,
            attraction=stored,
            reach_km=40 * h * one,
            decay=1.0,
            like=None,
        ),
    )


def make_flows(rng: np.random.Generator, world: World, latents: Latents) -> pa.Table:
    """Columns origin, destination (H3 strings) and trips; each directed pair once, sorted.

    Expected trips of a purpose are T_ij = a_i b_j w_ij with row sums O_i and column sums D_j
    (Wilson's doubly constrained model); counts are negative binomial: Poisson with
    gamma-distributed means.
    """
    n = len(world.cells)
    near = _near(world)
    keys, counts = [], []
    for purpose in purposes(world, latents):
        total = purpose.share * TRIPS_PER_CELL * n
        origins = purpose.origins * (total / purpose.origins.sum())
        destinations = purpose.attraction * (total / purpose.attraction.sum())
        weights = _weights(rng, world, purpose, near, origins)
        for start, mean in _in_blocks(balanced(weights, origins, destinations)):
            drawn = rng.poisson(mean.data * rng.gamma(SHAPE, 1 / SHAPE, mean.nnz))
            some = drawn > 0
            row = np.repeat(np.arange(start, start + mean.shape[0]), np.diff(mean.indptr))
            keys.append(row[some] * np.int64(n) + mean.indices[some])
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


def balanced(
    weights: csr_array,
    origins: Float[np.ndarray, " rows"],
    destinations: Float[np.ndarray, " columns"],
) -> csr_array:
    """a_i w_ij b_j with the given column sums and, nearly, the given row sums.

    Rows and columns are scaled in turn until the totals hold (Deming and Stephan 1940, Furness
    1965). Where the pairs that exist do not admit the totals, rows are off by what remains after
    `ROUNDS` rounds; the columns, scaled last, are exact. `origins` and `destinations` must have
    the same sum.
    """
    a, b = np.ones(len(origins)), np.ones(len(destinations))
    turned = weights.T.tocsr()
    for _ in range(ROUNDS):
        a = origins / np.maximum(weights @ b, TINY)
        b = destinations / np.maximum(turned @ a, TINY)
    out = weights.copy()
    out.data *= np.repeat(a, np.diff(out.indptr)) * b[out.indices]
    return out


def _near(world: World) -> list[tuple[np.ndarray, np.ndarray]]:
    """Pairs of cells within `NEAR_RINGS` steps, self included, by block of origins."""
    n = len(world.cells)
    pairs = []
    for start in range(0, n, BLOCK):
        rows = np.arange(start, min(start + BLOCK, n))
        index, neighbour = grid.disk(world.cells[rows], NEAR_RINGS)
        where, known = grid.locate(world.cells, neighbour)
        pairs.append((rows[index[known]].astype(np.int32), where[known].astype(np.int32)))
    return pairs


def _weights(
    rng: np.random.Generator,
    world: World,
    purpose: Purpose,
    near: list[tuple[np.ndarray, np.ndarray]],
    trips: Float[np.ndarray, " cells"],
) -> csr_array:
    """Attraction times decay times affinity, of the pairs that are weighed at all.

    An origin weighs all cells near it and, in proportion to its trips, some others, drawn in
    proportion to their attraction and weighted back (McFadden's sampling of alternatives).
    """
    n = len(trips)
    cumulative = np.cumsum(purpose.attraction)
    blocks = []
    for start, (near_i, near_j) in zip(range(0, n, BLOCK), near, strict=True):
        rows = np.arange(start, min(start + BLOCK, n))
        choices = np.clip(np.round(trips[rows]), *FAR_CHOICES).astype(np.int64)
        far_i = np.repeat(rows, choices)
        far_j = np.searchsorted(cumulative, rng.random(len(far_i)) * cumulative[-1])
        far_j = np.minimum(far_j, n - 1)
        away = world.xy[far_i] - world.xy[far_j]
        # The near ones are all there already.
        far = np.hypot(away[:, 0], away[:, 1]) > (NEAR_RINGS + 0.5) * world.spacing_km
        origin = np.concatenate([near_i, far_i[far]])
        destination = np.concatenate([near_j, far_j[far]])
        weight = np.concatenate(
            [purpose.attraction[near_j], np.repeat(cumulative[-1] / choices, choices)[far]]
        )
        away = world.xy[origin] - world.xy[destination]
        km = np.hypot(away[:, 0], away[:, 1])
        weight *= (1 + km / purpose.reach_km[origin]) ** -purpose.decay
        if purpose.like is not None:
            affinity = np.zeros(len(origin))
            for feature in purpose.like.T:
                affinity += feature[origin] * feature[destination]
            weight *= np.exp(affinity)
        blocks.append(csr_array((weight, (origin - start, destination)), shape=(len(rows), n)))
    return vstack(blocks, format="csr")


def _in_blocks(matrix: csr_array) -> Iterator[tuple[int, csr_array]]:
    """First row and rows of each block, so that counts of a million cells fit in memory."""
    for start in range(0, matrix.shape[0], BLOCK):
        yield start, matrix[start : start + BLOCK]
