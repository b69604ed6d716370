"""k nearest neighbours: the mean of the k most similar units that may be learned from.

Distances are Euclidean in the features as they are given: their geometry is what is probed. On
coordinates it must not be bent (give unit vectors on the sphere, not degrees), and in an embedding
the long dimensions are meant to count for more.

The mean is plain, not weighted by nearness: how far it reaches is chosen inside the folds anyway,
distances in 128 dimensions hardly differ, and units in one spot would divide by zero.
"""

from itertools import combinations, pairwise

import numpy as np
from jaxtyping import Float64, Int64
from scipy.spatial import cKDTree

from mobclip.place import TargetKind
from mobclip.probes.nested import check, choosers
from mobclip.splits import Folds

NEIGHBOURS = (1, 2, 4, 8, 16, 32, 64)
TREE_DIMS = 8  # a k-d tree is the quicker search up to here; products of blocks above
BLOCK = 512  # queries at a time: their distances to 20,000 units are 80 MB
LEAST = 1e-6  # of a probability, where its logarithm chooses k


def held_out(
    features: Float64[np.ndarray, "n d"],
    actual: Float64[np.ndarray, "n t"],
    folds: Folds,
    *,
    kind: TargetKind = "number",
) -> Float64[np.ndarray, "n t"]:
    """Mean of the nearest units outside of each unit's fold.

    How many is chosen for each outer fold by the inner folds (see `nested`): by least squared
    error, for every column on its own, where the columns are numbers. Otherwise they are the
    probabilities of one target. The mean of all units that are learned from then joins as one
    more neighbour (the m-estimate of Cestnik 1990, ECAI), so that no class is ruled out by a few
    neighbours; and one k, that of least cross entropy, serves all columns.

    Among units at exactly one distance, which are nearest is arbitrary.

    Raises
    ------
    ConfigError : too few folds or units (see `nested`)
    """
    joint = kind != "number"
    check(folds)
    search = _Search(features, folds)
    pairs = list(combinations(range(folds.count), 2))
    ks = [k for k in NEIGHBOURS if k <= min(folds.training(*pair).sum() for pair in pairs)]

    def means(of: int, without: tuple[int, ...]) -> Float64[np.ndarray, "ks m t"]:
        """For each k, what the units of fold `of` are given while folds `without` are held out."""
        nearest = search.nearest(of, without, ks[-1])
        everywhere = actual[folds.training(*without)].mean(0)
        given = np.empty((len(ks), len(nearest), actual.shape[1]))
        total = np.zeros(given.shape[1:])
        for i, (before, k) in enumerate(pairwise([0, *ks])):
            total += actual[nearest[:, before:k]].sum(1)
            given[i] = (total + everywhere) / (k + 1) if joint else total / k
        return given

    errors = np.zeros((folds.count, len(ks), actual.shape[1]))
    for i, j in pairs:
        for outer, inner in ((i, j), (j, i)):
            chooses = choosers(folds, outer=outer, inner=inner)
            truth = actual[chooses]
            given = means(inner, (i, j))[:, chooses[folds.test(inner)]]
            loss = -truth * np.log(np.maximum(given, LEAST)) if joint else (truth - given) ** 2
            errors[outer] += loss.sum(1)
    predicted = np.empty_like(actual)
    for i in range(folds.count):
        error = errors[i].sum(1, keepdims=True) if joint else errors[i]
        best = np.broadcast_to(error.argmin(0), actual.shape[1])
        given = means(i, (i,))
        predicted[folds.test(i)] = given[best, :, np.arange(actual.shape[1])].T
    return predicted


class _Search:
    """The nearest units of each unit, among those that may be learned from.

    Units are put into pools by the folds whose holding out excludes them: their own, and those
    that they are too near to. Every set of learners is a union of pools, so each pool is searched
    once and the lists are merged.
    """

    def __init__(self, features: Float64[np.ndarray, "n d"], folds: Folds) -> None:
        excluded = np.column_stack([~folds.training(i) for i in range(folds.count)])
        self._excluded, pool = np.unique(excluded, axis=0, return_inverse=True)
        found = {}
        for here, without in enumerate(self._excluded):
            rows = np.flatnonzero(pool.ravel() == here)
            for fold in np.flatnonzero(~without):
                squared, nearest = _nearest(features[rows], features[folds.test(int(fold))])
                found[int(fold), here] = squared, rows[nearest]
        self._found = found

    def nearest(self, of: int, held_out: tuple[int, ...], k: int) -> Int64[np.ndarray, "m k"]:
        """Rows of the `k` units nearest to each unit of fold `of`, nearest first."""
        pools = np.flatnonzero(~self._excluded[:, list(held_out)].any(1))
        squared, rows = (
            np.hstack([self._found[of, int(pool)][part] for pool in pools]) for part in (0, 1)
        )
        order = np.argsort(squared, axis=1, kind="stable")[:, :k]
        return np.asarray(np.take_along_axis(rows, order, axis=1))


def _nearest(
    points: Float64[np.ndarray, "n d"], queries: Float64[np.ndarray, "m d"]
) -> tuple[Float64[np.ndarray, "m k"], Int64[np.ndarray, "m k"]]:
    """Distances (any increasing function of them) and rows of the nearest points, in any order."""
    k = min(NEIGHBOURS[-1], len(points))
    if points.shape[1] <= TREE_DIMS:
        distance, rows = cKDTree(points).query(queries, k=range(1, k + 1))
        return np.asarray(distance), np.asarray(rows)
    middle = points.mean(0)  # near the origin, squares lose no digits
    points = points - middle
    lengths = (points**2).sum(1)
    distances, nearest = [], []
    for start in range(0, len(queries), BLOCK):
        block = queries[start : start + BLOCK] - middle
        squared = lengths - 2 * block @ points.T
        rows = np.argpartition(squared, k - 1, axis=1)[:, :k]
        distances.append(
            np.take_along_axis(squared, rows, axis=1) + (block**2).sum(1, keepdims=True)
        )
        nearest.append(rows)
    return np.vstack(distances), np.vstack(nearest)
