"""The flow probe: models and scores against naive loops, and nothing hidden that leaks."""

from dataclasses import replace

import numpy as np
import pytest
import shapely
from scipy import sparse

from mobclip import grid
from mobclip.errors import ConfigError
from mobclip.evaluation import flows as module
from mobclip.evaluation.flows import (
    Answer,
    Pairs,
    Question,
    co_visitation,
    common_part,
    covisits,
    flows,
    gravity,
    ndcg,
    poisson,
    probe,
    radiation,
    score,
)
from mobclip.graph import HeldOut, MobilityGraph, hold_out
from mobclip.probes.pairs import fit_pairs

CELLS = grid.polygon_to_cells(shapely.box(5, 50, 6.2, 51.2), 6)
KIND = np.random.default_rng(7).integers(0, 2, len(CELLS))


def between(cells: np.ndarray) -> np.ndarray:
    """(n, n) km, by one row at a time."""
    lonlat = grid.centers(cells)
    return np.array([grid.distances_km(lonlat, one) for one in lonlat])


@pytest.fixture(scope="module")
def graph() -> MobilityGraph:
    """Gravity, but cells send only to their own kind; some cells send or receive nothing."""
    rng = np.random.default_rng(0)
    km = between(CELLS)
    size = rng.lognormal(0, 1, len(CELLS))
    alike = KIND[:, None] == KIND
    with np.errstate(divide="ignore"):
        mean = 30 * np.outer(size, size) * alike / km**1.5
    np.fill_diagonal(mean, 0)
    trips = rng.poisson(mean)
    trips[3] = 0
    trips[:, 5] = 0
    return MobilityGraph.from_matrix(CELLS, sparse.csr_array(trips.astype(np.float64)))


@pytest.fixture(scope="module")
def held(graph: MobilityGraph) -> HeldOut:
    return hold_out(graph, rng=np.random.default_rng(0))


@pytest.fixture(scope="module")
def questions(held: HeldOut) -> dict[str, Question]:
    return {"flows": flows(held, seed=0), "co-visitation": co_visitation(held, seed=0)}


def vectors_of_kind() -> np.ndarray:
    noise = 0.1 * np.random.default_rng(1).normal(size=(len(CELLS), 3))
    return (noise + np.outer(KIND, [3, 0, 0])).astype(np.float32)


# ---- the questions ---------------------------------------------------------------------------


def test_every_flow_that_is_hidden_from_embeddings_is_asked_for(held, questions):
    question = questions["flows"]
    out, into = held.seen.out_strength, held.seen.in_strength
    n = len(CELLS)
    parts = np.array([held.parts_of(one) for one in range(n)])
    taking_part = np.outer(out > 0, into > 0) & ~np.eye(n, dtype=bool)
    for part, pairs, hidden in (
        (0, question.tested, held.tested),
        (1, question.learned, held.learned),
    ):
        listed = np.zeros((n, n))
        listed[pairs.first, pairs.second] += 1
        expected = taking_part & (parts == part)
        dense = hidden.matrix.toarray()
        if part == 0:
            np.testing.assert_array_equal(listed, expected)
            assert (pairs.weight == 1).all()
        else:  # all with a flow, some without
            np.testing.assert_array_equal(listed * (dense > 0), expected * (dense > 0))
            assert (listed <= expected).all()
            assert listed.sum() < expected.sum()
        np.testing.assert_array_equal(pairs.value, dense[pairs.first, pairs.second])
        np.testing.assert_allclose(pairs.km, between(CELLS)[pairs.first, pairs.second])
        seen = held.seen.matrix.toarray()
        assert not seen[pairs.first, pairs.second].any()
        assert not seen[pairs.second, pairs.first].any()


def test_weights_stand_for_the_empty_pairs_that_were_left_out(held):
    asked = np.array([held.parts_of(one) for one in range(len(CELLS))]) == 1
    asked &= np.outer(held.seen.out_strength > 0, held.seen.in_strength > 0)
    np.fill_diagonal(asked, False)
    km = between(CELLS)[asked]
    drawn = [flows(held, seed=seed).learned for seed in range(4)]
    sums = [[one.weight.sum(), (one.weight * np.log(one.km)).sum()] for one in drawn]
    np.testing.assert_allclose(np.mean(sums, axis=0), [len(km), np.log(km).sum()], rtol=0.03)
    one = drawn[0]
    assert (one.weight[one.value > 0] == 1).all()
    assert one.weight.max() > 3


def test_covisits_are_trips_of_the_same_origins(held):
    dense = held.tested.matrix.toarray()
    values = covisits(held.tested.matrix)
    for d in (0, 17, 100):
        expected = [np.minimum(dense[:, d], dense[:, e]).sum() for e in range(len(CELLS))]
        np.testing.assert_allclose(values(d), expected)


def test_co_visitation_is_over_hidden_flows_and_tested_on_other_pairs_of_parents(held, questions):
    question = questions["co-visitation"]
    hidden = (held.learned.matrix + held.tested.matrix).toarray()
    parents = {}
    for name in ("learned", "tested"):
        pairs = getattr(question, name)
        assert (held.group[pairs.first] == held.group[pairs.second]).all()
        some = slice(0, None, 97)
        first, second = pairs.first[some], pairs.second[some]
        expected = np.minimum(hidden[:, first], hidden[:, second]).sum(axis=0)
        np.testing.assert_allclose(pairs.value[some], expected)
        # Whoever sends to one may send to the other: the same origins are hidden for both.
        for one, other in zip(first.tolist(), second.tolist(), strict=True):
            np.testing.assert_array_equal(held.parts_of(one) < 2, held.parts_of(other) < 2)
        ends = np.sort(np.column_stack([held.parents[pairs.first], held.parents[pairs.second]]))
        parents[name] = {tuple(row) for row in ends.tolist()}
    assert parents["learned"]
    assert parents["tested"]
    assert not parents["learned"] & parents["tested"]


def test_far_candidates_are_left_out_and_sizes_are_bounded(held, monkeypatch):
    monkeypatch.setattr(module, "MOST_CANDIDATES", 7)
    monkeypatch.setattr(module, "MOST_TESTED", 100)
    monkeypatch.setattr(module, "MOST_LEARNED", 50)
    whole, few = flows(held, seed=0).tested, flows(held, seed=0)
    assert 100 <= len(few.tested.first) < 107
    assert 50 <= len(few.learned.first) < 57
    monkeypatch.undo()
    whole = flows(held, seed=0).tested
    one = few.tested.first[0]
    near = np.sort(whole.km[whole.first == one])[:7]
    np.testing.assert_allclose(few.tested.km[few.tested.first == one], near)


def test_a_place_without_hidden_flows_is_refused(held):
    empty = replace(held, tested=MobilityGraph.from_matrix(CELLS, 0 * held.tested.matrix))
    with pytest.raises(ConfigError, match="larger place"):
        flows(empty, seed=0)


# ---- the answers -----------------------------------------------------------------------------


def test_nothing_that_is_tested_changes_a_prediction(held, questions):
    poisoned = replace(
        held, tested=replace(held.tested, weights=held.tested.weights[::-1].copy() * 100)
    )
    there, here = flows(poisoned, seed=0), questions["flows"]
    np.testing.assert_array_equal(there.tested.second, here.tested.second)
    assert (there.tested.value != here.tested.value).any()
    for answer in (gravity, radiation, lambda one: probe(one, vectors_of_kind())):
        np.testing.assert_array_equal(answer(there).log, answer(here).log)
        np.testing.assert_array_equal(answer(there).value, answer(here).value)


def test_radiation_equals_the_naive_loop():
    cells = CELLS[:40]
    rng = np.random.default_rng(0)
    trips = rng.poisson(2, (40, 40)) * (rng.random((40, 40)) < 0.5)
    graph = MobilityGraph.from_matrix(
        cells, sparse.csr_array(np.triu(trips, 1) * 1.0 + np.tril(trips, -1))
    )
    out, into = graph.out_strength.astype(float), graph.in_strength.astype(float)
    lonlat = grid.centers(cells)
    km, size = between(cells), out + into
    pairs = [
        module._pairs_of(i, lonlat, size, into > 0, graph.matrix[[i]].toarray()[0].astype(float),
                         np.inf, rng)
        for i in range(40)
    ]  # fmt: skip
    listed = Pairs(
        **{
            name: np.concatenate([getattr(one, name) for one in pairs])
            for name in Pairs.__dataclass_fields__
        }
    )
    question = Question(
        task="flows", out=out, into=into, learned=listed, tested=listed,
        choosing=np.zeros(len(listed.first), bool),
    )  # fmt: skip
    answer = radiation(question)
    expected = np.zeros((40, 40))
    for i in range(40):
        for j in range(40):
            if i != j and into[j] > 0:
                s = sum(size[k] for k in range(40) if k != i and km[i, k] < km[i, j])
                expected[i, j] = (
                    out[i] * size[i] * size[j] / ((size[i] + s) * (size[i] + size[j] + s))
                )
    expected *= listed.value.sum() / expected.sum()
    np.testing.assert_allclose(answer.value, expected[listed.first, listed.second])
    np.testing.assert_allclose(answer.log, np.log1p(answer.value))


def test_gravity_finds_planted_exponents(questions):
    question = questions["flows"]

    def planted(pairs):
        out, into = question.out[pairs.first], question.into[pairs.second]
        return replace(pairs, value=0.3 * out**0.7 * into**1.2 * pairs.km**-2.1)

    question = replace(question, learned=planted(question.learned), tested=planted(question.tested))
    answer = gravity(question)
    np.testing.assert_allclose(answer.value, question.tested.value, rtol=1e-6)
    scored = score(question, answer)
    assert scored.r2 == pytest.approx(1)
    assert scored.ndcg10 == pytest.approx(1)
    assert scored.cpc == pytest.approx(1)


def test_poisson_equals_scikit_learn():
    from sklearn.linear_model import PoissonRegressor

    rng = np.random.default_rng(0)
    x = np.column_stack([np.ones(500), rng.normal(size=(500, 3)) * [1, 4, 0.2]])
    y = rng.poisson(np.exp(x @ [-2, 1, 0.5, -3])).astype(float)
    weight = rng.uniform(0.5, 30, 500)
    oracle = PoissonRegressor(alpha=0, tol=1e-10, max_iter=10_000)
    oracle.fit(x[:, 1:], y, sample_weight=weight)
    fitted = poisson(x, y, weight)
    np.testing.assert_allclose(fitted, [oracle.intercept_, *oracle.coef_], rtol=1e-4)


def test_an_embedding_that_knows_beats_sizes_and_chance(questions):
    rng = np.random.default_rng(0)
    chance = rng.normal(size=(len(CELLS), 3)).astype(np.float32)
    for task, question in questions.items():
        knowing, sizes, nothing = (
            score(question, probe(question, one)) for one in (vectors_of_kind(), None, chance)
        )
        assert knowing.r2 > sizes.r2 + 0.1, task
        assert knowing.ndcg10 > sizes.ndcg10 + 0.03, task
        assert knowing.r2 > nothing.r2 + 0.1, task
        assert (knowing.cpc is None) == (task == "co-visitation")
    assert score(questions["flows"], gravity(questions["flows"])).r2 > 0


def test_predicted_totals_are_right_where_they_are_known(questions):
    question = questions["flows"]
    question = replace(question, tested=question.learned)
    for answer in (probe(question, None), gravity(question), radiation(question)):
        known = (question.learned.weight * question.learned.value).sum()
        assert (question.learned.weight * answer.value).sum() == pytest.approx(known)


def test_a_co_visitation_has_no_direction(questions):
    question = questions["co-visitation"]
    tested = question.tested
    turned = replace(question, tested=replace(tested, first=tested.second, second=tested.first))
    for answer in (gravity, lambda one: probe(one, vectors_of_kind())):
        np.testing.assert_allclose(answer(question).value, answer(turned).value)


def test_pca_keeps_what_fits_and_features_are_read_in_blocks(questions, monkeypatch):
    vectors = np.random.default_rng(0).normal(size=(len(CELLS), 40)).astype(np.float32)
    for dims, kept in ((5, 5), (40, 32)):
        reduced = module._principal(vectors[:, :dims])
        assert reduced.shape == (len(CELLS), kept)
    five = module._principal(vectors[:, :5])
    np.testing.assert_allclose(
        np.linalg.norm(five[0] - five[1:], axis=1),
        np.linalg.norm(vectors[0, :5] - vectors[1:, :5], axis=1),
        rtol=1e-4,
    )
    question = questions["flows"]
    whole = probe(question, None)
    monkeypatch.setattr(module, "BLOCK", 1000)
    np.testing.assert_array_equal(probe(question, None).value, whole.value)


def test_trees_learn_from_weights_and_not_from_the_pairs_that_stop_them():
    rng = np.random.default_rng(0)
    x = rng.integers(0, 2, (4000, 1)).astype(np.float32)
    y = 3.0 * x[:, 0] + rng.normal(size=4000)
    weight = np.where(y > 1.5, 5.0, 1.0)
    choosing = np.arange(4000) % 5 == 0
    predict = fit_pairs(x, y, weight, choosing)
    for value in (0, 1):
        mine = (x[:, 0] == value) & ~choosing
        expected = np.average(y[mine], weights=weight[mine])
        assert predict(np.array([[value]], np.float32))[0] == pytest.approx(expected, abs=0.05)
    # Noise alone: no tree helps on the others, so the mean is predicted, or little else.
    noise = rng.normal(size=(4000, 30)).astype(np.float32)
    predicted = fit_pairs(noise, y, np.ones(4000), choosing)(noise[choosing])
    assert predicted.std() < 0.2 * y.std()


# ---- the scores ------------------------------------------------------------------------------


def test_common_part_by_hand():
    # min: 2, 0, 3; totals: 2 + 1 + 4 = 7 and 5 + 0 + 3 = 8
    assert common_part(np.array([2.0, 1, 4]), np.array([5.0, 0, 3])) == pytest.approx(2 * 5 / 15)
    assert common_part(np.ones(3), np.ones(3)) == 1
    assert common_part(np.array([1.0, 0]), np.array([0.0, 1])) == 0
    assert np.isnan(common_part(np.zeros(2), np.zeros(2)))


def test_ndcg_by_hand():
    first = np.array([4, 4, 4, 9, 9])
    actual = np.array([3.0, 0, 1, 5, 0])
    predicted = np.array([0.2, 0.9, 0.5, 0.1, 0.3])
    # Cell 4: order 0, 1, 3 gains 1 / log2(3) + 3 / 2; best is 3 + 1 / log2(3). Cell 9 has one
    # partner and is left out.
    expected = (1 / np.log2(3) + 3 / 2) / (3 + 1 / np.log2(3))
    assert ndcg(first, actual, predicted) == pytest.approx(expected)
    assert ndcg(first, actual, predicted, top=1) == 0
    assert ndcg(first, actual, actual) == 1
    assert np.isnan(ndcg(first, np.zeros(5), predicted))


def test_ndcg_equals_scikit_learn_with_ties():
    from sklearn.metrics import ndcg_score

    rng = np.random.default_rng(0)
    first = rng.permutation(np.repeat(np.arange(20), 30))
    actual = rng.poisson(0.4, 600).astype(float)
    predicted = rng.integers(0, 6, 600).astype(float)
    oracle = [
        ndcg_score(actual[None, first == one], predicted[None, first == one], k=10)
        for one in range(20)
        if (actual[first == one] > 0).sum() >= 2
    ]
    assert ndcg(first, actual, predicted) == pytest.approx(np.mean(oracle))


def test_a_score_counts_pairs(questions):
    question = questions["flows"]
    value = question.tested.value
    perfect = score(question, Answer(log=np.log1p(value), value=value))
    assert (perfect.r2, perfect.cpc, perfect.n) == (1, 1, len(value))
    assert perfect.ndcg10 == pytest.approx(1)
    assert perfect.positives == (value > 0).sum()
    mean = np.full(len(value), np.log1p(value).mean())
    assert score(question, Answer(log=mean, value=value)).r2 == pytest.approx(0)
