"""Ridge regression from the Gram matrices of the folds, nested choice of penalty and scaling.

Everything follows from the moments of the folds, so that a probe of 128 dimensions takes
milliseconds however many cells there are: the normal equations of any set of training folds are a
sum of theirs.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

ALPHAS = np.logspace(-6, 2, 17)  # ridge penalty per unit, in units of the mean feature variance


@dataclass(frozen=True, kw_only=True)
class _Moments:
    """Sums over some units, enough for their normal equations. Sets add and subtract."""

    n: int
    x: np.ndarray  # (d,) sum of features
    y: np.ndarray  # (t,) sum of targets
    xx: np.ndarray  # (d, d)
    xy: np.ndarray  # (d, t)
    yy: np.ndarray  # (t,)

    @classmethod
    def of(cls, x: np.ndarray, y: np.ndarray) -> "_Moments":
        return cls(n=len(x), x=x.sum(0), y=y.sum(0), xx=x.T @ x, xy=x.T @ y, yy=(y**2).sum(0))

    def __sub__(self, other: "_Moments") -> "_Moments":
        return _Moments(
            n=self.n - other.n,
            x=self.x - other.x,
            y=self.y - other.y,
            xx=self.xx - other.xx,
            xy=self.xy - other.xy,
            yy=self.yy - other.yy,
        )


def predict_held_out(
    features: Float64[np.ndarray, "n d"],
    actual: Float64[np.ndarray, "n t"],
    fold: Int64[np.ndarray, " n"],
) -> Float64[np.ndarray, "n t"]:
    """Ridge prediction of each unit by a model that saw none of its fold.

    For each outer fold, each candidate (scaling, penalty) is fitted on all training folds but one
    and scored on that one; the candidate with the least summed squared error is refitted on all
    training folds. The intercept is not penalised.
    """
    names = np.unique(fold)
    # Centred once: differences of sums then lose no digits.
    shift = actual.mean(0)
    y = actual - shift
    parts = [_Moments.of(features[fold == name], y[fold == name]) for name in names]
    whole = _Moments.of(features, y)
    errors = np.zeros((len(names), 2, len(ALPHAS), y.shape[1]))
    for i in range(len(names)):
        for j in range(i):
            # Trained without i and j: inner score on j for outer fold i, and the other way round.
            training = whole - parts[i] - parts[j]
            for scaled in (0, 1):
                weights, intercepts = _ridge_path(training, bool(scaled))
                errors[i, scaled] += _squared_error(parts[j], weights, intercepts)
                errors[j, scaled] += _squared_error(parts[i], weights, intercepts)
    predicted = np.empty_like(y)
    for i, name in enumerate(names):
        here = fold == name
        paths = [_ridge_path(whole - parts[i], bool(scaled)) for scaled in (0, 1)]
        best = errors[i].reshape(-1, y.shape[1]).argmin(0)
        for target, choice in enumerate(best):
            weights, intercepts = paths[choice // len(ALPHAS)]
            alpha = choice % len(ALPHAS)
            predicted[here, target] = (
                features[here] @ weights[alpha, :, target] + intercepts[alpha, target]
            )
    return predicted + shift


def _ridge_path(m: _Moments, scaled: bool) -> tuple[np.ndarray, np.ndarray]:
    """Weights (alphas, d, t) and intercepts (alphas, t) for every penalty, by one eigenproblem."""
    mean_x, mean_y = m.x / m.n, m.y / m.n
    covariance = m.xx / m.n - np.outer(mean_x, mean_x)
    cross = m.xy / m.n - np.outer(mean_x, mean_y)
    variance = np.diag(covariance)
    varies = variance > 1e-12 * variance.max()
    shared = np.full(len(variance), np.sqrt(variance[varies].mean()))
    # A dimension that does not vary takes no part.
    scale = np.where(varies, np.sqrt(np.maximum(variance, 0)) if scaled else shared, np.inf)
    values, axes = np.linalg.eigh(covariance / np.outer(scale, scale))
    projected = axes.T @ (cross / scale[:, None])
    shrunk = projected / (np.maximum(values, 0)[:, None] + ALPHAS[:, None, None])
    weights = (axes @ shrunk) / scale[:, None]
    return weights, mean_y - np.einsum("d,adt->at", mean_x, weights)


def _squared_error(
    m: _Moments, weights: np.ndarray, intercepts: np.ndarray
) -> Float64[np.ndarray, "alphas t"]:
    """Summed squared error of each model on the units behind `m`."""
    quadratic = (weights * (m.xx @ weights)).sum(1)
    linear = (weights * m.xy).sum(1)
    through_x = np.einsum("d,adt->at", m.x, weights)
    return m.yy - 2 * linear + quadratic + intercepts * (m.n * intercepts - 2 * m.y + 2 * through_x)
