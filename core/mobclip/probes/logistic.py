"""Multinomial logistic regression on probabilities: classes and shares alike.

The target of a unit is a row of probabilities: one-hot for a class, the shares for a composition.
Least cross entropy is then least Kullback-Leibler divergence from the actual row. scikit-learn's
takes hard labels only.
"""

from itertools import combinations

import numpy as np
from jaxtyping import Float64
from scipy.optimize import minimize

from mobclip.errors import ConfigError
from mobclip.place import TargetKind
from mobclip.probes.nested import check, choosers
from mobclip.splits import Folds

ALPHAS = np.logspace(0, -5, 6)  # penalties, strongest first; per unit, on scaled features
SCALINGS = (False, True)  # one scale for all dimensions; every dimension to unit variance
LEAST = 1e-6  # of each row goes to all classes alike: one that no training unit is of stays finite


def held_out(
    features: Float64[np.ndarray, "n d"],
    actual: Float64[np.ndarray, "n t"],
    folds: Folds,
    *,
    kind: TargetKind = "class",
) -> Float64[np.ndarray, "n t"]:
    """Probabilities of each unit by a logistic regression that saw none of its fold.

    For each outer fold, each candidate (scaling, penalty) is fitted on all training folds but one
    and scored on that one; the candidate with the least summed cross entropy is refitted on all
    training folds.

    Raises
    ------
    ConfigError : numbers, which are no probabilities; too few folds or units (see `nested`)
    """
    if kind == "number":
        raise ConfigError("logistic regression is for classes and shares: probe numbers by ridge.")
    check(folds)
    errors = np.zeros((folds.count, len(SCALINGS), len(ALPHAS)))
    for i, j in combinations(range(folds.count), 2):
        training = folds.training(i, j)
        for scaled in SCALINGS:
            path = fit_path(features[training], actual[training], ALPHAS, scaled=scaled)
            for outer, inner in ((i, j), (j, i)):
                units = choosers(folds, outer=outer, inner=inner)
                fit = actual[units] * log_probabilities(features[units], path)
                errors[outer, int(scaled)] -= fit.sum((1, 2))
    predicted = np.empty_like(actual)
    for i in range(folds.count):
        scaled, alpha = np.unravel_index(errors[i].argmin(), errors[i].shape)
        training, test = folds.training(i), folds.test(i)
        path = fit_path(
            features[training], actual[training], ALPHAS[[alpha]], scaled=SCALINGS[scaled]
        )
        predicted[test] = np.exp(log_probabilities(features[test], path))[0]
    return predicted


# Weights and intercepts for every penalty of a path.
Path = tuple[Float64[np.ndarray, "alphas d t"], Float64[np.ndarray, "alphas t"]]


def fit_path(
    features: Float64[np.ndarray, "n d"],
    actual: Float64[np.ndarray, "n t"],
    alphas: Float64[np.ndarray, " alphas"],
    *,
    scaled: bool,
    steps: int = 1000,
) -> Path:
    """Minimise mean cross entropy + alpha / 2 × squared weights, each penalty from the last one.

    The penalty is on the weights of the scaled features, not on the intercepts. For more than two
    classes this is scikit-learn's `LogisticRegression(C=1 / (alpha * n))` on them; for two,
    which it gives one weight vector, `C=2 / (alpha * n)`.

    Rotating the features to their principal axes leaves the penalty as it is. There the curvature
    is nearly diagonal and known beforehand, and in its units L-BFGS needs tens of steps instead
    of hundreds.

    Parameters
    ----------
    actual : rows are probabilities
    alphas : strongest first
    scaled : divide every dimension by its own deviation; otherwise all by their root mean square
    steps : of the optimiser, at most: tens are near the minimum, hundreds are at it
    """
    n, classes = actual.shape
    actual = (1 - LEAST) * actual + LEAST / classes
    mean = features.mean(0)
    deviation = features.std(0)
    varies = deviation > 1e-6 * deviation.max()
    if not scaled and varies.any():
        deviation = np.full_like(deviation, np.sqrt((deviation[varies] ** 2).mean()))
    scale = np.where(varies, deviation, np.inf)  # a dimension that does not vary takes no part
    z = (features - mean) / scale
    variances, axes = np.linalg.eigh(z.T @ z / n)
    z = z @ axes
    shares = actual.mean(0)
    curvature = (shares * (1 - shares)).mean()  # of the cross entropy, along a unit of log odds
    rotated, intercept = np.zeros((z.shape[1], classes)), np.log(shares)
    weights, intercepts = [], []
    for alpha in alphas:
        unit = 1 / np.sqrt(np.r_[curvature, curvature * np.maximum(variances, 0) + alpha])
        rotated, intercept = _minimise(z, actual, alpha, rotated, intercept, unit, steps)
        back = (axes @ rotated) / scale[:, None]
        weights.append(back)
        intercepts.append(intercept - mean @ back)
    return np.stack(weights), np.stack(intercepts)


def _minimise(
    z: np.ndarray,
    actual: np.ndarray,
    alpha: float,
    weights: np.ndarray,
    intercept: np.ndarray,
    unit: np.ndarray,
    steps: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Weights (d, t) and intercept (t,) for one penalty, from a start, in steps of `unit`.

    unit : (1 + d,) size of a step in the intercepts and in the weights of each feature
    """
    n, classes = actual.shape

    def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
        both = flat.reshape(-1, classes) * unit[:, None]
        log_probability = _log_softmax(both[0] + z @ both[1:])
        loss = alpha / 2 * (both[1:] ** 2).sum() - (actual * log_probability).sum() / n
        slope = (np.exp(log_probability) - actual) / n
        gradient = np.vstack([slope.sum(0), z.T @ slope + alpha * both[1:]])
        return loss, (gradient * unit[:, None]).ravel()

    found = minimize(
        objective,
        (np.vstack([intercept, weights]) / unit[:, None]).ravel(),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": steps, "maxcor": 20, "gtol": 1e-6, "ftol": 1e-13},
    )
    both = found.x.reshape(-1, classes) * unit[:, None]
    return both[1:], both[0]


def log_probabilities(
    features: Float64[np.ndarray, "n d"], path: Path
) -> Float64[np.ndarray, "alphas n t"]:
    """What the model of every penalty of a path makes of units, as logarithms."""
    weights, intercepts = path
    return _log_softmax(features @ weights + intercepts[:, None])


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits - logits.max(-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(-1, keepdims=True)))
