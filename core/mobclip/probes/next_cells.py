"""Which cells to label next: uncertain ones, unlike those that are labelled, and far from them.

The three are multiplied. Uncertainty and unlikeness count up to the median of the cells that may be
chosen: without that bound both lead to the same few odd cells, whose labels say nothing of the
others, and random choice is better (tried on synthetic and real places, see the tests and
`simulate`).
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64, UInt64

from mobclip import grid
from mobclip.errors import ConfigError
from mobclip.place import TargetKind
from mobclip.probes import metrics, ridge
from mobclip.probes.few import Few
from mobclip.probes.scores import FOLDS, folds_of

START = 10  # labels, drawn at random, that a simulation begins with
STEP = 10  # labels added at a time
MOST = 100  # labels at its end
POOL = 3000  # units that a simulation chooses from, at most, and as many that it is scored on


def next_cells(
    features: Float64[np.ndarray, "n d"],
    cells: UInt64[np.ndarray, " n"],
    labelled: Int64[np.ndarray, " m"],
    uncertainty: Float64[np.ndarray, " n"],
    *,
    count: int = 10,
) -> Int64[np.ndarray, " count"]:
    """Rows to label next, best first; each takes those chosen before it as labelled.

    labelled : rows, at least one
    uncertainty : of what is predicted at each, 0 or more
    """
    if len(labelled) == 0:
        raise ConfigError("nothing is labelled yet: what comes next depends on it. Label a cell.")
    positions = _positions(cells)
    free = np.ones(len(features), bool)
    free[labelled] = False
    unlike = _nearest(features, labelled)
    away = _nearest(positions, labelled)
    chosen: list[int] = []
    for _ in range(min(count, int(free.sum()))):
        gain = _bounded(uncertainty, free) * _bounded(unlike, free) * away
        best = int(np.where(free, gain, -1.0).argmax())
        chosen.append(best)
        free[best] = False
        unlike = np.minimum(unlike, _distance(features, best))
        away = np.minimum(away, _distance(positions, best))
    return np.array(chosen, np.int64)


def _bounded(value: np.ndarray, free: Bool[np.ndarray, " n"]) -> np.ndarray:
    return np.minimum(value, np.median(value[free]))


def _distance(points: np.ndarray, row: int) -> np.ndarray:
    return np.sqrt(((points - points[row]) ** 2).sum(1))


def _nearest(points: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Distance of each point to the nearest of some."""
    squared = np.full(len(points), np.inf)
    lengths = (points**2).sum(1)
    for part in np.array_split(rows, max(1, len(rows) // 32)):
        some = points[part]
        between = lengths[:, None] - 2 * points @ some.T + (some**2).sum(1)
        squared = np.minimum(squared, between.min(1))
    return np.asarray(np.sqrt(np.maximum(squared, 0)))


def _positions(cells: UInt64[np.ndarray, " n"]) -> Float64[np.ndarray, "n 3"]:
    """On the unit sphere: straight lines through it order cells as the ground does."""
    lon, lat = np.radians(grid.centers(cells)).T
    points = np.column_stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])
    return np.asarray(points - points.mean(0))  # small numbers keep their digits


# ---- what if -----------------------------------------------------------------------------------

Choose = Callable[
    [np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.random.Generator], Int64[np.ndarray, " k"]
]


def _suggested(
    features: np.ndarray,
    cells: np.ndarray,
    labelled: np.ndarray,
    uncertainty: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    return next_cells(features, cells, labelled, uncertainty, count=STEP)


def _random(
    features: np.ndarray,
    cells: np.ndarray,
    labelled: np.ndarray,
    uncertainty: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    free = np.setdiff1d(np.arange(len(features)), labelled)
    return rng.choice(free, min(STEP, len(free)), replace=False)


STRATEGIES: Mapping[str, Choose] = {"suggested": _suggested, "random": _random}


@dataclass(frozen=True, kw_only=True)
class Simulated:
    """One order of labelling in one division of the map: the score after every step."""

    strategy: str
    seed: int
    fold: int
    labels: tuple[int, ...]
    scores: tuple[float, ...]  # of the main metric, in blocks that nothing could be labelled in
    order: Int64[np.ndarray, " m"]  # rows, as they were labelled


def simulate(
    features: Float64[np.ndarray, "n d"],
    actual: Float64[np.ndarray, "n t"],
    cells: UInt64[np.ndarray, " n"],
    *,
    kind: TargetKind,
    seeds: tuple[int, ...] = (0, 1),
    most: int = MOST,
) -> Iterator[Simulated]:
    """What would have come of labelling a known target in either order.

    Of each seed, every fold of blocks is held out once: all orders start from the same random
    labels outside of it, and a ridge that chooses its penalty by leaving one out predicts it.

    cells : where each unit lies
    most : labels at the end
    """
    deviation = float(np.sqrt(features.var(0).mean())) or 1.0
    for seed in seeds:
        of_unit = folds_of(cells, protocol="blocks", seed=seed)
        for fold in range(FOLDS):
            rng = np.random.default_rng([seed, fold, 13])
            pool = _some(np.flatnonzero(of_unit != fold), rng)
            test = _some(np.flatnonzero(of_unit == fold), rng)
            if len(pool) < START + STEP:
                raise ConfigError(
                    f"{len(actual)} units are too few to label {START} and then {STEP} at a time."
                )
            start = _start(actual[pool], rng)
            for name, choose in STRATEGIES.items():
                own = np.random.default_rng([seed, fold, 17])
                labelled = start
                labels, scores = [], []
                while True:
                    rows = pool[labelled]
                    few = Few.fit(features[rows], actual[rows], deviation)
                    labels.append(len(rows))
                    scores.append(_score(kind, actual[test], few.predict(features[test])))
                    if len(rows) + STEP > min(most, len(pool)):
                        break
                    sure = np.sqrt(few.variance(features[pool]))
                    more = choose(features[pool], cells[pool], labelled, sure, own)
                    labelled = np.concatenate([labelled, more])
                yield Simulated(
                    strategy=name,
                    seed=seed,
                    fold=fold,
                    labels=tuple(labels),
                    scores=tuple(scores),
                    order=pool[labelled],
                )


def _some(rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return rows if len(rows) <= POOL else np.sort(rng.choice(rows, POOL, replace=False))


def _start(actual: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Rows drawn at random, until there is something to tell apart."""
    for _ in range(100):
        rows = rng.choice(len(actual), START, replace=False)
        if np.ptp(actual[rows], axis=0).max() > 0:
            return rows
    raise ConfigError("nearly all units are alike: ten of them at random say nothing.")


def _score(kind: TargetKind, actual: np.ndarray, predicted: np.ndarray) -> float:
    if kind != "number":
        predicted = ridge.as_probabilities(predicted)
    return metrics.score(kind, actual, predicted)[metrics.PRIMARY[kind]]
