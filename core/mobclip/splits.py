"""Folds: random, spatial blocks of H3 parents, whole regions. Used by training and probes alike.

The three protocols, from the easiest to the hardest: a `random` test unit has its neighbours in
training; one of `blocks` has them only at the rim of its block; one of `regions` is far from all.
The difference between them is what the map gives away about its own gaps.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float64, Int64, UInt64
from scipy.spatial import KDTree

from mobclip import grid
from mobclip.errors import ConfigError

Protocol = Literal["random", "blocks", "regions"]
EARTH_KM = 6371.0088  # mean radius, as in `grid.distances_km`


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


# ---- partitions --------------------------------------------------------------------------------


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


def region_folds(
    cells: UInt64[np.ndarray, " n"], *, folds: int, rng: np.random.Generator
) -> Int64[np.ndarray, " n"]:
    """Fold number of each unit such that a fold is one compact region: leave-region-out.

    Regions are the k-means clusters of the units' positions on the sphere (Lloyd 1982, started by
    k-means++, Arthur and Vassilvitskii 2007): each unit belongs to the nearest of `folds` centres.
    They differ in size, as regions do. Left alone, k-means ends in nearly the same regions from
    every start, and repeats over seeds would be no repeats; so the blocks of `block_folds` weigh
    at random, exponentially, as in Rubin's (1981) Bayesian bootstrap.

    Parameters
    ----------
    cells : the cell that locates each unit; may repeat
    """
    _check(folds, len(cells))
    distinct, which, units = np.unique(cells, return_inverse=True, return_counts=True)
    if len(distinct) < folds:
        raise ConfigError(
            f"units at {len(distinct)} different cells cannot make {folds} regions: ask for at "
            f"most {len(distinct)} folds, or use random folds."
        )
    blocks, block = np.unique(block_of(distinct, folds=folds), return_inverse=True)
    weights = units * rng.exponential(size=len(blocks))[block]
    points = _on_sphere(distinct)
    points -= points.mean(axis=0)  # small numbers: a cell is a millionth of the sphere's radius
    centres = _seeds(points, weights, folds, rng)
    region = np.full(len(points), -1)
    for _ in range(300):  # far more than it takes
        # |x - c|² without |x|², which is the same for every centre.
        nearest = ((centres**2).sum(axis=1) - 2 * points @ centres.T).argmin(axis=1)
        _fill(nearest, points, centres)
        if np.array_equal(nearest, region):
            break
        region = nearest
        sums = [np.bincount(region, weights * axis, minlength=folds) for axis in points.T]
        centres = np.column_stack(sums) / np.bincount(region, weights, minlength=folds)[:, None]
    return region[which]


def _seeds(
    points: Float64[np.ndarray, "m 3"],
    weights: Float64[np.ndarray, " m"],
    count: int,
    rng: np.random.Generator,
) -> Float64[np.ndarray, "count 3"]:
    """Points to start from, each drawn by the squared distance to those drawn before it."""
    chosen = [int(rng.choice(len(points), p=weights / weights.sum()))]
    nearest = np.full(len(points), np.inf)
    while len(chosen) < count:
        nearest = np.minimum(nearest, ((points - points[chosen[-1]]) ** 2).sum(axis=1))
        chance = nearest * weights
        chosen.append(int(rng.choice(len(points), p=chance / chance.sum())))
    return points[chosen]


def _fill(
    region: Int64[np.ndarray, " m"],
    points: Float64[np.ndarray, "m 3"],
    centres: Float64[np.ndarray, "k 3"],
) -> None:
    """Give each region that lost all its points the point farthest from its centre, in place."""
    size = np.bincount(region, minlength=len(centres))
    for empty in np.flatnonzero(size == 0):
        away = ((points - centres[region]) ** 2).sum(axis=1)
        away[np.bincount(region, minlength=len(centres))[region] == 1] = -1
        region[away.argmax()] = empty


# ---- buffers -----------------------------------------------------------------------------------


def buffered(
    cells: UInt64[np.ndarray, " n"], of_unit: Int64[np.ndarray, " n"], *, km: float
) -> Folds:
    """Folds around each of which a buffer is kept free: nobody in it learns for the fold.

    A unit is `near` to a fold that is not its own when the centre of its cell is at most `km`
    (great circle) from that of any unit of the fold.

    Parameters
    ----------
    cells : the cell that locates each unit; may repeat
    of_unit : the partition, of any of the functions above
    km : width of the buffer, above 0

    Raises
    ------
    ConfigError : nothing is left to learn from for some fold
    """
    if not (np.isfinite(km) and km > 0):
        raise ConfigError(f"a buffer of {km} km: choose a finite width above 0, or no buffer.")
    count = int(of_unit.max()) + 1
    # The straight line through the earth; a whisker longer, so that `at most` survives rounding.
    chord = 2 * np.sin(min(km / (2 * EARTH_KM), np.pi / 2)) * (1 + 1e-9)
    distinct, which = np.unique(cells, return_inverse=True)
    points = _on_sphere(distinct)
    near = np.zeros((len(cells), count), bool)
    for fold in range(count):
        members = np.zeros(len(distinct), bool)
        members[which[of_unit == fold]] = True
        away, _ = KDTree(points[members]).query(points, distance_upper_bound=chord)
        near[:, fold] = np.isfinite(away)[which] & (of_unit != fold)
    folds = Folds(of_unit=of_unit, near=near)
    for fold in range(count):
        if not folds.training(fold).any():
            raise ConfigError(
                f"a buffer of {km} km leaves no unit to learn from when fold {fold} is held out: "
                "choose a narrower one."
            )
    return folds


def _on_sphere(cells: UInt64[np.ndarray, " m"]) -> Float64[np.ndarray, "m 3"]:
    """Centres of cells on the unit sphere, which has no date line and no poles."""
    lon, lat = np.radians(grid.centers(cells)).T
    return np.column_stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])


# ---- scikit-learn ------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class RandomKFold:
    """`random_folds` as a scikit-learn splitter (`cross_validate(..., cv=RandomKFold())`)."""

    folds: int = 5
    seed: int = 0

    def split(self, X: Any, y: Any = None, groups: Any = None) -> Iterator[tuple[Any, Any]]:
        """Rows to learn from and rows to be tested on, fold by fold; `groups` is not used."""
        rng = np.random.default_rng(self.seed)
        yield from _rows(Folds(of_unit=random_folds(_length(X), folds=self.folds, rng=rng)))

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:
        """Number of folds."""
        return self.folds


@dataclass(frozen=True, kw_only=True)
class BlockKFold:
    """`block_folds` as a scikit-learn splitter; `groups` is the uint64 H3 cell of each row."""

    folds: int = 5
    buffer_km: float = 0.0  # rows this near to the tested ones do not learn; 0: none is left out
    seed: int = 0

    def split(self, X: Any, y: Any = None, groups: Any = None) -> Iterator[tuple[Any, Any]]:
        """Rows to learn from and rows to be tested on, fold by fold."""
        yield from _spatial_rows(self, block_folds, _cells_of(groups, X))

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:
        """Number of folds."""
        return self.folds


@dataclass(frozen=True, kw_only=True)
class RegionKFold:
    """`region_folds` as a scikit-learn splitter; `groups` is the uint64 H3 cell of each row."""

    folds: int = 5
    buffer_km: float = 0.0  # rows this near to the tested ones do not learn; 0: none is left out
    seed: int = 0

    def split(self, X: Any, y: Any = None, groups: Any = None) -> Iterator[tuple[Any, Any]]:
        """Rows to learn from and rows to be tested on, fold by fold."""
        yield from _spatial_rows(self, region_folds, _cells_of(groups, X))

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:
        """Number of folds."""
        return self.folds


def _spatial_rows(
    splitter: BlockKFold | RegionKFold,
    deal: Callable[..., Int64[np.ndarray, " n"]],
    cells: UInt64[np.ndarray, " n"],
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    of_unit = deal(cells, folds=splitter.folds, rng=np.random.default_rng(splitter.seed))
    km = splitter.buffer_km
    return _rows(Folds(of_unit=of_unit) if km == 0 else buffered(cells, of_unit, km=km))


def _rows(folds: Folds) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for fold in range(folds.count):
        yield np.flatnonzero(folds.training(fold)), np.flatnonzero(folds.test(fold))


def _length(X: Any) -> int:
    return int(X.shape[0]) if hasattr(X, "shape") else len(X)


def _cells_of(groups: Any, X: Any) -> UInt64[np.ndarray, " n"]:
    if groups is None:
        raise ConfigError(
            "spatial folds need the cell of each row: pass groups=cells (uint64 H3 cells)."
        )
    cells = np.asarray(groups)
    if cells.dtype != np.uint64 or cells.shape != (_length(X),):
        raise ConfigError(
            f"groups are {cells.dtype} of the shape {cells.shape} where one uint64 H3 cell for "
            f"each of {_length(X)} rows is needed. mobclip.grid.from_strings makes cells of names."
        )
    return cells


def _check(folds: int, n: int) -> None:
    if not 2 <= folds <= n:
        raise ConfigError(
            f"{folds} folds of {n} units: folds are at least 2 and at most the units."
        )
