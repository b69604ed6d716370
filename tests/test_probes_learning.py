"""Budgets of labels: nested, honest, and what a curve is made of."""

import time
from itertools import pairwise

import numpy as np
import pytest
import shapely
from threadpoolctl import threadpool_limits

from mobclip import grid
from mobclip.errors import ConfigError
from mobclip.probes import ridge
from mobclip.probes.conformal import intervals
from mobclip.probes.learning import LEAST, budgets, curve, learned, learners
from mobclip.probes.local_intervals import local_intervals
from mobclip.probes.scores import folds_of
from mobclip.splits import Folds


@pytest.fixture(scope="module")
def world() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cells, features and a number that follows three of them."""
    rng = np.random.default_rng(0)
    cells = grid.polygon_to_cells(shapely.box(-35, 38, -33, 39.5), 6)
    features = rng.normal(size=(len(cells), 12)) @ rng.normal(size=(12, 12))
    actual = features[:, :3].sum(1, keepdims=True) + rng.normal(size=(len(cells), 1))
    return cells, features, actual


@pytest.fixture(scope="module")
def blocks(world) -> Folds:
    return Folds(of_unit=folds_of(world[0], protocol="blocks", seed=0))


def test_a_larger_budget_only_adds_labels(blocks: Folds) -> None:
    shares = (0.001, 0.1, 0.25, 0.6, 1.0)
    known = [learners(blocks, share=share, seed=3) for share in shares]
    for less, more in pairwise(known):
        assert (more[less]).all()
        assert more.sum() > less.sum()
    assert known[-1].all()
    assert known[0].sum() == LEAST * blocks.count
    assert known[2].sum() == pytest.approx(0.25 * len(blocks.of_unit), abs=blocks.count)
    assert (learners(blocks, share=0.25, seed=4) != known[2]).any()


def test_all_labels_are_the_probe_as_it_was(world, blocks: Folds) -> None:
    _, features, actual = world
    whole = learned(features, actual, blocks, kind="number")
    np.testing.assert_array_equal(whole.predicted, ridge.held_out(features, actual, blocks))
    assert whole.labels == pytest.approx(0.8 * len(actual), rel=0.05)


def test_labels_outside_of_the_budget_change_nothing(world, blocks: Folds) -> None:
    _, features, actual = world
    known = learners(blocks, share=0.2)
    other = np.where(known[:, None], actual, 1e6)
    one = learned(features, actual, blocks, kind="number", share=0.2)
    two = learned(features, other, blocks, kind="number", share=0.2)
    np.testing.assert_array_equal(one.predicted, two.predicted)
    # Of known ones neither do those of the fold that is predicted.
    hidden = np.where((blocks.of_unit == 1)[:, None], -50.0, actual)
    three = learned(features, hidden, blocks, kind="number", share=0.2)
    here = blocks.test(1)
    np.testing.assert_allclose(one.predicted[here], three.predicted[here], rtol=1e-9)


def test_a_share_of_the_labels_is_a_ridge_of_those_units(world, blocks: Folds) -> None:
    """Against scikit-learn, with a given penalty."""
    from sklearn.linear_model import Ridge

    _, features, actual = world
    known = learners(blocks, share=0.3)
    found = learned(features, actual, blocks, kind="number", share=0.3, alpha=0.1)
    x, deviation = features, features[known].std(0)
    close = []
    for scale in (deviation, np.sqrt((deviation**2).mean())):
        learn = known & blocks.training(0)
        model = Ridge(alpha=0.1 * learn.sum()).fit((x / scale)[learn], actual[learn, 0])
        expected = np.clip(
            model.predict((x / scale)[blocks.test(0)]), actual[learn].min(), actual[learn].max()
        )
        close.append(np.allclose(found.predicted[blocks.test(0), 0], expected, atol=1e-8))
    assert any(close)


def test_classes_stay_probabilities(world, blocks: Folds) -> None:
    _, features, actual = world
    one_hot = np.eye(3)[np.digitize(actual[:, 0], [-2, 2])]
    found = learned(features, one_hot, blocks, kind="class", share=0.2)
    np.testing.assert_allclose(found.predicted.sum(1), 1)
    assert found.predicted.min() >= 0
    assert found.score == found.metrics["f1"] > 0.5


def test_a_slider_is_answered_while_it_moves() -> None:
    """20,000 cells, 128 numbers, both protocols: about 0.35 s of one idle core."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(20_000, 128))
    actual = features[:, :1] + rng.normal(size=(20_000, 1))
    both = [Folds(of_unit=rng.permutation(20_000) % 5) for _ in range(2)]
    started = time.process_time()
    with threadpool_limits(1, "blas"):
        for folds in both:
            learned(features, actual, folds, kind="number", share=0.75)
    assert time.process_time() - started < 1.0  # twice the promise, for busy machines


def test_the_curve_rises_and_ends_at_all_labels(world) -> None:
    cells, features, actual = world
    points = list(curve(features, actual, cells, kind="number", subsets=(0, 1)))
    assert {one.protocol for one in points} == {"random", "blocks"}
    of_blocks = [one for one in points if one.protocol == "blocks"]
    assert [one.share for one in of_blocks] == budgets(len(actual))
    labels = [one.labels for one in of_blocks]
    assert labels == sorted(labels)
    assert labels[0] < 0.1 * labels[-1]
    assert np.mean(of_blocks[-1].scores) > np.mean(of_blocks[0].scores) + 0.1
    assert len(of_blocks[0].scores) == 2
    assert len(of_blocks[-1].scores) == 1  # there is one way of knowing them all
    folds = Folds(of_unit=folds_of(cells, protocol="blocks", seed=0))
    assert of_blocks[-1].scores[0] == learned(features, actual, folds, kind="number").score


def test_intervals_are_wide_where_the_noise_is(world, blocks: Folds) -> None:
    _, features, actual = world
    rng = np.random.default_rng(1)
    loud = features[:, 5] > np.median(features[:, 5])
    noisy = actual[:, 0] + np.where(loud, 6.0, 0.5) * rng.normal(size=len(actual))
    found = local_intervals(features, noisy, blocks, level=0.9)
    assert 0.85 < found.coverage < 0.95
    assert np.median(found.half_width[loud]) > 1.5 * np.median(found.half_width[~loud])
    # Of one width for all, those in the noise break the promise that the others keep for them.
    plain = intervals(features, noisy, blocks, level=0.9)
    worst, worst_plain = (one.inside[loud].mean() for one in (found, plain))
    assert worst > worst_plain
    with pytest.raises(ConfigError, match="between 0 and 1"):
        local_intervals(features, noisy, blocks, level=90.0)


def test_intervals_see_nothing_of_the_fold_that_they_are_for(world, blocks: Folds) -> None:
    _, features, actual = world
    other = np.where(blocks.test(2), 1e3, actual[:, 0])
    one, two = (local_intervals(features, y, blocks) for y in (actual[:, 0], other))
    here = blocks.test(2)
    np.testing.assert_array_equal(one.half_width[here], two.half_width[here])
