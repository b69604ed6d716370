"""Scores of held-out predictions, by kind of target.

===========  ==============================================================  =========
kind         scores                                                          primary
===========  ==============================================================  =========
number       r2, rmse, mae, spearman                                         r2
binary       auc, f1, ece                                                    auc
class        the same                                                        f1
composition  skill, kl, dirichlet_nll                                        skill
===========  ==============================================================  =========

A score that is not defined (R² where nothing varies, AUC of one class alone) is NaN.
"""

import numpy as np
from jaxtyping import Float64
from scipy.optimize import minimize_scalar
from scipy.special import gammaln, rel_entr
from scipy.stats import rankdata

from mobclip.errors import ConfigError
from mobclip.place import TargetKind

PRIMARY: dict[TargetKind, str] = {
    "number": "r2",
    "binary": "auc",
    "class": "f1",
    "composition": "skill",
}
FLOOR = 1e-6  # least predicted share: one part that is wrongly ruled out costs 14 nats, not ∞
BINS = 10  # of confidence, in the calibration error


def score(
    kind: TargetKind,
    actual: Float64[np.ndarray, "n t"],
    predicted: Float64[np.ndarray, "n t"],
) -> dict[str, float]:
    """All scores of one target of this kind, from `Target.actual` and what a probe makes of it."""
    if kind == "composition":
        return composition(actual, predicted)
    if kind != "number":
        return classification(actual, predicted)
    if actual.shape[1] != 1:
        raise ConfigError(f"{actual.shape[1]} columns of numbers: targets are scored one by one.")
    return regression(actual[:, 0], predicted[:, 0])


def regression(
    actual: Float64[np.ndarray, " n"], predicted: Float64[np.ndarray, " n"]
) -> dict[str, float]:
    """r2 (against the mean of `actual`), rmse and mae in its units, spearman.

    Spearman's rank correlation of a constant prediction, which orders nothing, is 0.
    """
    error = actual - predicted
    total = ((actual - actual.mean()) ** 2).sum()
    ranks = [rankdata(one) - (len(one) + 1) / 2 for one in (actual, predicted)]
    lengths = [np.linalg.norm(one) for one in ranks]
    if lengths[0] == 0:
        spearman = np.nan
    else:
        spearman = ranks[0] @ ranks[1] / np.prod(lengths) if lengths[1] else 0.0
    return {
        "r2": float(1 - (error**2).sum() / total) if total else np.nan,
        "rmse": float(np.sqrt((error**2).mean())),
        "mae": float(np.abs(error).mean()),
        "spearman": float(spearman),
    }


def classification(
    actual: Float64[np.ndarray, "n classes"], probability: Float64[np.ndarray, "n classes"]
) -> dict[str, float]:
    """Area under the ROC curve, F1 and calibration error.

    - auc: of two classes, that of the second; of more, the plain mean over the classes that occur
      of each against the rest
    - f1: of the most probable class, plain mean over the classes that occur
    - ece: expected calibration error, the mean distance between the confidence in the most
      probable class and how often it is right, in 10 bins of equal width (Guo et al. 2017,
      arXiv 1706.04599, equation 3)

    Parameters
    ----------
    actual : one-hot
    """
    classes = actual.shape[1]
    truth, chosen = actual.argmax(1), probability.argmax(1)
    areas = [
        _area_under_roc(actual[:, one] == 1, probability[:, one])
        for one in ([1] if classes == 2 else range(classes))
    ]
    defined = [one for one in areas if not np.isnan(one)]
    occur = np.bincount(truth, minlength=classes)
    right = np.bincount(truth[truth == chosen], minlength=classes)
    f1 = 2 * right / np.maximum(occur + np.bincount(chosen, minlength=classes), 1)
    confidence = probability.max(1)
    # As in the paper a bin holds its upper end: (0, 0.1], (0.1, 0.2], ...
    bins = np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)
    gap = np.bincount(bins, weights=(truth == chosen) - confidence, minlength=BINS)
    return {
        "auc": float(np.mean(defined)) if defined else np.nan,
        "f1": float(f1[occur > 0].mean()),
        "ece": float(np.abs(gap).sum() / len(truth)),
    }


def composition(
    actual: Float64[np.ndarray, "n parts"], predicted: Float64[np.ndarray, "n parts"]
) -> dict[str, float]:
    """How far predicted shares are from the actual ones.

    - kl: mean Kullback-Leibler divergence of `predicted` from `actual`, in nats; an actual share
      of 0 adds nothing
    - skill: 1 - kl / (kl of the mean shares of `actual`), so 0 for who knows the mean alone
    - dirichlet_nll: mean negative log density of the actual shares under Dirichlet(precision ×
      predicted), in nats; below 0 where the density is high. The one precision is fitted by
      maximum likelihood to these very pairs, which flatters every method alike. A density needs
      shares inside the simplex, so y becomes (y (n - 1) + 1 / parts) / n, n the units (Smithson &
      Verkuilen 2006, Psychological Methods 11, for two parts; Maier 2014, DirichletReg, for more)

    Predicted shares are raised to at least 1e-6 first, and rows divided by their sum.
    """
    predicted = _inside(predicted)
    kl = float(rel_entr(actual, predicted).sum(1).mean())
    of_mean = float(rel_entr(actual, _inside(actual.mean(0, keepdims=True))).sum(1).mean())
    return {
        "skill": 1 - kl / of_mean if of_mean > 0 else np.nan,
        "kl": kl,
        "dirichlet_nll": _dirichlet_nll(actual, predicted),
    }


def _inside(shares: np.ndarray) -> np.ndarray:
    raised = np.maximum(shares, FLOOR)
    return np.asarray(raised / raised.sum(1, keepdims=True))


def _area_under_roc(positive: np.ndarray, value: np.ndarray) -> float:
    """Chance that a positive has the higher value than a negative, ties half (Mann-Whitney U)."""
    positives = int(positive.sum())
    negatives = len(positive) - positives
    if not positives or not negatives:
        return np.nan
    above = rankdata(value)[positive].sum() - positives * (positives + 1) / 2
    return float(above / (positives * negatives))


def _dirichlet_nll(actual: np.ndarray, predicted: np.ndarray) -> float:
    n, parts = actual.shape
    log_actual = np.log((actual * (n - 1) + 1 / parts) / n)

    def nll(log_precision: float) -> float:
        alpha = np.exp(log_precision) * predicted
        density = gammaln(alpha.sum(1)) - gammaln(alpha).sum(1) + ((alpha - 1) * log_actual).sum(1)
        return -float(density.mean())

    # Concave in the precision, so one maximum; the bounds are far outside of what data show.
    best = minimize_scalar(nll, bounds=(np.log(1e-3), np.log(1e9)), method="bounded")
    return float(best.fun)
