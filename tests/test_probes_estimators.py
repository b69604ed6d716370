"""The ridge probe among scikit-learn's tools."""

import contextlib
import unittest

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.utils.estimator_checks import estimator_checks_generator

from mobclip.probes.estimators import RidgeProbe
from mobclip.splits import block_of


def data(n=200, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 5)) * [4, 2, 1, 1, 0.2] + 3
    return x, x @ rng.normal(size=5) + 10 + rng.normal(size=n)


@pytest.mark.parametrize("scaled", [False, True])
def test_a_given_penalty_is_scikit_learns(scaled):
    x, y = data()
    ours = RidgeProbe(alpha=0.1, scaled=scaled).fit(x, y).predict(x)
    spread = x.std(0)
    scale = spread if scaled else np.sqrt((spread**2).mean())
    theirs = Ridge(alpha=0.1 * len(x)).fit(x / scale, y).predict(x / scale)
    np.testing.assert_allclose(ours, theirs, rtol=1e-9)


def test_scikit_learn_accepts_it():
    x, y = data()
    scores = cross_validate(RidgeProbe(), x, y, cv=4, scoring="r2")["test_score"]
    assert (scores > 0.8).all()
    search = GridSearchCV(RidgeProbe(), {"alpha": [1e-4, 1e2], "scaled": [True]}, cv=3).fit(x, y)
    assert search.best_params_["alpha"] == 1e-4
    two = RidgeProbe().fit(x, np.column_stack([y, -y]))
    np.testing.assert_allclose(two.predict(x)[:, 0], RidgeProbe().fit(x, y).predict(x))


def test_scikit_learns_own_checks():
    for estimator, check in estimator_checks_generator(RidgeProbe()):
        # In tests beartype refuses a wrong setting at once, before scikit-learn would in `fit`.
        if "do_not_raise_errors_in_init" not in str(check):
            with contextlib.suppress(unittest.SkipTest):  # of data frames that are not installed
                check(estimator)


def test_cells_make_the_inner_folds_blocks(toy_place):
    cells = toy_place.cells
    rng = np.random.default_rng(0)
    # What is learned of a block is of no use in another: a heavy penalty is right on blocks.
    _, block = np.unique(block_of(cells, folds=5), return_inverse=True)
    x = np.eye(block.max() + 1)[block]
    y = rng.normal(size=block.max() + 1)[block]
    random, inside = RidgeProbe().fit(x, y), RidgeProbe().fit(x, y, cells=cells)
    assert np.abs(inside.coef_).sum() < np.abs(random.coef_).sum()
