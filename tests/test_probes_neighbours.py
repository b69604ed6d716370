"""Nearest neighbours against scikit-learn, refitted for every choice."""

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsRegressor

from mobclip.probes import neighbours
from mobclip.splits import Folds, random_folds


def toy(n=160, d=12, t=3, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d))
    return x, np.sin(x[:, :t]) + 0.3 * rng.normal(size=(n, t))


def folds_of(n, count=4, near=None):
    rng = np.random.default_rng(0)
    return Folds(of_unit=random_folds(n, folds=count, rng=rng), near=near)


def naive(x, y, folds, kind):
    """Every candidate refitted by scikit-learn on its rows."""

    def given(k, training, test):
        model = KNeighborsRegressor(k, algorithm="brute").fit(x[training], y[training])
        plain = model.predict(x[test])
        return plain if kind == "number" else (k * plain + y[training].mean(0)) / (k + 1)

    predicted = np.empty_like(y)
    for outer in range(folds.count):
        errors = []
        for k in neighbours.NEIGHBOURS:
            error = np.zeros(y.shape[1])
            for inner in set(range(folds.count)) - {outer}:
                test = folds.test(inner) & folds.training(outer)
                guess = given(k, folds.training(outer, inner), test)
                if kind == "number":
                    error += ((y[test] - guess) ** 2).sum(0)
                else:
                    error -= (y[test] * np.log(np.maximum(guess, 1e-6))).sum()
            errors.append(error)
        for column, best in enumerate(np.argmin(errors, axis=0)):
            k = neighbours.NEIGHBOURS[best]
            test = folds.test(outer)
            predicted[test, column] = given(k, folds.training(outer), test)[:, column]
    return predicted


@pytest.mark.parametrize("buffered", [False, True], ids=["plain", "buffered"])
@pytest.mark.parametrize("kind", ["number", "class", "composition"])
@pytest.mark.parametrize("d", [3, 12], ids=["tree", "blocks"])
def test_equals_scikit_learn_in_the_nested_procedure(monkeypatch, d, kind, buffered):
    monkeypatch.setattr(neighbours, "BLOCK", 7)
    monkeypatch.setattr(neighbours, "NEIGHBOURS", (1, 2, 4, 8, 16))
    x, y = toy(d=d)
    if kind == "composition":
        y = np.exp(3 * y) / np.exp(3 * y).sum(1, keepdims=True)
    elif kind == "class":
        y = np.eye(3)[y.argmax(1)]
    near = np.random.default_rng(1).random((160, 4)) < 0.1 if buffered else None
    folds = folds_of(160, near=near)
    ours = neighbours.held_out(x, y, folds, kind=kind)
    np.testing.assert_allclose(ours, naive(x, y, folds, kind), atol=1e-9)


@pytest.mark.parametrize("d", [3, 12], ids=["tree", "blocks"])
def test_a_fold_and_what_is_near_to_it_teach_nothing_about_it(d):
    x, y = toy(d=d)
    near = np.random.default_rng(1).random((160, 4)) < 0.1
    for folds in (folds_of(160), folds_of(160, near=near)):
        test = folds.test(1)
        poisoned = y.copy()
        poisoned[~folds.training(1)] = np.nan
        before = neighbours.held_out(x, y, folds)[test]
        after = neighbours.held_out(x, poisoned, folds)[test]
        np.testing.assert_array_equal(before, after)
        assert np.isfinite(after).all()


def test_predictions_follow_their_units():
    x, y = toy()
    folds = folds_of(160)
    order = np.random.default_rng(2).permutation(160)
    shuffled = neighbours.held_out(x[order], y[order], Folds(of_unit=folds.of_unit[order]))
    np.testing.assert_allclose(shuffled, neighbours.held_out(x, y, folds)[order], atol=1e-9)


def test_how_many_is_chosen_for_each_number_and_once_for_probabilities():
    rng = np.random.default_rng(3)
    x = rng.uniform(size=(400, 2))
    copied, noise = x[:, :1], rng.normal(size=(400, 1))
    ours = neighbours.held_out(x, np.hstack([copied, noise]), folds_of(400))
    assert np.corrcoef(ours[:, 0], copied[:, 0])[0, 1] > 0.98  # few neighbours
    assert ours[:, 1].std() < 0.3  # many
    shares = np.exp(np.hstack([copied, noise]))
    shares /= shares.sum(1, keepdims=True)
    ours = neighbours.held_out(x, shares, folds_of(400), kind="composition")
    np.testing.assert_allclose(ours.sum(1), 1)
    assert (ours > 0).all()


def test_scaling_one_dimension_changes_who_is_near():
    # The geometry is the caller's: nothing is standardised behind its back.
    x, y = toy(d=12)
    folds = folds_of(160)
    stretched = x * np.r_[100.0, np.ones(11)]
    assert (neighbours.held_out(stretched, y, folds) != neighbours.held_out(x, y, folds)).any()
    np.testing.assert_allclose(
        neighbours.held_out(8 * x + 3, y, folds), neighbours.held_out(x, y, folds), atol=1e-9
    )


def test_fewer_units_than_neighbours():
    x, y = toy(n=12)
    ours = neighbours.held_out(x, y, folds_of(12, count=3))
    assert np.isfinite(ours).all()
