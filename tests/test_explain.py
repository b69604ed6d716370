"""Why two places are alike: naive loops over the evidence, weights, trust, names, a search."""

from types import SimpleNamespace

import numpy as np
import pytest

from mobclip import grid, pipeline
from mobclip.baselines import Features
from mobclip.embeddings import Embeddings
from mobclip.explain import (
    Agreements,
    Gazetteer,
    answer,
    bins,
    categories,
    neighbours_kept,
    partners,
    weighted,
)
from mobclip.explain.telling import people_in_words
from mobclip.graph import MobilityGraph
from mobclip.place import Place
from mobclip.projection import overlap
from mobclip.search import Query, SimilarityIndex
from mobclip.session import Selection
from mobclip.table import CellTable


@pytest.fixture(scope="module")
def features(toy_place):
    return Features(toy_place)


@pytest.fixture(scope="module")
def agreements(toy_place, features):
    return Agreements(toy_place, features)


def query(place, like, unlike=()):
    return Query(
        like=tuple(int(place.cells[i]) for i in like),
        unlike=tuple(int(place.cells[i]) for i in unlike),
    )


def unit(vector):
    return vector / np.linalg.norm(vector)


# ---- agreement


def test_agreement_is_the_cosine_of_the_evidence_in_a_naive_loop(toy_place, features, agreements):
    has_poi = toy_place.present["poi"]
    one, other = np.flatnonzero(has_poi)[:2]
    without = int(np.flatnonzero(~has_poi)[0])
    asked = [one, without, other]
    found = agreements.of(query(toy_place, asked, [40]))
    assert set(found) == set(toy_place.modalities) == {"mobility", "poi", "demographics"}
    for name, scores in found.items():
        values, present = features.of(name).values, toy_place.present[name]
        like = np.mean([unit(values[i]) for i in asked if present[i]], axis=0)
        against = unit(values[40]) if present[40] else 0
        vector = like - 0.5 * against
        for row in range(len(toy_place.cells)):
            if not present[row]:
                assert np.isnan(scores[row])
            else:
                assert scores[row] == pytest.approx(unit(values[row]) @ unit(vector), abs=1e-4)


def test_where_the_asked_cell_has_no_evidence_nothing_agrees(toy_place, agreements):
    without = int(np.flatnonzero(~toy_place.present["poi"])[0])
    found = agreements.of(query(toy_place, [without]))
    assert np.isnan(found["poi"]).all()
    assert found["demographics"][without] == pytest.approx(1)
    assert agreements.of(Query(towards=(np.ones(3, np.float32),))) == {}


# ---- weights


def test_even_weights_leave_the_ranking_of_the_embedding(toy_place, agreements):
    own = np.random.default_rng(0).normal(size=len(toy_place.cells)).astype(np.float32)
    of = agreements.of(query(toy_place, [3]))
    for same in ({}, dict.fromkeys(of, 0.4), dict.fromkeys(of, 0.0)):
        np.testing.assert_array_equal(weighted(own, of, same), own)
    # Weights of what the query lacks do not count as uneven.
    lacking = {**of, "poi": np.full(len(own), np.nan, np.float32)}
    np.testing.assert_array_equal(weighted(own, lacking, {"poi": 0.0}), own)


@pytest.mark.parametrize("weights", [{"poi": 0.0}, {"poi": 0.25, "mobility": 0.5}])
def test_weights_mix_as_written(toy_place, agreements, weights):
    own = np.random.default_rng(0).normal(size=len(toy_place.cells)).astype(np.float32)
    row = int(np.flatnonzero(toy_place.present["poi"])[3])
    of = agreements.of(query(toy_place, [row]))
    found = weighted(own, of, weights)
    all_weights = {name: weights.get(name, 1.0) for name in of}
    uneven = 1 - min(all_weights.values()) / max(all_weights.values())
    for i in range(len(own)):
        known = {name: float(of[name][i]) for name in of if np.isfinite(of[name][i])}
        mean = sum(all_weights[n] * known[n] for n in known) / sum(all_weights.values())
        assert found[i] == pytest.approx((1 - uneven) * own[i] + uneven * mean, abs=1e-5)


def test_a_modality_alone_ranks_by_it_alone(toy_place, agreements):
    of = agreements.of(query(toy_place, [3]))
    own = np.zeros(len(toy_place.cells), np.float32)
    found = weighted(own, of, {"mobility": 0.0, "poi": 0.0})
    np.testing.assert_allclose(found, of["demographics"], atol=1e-6)


def test_twenty_thousand_cells_are_weighed_at_once():
    """150 ms for 20,000 cells and 733 columns is asked for; ten times that fails."""
    import time

    rng = np.random.default_rng(0)
    n = 20_000
    cells = grid.children(grid.points_to_cells(lon=np.zeros(1), lat=np.zeros(1), resolution=2), 8)
    cells = cells[:n]
    widths = {"mobility": 258, "poi": 169, "imagery": 265, "demographics": 41}
    made = {name: rng.normal(size=(n, width)).astype(np.float32) for name, width in widths.items()}
    place = SimpleNamespace(
        cells=cells, modalities=tuple(widths), present={name: np.ones(n, bool) for name in widths}
    )
    features = SimpleNamespace(of=lambda name: SimpleNamespace(values=made[name]))
    agreements = object.__new__(Agreements)
    Agreements.__init__.__wrapped__(agreements, place, features)
    asked = Query(like=(int(cells[5]),))
    times = []
    for _ in range(3):
        start = time.perf_counter()
        weighted(np.ones(n, np.float32), agreements.of(asked), {"imagery": 0.2})
        times.append(time.perf_counter() - start)
    assert min(times) < 1.5


# ---- reasons


@pytest.fixture
def islands(app_data):
    return Place.load(app_data / "places" / "islands-r6")


def test_shared_categories_are_those_of_a_naive_loop(islands):
    table = islands.tables["poi"]
    names = [one.removeprefix("count_") for one in table.columns if one.startswith("count_")]
    points = {name: np.expm1(table.column(f"count_{name}")) for name in names}
    counts = {
        int(cell): {name: points[name][i] for name in names} for i, cell in enumerate(table.cells)
    }
    everything = {name: sum(one[name] for one in counts.values()) for name in names}
    usual = {name: everything[name] / sum(everything.values()) for name in names}

    def lift(cells, name):
        here = {one: sum(counts[c][one] for c in cells) for one in names}
        return (here[name] + 5 * usual[name]) / (sum(here.values()) + 5) / usual[name]

    found_some = 0
    for asked in range(0, 40, 7):
        for row in range(1, 60, 9):
            cells = [int(islands.cells[i]) for i in (asked, row)]
            if not all(cell in counts for cell in cells):
                continue
            expected = {
                name
                for name in names
                if all(counts[c][name] > 0.5 and lift([c], name) > 1 for c in cells)
            }
            found = categories(islands, np.array([asked]), row)
            assert {one.name for one in found} == expected
            for one in found:
                assert one.lift == pytest.approx(lift(cells[1:], one.name), rel=1e-4)
                assert one.lift_asked == pytest.approx(lift(cells[:1], one.name), rel=1e-4)
                assert one.points == pytest.approx(counts[cells[1]][one.name], abs=1e-3)
            worst = [min(one.lift, one.lift_asked) for one in found]
            assert worst == sorted(worst, reverse=True)
            found_some += len(found)
    assert found_some > 10


def test_without_examples_the_result_speaks_for_itself(islands):
    west = int(np.flatnonzero(islands.present["poi"])[20])
    (first, *_) = categories(islands, np.zeros(0, np.int64), west)
    assert first.lift > 1
    assert first.lift_asked is None
    assert not first.is_code


def test_bins_in_which_both_are_high(islands):
    features = Features(islands)
    table = islands.tables["demographics"]
    here = islands.present["demographics"]
    values, _ = table.aligned(islands.cells)
    mean, std = values[here].mean(0), values[here].std(0)
    high = (values - mean) / std
    for asked, row in ((15, 30), (15, 90), (40, 41)):
        expected = {table.columns[i] for i in range(3) if min(high[asked, i], high[row, i]) >= 0.5}
        found = bins(features, np.array([asked]), row)
        assert {one.column for one in found} == expected
        for one in found:
            i = table.columns.index(one.column)
            assert one.value == pytest.approx(values[row, i], rel=1e-5)
            assert one.asked == pytest.approx(values[asked, i], rel=1e-5)
            assert one.usual == pytest.approx(mean[i], rel=1e-4)
            assert one.kind == "share"
    assert bins(features, np.array([15]), 3) == []  # the first cells have no demographics
    assert bins(features, np.array([3]), 15, least=-9.0)[0].asked is None


def test_partners_are_cells_both_send_to_and_get_from(toy_place):
    cells = toy_place.cells
    flows = {
        (0, 5): 6,
        (5, 0): 2,
        (0, 7): 2,
        (1, 5): 1,
        (1, 7): 3,
        (8, 1): 4,
        (0, 1): 50,
        (9, 0): 1,
    }
    origin, destination = (np.array([cells[pair[i]] for pair in flows]) for i in (0, 1))
    graph = MobilityGraph.from_edges(cells, origin, destination, np.array([*flows.values()], float))
    found = partners(graph, np.array([0]), 1)
    assert [one.row for one in found] == [7, 5]  # not each other, not what one of them has alone
    total = {0: 6 + 2 + 2 + 50 + 1, 1: 1 + 3 + 4 + 50}
    assert found[1].share == pytest.approx(1 / total[1])
    assert found[1].asked == pytest.approx(8 / total[0])
    alone = partners(graph, np.zeros(0, np.int64), 1)
    assert [one.row for one in alone] == [0, 8, 7, 5]
    assert alone[0].asked is None
    assert partners(graph, np.array([0]), 20) == []


# ---- names, trust


def test_names_are_found_and_name_cells(islands):
    names = Gazetteer(islands.context)
    assert [one.name for one in names.places] == ["Westport"]
    assert names.find("  WESTPORT ").lat == -20.1
    assert names.find("harbour") is None
    name, km = names.near(np.array([-30.35, -20.0]))
    assert (name, km) == ("Westport", pytest.approx(11.12, abs=0.02))
    assert Gazetteer(None).near(np.zeros(2)) is None


def test_the_larger_of_two_places_of_one_name_is_meant_whatever_its_accents():
    def town(name, lon, people):
        return {
            "properties": {"kind": "city", "name": name, "population": people},
            "geometry": {"type": "Point", "coordinates": [lon, 0.0]},
        }

    coast = {"properties": {"kind": "coast"}, "geometry": {"type": "Polygon", "coordinates": []}}
    names = Gazetteer({"features": [coast, town("São Luís", 1, 10), town("Sao Luis", 2, 99)]})
    assert names.find("sao luis").lon == 2


def test_neighbours_kept_is_the_overlap_of_the_maps(toy_place):
    rng = np.random.default_rng(0)
    one = rng.normal(size=(len(toy_place.cells), 5)).astype(np.float32)
    other = one + 0.5 * rng.normal(size=one.shape).astype(np.float32)
    spaces = [
        Embeddings(name=n, cells=toy_place.cells, vectors=v) for n, v in (("a", one), ("b", other))
    ]
    indexes = [SimilarityIndex(space) for space in spaces]
    expected = overlap(*spaces, k=20)
    for row in (0, 17, 200):
        kept, of = neighbours_kept(*indexes, int(toy_place.cells[row]))
        assert of == 20
        assert kept / of == pytest.approx(float(expected[row]))
    assert 3 < 20 * expected.mean() < 19
    part = Embeddings(name="c", cells=toy_place.cells[1:], vectors=one[1:])
    assert neighbours_kept(indexes[0], SimilarityIndex(part), int(toy_place.cells[0])) is None


# ---- a whole search


def test_a_selection_is_answered_as_by_hand(islands):
    cells = grid.to_strings(islands.cells)
    index = SimilarityIndex(Embeddings.load(islands.folder / "runs/propagated/embeddings.parquet"))
    base = Selection(run="propagated", cell=cells[40], count=10)
    found = answer(islands, base)
    np.testing.assert_array_equal(found.cells, index.like_cell(islands.cells[40], 10).cells)
    assert answer(islands, Selection(run="propagated")) is None

    area = tuple(cells[60:90])
    narrow = Selection(run="propagated", cell=cells[40], count=10, inside=True, apart=8.0)
    inside = answer(islands, narrow, area)
    assert set(grid.to_strings(inside.cells)) <= set(area)
    assert inside.km.min() > 8
    assert len(answer(islands, narrow).cells) == 10  # nothing is drawn: everywhere

    by_people = Selection(run="propagated", cell=cells[40], count=10, weights=("poi:0",))
    scores = Agreements(islands).of(query(islands, [40]))["demographics"]
    mixed = answer(islands, by_people)
    assert mixed.rows.tolist() != found.rows.tolist()
    np.testing.assert_allclose(mixed.scores, scores[mixed.rows], atol=1e-6)

    words = answer(islands, Selection(run="propagated", query="harbour -cafe", count=10))
    assert (grid.centers(words.cells)[:, 0] < -30).mean() > 0.9
    assert np.isfinite(words.chance).all()


@pytest.mark.real
def test_real_chicago_says_why(mirror, manifest_path, tmp_path):
    """Real categories, people and flows: what is said to be shared is high in both."""
    workspace = pipeline.Workspace.open(manifest=manifest_path, data=tmp_path, mirror=mirror)
    place = pipeline.tokenize(workspace, workspace.spec("chicago", resolution=8))
    features = Features(place)
    everything = np.flatnonzero(np.all(list(place.present.values()), axis=0))
    asked, row = everything[[10, 40]]
    of = Agreements(place, features).of(query(place, [asked]))
    assert all(-1 <= of[name][row] <= 1 for name in place.modalities)
    for one in categories(place, np.array([asked]), int(row)):
        assert min(one.lift, one.lift_asked) > 1
        assert min(one.points, one.points_asked) > 0.5
    for one in bins(features, np.array([asked]), int(row)):
        assert one.value > one.usual or one.kind == "density"
    assert all(0 < one.share <= 1 for one in partners(place.graph, np.array([asked]), int(row)))


def test_tables_without_categories_have_none(toy_place):
    assert categories(toy_place, np.array([0]), 1) == []
    bare = CellTable(
        modality="poi",
        cells=toy_place.cells[:2],
        values=np.ones((2, 1), np.float32),
        columns=("count_4bf58dd8d48988d116941735",),
    )
    place = toy_place.varied("bare", modalities=("poi",), tables={"poi": bare})
    assert categories(place, np.zeros(0, np.int64), 1) == []  # as many as usual


def test_columns_of_people_in_words(islands, toy_place):
    assert people_in_words(islands) == {
        f"hist_age_{one}": f"aged {one}" for one in ("young", "middle", "old")
    }
    assert people_in_words(toy_place.varied("no people", modalities=("poi",))) == {}
