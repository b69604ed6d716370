"""Prediction intervals with a promised coverage: split-conformal, calibrated on spatial blocks."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64

from mobclip.errors import ConfigError
from mobclip.probes import ridge
from mobclip.splits import Folds


@dataclass(frozen=True, kw_only=True)
class Intervals:
    """An interval for each unit, by models and residuals that saw none of its fold."""

    level: float  # promised share of units inside
    predicted: Float64[np.ndarray, " n"]
    half_width: Float64[np.ndarray, " n"]  # one value per fold
    inside: Bool[np.ndarray, " n"]  # whether the measured value lies in it

    @property
    def coverage(self) -> float:
        """Share of units inside their interval."""
        return float(self.inside.mean())


def intervals(
    features: Float64[np.ndarray, "n d"],
    actual: Float64[np.ndarray, " n"],
    folds: Folds,
    *,
    level: float = 0.9,
) -> Intervals:
    """Ridge prediction ± the calibrated residual (Vovk et al. 2005; Lei et al. 2018, alg. 2).

    For each fold, the model learns from all folds but it and the next one; the absolute residuals
    on the next one, which are those of an unseen area when the folds are blocks, give the half
    width: their ceil((m + 1) · level)-th smallest of m. The promise holds for exchangeable units;
    areas are only nearly that, so the coverage found is always shown beside it.

    Parameters
    ----------
    folds : at least 5: one is predicted, one calibrates, three are learned from
    level : promised coverage, between 0 and 1
    """
    check(level, folds)
    predicted, half_width = np.empty(len(actual)), np.empty(len(actual))
    for here, calibration, learn, inner in turns(folds):
        weights, intercept = ridge.fit(features[learn], actual[learn, None], inner)
        everywhere = (features @ weights + intercept)[:, 0]
        predicted[here] = everywhere[here]
        half_width[here] = promised(np.abs(actual - everywhere)[calibration], level)
    inside = np.abs(actual - predicted) <= half_width
    return Intervals(level=level, predicted=predicted, half_width=half_width, inside=inside)


def check(level: float, folds: Folds) -> None:
    """`ConfigError` unless intervals of this coverage can be made on these folds."""
    if not 0 < level < 1:
        raise ConfigError(f"level={level}: a coverage lies between 0 and 1, e.g. 0.9.")
    if folds.count < 5:
        raise ConfigError(f"{folds.count} folds: conformal intervals need 5 or more.")


def turns(folds: Folds) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, Folds]]:
    """For each fold: its units, those that calibrate (the next fold's), the others as a mask, and
    the folds of those others."""
    for test in range(folds.count):
        calibration = (test + 1) % folds.count
        learn = folds.training(test, calibration)
        # Fold numbers without gaps, as an inner cross-validation wants them.
        _, inner = np.unique(folds.of_unit[learn], return_inverse=True)
        yield folds.test(test), folds.test(calibration), learn, Folds(of_unit=inner)


def promised(scores: Float64[np.ndarray, " m"], level: float) -> float:
    """The ceil((m + 1) · level)-th smallest of m; infinite where m is too few."""
    rank = int(np.ceil((len(scores) + 1) * level))
    return float(np.sort(scores)[rank - 1]) if rank <= len(scores) else np.inf
