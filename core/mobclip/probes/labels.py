"""A probe of labels that somebody painted on the map: few, uneven, and not drawn at random."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float64, Int64, UInt64
from threadpoolctl import threadpool_limits

from mobclip import grid
from mobclip.errors import ConfigError
from mobclip.place import TargetKind
from mobclip.probes import logistic, metrics, ridge
from mobclip.probes.few import Few
from mobclip.probes.scores import FOLDS
from mobclip.splits import Folds, block_of

LEAST_OF_CLASS = 5  # painted cells of each class before anything is predicted
LEAST_OF_NUMBER = 10  # painted cells
LEAST_SCORED = 20  # painted cells before there is a score
LEAST_BLOCKS = 3  # that they must lie in for one
ALPHAS = np.array([1.0, 0.1, 0.01, 0.001])  # penalties of the logistic regression, as in `logistic`
STEPS = 30  # of the optimiser: the map must follow the brush
SCALED = False  # one scale for all dimensions: to choose the other too takes more labels than here


@dataclass(frozen=True, kw_only=True)
class Painted:
    """Labels of some cells of a place."""

    kind: TargetKind  # number or class
    classes: tuple[str, ...]  # sorted names; of numbers none
    rows: Int64[np.ndarray, " n"]  # of the place's cells, sorted
    values: Float64[np.ndarray, " n"]  # the number, or the index of the class

    @classmethod
    def of(
        cls,
        labels: Mapping[str, str],
        cells: UInt64[np.ndarray, "cells"],
        *,
        kind: TargetKind,
    ) -> "Painted":
        """From cell -> label. Cells that the place lacks are left out, as are words as numbers.

        cells : of the place, sorted
        """
        if kind not in ("number", "class"):
            raise ConfigError(f"labels are painted as numbers or classes, not as {kind!r}.")
        given = {name: label.strip() for name, label in labels.items()}
        if kind == "number":
            given = {name: label for name, label in given.items() if is_number(label)}
        wanted = grid.from_strings(list(given)) if given else np.empty(0, np.uint64)
        row, there = grid.locate(cells, wanted)
        kept = [label for label, known in zip(given.values(), there, strict=True) if known]
        row = row[there]
        order = np.argsort(row)
        classes: tuple[str, ...] = ()
        if kind == "number":
            values = np.array([float(one) for one in kept], np.float64)
        else:
            names, index = np.unique(np.array(kept, dtype=str), return_inverse=True)
            classes, values = tuple(str(one) for one in names), index.astype(np.float64)
        return cls(kind=kind, classes=classes, rows=row[order], values=values[order])

    @property
    def counts(self) -> dict[str, int]:
        """Class -> painted cells."""
        sizes = np.bincount(self.values.astype(np.int64), minlength=len(self.classes))
        return dict(zip(self.classes, sizes.tolist(), strict=True))

    @property
    def missing(self) -> str:
        """What has to be painted before anything can be predicted, in words; empty: nothing."""
        if self.kind == "number":
            if len(self.rows) < LEAST_OF_NUMBER:
                return f"{LEAST_OF_NUMBER - len(self.rows)} more cells with a number"
            return "" if np.ptp(self.values) > 0 else "cells with another number"
        short = [
            f"{LEAST_OF_CLASS - count} more of “{name}”"
            for name, count in self.counts.items()
            if count < LEAST_OF_CLASS
        ]
        if len(self.classes) < 2:
            other = "a second class" if self.classes else "two classes"
            short.append(f"{LEAST_OF_CLASS} cells of {other}")
        return ", ".join(short)

    @property
    def actual(self) -> Float64[np.ndarray, "n t"]:
        """What the probe learns, as `Target.actual`."""
        if self.kind == "number":
            return self.values[:, None]
        return np.eye(len(self.classes))[self.values.astype(np.int64)]


def is_number(label: str) -> bool:
    """Whether a label can be read as a finite number."""
    try:
        return bool(np.isfinite(float(label)))
    except ValueError:
        return False


@dataclass(frozen=True, kw_only=True)
class HonestScore:
    """What a probe of painted labels is worth on blocks of the map that it learned nothing from."""

    metrics: Mapping[str, float]
    n: int  # painted cells, each predicted by a model without its block
    right: int  # of classes: how many are given the class that was painted
    guess: int  # of classes: how many would be by always naming the largest
    blocks: int


@dataclass(frozen=True, kw_only=True)
class LabelProbe:
    """A probe of painted labels, and what it says of every cell of the place."""

    painted: Painted
    features: Float64[np.ndarray, "cells d"]
    cells: UInt64[np.ndarray, "cells"]

    def __post_init__(self) -> None:
        if self.painted.missing:
            raise ConfigError(f"too few labels: paint {self.painted.missing}.")

    @cached_property
    def predicted(self) -> Float64[np.ndarray, "cells t"]:
        """The number, or the probability of each class, at every cell."""
        if self.painted.kind == "number":
            return self._few.predict(self.features)
        known = self.features[self.painted.rows]
        blocks = self._folds
        alpha = ALPHAS[1]
        if blocks is not None:
            alpha = _chosen(known, self.painted.actual, blocks)
        path = _fit(known, self.painted.actual, np.array([alpha]))
        return np.exp(logistic.log_probabilities(self.features, path))[0]

    @cached_property
    def _few(self) -> Few:
        return Few.fit(
            self.features[self.painted.rows], self.painted.actual, deviation_of(self.features)
        )

    @cached_property
    def uncertainty(self) -> Float64[np.ndarray, " cells"]:
        """Classes: entropy of the probabilities, 0 (sure) to 1 (all alike). Numbers: the standard
        deviation of the ridge's prediction, in units of that of the error where it knows most.
        """
        if self.painted.kind == "number":
            return np.sqrt(self._few.variance(self.features))
        return entropy(self.predicted)

    @cached_property
    def _folds(self) -> Folds | None:
        """The painted cells by blocks of the place; None where all lie in one or two."""
        of_block = block_of(self.cells, folds=FOLDS)[self.painted.rows]
        names, block, size = np.unique(of_block, return_inverse=True, return_counts=True)
        if len(names) < LEAST_BLOCKS:
            return None
        # The largest block first, to the fold that has least.
        load = np.zeros(min(FOLDS, len(names)))
        fold = np.empty(len(names), np.int64)
        for one in np.argsort(-size, kind="stable"):
            fold[one] = load.argmin()
            load[fold[one]] += size[one]
        return Folds(of_unit=fold[block])

    @cached_property
    def score(self) -> HonestScore | str:
        """Leave-block-out over the painted cells; in words why not, where they are too few."""
        painted, folds = self.painted, self._folds
        if len(painted.rows) < LEAST_SCORED:
            more = LEAST_SCORED - len(painted.rows)
            return f"too few labels for a score: {more} more cells are needed"
        if folds is None:
            return (
                "the labels lie too close together for a score: paint in "
                f"{LEAST_BLOCKS} blocks of the map or more"
            )
        for fold in range(folds.count):
            left = painted.values[folds.training(fold)]
            if len(np.unique(left)) < 2:
                return (
                    "one class lies in one block of the map alone: paint it elsewhere too, so that "
                    "a block can be left out"
                )
        known, actual = self.features[painted.rows], painted.actual
        if painted.kind == "number":
            predicted = ridge.held_out(known, actual, folds)
        else:
            predicted = _held_out(known, actual, folds)
        truth, chosen = actual.argmax(1), predicted.argmax(1)
        return HonestScore(
            metrics=metrics.score(painted.kind, actual, predicted),
            n=len(truth),
            right=int((truth == chosen).sum()),
            guess=int(np.bincount(truth).max()),
            blocks=len(np.unique(block_of(self.cells, folds=FOLDS)[painted.rows])),
        )


def entropy(probability: Float64[np.ndarray, "n t"]) -> Float64[np.ndarray, " n"]:
    """0 where one class is certain, 1 where all are alike."""
    safe = np.maximum(probability, 1e-12)
    return np.asarray(-(safe * np.log(safe)).sum(1) / np.log(probability.shape[1]))


def deviation_of(features: Float64[np.ndarray, "n d"]) -> float:
    """The one scale of all dimensions: the root of their mean variance."""
    return float(np.sqrt(features.var(0).mean())) or 1.0


def _chosen(features: np.ndarray, actual: np.ndarray, folds: Folds) -> float:
    """The penalty whose models say most of folds that they did not see."""
    gain = np.zeros(len(ALPHAS))
    for fold in range(folds.count):
        learn, test = folds.training(fold), folds.test(fold)
        path = _fit(features[learn], actual[learn], ALPHAS)
        gain += (actual[test] * logistic.log_probabilities(features[test], path)).sum((1, 2))
    return float(ALPHAS[gain.argmax()])


def _held_out(features: np.ndarray, actual: np.ndarray, folds: Folds) -> np.ndarray:
    """As `logistic.held_out`, with fewer candidates: it has to answer while somebody paints."""
    predicted = np.empty_like(actual)
    for fold in range(folds.count):
        learn, test = folds.training(fold), folds.test(fold)
        _, numbered = np.unique(folds.of_unit[learn], return_inverse=True)
        alpha = _chosen(features[learn], actual[learn], Folds(of_unit=numbered))
        path = _fit(features[learn], actual[learn], np.array([alpha]))
        predicted[test] = np.exp(logistic.log_probabilities(features[test], path))[0]
    return predicted


def _fit(features: np.ndarray, actual: np.ndarray, alphas: np.ndarray) -> logistic.Path:
    with threadpool_limits(1, "blas"):  # small products: threads only wait for each other
        return logistic.fit_path(features, actual, alphas, scaled=SCALED, steps=STEPS)
