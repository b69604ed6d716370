"""Ridge by Gram matrices against scikit-learn; folds; honesty of the selection."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn.linear_model import Ridge

from mobclip import grid, probes
from mobclip.embeddings import Embeddings
from mobclip.errors import ConfigError
from mobclip.probes import ALPHAS, LiveRidge, probe, probe_all
from mobclip.probes.ridge import held_out
from mobclip.splits import Folds, block_folds, block_of, random_folds


def naive(features, actual, folds):
    """The same procedure with scikit-learn, refitting every model on its rows."""
    predicted = np.empty_like(actual)
    fold = folds.of_unit
    names = np.arange(folds.count)
    for outer in names:
        best = None
        for scaled in (False, True):
            for alpha in ALPHAS:
                error = 0.0
                for inner in names[names != outer]:
                    model = fit(
                        features, actual, folds.training(int(outer), int(inner)), scaled, alpha
                    )
                    # Units too near to the outer fold have no say in its choice either.
                    judge = (fold == inner) & folds.training(int(outer))
                    error += ((actual[judge] - model(features[judge])) ** 2).sum()
                if best is None or error < best[0] - 1e-9:
                    best = (error, scaled, alpha)
        _, scaled, alpha = best
        model = fit(features, actual, folds.training(int(outer)), scaled, alpha)
        known = actual[folds.training(int(outer))]
        predicted[fold == outer] = model(features[fold == outer]).clip(known.min(), known.max())
    return predicted


def fit(features, actual, train, scaled, alpha):
    spread = features.std(0)  # of all: features are known everywhere, labels are not
    scale = spread if scaled else np.full(len(spread), np.sqrt((spread**2).mean()))
    model = Ridge(alpha=alpha * train.sum()).fit(features[train] / scale, actual[train])
    return lambda x: model.predict(x / scale)


@pytest.mark.parametrize("near", [False, True])
def test_equals_scikit_learn_with_an_unpenalised_intercept(near):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(150, 6)) * [5, 3, 1, 1, 0.3, 0.1] + 7
    y = x @ rng.normal(size=6) + 40 + rng.normal(size=150)
    folds = Folds(
        of_unit=random_folds(150, folds=5, rng=rng),
        near=rng.random((150, 5)) < 0.1 if near else None,
    )
    ours = held_out(x, y[:, None], folds)[:, 0]
    np.testing.assert_allclose(ours, naive(x, y, folds), rtol=1e-6)


def test_quick_scores_are_those_of_the_predictions():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(120, 4)) + 3
    y = x @ rng.normal(size=(4, 3)) + rng.normal(size=(120, 3)) * [0.1, 1, 10] + 5
    folds = Folds(of_unit=random_folds(120, folds=5, rng=rng))
    predicted = held_out(x, y, folds)
    naive_r2 = 1 - ((y - predicted) ** 2).sum(0) / ((y - y.mean(0)) ** 2).sum(0)
    np.testing.assert_allclose(LiveRidge(x, folds).r2(y), naive_r2, atol=1e-6)


def test_a_fold_and_what_is_near_it_are_never_learned_from():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(100, 5)), rng.normal(size=(100, 1))
    near = rng.random((100, 4)) < 0.2
    folds = Folds(of_unit=random_folds(100, folds=4, rng=rng), near=near)
    before = held_out(x, y, folds)
    poisoned = y.copy()
    poisoned[~folds.training(2)] += 1e3 * rng.normal(size=(int((~folds.training(2)).sum()), 1))
    after = held_out(x, poisoned, folds)
    here = folds.test(2)
    np.testing.assert_allclose(after[here], before[here], rtol=1e-6)
    assert (np.abs(after[~here] - before[~here]) > 1).any()


def test_probabilities_stay_probabilities():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(90, 4))
    kind = (x[:, :3] + 0.3 * rng.normal(size=(90, 3))).argmax(1)
    folds = Folds(of_unit=random_folds(90, folds=5, rng=rng))
    predicted = held_out(x, np.eye(3)[kind], folds, kind="class")
    np.testing.assert_allclose(predicted.sum(1), 1)
    assert (predicted > 0).all()
    assert (predicted.argmax(1) == kind).mean() > 0.6


def test_a_dimension_that_varies_only_elsewhere_is_not_blown_up():
    rng = np.random.default_rng(0)
    of_unit = np.arange(200) % 5
    x = rng.normal(size=(200, 3))
    x[:, 2] *= np.where(of_unit == 0, 1.0, 1e-5)  # all but silent where it is learned
    y = x[:, :1] + 0.5 * rng.normal(size=(200, 1))
    predicted = held_out(x, y, Folds(of_unit=of_unit))
    assert np.abs(predicted[of_unit == 0]).max() < 2 * np.abs(y).max()


def test_no_prediction_lies_beyond_what_was_learned_from():
    rng = np.random.default_rng(0)
    of_unit = np.arange(100) % 5
    x = rng.normal(size=(100, 2))
    x[0] = 1e3  # a unit unlike all others
    y = x[:, :1] * np.where(np.arange(100)[:, None] == 0, 0, 1) + 0.1 * rng.normal(size=(100, 1))
    predicted = held_out(x, y, Folds(of_unit=of_unit))
    learned = y[of_unit != 0]
    assert learned.min() <= predicted[0, 0] <= learned.max()


def test_two_folds_leave_nothing_to_choose_on():
    with pytest.raises(ConfigError, match="2 folds: 3 are the least, one"):
        LiveRidge(np.ones((10, 2)), Folds(of_unit=np.arange(10) % 2))


def test_a_constant_dimension_takes_no_part():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(80, 3))
    y = x[:, :1] + rng.normal(size=(80, 1))
    fold = random_folds(80, folds=4, rng=rng)
    with_constant = np.hstack([x, np.zeros((80, 1))])
    a = held_out(x, y, Folds(of_unit=fold))
    b = held_out(with_constant, y, Folds(of_unit=fold))
    np.testing.assert_allclose(a, b, rtol=1e-9)


def test_noise_scores_zero_or_below_and_signal_scores_high(toy_place):
    rng = np.random.default_rng(0)
    target = toy_place.targets["kind"]
    noise = Embeddings(
        name="noise",
        cells=toy_place.cells,
        vectors=rng.normal(size=(len(toy_place.cells), 8)).astype(np.float32),
    )
    for score in probe(noise, target).scores.values():
        assert score.mean < 0.05
    signal = replace(noise, vectors=np.hstack([noise.vectors, target.values[:, None]]).astype("f4"))
    for score in probe(signal, target).scores.values():
        assert score.mean > 0.95


def test_smooth_coordinates_score_less_on_blocks_than_on_random_folds(toy_place):
    # Bumps in space know the neighbours of a labelled cell, and nothing of a place far from labels.
    rng = np.random.default_rng(0)
    lonlat = grid.centers(toy_place.cells)

    def bumps(centres, width):
        away = np.linalg.norm(lonlat[:, None] - lonlat[None, centres], axis=-1)
        return np.exp(-((away / width) ** 2))

    n = len(lonlat)
    field = bumps(rng.choice(n, 20), 0.15) @ rng.normal(size=20)
    target = replace(toy_place.targets["kind"], values=field)
    rings = bumps(rng.choice(n, 40, replace=False), 0.12)
    embeddings = Embeddings(name="smooth", cells=toy_place.cells, vectors=rings.astype(np.float32))
    result = probe(embeddings, target)
    assert result.scores["random"].mean > result.scores["blocks"].mean + 0.03


def test_targets_with_shared_units_give_what_each_gives_alone(toy_place):
    one = toy_place.targets["kind"]
    other = replace(one, name="other", values=one.values**2 + 1)
    rng = np.random.default_rng(0)
    embeddings = Embeddings(
        name="run",
        cells=toy_place.cells,
        vectors=(one.values[:, None] + rng.normal(size=(len(one.values), 5))).astype(np.float32),
    )
    together = {r.target: r for r in probe_all(embeddings, {"kind": one, "other": other})}
    for target in (one, other):
        alone = probe(embeddings, target)
        for protocol, score in alone.scores.items():
            np.testing.assert_allclose(
                score.per_seed, together[target.name].scores[protocol].per_seed, rtol=1e-9
            )


def test_a_unit_of_several_cells_is_the_weighted_mean(toy_place):
    weights = sparse.csr_array(np.array([[0.25, 0.75, 0], [0, 0, 1.0]]))
    target = replace(
        toy_place.targets["kind"],
        unit_ids=np.array(["a", "b"], dtype=object),
        values=np.array([1.0, 2.0]),
        weights=weights,
    )
    np.testing.assert_allclose(target.units_of(np.array([[0.0], [4.0], [7.0]])), [[3.0], [7.0]])
    np.testing.assert_array_equal(target.cell_of_unit(np.array([10, 11, 12], np.uint64)), [11, 12])
    np.testing.assert_array_equal(target.on_cells(), [1.0, 1.0, 2.0])


def test_too_few_units_and_constant_targets_are_refused(toy_place):
    target = toy_place.targets["kind"]
    embeddings = Embeddings(
        name="run", cells=toy_place.cells, vectors=np.ones((len(toy_place.cells), 2), np.float32)
    )
    few = replace(
        target,
        unit_ids=target.unit_ids[:6],
        values=target.values[:6],
        weights=sparse.csr_array(target.weights[:6]),
    )
    with pytest.raises(ConfigError, match="6 labelled units: 5 folds need 20"):
        probe(embeddings, few)
    with pytest.raises(ConfigError, match="everywhere: nothing to learn"):
        probe(embeddings, replace(target, values=np.full(len(target.values), 3.0)))


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), folds=st.integers(2, 6))
def test_folds_cover_everything_and_blocks_stay_whole(toy_place, seed, folds):
    cells = toy_place.cells
    rng = np.random.default_rng(seed)
    for fold in (
        random_folds(len(cells), folds=folds, rng=rng),
        block_folds(cells, folds=folds, rng=rng),
    ):
        assert set(fold.tolist()) == set(range(folds))
    blocks = block_of(cells, folds=folds)
    for block in np.unique(blocks):
        assert len(np.unique(fold[blocks == block])) == 1


def test_seeds_give_different_partitions(toy_place):
    a, b = (
        block_folds(toy_place.cells, folds=5, rng=np.random.default_rng(seed)) for seed in (0, 1)
    )
    assert (a != b).any()


def test_the_penalty_grid_reaches_from_none_to_all():
    assert probes.ALPHAS[0] < 1e-5
    assert probes.ALPHAS[-1] > 10
