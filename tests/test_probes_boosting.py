"""Boosted trees against LightGBM's own estimators; the paper's protocol against scikit-learn."""

import sys

import lightgbm
import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score, root_mean_squared_error
from sklearn.model_selection import KFold, cross_val_predict, train_test_split

from mobclip.errors import MobclipError
from mobclip.probes import boosting
from mobclip.splits import Folds, random_folds

FIXED = {"deterministic": True, "force_row_wise": True, "verbosity": -1, "n_jobs": 1}


def toy(n=240, d=4, t=2, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d))
    return x, np.sin(2 * x[:, :t]) + 0.2 * rng.normal(size=(n, t))


def classes_of(y):
    return np.eye(3)[np.digitize(y[:, 0], [-0.5, 0.5])]


def folds_of(n, count=3, near=None):
    rng = np.random.default_rng(0)
    return Folds(of_unit=random_folds(n, folds=count, rng=rng), near=near)


@pytest.fixture(autouse=True)
def few_trees(monkeypatch):
    monkeypatch.setattr(boosting, "TREES", 30)
    monkeypatch.setattr(boosting, "PATIENCE", 5)


def by_estimator(estimator, x, y, folds, **settings):
    """Nested choice of the number of trees with LightGBM's own estimators."""
    for outer in range(folds.count):
        inner = 0 if outer else 1  # folds are of one size: the first other
        settings |= boosting.SETTINGS | FIXED | {"random_state": 0}
        learns, chooses = folds.training(outer, inner), folds.test(inner)
        sizing = estimator(n_estimators=boosting.TREES, **settings).fit(
            x[learns],
            y[learns],
            eval_X=x[chooses],
            eval_y=y[chooses],
            callbacks=[lightgbm.early_stopping(boosting.PATIENCE, verbose=False)],
        )
        training = folds.training(outer)
        final = estimator(n_estimators=sizing.best_iteration_, **settings)
        yield folds.test(outer), final.fit(x[training], y[training])


def test_numbers_equal_lightgbms_regressor_column_by_column():
    x, y = toy()
    folds = folds_of(len(x))
    ours = boosting.held_out(x, y, folds)
    for column in range(2):
        for test, model in by_estimator(lightgbm.LGBMRegressor, x, y[:, column], folds):
            np.testing.assert_allclose(ours[test, column], model.predict(x[test]), rtol=1e-6)
    assert r2_score(y, ours) > 0.4


def test_classes_equal_lightgbms_multiclass(monkeypatch):
    # Under an objective of one's own, LightGBM draws other dimensions for each tree: use all.
    monkeypatch.setattr(boosting, "SETTINGS", boosting.SETTINGS | {"feature_fraction": 1.0})
    x, y = toy()
    y = classes_of(y)
    folds = folds_of(len(x))
    ours = boosting.held_out(x, y, folds, kind="class")
    for test, model in by_estimator(lightgbm.LGBMClassifier, x, y.argmax(1), folds):
        np.testing.assert_allclose(ours[test], model.predict_proba(x[test]), atol=1e-9)


def test_shares_are_learned_as_shares():
    x, y = toy(n=400)
    shares = np.exp(2 * np.hstack([y, np.zeros((400, 1))]))
    shares /= shares.sum(1, keepdims=True)
    ours = boosting.held_out(x, shares, folds_of(400), kind="composition")
    np.testing.assert_allclose(ours.sum(1), 1)
    assert (ours > 0).all()
    assert r2_score(shares, ours) > 0.6


def test_units_too_few_for_a_tree_are_given_the_mean_of_the_others():
    x, y = toy(n=20)
    folds = folds_of(20, count=5)
    for kind, actual in (("number", y), ("class", classes_of(y))):
        ours = boosting.held_out(x, actual, folds, kind=kind)
        for i in range(5):
            mean = actual[folds.training(i)].mean(0)
            np.testing.assert_allclose(ours[folds.test(i)], np.tile(mean, (4, 1)), atol=1e-5)


@pytest.mark.parametrize("kind", ["number", "class"])
def test_a_fold_and_what_is_near_to_it_teach_nothing_about_it(kind):
    x, y = toy()
    if kind == "class":
        y = classes_of(y)
    near = np.random.default_rng(1).random((len(x), 3)) < 0.1
    folds = folds_of(len(x), near=near)
    test, poison = folds.test(1), ~folds.training(1)
    before = boosting.held_out(x, y, folds, kind=kind)[test]
    poisoned, garbage = y.copy(), x.copy()
    poisoned[poison] = np.roll(y[poison], 1, axis=1) if kind == "class" else 1e6
    garbage[poison & ~test] = 1e6
    after = boosting.held_out(garbage, poisoned, folds, kind=kind)[test]
    np.testing.assert_array_equal(before, after)


def test_repeats_exactly_on_any_number_of_threads_and_follows_units(monkeypatch):
    monkeypatch.setattr(boosting, "TREES", 4)  # threads that wait for each other are slow
    x, y = toy(t=1)
    folds = folds_of(len(x))
    once, again = (boosting.held_out(x, y, folds, threads=threads) for threads in (1, 2))
    np.testing.assert_array_equal(once, again)
    order = np.random.default_rng(2).permutation(len(x))
    shuffled = boosting.held_out(x[order], y[order], Folds(of_unit=folds.of_unit[order]))
    np.testing.assert_allclose(shuffled, once[order], rtol=1e-6)


def test_progress_is_told_after_each_fold_of_each_target():
    x, y = toy()
    told = []
    boosting.held_out(x, y, folds_of(len(x)), on_step=lambda *step: told.append(step))
    assert told == [(done, 6) for done in range(1, 7)]
    told.clear()
    y = np.abs(y) / np.abs(y).sum(1, keepdims=True)
    boosting.held_out(
        x,
        y,
        folds_of(len(x)),
        kind="composition",
        on_step=lambda *step: told.append(step),
    )
    assert told == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize(("level", "leaves", "least"), [("grid", 63, 30), ("county", 31, 50)])
def test_papers_protocol_for_cells_and_counties(monkeypatch, level, leaves, least):
    x, y = toy(n=500)
    y = y[:, 0]
    assert boosting.PAPER_TREES == 1000
    monkeypatch.setattr(boosting, "PAPER_TREES", 150)
    told = []
    gaps = np.r_[y, np.nan, np.nan]
    ours = boosting.paper_protocol(
        np.vstack([x, x[:2]]), gaps, level=level, on_step=lambda *step: told.append(step), threads=1
    )
    x_train, x_test, y_train, y_test = train_test_split(x, y, test_size=0.2, random_state=42)
    model = lightgbm.LGBMRegressor(
        objective="regression",
        learning_rate=0.05,
        max_depth=7,
        n_estimators=150,
        num_leaves=leaves,
        min_child_samples=least,
        random_state=42,
        **FIXED,
    ).fit(x_train, y_train)
    assert ours["r2"] == pytest.approx(r2_score(y_test, model.predict(x_test)))
    assert ours["rmse"] == pytest.approx(root_mean_squared_error(y_test, model.predict(x_test)))
    assert (ours["n"], ours["probe"]) == (500, "lightgbm")
    assert told[0] == (1, 150)
    assert told[-1] == (150, 150)


def test_papers_protocol_for_cities():
    x, y = toy(n=60)
    y = y[:, 0]
    told = []
    ours = boosting.paper_protocol(x, y, level="city", on_step=lambda *step: told.append(step))
    predicted = cross_val_predict(Ridge(alpha=1), x, y, cv=KFold(5, shuffle=True, random_state=42))
    assert ours["r2"] == pytest.approx(r2_score(y, predicted))
    assert ours["rmse"] == pytest.approx(root_mean_squared_error(y, predicted))
    assert (ours["n"], ours["probe"]) == (60, "ridge")
    assert told == [(done, 5) for done in range(1, 6)]


def test_a_machine_without_openmp_is_told_what_to_install(tmp_path, monkeypatch):
    (tmp_path / "lightgbm.py").write_text(
        "raise OSError('libgomp.so.1: cannot open shared object file')"
    )
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.split(".")[0] == "lightgbm"]:
        monkeypatch.delitem(sys.modules, name)
    x, y = toy()
    with pytest.raises(MobclipError, match=r"libgomp\.so\.1: cannot.*apt-get install libgomp1"):
        boosting.held_out(x, y, folds_of(len(x)))
