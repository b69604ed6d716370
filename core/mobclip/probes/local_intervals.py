"""Prediction intervals that are wider where a probe errs more, with a promised coverage.

`conformal.intervals` has one width for a whole fold; these have one for each unit, to be mapped.
"""

import numpy as np
from jaxtyping import Float64

from mobclip.probes import ridge
from mobclip.probes.conformal import Intervals, check, promised, turns
from mobclip.splits import Folds

FLOOR = 0.1  # least expected error, in units of the median one: no interval shrinks to nothing


def local_intervals(
    features: Float64[np.ndarray, "n d"],
    actual: Float64[np.ndarray, " n"],
    folds: Folds,
    *,
    level: float = 0.9,
) -> Intervals:
    """Ridge prediction ± a multiple of the error expected there (Lei et al. 2018, section 5.2).

    For each fold, both models learn from all folds but it and the next one: one predicts, the
    other learns the size of the held-out residuals of the first (its logarithm, by a ridge). On
    the next fold, the ratio of residual to expected size gives the multiple: its
    ceil((m + 1) · level)-th smallest of m. With blocks that is an unseen area, and the promise
    holds as far as areas are exchangeable: show the coverage found beside it.

    folds : at least 5: one is predicted, one calibrates, three are learned from
    level : promised coverage, between 0 and 1
    """
    check(level, folds)
    predicted, half_width = np.empty(len(actual)), np.empty(len(actual))
    for here, calibration, learn, inner in turns(folds):
        x, y = features[learn], actual[learn, None]
        error = np.abs(y - ridge.held_out(x, y, inner))
        usual = max(float(np.median(error)), 1e-12)
        size_w, size_b = ridge.fit(x, np.log(error + FLOOR * usual), inner)
        weights, intercept = ridge.fit(x, y, inner)
        everywhere = (features @ weights + intercept)[:, 0]
        # The logarithm is a line too: it must not run beyond what was learned from.
        logged = np.log(error + FLOOR * usual)
        size = np.exp(np.clip((features @ size_w + size_b)[:, 0], logged.min(), logged.max()))
        predicted[here] = everywhere[here]
        half_width[here] = size[here] * promised(
            (np.abs(actual - everywhere) / size)[calibration], level
        )
    inside = np.abs(actual - predicted) <= half_width
    return Intervals(level=level, predicted=predicted, half_width=half_width, inside=inside)
