"""Logistic regression on probabilities, against scikit-learn."""

from itertools import product

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from mobclip.errors import ConfigError
from mobclip.probes import logistic
from mobclip.splits import Folds, random_folds


def toy(n=150, d=5, classes=3, seed=0, soft=False):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d)) * np.linspace(3, 0.2, d) + rng.normal(size=d)
    score = (x - x.mean(0)) @ rng.normal(size=(d, classes)) + rng.gumbel(size=(n, classes))
    if soft:
        y = np.exp(score) / np.exp(score).sum(1, keepdims=True)
    else:
        y = np.eye(classes)[score.argmax(1)]
    return x, y


def folds_of(n, count=4, seed=0):
    return Folds(of_unit=random_folds(n, folds=count, rng=np.random.default_rng(seed)))


def scikit_learn(x, y, alpha, scaled):
    """The same model: each unit once as each class, weighted by its share."""
    n, classes = y.shape
    mean, deviation = x.mean(0), x.std(0)
    scale = deviation if scaled else np.sqrt((deviation**2).mean())
    # scikit-learn gives two classes one weight vector, the difference of ours.
    strength = (2 if classes == 2 else 1) / (alpha * n)
    model = LogisticRegression(C=strength, tol=1e-9, max_iter=10_000)
    rows, labels = np.nonzero(y)
    model.fit(((x - mean) / scale)[rows], labels, sample_weight=y[rows, labels])
    return lambda new: model.predict_proba((new - mean) / scale)


@pytest.mark.parametrize("soft", [False, True], ids=["classes", "shares"])
@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("scaled", [False, True])
def test_every_penalty_of_a_path_equals_scikit_learn(classes, soft, scaled):
    x, y = toy(classes=classes, soft=soft)
    alphas = np.array([0.3, 1e-2, 1e-4])
    path = logistic.fit_path(x, y, alphas, scaled=scaled)
    ours = np.exp(logistic.log_probabilities(x, path))
    for alpha, probability in zip(alphas, ours, strict=True):
        np.testing.assert_allclose(probability, scikit_learn(x, y, alpha, scaled)(x), atol=1e-4)


def test_held_out_is_the_nested_procedure_written_out(monkeypatch):
    monkeypatch.setattr(logistic, "ALPHAS", np.array([1.0, 1e-2, 1e-4]))
    x, y = toy(n=90, d=4)
    folds = folds_of(90, count=3)
    expected = np.empty_like(y)
    for outer in range(3):
        best = None
        for scaled, alpha in product((False, True), logistic.ALPHAS):
            loss = 0.0
            for inner in {0, 1, 2} - {outer}:
                model = scikit_learn(*of(folds.training(outer, inner), x, y), alpha, scaled)
                test = folds.test(inner)
                loss -= (y[test] * np.log(model(x[test]))).sum()
            if best is None or loss < best[0]:
                best = (loss, alpha, scaled)
        model = scikit_learn(*of(folds.training(outer), x, y), *best[1:])
        expected[folds.test(outer)] = model(x[folds.test(outer)])
    ours = logistic.held_out(x, y, folds, kind="class")
    np.testing.assert_allclose(ours, expected, atol=1e-4)


def of(units, *arrays):
    return [one[units] for one in arrays]


def test_a_fold_and_what_is_near_to_it_teach_nothing_about_it():
    x, y = toy(n=120, soft=True)
    folds = folds_of(120)
    near = np.random.default_rng(1).random((120, folds.count)) < 0.15
    for buffered in (folds, Folds(of_unit=folds.of_unit, near=near)):
        test = buffered.test(2)
        before = logistic.held_out(x, y, buffered, kind="composition")[test]
        poisoned, poison = y.copy(), ~buffered.training(2)
        poisoned[poison] = [0.0, 0.0, 1.0]
        garbage = x.copy()
        garbage[poison & ~test] *= 100
        after = logistic.held_out(garbage, poisoned, buffered, kind="composition")[test]
        np.testing.assert_array_equal(before, after)


def test_rows_are_probabilities_and_follow_their_units():
    x, y = toy(soft=True)
    folds = folds_of(len(x))
    order = np.random.default_rng(2).permutation(len(x))
    ours = logistic.held_out(x, y, folds, kind="composition")
    assert (ours >= 0).all()
    np.testing.assert_allclose(ours.sum(1), 1)
    shuffled = logistic.held_out(
        x[order], y[order], Folds(of_unit=folds.of_unit[order]), kind="composition"
    )
    np.testing.assert_allclose(shuffled, ours[order], atol=1e-5)


def test_noise_gives_the_shares_of_the_training_folds():
    rng = np.random.default_rng(3)
    y = np.eye(3)[rng.choice(3, 300, p=[0.6, 0.3, 0.1])]
    ours = logistic.held_out(rng.normal(size=(300, 6)), y, folds_of(300), kind="class")
    np.testing.assert_allclose(ours.mean(0), y.mean(0), atol=0.03)
    assert ours.std(0).max() < 0.1


def test_a_class_unseen_in_training_and_a_constant_dimension_do_no_harm():
    x, y = toy(n=120)
    x = np.hstack([x, np.full((120, 1), 7.0)])
    folds = folds_of(120)
    only_there = np.zeros((120, 1))
    only_there[np.flatnonzero(folds.test(0))[:3]] = 1
    y = np.hstack([y * (1 - only_there), only_there])
    ours = logistic.held_out(x, y, folds, kind="class")
    assert ours[folds.test(0), 3].min() > 0
    assert 1e-9 < np.median(ours[folds.test(0), 3]) < 1e-5  # ruled out, within reason
    nothing_varies = logistic.held_out(np.ones((120, 2)), y, folds, kind="class")
    np.testing.assert_allclose(
        nothing_varies[folds.test(1)],
        y[folds.training(1)].mean(0)[None].repeat(folds.test(1).sum(), 0),
        atol=1e-4,
    )


def test_numbers_are_refused_and_so_are_folds_that_leave_nobody():
    x, y = toy(n=40)
    with pytest.raises(ConfigError, match="probe numbers by ridge"):
        logistic.held_out(x, y, folds_of(40), kind="number")
    with pytest.raises(ConfigError, match="2 folds: 3 are the least"):
        logistic.held_out(x, y, folds_of(40, count=2), kind="class")
    folds = folds_of(40, count=3)
    everyone = Folds(of_unit=folds.of_unit, near=np.ones((40, 3), bool))
    with pytest.raises(ConfigError, match="nothing is left to learn from"):
        logistic.held_out(x, y, everyone, kind="class")
    # The buffer of fold 0 leaves two units of each other fold, and none of them may choose.
    near = np.zeros((40, 3), bool)
    near[folds.test(1) | folds.test(2), 0] = True
    with pytest.raises(ConfigError, match="nothing is left"):
        logistic.held_out(x, y, Folds(of_unit=folds.of_unit, near=near), kind="class")
