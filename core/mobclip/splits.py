"""Folds: random, and spatial blocks of H3 parents. Used by training and probes alike."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Int64, UInt64

from mobclip import grid
from mobclip.errors import ConfigError

Protocol = Literal["random", "blocks", "regions"]


@dataclass(frozen=True, kw_only=True)
class Folds:
    """A partition of units, and who may learn when a fold is held out."""

    of_unit: Int64[np.ndarray, " n"]  # fold of each unit, 0 ... count - 1
    near: Bool[np.ndarray, "n count"] | None = None  # too near to a fold to be learned from

    @property
    def count(self) -> int:
        """Number of folds."""
        return int(self.of_unit.max()) + 1

    def test(self, fold: int) -> Bool[np.ndarray, " n"]:
        """Units of one fold."""
        return self.of_unit == fold

    def training(self, *held_out: int) -> Bool[np.ndarray, " n"]:
        """Units that may be learned from while all of `held_out` are held out."""
        may = ~np.isin(self.of_unit, held_out)
        if self.near is not None:
            may &= ~self.near[:, list(held_out)].any(axis=1)
        return may


def random_folds(n: int, *, folds: int, rng: np.random.Generator) -> Int64[np.ndarray, " n"]:
    """Fold number of each of `n` units, sizes equal within one.

    Neighbours of a test unit are in training: on maps this overstates what is known about a
    place that was not surveyed. Shown beside `block_folds`, never instead of them.
    """
    _check(folds, n)
    return rng.permutation(n) % folds


def block_folds(
    cells: UInt64[np.ndarray, " n"],
    *,
    folds: int,
    rng: np.random.Generator,
    weights: np.ndarray | None = None,
) -> Int64[np.ndarray, " n"]:
    """Fold number of each unit such that all units of one block share a fold.

    A block is an H3 parent, at the finest resolution that leaves at most 20 × `folds` blocks, so
    that blocks are as many, and as wide, as the place allows. Blocks are dealt out at random,
    the largest first to the smallest fold, so that folds are of similar size.

    Parameters
    ----------
    cells : the cell that locates each unit; may repeat
    weights : size of each unit, 1 by default
    """
    _check(folds, len(cells))
    blocks = block_of(cells, folds=folds)
    names, block = np.unique(blocks, return_inverse=True)
    if len(names) < folds:
        raise ConfigError(
            f"{len(names)} spatial blocks cannot make {folds} folds: the place is too small, "
            "or its units are too close together."
        )
    size = np.bincount(block, weights=weights, minlength=len(names))
    # Ties and near-ties are broken by chance, so that seeds give different partitions.
    order = np.argsort(-size * rng.uniform(0.8, 1.25, len(names)))
    fold_of_block = np.empty(len(names), np.int64)
    load = np.zeros(folds)
    for one in order:
        fold = int(np.argmin(load + rng.uniform(0, 1e-9, folds)))
        fold_of_block[one] = fold
        load[fold] += size[one]
    return fold_of_block[block]


def block_of(cells: UInt64[np.ndarray, " n"], *, folds: int) -> UInt64[np.ndarray, " n"]:
    """The H3 parent that is each cell's block (see `block_folds`)."""
    resolution = grid.resolution_of(cells)
    for coarser in range(resolution - 1, -1, -1):
        blocks = grid.parents(cells, coarser)
        if len(np.unique(blocks)) <= 20 * folds:
            return blocks
    return grid.parents(cells, 0)


def _check(folds: int, n: int) -> None:
    if not 2 <= folds <= n:
        raise ConfigError(
            f"{folds} folds of {n} units: folds are at least 2 and at most the units."
        )
