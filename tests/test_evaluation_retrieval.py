"""Recall vs area, twins, hierarchical precision: closed forms, loops and scikit-learn."""

from dataclasses import replace

import numpy as np
import pytest
import shapely
from sklearn.metrics import average_precision_score, roc_auc_score

from mobclip import grid
from mobclip.embeddings import Embeddings
from mobclip.errors import ConfigError
from mobclip.evaluation import retrieval
from mobclip.evaluation.retrieval import (
    SHARES,
    Prompts,
    areas_under,
    hierarchical_ap,
    own_recall,
    pooled,
    recall_vs_area,
    text_recall,
    text_ways,
    twin_recall,
)
from mobclip.place import Place
from mobclip.table import CellTable
from mobclip.textmap import TextMap

CELLS = grid.polygon_to_cells(shapely.box(-35, 38, -34.3, 38.7), 6)


def embeddings(vectors):
    return Embeddings(name="run", cells=CELLS, vectors=np.asarray(vectors, np.float32))


# --- recall vs area ---


def test_perfect_and_worst_and_constant_scores():
    areas = np.array([3.0, 1.0, 2.0, 4.0])
    truth = np.array([2])
    best = recall_vs_area(np.array([0.1, 0.2, 0.9, 0.3]), truth, areas)
    assert best.area_under == pytest.approx(1 - 2 / 2 / 10)  # but for half of its own area
    worst = recall_vs_area(-np.array([0.1, 0.2, 0.9, 0.3]), truth, areas)
    assert worst.area_under == pytest.approx(2 / 2 / 10)
    constant = recall_vs_area(np.ones(4), truth, areas)
    assert constant.area_under == pytest.approx(0.5)
    np.testing.assert_allclose(constant.rows(), np.column_stack([SHARES, SHARES]))


def test_random_scores_are_the_diagonal():
    rng = np.random.default_rng(0)
    areas = rng.uniform(1, 5, 4000)
    truth = rng.integers(0, 4000, 3000)
    curve = recall_vs_area(rng.random(4000), truth, areas)
    assert curve.area_under == pytest.approx(0.5, abs=0.02)
    np.testing.assert_allclose([recall for _, recall in curve.rows()], SHARES, atol=0.03)


def test_without_ties_the_curve_is_what_a_loop_finds():
    rng = np.random.default_rng(1)
    scores, areas = rng.normal(size=30), rng.uniform(1, 5, 30)
    truth = rng.integers(0, 30, 50)
    weights = rng.uniform(0, 3, 50)
    curve = recall_vs_area(scores, truth, areas, weights=weights)
    taken = 0.0
    inside = np.zeros(50, bool)
    for point, cell in enumerate(np.argsort(-scores), start=1):
        taken += areas[cell]
        inside |= truth == cell
        assert curve.share[point] == pytest.approx(taken / areas.sum())
        assert curve.recall[point] == pytest.approx(weights[inside].sum() / weights.sum())
    assert curve.share[0] == curve.recall[0] == 0


def test_the_area_under_is_the_mean_over_the_orders_of_a_tie():
    rng = np.random.default_rng(2)
    scores = rng.integers(0, 4, 12).astype(float)
    areas, truth = rng.uniform(1, 9, 12), np.array([0, 3, 3, 7])
    orders = [
        recall_vs_area(scores + 1e-6 * rng.random(12), truth, areas).area_under for _ in range(1000)
    ]
    curve = recall_vs_area(scores, truth, areas)
    assert curve.area_under == pytest.approx(np.mean(orders), abs=4 * np.std(orders) / 1000**0.5)
    # And the chance that a truth stands before a point drawn from the area (Mann and Whitney).
    expected = roc_auc_score(
        np.r_[np.ones(4), np.zeros(12)],
        np.r_[scores[truth], scores],
        sample_weight=np.r_[np.ones(4), areas],
    )
    assert curve.area_under == pytest.approx(expected)


def test_recall_refuses_nonsense():
    for scores, truth, areas in (
        (np.ones(3), np.array([], int), np.ones(3)),
        (np.array([1.0, np.nan, 0.0]), np.array([0]), np.ones(3)),
        (np.ones(3), np.array([0]), np.array([1.0, 0.0, 1.0])),
    ):
        with pytest.raises(ConfigError, match="recall needs"):
            recall_vs_area(scores, truth, areas)


# --- words ---


@pytest.fixture(scope="module")
def islands(app_data):
    return Place.load(app_data / "places" / "islands-r6")


@pytest.fixture(scope="module")
def prompts(islands):
    return Prompts.of(islands)


def test_words_find_the_cells_that_hold_them(islands, prompts):
    rows = text_recall(islands, islands.folder / "runs" / "propagated", prompts)
    by_query = {row["query"]: row for row in rows}
    assert set(by_query) == {"harbour", "farm", "cafe"}
    # Half of the cells hold harbours, in no order among themselves: 0.75 at best.
    assert 0.65 < by_query["harbour"]["area_under"] < 0.9
    assert 0.65 < by_query["farm"]["area_under"] < 0.9
    table = islands.tables["poi"]
    for query, row in by_query.items():
        assert row["points"] == pytest.approx(np.expm1(table.column(f"count_{query}")).sum(), 1e-5)
        assert row["cells"] == (table.column(f"count_{query}") > 0).sum()
        assert row["run"] == "propagated"
        for weighting in ("", "_share"):
            assert row[f"curve{weighting}"][0] == [0.0, 0.0]
            assert row[f"curve{weighting}"][-1] == [1.0, 1.0]
    # A harbour is as far from a farm as can be: any other prompt is worse than none.
    assert by_query["farm"]["null_share"] < 0.5 < by_query["farm"]["area_under_share"]


def test_both_weightings_and_the_null_are_what_a_loop_finds(islands, prompts):
    folder = islands.folder / "runs" / "propagated"
    rows = text_recall(islands, folder, prompts)
    made = Embeddings.load(folder / "embeddings.parquet")
    table = islands.tables["poi"]
    points = np.expm1(table.column("log_total"))
    where = made.rows(table.cells)
    areas = grid.areas_km2(made.cells)
    queries = TextMap.load(folder / "text.safetensors")(prompts.texts)
    scores = {
        name: made.unit() @ (query / np.linalg.norm(query))
        for name, query in zip(prompts.queries, queries, strict=True)
    }
    for row in rows:
        count = np.expm1(table.column(f"count_{row['query']}").astype(np.float64))
        here = count > 0
        for weighting, weights in (("", count), ("_share", count / points)):
            under = {
                name: recall_vs_area(one, where[here], areas, weights=weights[here]).area_under
                for name, one in scores.items()
            }
            assert row[f"area_under{weighting}"] == pytest.approx(under[row["query"]], abs=1e-6)
            others = [value for name, value in under.items() if name != row["query"]]
            assert row[f"null{weighting}"] == pytest.approx(np.mean(others), abs=1e-6)


def test_all_pairs_at_once_are_recall_vs_area_of_each_ties_too():
    rng = np.random.default_rng(6)
    areas = rng.uniform(1, 5, 40)
    scores = rng.integers(0, 6, (40, 3)).astype(float)
    truth = rng.uniform(0, 3, (40, 4)) * (rng.random((40, 4)) < 0.4)
    under = areas_under(scores, truth, areas)
    for prompt in range(3):
        for query in range(4):
            expected = recall_vs_area(
                scores[:, prompt], np.arange(40), areas, weights=truth[:, query]
            )
            assert under[prompt, query] == pytest.approx(expected.area_under)


def test_other_ways_are_beside_the_way_of_the_app(islands, prompts):
    folder = islands.folder / "runs" / "propagated"
    read_off = TextMap.load(folder / "text.safetensors")
    ways = {row["way"]: row for row in text_ways(folder, prompts, lambda text: -read_off(text))}
    assert list(ways) == [
        *("direction, cosine", "direction, dot product", "towers, cosine", "towers, dot product"),
    ]
    rows = text_recall(islands, folder, prompts)
    for name in ("area_under", "area_under_share", "null", "null_share"):
        mean = np.mean([row[name] for row in rows])
        assert ways["direction, cosine"][name] == pytest.approx(mean, abs=1e-6)
        assert ways["towers, cosine"][name] == pytest.approx(1 - mean, abs=1e-3)  # the other way
    assert ways["direction, dot product"]["area_under_share"] > 0.65


def test_runs_without_text_and_codes_have_no_rows(islands, prompts):
    folder = islands.folder / "runs"
    assert text_recall(islands, folder / "none", prompts) == []
    assert text_ways(folder / "none", prompts) == []
    assert text_recall(islands, folder / "propagated", None) == []
    poi = islands.tables["poi"]
    columns = ("count_4bf58dd8d48988d124941735", "count_12", "count_xylophone_maker", "log_total")
    codes = replace(islands)
    codes.__dict__["tables"] = {
        "poi": CellTable(
            modality="poi",
            cells=poi.cells,
            values=np.ones((len(poi.cells), 4), np.float32),
            columns=columns,
        )
    }
    # Codes are no words, and the featurizer of this place knows no xylophones.
    assert Prompts.of(codes) is None


# --- the own cell of a token ---


def test_own_recall_is_what_a_loop_finds_and_the_null_is_of_the_queries_of_others():
    rng = np.random.default_rng(8)
    candidates = rng.normal(size=(60, 6)).astype(np.float32)
    own = rng.permutation(60)[:25]
    queries = (candidates[own] + rng.normal(size=(25, 6))).astype(np.float32)
    found = own_recall(queries, own, candidates, ks=(1, 5, 80))
    unit = candidates / np.linalg.norm(candidates, axis=1, keepdims=True)
    best = np.argsort(-(unit @ queries.T), axis=0)
    for k in (1, 5):
        hits = np.array([[cell in best[:k, query] for cell in own] for query in range(25)])
        assert found[f"recall{k}"] == pytest.approx(np.trace(hits) / 25)
        assert found[f"null{k}"] == pytest.approx((hits.sum() - np.trace(hits)) / (25 * 24))
        assert found[f"chance{k}"] == pytest.approx(k / 60)
    assert [found[f"{name}80"] for name in ("recall", "null", "chance")] == [1, 1, 1]
    assert (found["n"], found["candidates"]) == (25, 60)
    assert found["recall5"] > 3 * found["null5"]


def test_equal_candidates_are_found_by_chance():
    found = own_recall(
        np.ones((4, 3), np.float32), np.arange(4), np.ones((20, 3), np.float32), ks=(1, 7)
    )
    for k in (1, 7):
        assert found[f"recall{k}"] == pytest.approx(k / 20)
        assert found[f"null{k}"] == pytest.approx(k / 20)
    with pytest.raises(ConfigError, match="at least one query"):
        own_recall(np.ones((0, 3), np.float32), np.arange(0), np.ones((2, 3), np.float32))


def test_parts_are_pooled_by_their_queries():
    parts = [
        {"recall1": 1.0, "n": 10, "candidates": 100},
        {"recall1": 0.0, "n": 30, "candidates": 200},
    ]
    assert pooled(parts) == {"recall1": 0.25, "n": 40, "candidates": 175}


# --- twins ---


def test_planted_twins_are_found_and_counted_like_a_loop_does():
    rng = np.random.default_rng(3)
    vectors = rng.normal(size=(len(CELLS), 8))
    row = rng.permutation(len(CELLS))[:40].reshape(-1, 2)
    vectors[row[:, 1]] = vectors[row[:, 0]] + 0.6 * rng.normal(size=(20, 8))
    unknown = grid.polygon_to_cells(shapely.box(10, 50, 10.3, 50.3), 6)[:2]
    pairs = np.vstack([CELLS[row], unknown])
    found = twin_recall(embeddings(vectors), pairs)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    ranks, under = [], []
    areas = grid.areas_km2(CELLS)
    for a, b in [*row, *row[:, ::-1]]:
        order = [cell for cell in np.argsort(-unit @ unit[a]) if cell != a]
        rank = order.index(b)
        ranks.append(rank + 1)
        before = areas[order[:rank]].sum() + areas[b] / 2
        under.append(1 - before / areas[order].sum())
    for k in (1, 10, 100):
        assert found[f"recall{k}"] == pytest.approx((np.array(ranks) <= k).mean())
    assert found["area_under"] == pytest.approx(np.mean(under))
    assert (found["n"], found["left_out"]) == (20, 1)
    assert 0.3 < found["recall10"] < 1
    with pytest.raises(ConfigError, match="none of 1 pairs"):
        twin_recall(embeddings(vectors), unknown[None])


def test_equal_cells_find_their_twin_by_chance():
    found = twin_recall(embeddings(np.ones((len(CELLS), 3))), CELLS[:10].reshape(-1, 2), ks=(1, 7))
    assert found["recall1"] == pytest.approx(1 / (len(CELLS) - 1))
    assert found["recall7"] == pytest.approx(7 / (len(CELLS) - 1))
    assert found["area_under"] == pytest.approx(0.5)


# --- hierarchy ---


def by_definition(vectors, levels):
    """Mean H-AP over all queries, term by term from the relevances."""
    unit = embeddings(vectors).unit()
    ancestors = [grid.parents(CELLS, 6 - up) for up in range(1, levels + 1)]
    values = []
    for query in range(len(CELLS)):
        scores = unit @ unit[query]
        others = [cell for cell in range(len(CELLS)) if cell != query]
        sizes = [sum(bool(of[cell] == of[query]) for cell in others) for of in ancestors]
        rel = {
            cell: sum(
                1 / size for of, size in zip(ancestors, sizes, strict=True) if of[cell] == of[query]
            )
            for cell in others
        }
        total = 0.0
        for k in others:
            if rel[k] == 0:
                continue
            above = [cell for cell in others if scores[cell] >= scores[k]]
            total += sum(min(rel[k], rel[cell]) for cell in above) / len(above)
        if sum(rel.values()) > 0:
            values.append(total / sum(rel.values()))
    return np.mean(values), len(values)


@pytest.mark.parametrize("levels", [1, 2, 3])
def test_hierarchical_ap_is_its_definition(levels):
    rng = np.random.default_rng(4)
    # Whole numbers: some vectors are equal, and their scores tie.
    lonlat = grid.centers(CELLS)
    vectors = np.round(8 * (lonlat - lonlat.mean(0)) + rng.normal(size=(len(CELLS), 2))) + 0.5
    found = hierarchical_ap(embeddings(vectors), levels=levels, rng=np.random.default_rng(0))
    expected, n = by_definition(vectors, levels)
    assert found["map"] == pytest.approx(expected, rel=1e-6)
    assert found["n"] == n
    assert found["levels"] == [5, 4, 3][:levels]
    assert found["chance"] < found["map"]


def test_one_level_is_average_precision():
    rng = np.random.default_rng(5)
    vectors = rng.normal(size=(len(CELLS), 3)).astype(np.float32)
    unit = embeddings(vectors).unit()
    parent = grid.parents(CELLS, 5)
    expected = []
    for query in range(len(CELLS)):
        others = np.arange(len(CELLS)) != query
        same = parent[others] == parent[query]
        if same.any():
            expected.append(average_precision_score(same, (unit @ unit[query])[others]))
    found = hierarchical_ap(embeddings(vectors), levels=1, rng=rng)
    assert found["map"] == pytest.approx(np.mean(expected), rel=1e-6)
    assert found["map"] == pytest.approx(found["chance"], rel=0.3)  # vectors know no place


def test_hierarchical_ap_worked_by_hand():
    # Two cells share the parent (ranks 1 and 4), one more the grandparent alone (rank 2).
    # rel: 1/2 + 1/3 = 5/6 twice, 1/3. H-rank: 5/6; 1/3 + 1/3; 5/6 + 1/3 + 5/6.
    # H-rank/rank: 5/6 + 1/3 + 1/2 = 5/3, over Σ rel = 2: 5/6.
    # And by levels: AP of the parent (1 + 2/4) / 2 = 3/4, of the grandparent
    # (1 + 1 + 3/4) / 3 = 11/12; their mean is 5/6.
    shares = np.array([[True, False, True], [True, True, True]])
    assert retrieval._hap(shares, np.array([1, 2, 4])) == pytest.approx(5 / 6)
    # Nearest first, level by level, is perfect; a level without members does not count.
    assert retrieval._hap(shares, np.array([1, 3, 2])) == 1
    assert retrieval._hap(shares[1:] & shares[:1], np.array([1, 9, 2])) == 1
    assert retrieval._hap(np.vstack([np.zeros(3, bool), shares[1]]), np.array([1, 2, 3])) == 1


def test_hierarchical_ap_refuses_what_has_no_parents():
    with pytest.raises(ConfigError, match="resolution 6 have 1 to 6"):
        hierarchical_ap(
            embeddings(np.ones((len(CELLS), 2))), levels=7, rng=np.random.default_rng(0)
        )
    one = Embeddings(name="run", cells=CELLS[:1], vectors=np.ones((1, 2), np.float32))
    with pytest.raises(ConfigError, match="share an ancestor"):
        hierarchical_ap(one, rng=np.random.default_rng(0))
