"""Clusters of cells by their embedding: k-means on unit vectors, the same every time."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64, Int64, UInt64
from scipy.optimize import linear_sum_assignment

from mobclip import grid
from mobclip.embeddings import Embeddings
from mobclip.errors import ConfigError

MOST = 20
SAMPLE = 20_000  # cells on which the starts are tried; then all cells have their say
STARTS = 4
ROUNDS = 30  # of assigning cells and moving centres
AT_ONCE = 65_536  # rows


@dataclass(frozen=True, kw_only=True)
class Clusters:
    """Which cluster each cell is in; the largest cluster is number 0."""

    labels: Int64[np.ndarray, "cells"]  # in the order of the embeddings
    centres: Float32[np.ndarray, "clusters dims"]  # means of unit vectors
    central: Int64[np.ndarray, " clusters"]  # row of the cell nearest to each centre

    @property
    def sizes(self) -> Int64[np.ndarray, " clusters"]:
        """Number of cells of each."""
        return np.bincount(self.labels, minlength=len(self.centres))


def cluster(embeddings: Embeddings, count: int, *, seed: int = 0) -> Clusters:
    """`count` clusters of cells whose embeddings point the same way.

    Fewer where the cells have fewer different vectors. Of several starts (k-means++, Arthur and
    Vassilvitskii 2007) the one with the least spread inside its clusters is kept.
    """
    if not 2 <= count <= MOST:
        raise ConfigError(f"{count} clusters: 2 to {MOST} can be told apart on a map.")
    unit = embeddings.unit()
    rng = np.random.default_rng(seed)
    sample = unit
    if len(unit) > SAMPLE:
        sample = unit[np.sort(rng.choice(len(unit), size=SAMPLE, replace=False))]
    tried = [_moved(sample, _first(sample, count, rng)) for _ in range(STARTS)]
    best = min(tried, key=lambda centres: float(_nearest(sample, centres)[1].sum()))
    centres = _moved(unit, best)
    labels, _ = _nearest(unit, centres)
    sizes = np.bincount(labels, minlength=len(centres))
    order = np.lexsort((np.arange(len(centres)), -sizes))[: (sizes > 0).sum()]
    place = np.full(len(centres), -1)
    place[order] = np.arange(len(order))
    labels, centres = place[labels], centres[order]
    return Clusters(labels=labels, centres=centres, central=_central(unit, labels, centres))


def most_central(
    unit: Float32[np.ndarray, "cells dims"], rows: Int64[np.ndarray, " n"], k: int
) -> Int64[np.ndarray, " k"]:
    """The `k` of these rows that are nearest to their mean, the nearest first."""
    mean = unit[rows].mean(axis=0)
    return rows[np.argsort(-(unit[rows] @ mean), kind="stable")[:k]]


def touching(
    cells: UInt64[np.ndarray, "cells"], labels: Int64[np.ndarray, "cells"], count: int
) -> Float64[np.ndarray, "clusters clusters"]:
    """How many pairs of neighbouring cells belong to each pair of clusters; -1 is in none."""
    near = grid.adjacency(cells).tocoo()
    one, other = labels[near.row], labels[near.col]
    known = (one >= 0) & (other >= 0) & (one != other)
    pairs = np.bincount(one[known] * count + other[known], minlength=count * count)
    return pairs.reshape(count, count).astype(np.float64)


def spread(
    touching: Float64[np.ndarray, "n n"], apart: Float64[np.ndarray, "n n"]
) -> Int64[np.ndarray, " n"]:
    """Which colour each cluster gets, so that clusters that touch have unlike ones.

    apart : how far each colour is from each other one

    Swaps two colours as long as that helps; alike neighbours cost the more, the more alike they
    are and the longer their border.
    """
    n = len(touching)
    border = np.sqrt(touching + touching.T)
    cost = 1 / (apart + np.eye(n)) ** 2
    np.fill_diagonal(cost, 0)
    given = np.arange(n)
    best = float((border * cost).sum())
    better = True
    while better:
        better = False
        for i in range(n):
            for j in range(i + 1, n):
                swapped = given.copy()
                swapped[[i, j]] = swapped[[j, i]]
                now = float((border * cost[np.ix_(swapped, swapped)]).sum())
                if now < best - 1e-9 * (1 + best):
                    given, best, better = swapped, now, True
    return given


def matched(
    labels: Int64[np.ndarray, "cells"], other: Int64[np.ndarray, "cells"], count: int, most: int
) -> Int64[np.ndarray, " most"]:
    """For each cluster of `other` the cluster of `labels` with which it is paired; -1: with none.

    Pairs have together as many cells in common as can be. A label of -1 is in no cluster.

    count, most : how many clusters there are, in the one and in the other
    """
    known = (labels >= 0) & (other >= 0)
    shared = np.bincount(other[known] * count + labels[known], minlength=most * count)
    rows, columns = linear_sum_assignment(-shared.reshape(most, count))
    pairs = np.full(most, -1)
    pairs[rows] = columns
    return pairs


def _first(
    unit: Float32[np.ndarray, "n dims"], count: int, rng: np.random.Generator
) -> Float32[np.ndarray, "k dims"]:
    """k-means++: each further centre is a cell, the likelier the farther it is from the others."""
    chosen = [int(rng.integers(len(unit)))]
    away = np.full(len(unit), np.inf)
    while len(chosen) < count:
        last = unit[chosen[-1]]
        away = np.minimum(away, ((unit - last) ** 2).sum(axis=1, dtype=np.float64))
        total = away.sum()
        if total <= 1e-9:
            break  # every cell stands on a centre
        at = np.searchsorted(np.cumsum(away), rng.random() * total, side="right")
        chosen.append(min(int(at), len(unit) - 1))
    return unit[chosen]


def _moved(
    unit: Float32[np.ndarray, "n dims"], centres: Float32[np.ndarray, "k dims"]
) -> Float32[np.ndarray, "k dims"]:
    """Centres after Lloyd's rounds; one that loses all its cells stays where it is."""
    labels = np.full(len(unit), -1)
    for _ in range(ROUNDS):
        now, _ = _nearest(unit, centres)
        if np.array_equal(now, labels):
            break
        labels = now
        member = np.zeros((len(centres), len(unit)), np.float32)
        member[labels, np.arange(len(unit))] = 1
        sizes = member.sum(axis=1)
        centres = np.where(
            sizes[:, None] > 0, (member @ unit) / np.maximum(sizes, 1)[:, None], centres
        ).astype(np.float32)
    return centres


def _nearest(
    unit: Float32[np.ndarray, "n dims"], centres: Float32[np.ndarray, "k dims"]
) -> tuple[Int64[np.ndarray, " n"], Float32[np.ndarray, " n"]]:
    """Nearest centre of each row, and the squared distance to it."""
    half = (centres**2).sum(axis=1) / 2
    labels = np.empty(len(unit), np.int64)
    squared = np.empty(len(unit), np.float32)
    for start in range(0, len(unit), AT_ONCE):
        part = unit[start : start + AT_ONCE]
        near = part @ centres.T - half
        best = near.argmax(axis=1)
        labels[start : start + len(part)] = best
        length = (part**2).sum(axis=1)
        squared[start : start + len(part)] = length - 2 * near[np.arange(len(part)), best]
    return labels, squared


def _central(
    unit: np.ndarray, labels: np.ndarray, centres: np.ndarray
) -> Int64[np.ndarray, " clusters"]:
    found = [most_central(unit, np.flatnonzero(labels == one), 1)[0] for one in range(len(centres))]
    return np.array(found, np.int64)
