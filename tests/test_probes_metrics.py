"""Scores against scikit-learn, scipy and sums written out."""

import numpy as np
import pytest
from scipy.stats import dirichlet, entropy, spearmanr
from sklearn import metrics as oracle

from mobclip.errors import ConfigError
from mobclip.probes.metrics import PRIMARY, classification, composition, regression, score


def simplex(rng, n, parts, sharpness=1.0):
    return rng.dirichlet(np.full(parts, sharpness), n)


def test_regression_equals_scikit_learn_and_scipy():
    rng = np.random.default_rng(0)
    actual = rng.poisson(3, 200).astype(float)  # with ties
    predicted = np.round(actual + rng.normal(size=200), 1)
    ours = regression(actual, predicted)
    assert ours["r2"] == pytest.approx(oracle.r2_score(actual, predicted))
    assert ours["rmse"] == pytest.approx(oracle.root_mean_squared_error(actual, predicted))
    assert ours["mae"] == pytest.approx(oracle.mean_absolute_error(actual, predicted))
    assert ours["spearman"] == pytest.approx(spearmanr(actual, predicted).statistic)


def test_what_is_constant_has_no_r2_and_orders_nothing():
    varied, constant = np.arange(5.0), np.full(5, 2.0)
    assert regression(varied, constant)["spearman"] == 0
    assert regression(varied, constant)["r2"] == 0
    assert np.isnan(regression(constant, varied)["r2"])
    assert np.isnan(regression(constant, varied)["spearman"])


@pytest.mark.parametrize("classes", [2, 5])
def test_classification_equals_scikit_learn(classes):
    rng = np.random.default_rng(1)
    truth = np.r_[np.arange(classes), rng.integers(0, classes, 300)]
    probability = simplex(rng, len(truth), classes) + np.eye(classes)[truth]
    probability = np.round(probability, 1)  # ties
    probability /= probability.sum(1, keepdims=True)
    ours = classification(np.eye(classes)[truth], probability)
    if classes == 2:
        area = oracle.roc_auc_score(truth, probability[:, 1])
    else:
        area = oracle.roc_auc_score(truth, probability, multi_class="ovr", average="macro")
    assert ours["auc"] == pytest.approx(area)
    chosen = probability.argmax(1)
    assert ours["f1"] == pytest.approx(oracle.f1_score(truth, chosen, average="macro"))


def test_a_class_that_does_not_occur_is_not_scored():
    rng = np.random.default_rng(2)
    truth = rng.integers(0, 3, 100)
    probability = simplex(rng, 100, 4)
    ours = classification(np.eye(4)[truth], probability)
    areas = [oracle.roc_auc_score(truth == one, probability[:, one]) for one in range(3)]
    assert ours["auc"] == pytest.approx(np.mean(areas))
    f1 = oracle.f1_score(truth, probability.argmax(1), labels=[0, 1, 2], average="macro")
    assert ours["f1"] == pytest.approx(f1)
    alone = classification(np.eye(3)[np.zeros(9, int)], simplex(rng, 9, 3))
    assert np.isnan(alone["auc"])


def test_calibration_error_is_that_of_a_loop_over_bins():
    rng = np.random.default_rng(3)
    truth = rng.integers(0, 3, 500)
    probability = simplex(rng, 500, 3)
    probability[:20] = [1, 0, 0]
    confidence, right = probability.max(1), probability.argmax(1) == truth
    expected = 0.0
    for low in np.arange(10) / 10:
        inside = (confidence > low) & (confidence <= low + 0.1)
        if inside.any():
            expected += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    assert classification(np.eye(3)[truth], probability)["ece"] == pytest.approx(expected)


def test_one_who_says_seven_of_ten_and_is_right_in_seven_of_ten_is_calibrated():
    actual = np.eye(2)[np.r_[np.ones(7, int), np.zeros(3, int)]]
    assert classification(actual, np.full((10, 2), [0.3, 0.7]))["ece"] == pytest.approx(0)
    assert classification(actual, np.full((10, 2), [0.1, 0.9]))["ece"] == pytest.approx(0.2)


def test_divergence_is_scipys_and_the_mean_shares_have_no_skill():
    rng = np.random.default_rng(4)
    actual, predicted = simplex(rng, 50, 4), simplex(rng, 50, 4, 5.0)
    actual[0] = [0, 0, 1, 0]
    ours = composition(actual, predicted)
    expected = np.mean([entropy(a, p) for a, p in zip(actual, predicted, strict=True)])
    assert ours["kl"] == pytest.approx(expected, rel=1e-4)  # the floor of 1e-6
    mean = np.tile(actual.mean(0), (50, 1))
    assert composition(actual, mean)["skill"] == pytest.approx(0, abs=1e-9)
    perfect = composition(actual, actual)
    assert perfect["kl"] == pytest.approx(0, abs=1e-5)
    assert perfect["skill"] == pytest.approx(1, abs=1e-5)
    assert perfect["dirichlet_nll"] < ours["dirichlet_nll"]


def test_a_part_wrongly_ruled_out_costs_much_but_not_everything():
    actual = np.array([[1.0, 0.0], [0.0, 1.0]])
    ours = composition(actual, 1 - actual)
    assert ours["kl"] == pytest.approx(-np.log(1e-6), rel=1e-4)


def test_density_is_scipys_at_the_best_precision():
    rng = np.random.default_rng(5)
    n, parts = 400, 3
    predicted = simplex(rng, n, parts, 4.0)
    actual = np.array([rng.dirichlet(30 * row) for row in predicted])
    ours = composition(actual, predicted)["dirichlet_nll"]
    moved = (actual * (n - 1) + 1 / parts) / n

    def nll(precision):
        return -np.mean(
            [
                dirichlet.logpdf(y / y.sum(), precision * p)
                for y, p in zip(moved, predicted / predicted.sum(1, keepdims=True), strict=True)
            ]
        )

    assert ours == pytest.approx(min(nll(precision) for precision in np.arange(26, 35)), abs=2e-3)
    assert ours < nll(10)
    assert ours < nll(90)


def test_scores_do_not_depend_on_the_order_of_units():
    rng = np.random.default_rng(6)
    order = rng.permutation(60)
    shares, guesses = simplex(rng, 60, 3), simplex(rng, 60, 3)
    for kind, actual, predicted in (
        ("number", shares[:, :1], guesses[:, :1]),
        ("class", np.eye(3)[shares.argmax(1)], guesses),
        ("composition", shares, guesses),
    ):
        before = score(kind, actual, predicted)
        after = score(kind, actual[order], predicted[order])
        assert after == pytest.approx(before)
        assert PRIMARY[kind] in before


def test_score_goes_by_kind_and_numbers_go_one_by_one():
    two = np.eye(2)[[0, 1, 1, 0]]
    assert score("binary", two, two)[PRIMARY["binary"]] == 1
    with pytest.raises(ConfigError, match="2 columns of numbers"):
        score("number", two, two)
