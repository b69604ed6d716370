"""Intervals: the coverage promised is the coverage found."""

import numpy as np
import pytest

from mobclip.errors import ConfigError
from mobclip.probes.conformal import intervals
from mobclip.splits import Folds, random_folds


def made(n, seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 6))
    y = x @ rng.normal(size=6) + rng.standard_t(4, size=n)
    return x, y, Folds(of_unit=random_folds(n, folds=5, rng=rng))


@pytest.mark.parametrize("level", [0.5, 0.8, 0.9])
def test_coverage_is_what_was_promised(level):
    found = [intervals(*made(400, seed), level=level).coverage for seed in range(10)]
    assert abs(np.mean(found) - level) < 0.02


def test_the_half_width_is_the_residual_of_that_rank_in_the_next_fold():
    x, y, folds = made(100, 0)
    found = intervals(x, y, folds, level=0.8)
    assert len(np.unique(found.half_width[folds.test(3)])) == 1
    # A quarter of the noise, a quarter of the width: on the scale of the target.
    smaller = intervals(x, y / 4, folds, level=0.8)
    np.testing.assert_allclose(smaller.half_width, found.half_width / 4, rtol=1e-6)
    np.testing.assert_array_equal(np.abs(y - found.predicted) <= found.half_width, found.inside)


def test_a_fold_has_no_part_in_its_own_interval():
    x, y, folds = made(200, 1)
    here = folds.test(2)
    poisoned = np.where(here, 1e3, y)
    before, after = intervals(x, y, folds), intervals(x, poisoned, folds)
    np.testing.assert_allclose(after.predicted[here], before.predicted[here])
    np.testing.assert_allclose(after.half_width[here], before.half_width[here])


def test_too_few_units_to_promise_anything_give_endless_intervals():
    x, y, folds = made(20, 0)
    assert np.isinf(intervals(x, y, folds, level=0.9).half_width).all()


def test_what_cannot_be_promised():
    x, y, folds = made(60, 0)
    with pytest.raises(ConfigError, match=r"level=1\.5"):
        intervals(x, y, folds, level=1.5)
    with pytest.raises(ConfigError, match="4 folds"):
        intervals(x, y, Folds(of_unit=np.arange(60) % 4))
