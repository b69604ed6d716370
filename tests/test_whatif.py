"""What if: an edited cell against the whole place embedded again, and naive loops."""

from dataclasses import replace

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from mobclip import grid
from mobclip.baselines import spatial_kernel
from mobclip.config import FusionConfig
from mobclip.embeddings import Embeddings, unit_rows
from mobclip.errors import CellError, ConfigError
from mobclip.featurizers.tfidf import Tfidf
from mobclip.fusion import GONE, HIDDEN, KNOWN, STATES, Fusion, Network
from mobclip.fusion.evidence import Evidence
from mobclip.graph import MobilityGraph
from mobclip.modalities import poi
from mobclip.place import Target, save_place
from mobclip.probes import probe
from mobclip.records import PointRecords
from mobclip.table import CellTable
from mobclip.whatif import (
    Bench,
    Edits,
    Plane,
    Points,
    Token,
    disagreement,
    influence,
    people_seen,
    points_seen,
    telling_cell,
    trips_seen,
    what_if,
)
from mobclip.whatif.edits import histograms, moved_shares

CELLS = grid.polygon_to_cells(shapely.box(-35, 38, -34.2, 38.8), 6)  # about 150
N = len(CELLS)
CATEGORIES = ("cafe", "fish_market", "bar", "school")


def points_of(rng, *, names: bool) -> PointRecords:
    """Points in two thirds of the cells; of some kinds more in the west."""
    cells = rng.choice(np.flatnonzero(np.arange(N) % 3 > 0), 6 * N)
    lonlat = grid.centers(CELLS)[cells]
    category = np.array(CATEGORIES, object)[rng.integers(0, 4, len(cells))]
    text = np.array(["", "royal", "golden lion"], object)[rng.integers(0, 3, len(cells))]
    return PointRecords(
        source="venues",
        lon=lonlat[:, 0],
        lat=lonlat[:, 1],
        text=text if names else np.full(len(cells), "", object),
        category=category,
        weight=np.ones(len(cells)),
    )


def made(folder, *, names: bool):
    rng = np.random.default_rng(4)
    records = points_of(rng, names=names)
    featurizer = Tfidf(dims=6)
    west = grid.centers(CELLS)[:, 0] < -34.6
    people = rng.dirichlet([2, 3, 1], N) + 2 * np.eye(3)[west.astype(int)]
    homes = rng.dirichlet([4, 2], N)
    some = np.arange(N) % 5 > 0
    ends = rng.integers(0, N - 20, (2, 900))  # the last cells have no flows
    tables = {
        "poi": poi.tokenize([records], CELLS, featurizer),
        "imagery": CellTable(
            modality="imagery",
            cells=CELLS[30:],
            values=rng.normal(size=(N - 30, 4)).astype(np.float32) + west[30:, None],
            columns=tuple(f"image_{i:03d}" for i in range(4)),
        ),
        "demographics": CellTable(
            modality="demographics",
            cells=CELLS[some],
            values=np.column_stack([people / 3, homes, rng.normal(5, 1, N)])[some].astype("f4"),
            columns=(
                "hist_age_0_19", "hist_age_20_64", "hist_age_65_up",
                "hist_home_owned", "hist_home_rented", "log_population",
            ),
        ),
    }  # fmt: skip
    units = np.arange(0, N, 2)
    targets = {
        "light": Target(
            name="light", title="Light", unit="nW", level="cell",
            unit_ids=np.array(grid.to_strings(CELLS[units]), object),
            values=np.exp(rng.normal(1 + west[units], 0.3)),
            weights=sparse.eye_array(N, format="csr")[units], transform="log1p",
        ),
        "coast": Target(
            name="coast", title="Coast", unit="", level="cell", kind="binary",
            unit_ids=np.array(grid.to_strings(CELLS), object),
            values=(west ^ (rng.random(N) < 0.2)).astype(float),
            weights=sparse.eye_array(N, format="csr"),
        ),
        "few": Target(
            name="few", title="Few", unit="", level="cell",
            unit_ids=np.array(["a", "b"], object), values=np.array([1.0, 2.0]),
            weights=sparse.eye_array(N, format="csr")[:2],
        ),
    }  # fmt: skip
    place = save_place(
        folder,
        name="bay",
        title="Bay",
        resolution=6,
        cells=CELLS,
        tables=tables,
        graph=MobilityGraph.from_edges(
            CELLS, CELLS[ends[0]], CELLS[ends[1]], rng.integers(1, 9, 900).astype(float)
        ),
        targets=targets,
        provenance={"key": "bay", "sources": {}},
        featurizers={"poi": featurizer},
    )
    return place, records


@pytest.fixture(scope="module")
def bay(tmp_path_factory):
    return made(tmp_path_factory.mktemp("whatif") / "bay-r6", names=False)


@pytest.fixture(scope="module")
def place(bay):
    return bay[0]


@pytest.fixture(scope="module")
def fusion(place):
    """With a network of random weights: what a trained one does, but louder."""
    fitted = Fusion.fit([place], FusionConfig(dims=12))
    rng = np.random.default_rng(5)
    inputs = len(fitted.modalities) * (fitted.dims + STATES)
    shapes = {"inner": (inputs, 20), "inner_bias": (20,), "outer": (20, 12), "outer_bias": (12,)}
    weights = {
        name: (rng.normal(size=shape) / np.sqrt(shape[0])).astype(np.float32)
        for name, shape in shapes.items()
    }
    return replace(fitted, network=Network(**weights))


@pytest.fixture(scope="module")
def bench(fusion, place):
    return Bench(fusion, place)


def with_token(place, name, row, token):
    """The place with another token at one cell: what the edit has to be the same as."""
    table = place.tables[name]
    values, present = table.aligned(place.cells)
    values[row], present[row] = token.values, token.present
    return place.varied(
        "edited",
        tables={
            **place.tables,
            name: replace(table, cells=place.cells[present], values=values[present]),
        },
    )


# ---- exactness


def test_without_an_edit_every_cell_is_where_the_model_puts_it(bench, fusion, place):
    expected = fusion.embed(place)
    for row in range(0, N, 4):
        found = bench.what_if(int(CELLS[row]), Edits())
        np.testing.assert_allclose(found.before, expected[row], atol=2e-6)
        assert np.array_equal(found.before, found.after)
        assert found.cosine == 1
        assert not found.unusual
        assert found.around.scores.min() > 1 - 1e-6


@pytest.mark.parametrize("state", [GONE, HIDDEN])
@pytest.mark.parametrize("name", ["mobility", "poi", "imagery", "demographics"])
def test_leaving_a_modality_out_is_what_the_model_does_without_it(
    bench, fusion, place, name, state
):
    expected = fusion.embed(place, states={name: state})
    known = fusion.embed(place)
    for row in range(0, N, 7):
        found = bench.what_if(int(CELLS[row]), Edits(states={name: state}))
        np.testing.assert_allclose(found.after, expected[row], atol=5e-6)
        np.testing.assert_allclose(found.before, known[row], atol=5e-6)
    assert np.abs(expected - known).max() > 0.01


@pytest.mark.parametrize(
    ("row", "points"),
    [(40, {"cafe": 20}), (41, {"cafe": -100, "bar": 7}), (50, {"royal": 3}), (46, {"bar": 2})],
)
def test_edited_points_are_as_the_place_with_that_token(bench, fusion, place, row, points):
    had = bool(place.present["poi"][row])
    edits = Edits(points=points)
    token, _ = bench.edited("poi", row, edits)
    other = with_token(place, "poi", row, token)
    expected, before = fusion.embed(other), fusion.embed(place)
    found = bench.what_if(int(CELLS[row]), edits)
    np.testing.assert_allclose(found.after, expected[row], atol=5e-6)
    assert found.cosine < 1 - 1e-5
    # The two rings around: exact where the cell had points before.
    rows, _ = grid.locate(CELLS, found.around.cells)
    ring = grid.disk(CELLS[[row]], 2)[1]
    assert set(found.around.cells) == set(np.intersect1d(ring, CELLS)) - {CELLS[row]}
    moved = np.einsum("ij,ij->i", unit_rows(before[rows]), unit_rows(expected[rows]))
    np.testing.assert_allclose(found.around.scores, moved, atol=1e-6 if had else 2e-3)
    assert moved.min() < 1 - 1e-6


def test_points_taken_to_none_are_none(bench, fusion, place):
    row = 40
    everything = dict.fromkeys(CATEGORIES, -1000)
    nothing = np.zeros(len(place.tables["poi"].columns), np.float32)
    other = with_token(place, "poi", row, Token(values=nothing, present=False))
    found = bench.what_if(int(CELLS[row]), Edits(points=everything))
    np.testing.assert_allclose(found.after, fusion.embed(other)[row], atol=5e-6)
    assert "none" in " ".join(found.notes)
    assert [one.what for one in found.off] == ["embedding"]


def test_moved_shares_are_as_the_place_with_that_token(bench, fusion, place):
    row = 42
    edits = Edits(shares={"hist_age_65_up": 0.6, "hist_home_rented": 0.0})
    token, _ = bench.edited("demographics", row, edits)
    expected = fusion.embed(with_token(place, "demographics", row, token))
    found = bench.what_if(int(CELLS[row]), edits)
    np.testing.assert_allclose(found.after, expected[row], atol=5e-6)


@pytest.mark.parametrize("times", [0.0, 0.25, 6.0])
def test_multiplied_flows_are_read_off_the_multiplied_graph(bench, fusion, place, times):
    row = 25
    graph = place.graph
    scale = np.ones(N)
    scale[row] = times
    flows = sparse.diags_array(scale)
    other = MobilityGraph.from_matrix(
        CELLS, sparse.csr_array(flows @ graph.matrix.astype(np.float64) @ flows)
    )
    values, columns, _ = fusion.flow_map.of(other)
    token, _ = bench.edited("mobility", row, Edits(flows=times))
    np.testing.assert_allclose(token.values, values[row], atol=2e-5)
    assert token.present == (times > 0)
    # The cell alone is changed: its partners' tokens stay.
    reader = fusion.readers["mobility"]
    own, present, trust = fusion.read(place, "mobility")
    own, present, trust = own.copy(), present.copy(), trust.copy()
    own[row] = reader(values, other.present, columns, what="")[row]
    present[row] = times > 0
    trust[row] = reader.trust(values, columns, thin=fusion.settings.thin)[row]
    one = Evidence.gather(own, present, spatial_kernel(CELLS), trust)
    states = np.full((N, len(fusion.modalities)), KNOWN, np.int8)
    votes = fusion.votes(place, (KNOWN,)).chosen(np.arange(N), states)
    votes[:, fusion.modalities.index("mobility")] = fusion.said("mobility", one)
    found = bench.what_if(int(CELLS[row]), Edits(flows=times))
    np.testing.assert_allclose(found.after, fusion.combine(votes, states)[row], atol=1e-5)


def test_what_cannot_be_is_refused(bench, fusion, place):
    with pytest.raises(CellError, match="not a cell of bay"):
        bench.what_if(int(grid.disk(CELLS[:1], 30)[1].max()), Edits())
    with pytest.raises(ConfigError, match="no modality 'smell'"):
        bench.what_if(int(CELLS[0]), Edits(states={"smell": GONE}))
    with pytest.raises(ConfigError, match="embed the place again"):
        Bench(fusion, place, Embeddings(name="x", cells=CELLS, vectors=np.ones((N, 3), "f4")))
    assert (
        "no demographics"
        in bench.what_if(int(CELLS[0]), Edits(shares={"hist_age_65_up": 0.5})).notes[0]
    )
    last = bench.what_if(int(CELLS[-1]), Edits(flows=2))
    assert "No trip" in last.notes[0]
    assert last.cosine == 1


def test_a_model_of_several_places_is_asked_for_what_it_was_given(place):
    both = Fusion.fit([place, place.varied("again")], FusionConfig(dims=6))
    assert both.modalities == ("mobility", "demographics")  # no other means the same in both
    bench = Bench(both, place)
    expected = both.embed(place)
    assert bench.editable == {"demographics"}
    found = bench.what_if(int(CELLS[41]), Edits(shares={"hist_age_65_up": 0.7}, flows=3.0))
    np.testing.assert_allclose(found.before, expected[41], atol=5e-6)
    token, _ = bench.edited("demographics", 41, found.edits)
    other = both.embed(with_token(place, "demographics", 41, token))
    np.testing.assert_allclose(found.after, other[41], atol=5e-6)
    assert any("trips stay" in one for one in found.notes)


# ---- tokens


def test_without_names_the_words_follow_exactly(bay):
    place, records = bay
    row = 40
    lonlat = grid.centers(CELLS[[row]])[0]
    more = PointRecords(
        source="more",
        lon=np.full(5, lonlat[0]),
        lat=np.full(5, lonlat[1]),
        text=np.full(5, "", object),
        category=np.full(5, "fish_market", object),
        weight=np.ones(5),
    )
    from mobclip import featurizers

    featurizer = featurizers.load(place.folder / "featurizers" / "poi")
    whole = poi.tokenize([records, more], CELLS, featurizer)
    values, _ = place.tables["poi"].aligned(CELLS)
    token, said = Points(place).edited(Token(values=values[row], present=True), {"fish_market": 5})
    order = [whole.columns.index(one) for one in place.tables["poi"].columns]
    np.testing.assert_allclose(token.values, whole.aligned(CELLS)[0][row, order], atol=2e-5)
    assert not said


def test_with_names_the_words_are_estimated_and_nearer_than_if_they_stayed(tmp_path):
    place, records = made(tmp_path / "named-r6", names=True)
    points = Points(place)
    values, present = place.tables["poi"].aligned(CELLS)
    from mobclip import featurizers

    featurizer = featurizers.load(place.folder / "featurizers" / "poi")
    texts = dict(zip(*poi.documents([records], CELLS), strict=True))
    better, cells = 0, np.flatnonzero(present)[:40]
    for row in cells:
        token, said = points.edited(Token(values=values[row], present=True), {"school": 12})
        truth = featurizer([texts[CELLS[row]] + "\nschool" * 12])[0]
        found, was = token.values[points.text], values[row, points.text]
        assert np.linalg.norm(found) == pytest.approx(1, abs=1e-4)
        assert "estimate" in said[0]
        better += found @ truth > was @ truth
    assert better > 36
    assert points.choices == tuple(
        one.removeprefix("count_") for one in place.tables["poi"].columns if "count_" in one
    )
    assert points.words_of_text(featurizer(["golden lion"])[0], 2) == ["golden", "lion"]


def test_counts_stay_counts(place):
    points = Points(place)
    values, _ = place.tables["poi"].aligned(CELLS)
    columns = place.tables["poi"].columns
    bar, total = columns.index("count_bar"), columns.index("log_total")
    token, _ = points.edited(Token(values=values[40], present=True), {"bar": -1e6, "cafe": 3})
    bars, all_before = np.expm1(values[40, bar]), np.expm1(values[40, total])
    assert token.values[bar] == 0
    assert np.expm1(token.values[total]) == pytest.approx(all_before - bars + 3, rel=1e-4)


@given(
    share=st.floats(0, 1),
    values=st.lists(st.floats(0, 1), min_size=3, max_size=3).filter(lambda v: sum(v) > 0.1),
)
def test_shares_still_sum_to_one(share, values):
    columns = ("hist_age_young", "hist_age_grown", "hist_age_old")
    even = np.array(values, np.float32) / np.float32(sum(values))
    token, _ = moved_shares(
        Token(values=even, present=True), columns, {"age": (0, 1, 2)}, {columns[1]: share}
    )
    assert token.values.sum() == pytest.approx(1, abs=1e-5)
    assert token.values[1] == pytest.approx(share, abs=1e-5)
    if even[0] + even[2] > 1e-3 and share < 1:
        before, after = even[[0, 2]], token.values[[0, 2]]
        np.testing.assert_allclose(after / after.sum(), before / before.sum(), atol=1e-4)


def test_histograms_are_what_sums_to_one(place):
    table = place.tables["demographics"]
    assert histograms(table.columns, table.values) == {"age": (0, 1, 2), "home": (3, 4)}
    assert histograms(("hist_age_a", "hist_age_b"), np.full((9, 2), 0.3, "f4")) == {}


@given(
    points=st.dictionaries(
        st.text(min_size=1, max_size=12).filter(lambda one: "\x00" not in one),
        st.integers(-500, 500).filter(bool),
        max_size=3,
    ),
    share=st.floats(0, 1),
    flows=st.sampled_from([0.0, 0.5, 1.0, 4.0]),
    state=st.sampled_from([GONE, HIDDEN]),
)
def test_edits_survive_a_link(points, share, flows, state):
    edits = Edits(
        points=points, shares={"hist_a_b": round(share, 3)}, flows=flows, states={"poi": state}
    )
    lines = edits.to_text()
    assert not any("," in one for one in lines)
    assert Edits.from_text(lines) == edits
    assert Edits.from_text(("nonsense", "points:x:y", "flows:nan", "share:2")) == Edits()


# ---- what it means


def test_predictions_before_are_the_held_out_ones(bench, fusion, place):
    embeddings = bench.embeddings
    light, coast = (
        probe(embeddings, place.targets[name], seeds=(0,)) for name in ("light", "coast")
    )
    for unit, row in list(enumerate(range(0, N, 2)))[::4]:
        found = {
            one.target.name: one for one in bench.what_if(int(CELLS[row]), Edits()).predictions
        }
        assert set(found) == {"light", "coast"}  # of two units nothing can be learned
        expected = place.targets["light"].untransformed(light.predicted[[unit]])
        np.testing.assert_allclose(found["light"].before, expected, rtol=1e-4)
        np.testing.assert_allclose(found["coast"].before, coast.predicted[row], atol=1e-5)
        assert np.array_equal(found["light"].before, found["light"].after)


def test_a_cell_without_a_unit_has_the_model_that_left_its_block_out(bench, place):
    model = next(one for one in bench._learned._models if one.target.name == "light")
    light = place.targets["light"]
    cells = light.cell_of_unit(CELLS)
    from mobclip.probes import folds_of
    from mobclip.splits import block_of

    of_unit = folds_of(cells, protocol="blocks", seed=0)
    blocks = block_of(cells, folds=5)
    parents = grid.parents(CELLS, grid.resolution_of(blocks))
    for row in range(N):
        learned = {int(one) for one in blocks[of_unit != model.fold[row]]}
        assert int(parents[row]) not in learned


def test_the_nearest_cells_are_those_of_the_highest_cosine(bench):
    found = bench.what_if(int(CELLS[60]), Edits(points={"bar": 30}))
    unit = bench.embeddings.unit()
    for vector, matches in (
        (found.before, found.nearest_before),
        (found.after, found.nearest_after),
    ):
        scores = unit @ vector / np.linalg.norm(vector)
        scores[60] = -2
        expected = np.argsort(-scores)[:10]
        np.testing.assert_array_equal(matches.cells, CELLS[expected])
        np.testing.assert_allclose(matches.scores, scores[expected], atol=1e-5)


def test_far_off_is_said_and_counted_by_a_naive_loop(bench, fusion, place):
    wild = bench.what_if(int(CELLS[40]), Edits(points={"bar": 100_000}))
    assert "poi" in {one.what for one in wild.unusual}
    mild = bench.what_if(int(CELLS[40]), Edits(points={"bar": 1}))
    assert not mild.unusual
    own, present, _ = fusion.read(place, "poi")
    rows = np.flatnonzero(present)

    def gap(vector, row):
        return min(float(np.linalg.norm(vector - own[j])) for j in rows if j != row)

    gaps = np.array([gap(own[row], row) for row in rows])
    off = next(one for one in mild.off if one.what == "poi")
    token, _ = bench.edited("poi", 40, mild.edits)
    after, _, _ = bench._read("poi", token)
    assert off.distance == pytest.approx(gap(after, 40), rel=1e-3)
    assert off.percentile == pytest.approx(100 * np.mean(gaps < gap(after, 40)), abs=1.5)
    assert off.before == pytest.approx(100 * np.mean(gaps < gap(own[40], 40)), abs=1.5)


def test_more_than_any_cell_has_is_said(bench, place):
    cell = int(CELLS[40])
    counts = np.expm1(place.tables["poi"].column("count_bar"))
    found = {one.column: one for one in bench.what_if(cell, Edits(points={"bar": 50})).beyond}
    assert set(found) == {"count_bar", "log_total"}
    assert found["count_bar"].most == pytest.approx(counts.max(), rel=1e-4)
    here = counts[grid.locate(place.tables["poi"].cells, CELLS[[40]])[0][0]]
    assert found["count_bar"].value == pytest.approx(here + 50, rel=1e-4)
    assert not bench.what_if(cell, Edits(points={"bar": -1})).beyond
    (share,) = bench.what_if(int(CELLS[41]), Edits(shares={"hist_age_0_19": 1.0})).beyond
    assert share.value == pytest.approx(1)
    flows = bench.what_if(int(CELLS[25]), Edits(flows=50.0)).beyond
    assert {one.column for one in flows} == {"log_outflow", "log_inflow"}
    assert flows[0].most == pytest.approx(place.graph.out_strength.max(), rel=1e-4)


def test_one_call_for_one_edit(bench, fusion, place):
    edits = Edits(points={"cafe": 2}, states={"imagery": GONE})
    once = what_if(fusion, place, int(CELLS[7]), edits)
    np.testing.assert_array_equal(once.after, bench.what_if(int(CELLS[7]), edits).after)


def test_alike_in_one_modality(bench, fusion, place):
    own, present, _ = fusion.read(place, "imagery")
    found = bench.alike("imagery", int(CELLS[50]), 4)
    away = np.array([np.linalg.norm(own[50] - one) for one in own])
    away[~present] = np.inf
    away[50] = np.inf
    assert found.tolist() == CELLS[np.argsort(away)[:4]].tolist()
    assert len(bench.alike("imagery", int(CELLS[3]))) == 0


# ---- maps


def test_influence_is_the_distance_from_the_embedding_without(fusion, place):
    steps = []
    found = influence(fusion, place, lambda done, total: steps.append((done, total)))
    whole = fusion.embed(place)
    size = np.sqrt(np.mean([one @ one for one in whole]))
    assert set(found) == set(place.modalities)
    for name, values in found.items():
        without = fusion.embed(place, states={name: GONE})
        expected = [np.linalg.norm(a - b) / size for a, b in zip(whole, without, strict=True)]
        np.testing.assert_allclose(values, expected, rtol=1e-3, atol=1e-5)
    assert steps[-1] == (8, 8)


def test_disagreement_by_a_naive_loop(fusion, place):
    found = disagreement(fusion, place, "poi", "demographics", k=5)
    tokens = [fusion.read(place, name) for name in ("poi", "demographics")]
    both = [row for row in range(N) if tokens[0][1][row] and tokens[1][1][row]]
    for row in range(N):
        if row not in both:
            assert np.isnan(found[row])
            continue
        near = []
        for own, _, _ in tokens:
            others = [one for one in both if one != row]
            away = [float(np.linalg.norm(own[row] - own[one])) for one in others]
            near.append({others[i] for i in np.argsort(away, kind="stable")[:5]})
        assert found[row] == pytest.approx(1 - len(near[0] & near[1]) / 5, abs=0.21)
    assert 0 < np.nanmean(found) < 1
    sampled = disagreement(fusion, place, "poi", "demographics", k=5, most=40)
    assert np.isfinite(sampled).sum() == 40
    same = disagreement(fusion, place, "poi", "poi", k=5)
    assert np.nanmax(same) == 0
    with pytest.raises(ConfigError, match="neighbours of each need"):
        disagreement(fusion, place, "poi", "imagery", k=200)


def test_the_plane_takes_new_vectors(bench):
    vectors = bench.embeddings.vectors
    plane = Plane.of(vectors)
    unit = unit_rows(vectors).astype(np.float64)
    centred = unit - unit.mean(0)
    _, s, vt = np.linalg.svd(centred, full_matrices=False)
    np.testing.assert_allclose(np.abs(plane(vectors)), np.abs(centred @ vt[:2].T), atol=1e-4)
    assert plane.share == pytest.approx((s[:2] ** 2).sum() / (s**2).sum(), abs=1e-4)


# ---- portraits


def test_a_portrait_counts(place, bay):
    _, records = bay
    row = 40
    cells = grid.points_to_cells(lon=records.lon, lat=records.lat, resolution=6)
    here = records.category[cells == CELLS[row]]
    seen = points_seen(place, row, Points(place))
    assert seen.total.here == pytest.approx(len(here), rel=1e-4)
    assert seen.others == pytest.approx(0, abs=1e-2)
    counts = {one.name: round(one.here) for one in seen.categories}
    assert counts["fish market"] == (here == "fish_market").sum()
    assert list(counts.values()) == sorted(counts.values(), reverse=True)
    some = len(np.unique(cells))
    assert seen.total.usual == pytest.approx(len(cells) / some, rel=1e-3)
    assert points_seen(place, int(np.flatnonzero(~place.present["poi"])[0]), Points(place)) is None


def test_a_portrait_of_people(place):
    seen = people_seen(place, 42)
    age, home = seen.histograms
    assert [one.name for one in age.bins] == ["0–19", "20–64", "65 or more"]
    assert sum(one.here for one in home.bins) == pytest.approx(1, abs=1e-5)
    assert [one.name for one in seen.numbers] == ["people per km²"]
    assert people_seen(place, 0) is None


def test_a_portrait_of_trips(place):
    row = 25
    seen = trips_seen(place.graph, row, most=8)
    dense = place.graph.matrix.toarray()
    assert seen.out.here == pytest.approx(dense[row].sum())
    assert seen.into.here == pytest.approx(dense[:, row].sum())
    every = dense.sum(0) + dense.sum(1)
    assert seen.all.below == pytest.approx(np.mean(every[every > 0] < every[row]))
    trips = np.column_stack([dense[row], dense[:, row]])
    assert seen.tied == (trips.sum(1) > 0).sum()
    order = np.argsort(-trips.sum(1), kind="stable")[: min(seen.tied, 8)]
    assert [one.row for one in seen.partners] == order.tolist()
    found = [(one.to, one.come) for one in seen.partners]
    np.testing.assert_allclose(found, trips[order], rtol=1e-6)
    assert len(trips_seen(place.graph, row, most=3).partners) == 3
    assert trips_seen(place.graph, N - 1, most=3) is None


def test_a_telling_cell_has_all_there_is(place):
    row = telling_cell(place)
    assert all(mask[row] for mask in place.present.values())
