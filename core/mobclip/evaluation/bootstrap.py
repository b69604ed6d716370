"""How sure: intervals of R², and of differences between embeddings, by resampling areas."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, UInt64
from scipy.stats import norm

from mobclip import grid
from mobclip.probes import HeldOut
from mobclip.splits import block_of

DRAWS = 2000
LEVEL = 0.95


@dataclass(frozen=True, kw_only=True)
class Interval:
    """An estimate and where it may lie."""

    value: float
    low: float
    high: float


class BlockBootstrap:
    """R² of many embeddings on many targets, resampled by spatial block and by seed.

    Neighbouring units share their errors, so units drawn one by one would make intervals too
    narrow: whole H3 blocks of the place are drawn with replacement (the same draw for every
    embedding and target, so that differences are paired), and so are the seeds (Efron &
    Tibshirani 1993, ch. 8 and 14; bias-corrected percentile intervals at 95 %). Only sums per block
    are kept.

    Parameters
    ----------
    cells : of the place; its blocks are those of `splits.block_of`
    seeds : in the order in which their predictions are added
    folds : as in `splits.block_of`
    """

    def __init__(
        self,
        cells: UInt64[np.ndarray, "cells"],
        *,
        seeds: Sequence[int],
        folds: int,
        draws: int = DRAWS,
    ) -> None:
        blocks = np.unique(block_of(cells, folds=folds))
        self._blocks = blocks
        self._resolution = grid.resolution_of(blocks)
        self._seeds = list(seeds)
        rng = np.random.default_rng(0)
        n = len(blocks)
        self._draws = rng.multinomial(n, np.full(n, 1 / n), size=draws).astype(np.float64)
        k = len(self._seeds)
        self._of_seeds = rng.multinomial(k, np.full(k, 1 / k), size=draws) / k
        self._moments: dict[str, np.ndarray] = {}  # target -> (3, blocks): n, sum y, sum y²
        self._squared: dict[tuple[str, str], np.ndarray] = {}  # run, target -> (seeds, blocks)
        self._drawn: dict[tuple[str, str], np.ndarray] = {}

    def add(self, run: str, held_out: HeldOut) -> None:
        """Take in the predictions of one run, target and seed (a number target)."""
        block = np.searchsorted(self._blocks, grid.parents(held_out.cells, self._resolution))
        y, name = held_out.actual[:, 0], held_out.target.name
        y = y - y.mean()

        def per_block(values: np.ndarray) -> np.ndarray:
            return np.bincount(block, weights=values, minlength=len(self._blocks))

        self._moments[name] = np.stack([per_block(np.ones_like(y)), per_block(y), per_block(y**2)])
        sums = self._squared.setdefault(
            (run, name), np.full((len(self._seeds), len(self._blocks)), np.nan)
        )
        error = held_out.actual[:, 0] - held_out.predicted[:, 0]
        sums[self._seeds.index(held_out.seed)] = per_block(error**2)

    def r2(self, run: str, target: str) -> Interval:
        """R² of one target, mean over seeds."""
        return self._interval(self._estimate([(run, target)]), self._resampled(run, target))

    def mean_r2(self, run: str, targets: Iterable[str]) -> Interval:
        """Mean R² over targets and seeds."""
        keys = [(run, target) for target in targets]
        drawn = np.mean([self._resampled(*key) for key in keys], axis=0)
        return self._interval(self._estimate(keys), drawn)

    def difference(self, run: str, against: str, targets: Iterable[str]) -> Interval:
        """Mean R² of `run` minus that of `against`, on the same draws."""
        names = list(targets)
        value = self._estimate([(run, one) for one in names]) - self._estimate(
            [(against, one) for one in names]
        )
        drawn = np.mean(
            [self._resampled(run, one) - self._resampled(against, one) for one in names], axis=0
        )
        return self._interval(value, drawn)

    def _estimate(self, keys: Sequence[tuple[str, str]]) -> float:
        found = []
        for key in keys:
            n, y, yy = self._moments[key[1]].sum(1)
            found.append(np.mean(1 - self._squared[key].sum(1) / (yy - y**2 / n)))
        return float(np.mean(found))

    def _resampled(self, run: str, target: str) -> Float64[np.ndarray, " draws"]:
        if (run, target) not in self._drawn:
            n, y, yy = (self._draws @ self._moments[target].T).T
            total = yy - np.divide(y**2, n, out=np.zeros_like(n), where=n > 0)
            squared = self._draws @ self._squared[run, target].T  # (draws, seeds)
            # A draw in which the target does not vary says nothing.
            r2 = 1 - squared / np.where(total > 1e-12, total, np.nan)[:, None]
            self._drawn[run, target] = (r2 * self._of_seeds).sum(1)
        return self._drawn[run, target]

    def _interval(self, value: float, drawn: Float64[np.ndarray, " draws"]) -> Interval:
        drawn = drawn[np.isfinite(drawn)]
        # Bias-corrected (Efron 1981): R² of resampled areas lies below that of all, since a draw
        # repeats some areas and so varies less.
        below = ((drawn < value).mean() + (drawn <= value).mean()) / 2
        shift = 2 * norm.ppf(np.clip(below, 1e-3, 1 - 1e-3))
        tail = norm.ppf((1 - LEVEL) / 2)
        low, high = np.quantile(drawn, norm.cdf([shift + tail, shift - tail]))
        return Interval(value=value, low=min(float(low), value), high=max(float(high), value))
