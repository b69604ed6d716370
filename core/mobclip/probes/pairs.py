"""Boosted trees on pairs of cells, for the probe of flows."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float32, Float64

from mobclip.probes.boosting import load_lightgbm, repeatable

TREES = 200  # at most; how many is chosen on pairs that the trees did not see
PATIENCE = 20  # trees without gain there, after which no more are tried
# All features for each tree, unlike in `boosting`: the row that knows distance and sizes alone
# has three of them, and would lose the distance in half of its trees.
SETTINGS = {
    "objective": "regression",
    "metric": "l2",
    "learning_rate": 0.1,
    "num_leaves": 31,
    "max_bin": 63,
    "min_data_in_leaf": 100,
}
THREADS = 1  # more wait for each other in a busy loop: ten times slower where a core is taken

Predict = Callable[[Float32[np.ndarray, "m d"]], Float64[np.ndarray, " m"]]


def fit_pairs(
    features: Float32[np.ndarray, "n d"],
    actual: Float64[np.ndarray, " n"],
    weight: Float64[np.ndarray, " n"],
    choosing: Bool[np.ndarray, " n"],
) -> Predict:
    """Boosted regression trees of the weighted squared error, with fixed settings.

    Parameters
    ----------
    weight : how many pairs each stands for
    choosing : pairs that choose the number of trees; the trees learn from the others

    Raises
    ------
    MobclipError : LightGBM does not load on this machine
    """
    lightgbm = load_lightgbm()
    learning = ~choosing
    scaled = weight / weight.mean()
    learned = lightgbm.Dataset(features[learning], actual[learning], weight=scaled[learning])
    watched = lightgbm.Dataset(
        features[choosing], actual[choosing], weight=scaled[choosing], reference=learned
    )
    booster = lightgbm.train(
        SETTINGS | repeatable(0, THREADS),
        learned,
        TREES,
        valid_sets=[watched],
        callbacks=[lightgbm.early_stopping(PATIENCE, verbose=False)],
    )
    return booster.predict  # with the best number of trees
