"""The model `mobclip` without its training: flows, readers, surroundings, votes and their sum."""

from dataclasses import replace
from itertools import count

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import load_file, save_file
from scipy import sparse

from mobclip import fusion, grid
from mobclip.baselines import spatial_kernel
from mobclip.config import FusionConfig
from mobclip.errors import ArtefactError, ConfigError
from mobclip.fusion import ALONE, GONE, HIDDEN, KNOWN, STATES, WORDS, Fusion, Network
from mobclip.fusion.evidence import FAR, LEAST_FAR, LEAST_WIDE, WIDE, WIDE_DIMS, Evidence
from mobclip.fusion.flows import FlowMap
from mobclip.fusion.fusion import doubt, network_inputs
from mobclip.fusion.reader import Reader
from mobclip.graph import MobilityGraph
from mobclip.place import save_place
from mobclip.spectral import flow_vectors
from mobclip.table import CellTable

CONFIG = FusionConfig(dims=12)
CELLS = grid.polygon_to_cells(shapely.box(-35, 38, -34.6, 38.4), 6)  # 37
N = len(CELLS)


def table(modality, cells, values, columns=None):
    values = np.asarray(values, np.float32)
    columns = columns or tuple(f"log_{modality}_{i}" for i in range(values.shape[1]))
    return CellTable(modality=modality, cells=cells, values=values, columns=tuple(columns))


def graph_of(cells, rng, edges=200):
    ends = rng.integers(0, len(cells), (2, edges))
    return MobilityGraph.from_edges(
        cells, cells[ends[0]], cells[ends[1]], rng.integers(1, 9, edges).astype(float)
    )


@pytest.fixture(scope="module")
def make(tmp_path_factory):
    """Makes places."""
    folder, number = tmp_path_factory.mktemp("places"), count()

    def make(tables=(), graph=None, cells=CELLS, name="here"):
        key = str(next(number))
        return save_place(
            folder / key,
            name=name,
            title=name,
            resolution=grid.resolution_of(cells),
            cells=cells,
            tables={one.modality: one for one in tables},
            graph=graph,
            targets={},
            provenance={"key": key, "sources": {}},
        )

    return make


@pytest.fixture(scope="module")
def fitted(toy_place):
    return Fusion.fit([toy_place], CONFIG)


@pytest.fixture(scope="module")
def trained(fitted):
    """With a network of random weights: what a trained one does, but louder."""
    rng = np.random.default_rng(5)
    inputs = len(fitted.modalities) * (fitted.dims + STATES)
    weights = {
        "inner": rng.normal(size=(inputs, 20)) / np.sqrt(inputs),
        "inner_bias": rng.normal(size=20),
        "outer": rng.normal(size=(20, fitted.dims)),
        "outer_bias": rng.normal(size=fitted.dims),
    }
    return replace(
        fitted, network=Network(**{name: one.astype(np.float32) for name, one in weights.items()})
    )


@pytest.fixture(scope="module")
def votes(toy_place, trained):
    return trained.votes(toy_place)


def up_to_sign(one, other):
    """Columns of `one`, each flipped to the side of the same column of `other`."""
    return one * np.where((one * other).sum(0) < 0, -1, 1)


# ---- flows -------------------------------------------------------------------------------------


def test_the_flows_of_the_cells_of_a_map_are_the_factorisation():
    graph = graph_of(CELLS, np.random.default_rng(0))
    found, names, groups = FlowMap.fit(graph, 25, seed=3).of(graph)
    expected = flow_vectors(graph, 25, seed=3)
    assert groups.tolist() == ["volume"] * 50 + ["affinity"] * 50 + ["", ""]
    assert names[:2] == ("volume_out_000", "volume_out_001")
    assert names[25] == "volume_in_000"
    assert names[-2:] == ("log_outflow", "log_inflow")
    assert len(set(names)) == len(names) == found.shape[1]
    np.testing.assert_allclose(found, np.hstack(list(expected.values())), atol=2e-5)


def test_a_map_of_few_dims_is_the_dense_factorisation():
    graph = graph_of(CELLS, np.random.default_rng(1), 400)
    found, _, _ = FlowMap.fit(graph, 6, seed=0).of(graph)
    u, s, vt = np.linalg.svd(np.log1p(graph.matrix.toarray().astype(float)))
    expected = np.hstack([u[:, :6] * np.sqrt(s[:6]), vt[:6].T * np.sqrt(s[:6])])
    np.testing.assert_allclose(up_to_sign(found[:, :12], expected), expected, atol=0.01)


def test_a_new_cell_that_sends_and_receives_like_a_known_one_lies_where_that_one_does():
    known = graph_of(CELLS[:-1], np.random.default_rng(2))
    n, twin = N - 1, 4
    a = np.zeros((N, N))
    a[:n, :n] = known.matrix.toarray()
    a[n, :n], a[:n, n] = a[twin, :n], a[:n, twin]
    found, names, _ = FlowMap.fit(known, 20, seed=0).of(
        MobilityGraph.from_matrix(CELLS, sparse.csr_array(a))
    )
    assert np.abs(found[n]).max() > 0.1
    np.testing.assert_allclose(found[n], found[twin], atol=1e-5)
    # Flows to the new cell are of a partner that the map does not know.
    before, _, _ = FlowMap.fit(known, 20, seed=0).of(known)
    volume = [name.startswith("volume") for name in names]
    np.testing.assert_allclose(found[:n, volume], before[:, volume], atol=1e-5)
    sends_there = a[:n, n] > 0
    assert (found[:n, -2][sends_there] > before[:, -2][sends_there]).all()


def test_flows_among_cells_that_the_map_does_not_know_say_only_how_many():
    known = graph_of(CELLS[:20], np.random.default_rng(3))
    elsewhere = graph_of(CELLS[20:], np.random.default_rng(4))
    found, _, _ = FlowMap.fit(known, 8, seed=0).of(elsewhere)
    assert (found[:, :-2] == 0).all()
    assert found[:, -2:].max() > 1


@pytest.mark.parametrize("cells", [1, 2, 5, N])
def test_a_map_without_flows_has_no_directions(cells):
    empty = MobilityGraph.from_edges(CELLS[:cells], CELLS[:0], CELLS[:0], np.ones(0))
    found, names, _ = FlowMap.fit(empty, 8, seed=0).of(empty)
    assert names == ("log_outflow", "log_inflow")
    np.testing.assert_array_equal(found, np.zeros((cells, 2)))


def test_a_map_of_fewer_cells_than_dims_has_what_directions_there_are():
    graph = MobilityGraph.from_edges(CELLS[:4], CELLS[[0, 1, 2]], CELLS[[1, 2, 3]], np.ones(3))
    found, names, _ = FlowMap.fit(graph, 64, seed=0).of(graph)
    assert np.isfinite(found).all()
    assert sum(name.startswith("volume_out") for name in names) == 3
    out, into = found[:, :3], found[:, 3:6]
    np.testing.assert_allclose(out @ into.T, np.log1p(graph.matrix.toarray()), atol=1e-5)


# ---- readers -----------------------------------------------------------------------------------

COLUMNS = ("a", "b", "c", "d", "e")


@pytest.fixture
def read():
    """Values, presence and the reader of them."""
    rng = np.random.default_rng(0)
    values = (rng.normal(size=(80, 5)) @ rng.normal(size=(5, 5)) * 3 + 7).astype(np.float32)
    present = rng.random(80) < 0.7
    return values, present, Reader.fit(values, present, COLUMNS, np.full(5, ""))


def test_a_reader_keeps_distances_and_scales_its_first_direction(read):
    values, present, reader = read
    found = reader(values, present, COLUMNS, what="x")
    covariance = np.cov(found[present].T, bias=True)
    np.testing.assert_allclose(covariance, np.diag(np.diag(covariance)), atol=1e-4)
    assert covariance[0, 0] == pytest.approx(1, abs=1e-4)
    assert (np.diff(np.diag(covariance)) <= 1e-5).all()
    standard = (values - values[present].mean(0)) / values[present].std(0)
    leading = np.linalg.svd(standard[present], compute_uv=False)[0] / np.sqrt(present.sum())
    for one, other in [(0, 1), (5, 50), (20, 7)]:
        if present[[one, other]].all():
            expected = np.linalg.norm(standard[one] - standard[other]) / leading
            assert np.linalg.norm(found[one] - found[other]) == pytest.approx(expected, rel=1e-4)
    assert (found[~present] == 0).all()


def test_cells_that_are_absent_teach_a_reader_nothing(read):
    values, present, reader = read
    spoilt = np.where(present[:, None], values, np.float32(1e6))
    again = Reader.fit(spoilt, present, COLUMNS, np.full(5, ""))
    np.testing.assert_array_equal(again.axes, reader.axes)
    np.testing.assert_array_equal(again.mean, reader.mean)


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_units_do_not_matter_to_a_reader(read, scale):
    values, present, reader = read
    unit = np.array([1, scale, 1, 1, 1 / scale], np.float32)
    again = Reader.fit(values * unit, present, COLUMNS, np.full(5, ""))
    np.testing.assert_allclose(
        again(values * unit, present, COLUMNS, what="x"),
        reader(values, present, COLUMNS, what="x"),
        atol=1e-4,
    )


def test_columns_of_a_group_keep_their_proportions():
    rng = np.random.default_rng(0)
    values = (rng.normal(size=(200, 3)) * [10, 1, 0.1]).astype(np.float32)
    present = np.ones(200, bool)
    alone = Reader.fit(values, present, "abc", np.full(3, ""))
    group = Reader.fit(values, present, "abc", np.full(3, "text"))
    assert alone(values, present, tuple("abc"), what="x").std(0).min() > 0.8
    np.testing.assert_allclose(
        group(values, present, tuple("abc"), what="x").std(0), [1, 0.1, 0.01], rtol=0.2
    )


def test_a_reader_finds_its_columns_in_any_order_and_beside_others(read):
    values, present, reader = read
    order = [3, 0, 4, 1, 2]
    mixed = np.hstack([np.full((80, 1), 1e9), values[:, order]]).astype(np.float32)
    columns = ("other", *(COLUMNS[i] for i in order))
    np.testing.assert_array_equal(
        reader(mixed, present, columns, what="x"), reader(values, present, COLUMNS, what="x")
    )


def test_a_reader_names_the_column_that_is_missing(read):
    values, present, reader = read
    with pytest.raises(ConfigError, match=r"poi of there lacks the column 'b' \(2 of 5\)"):
        reader(values[:, :3], present, ("a", "c", "e"), what="poi of there")


def test_constant_columns_say_nothing(read):
    values, present, reader = read
    wider = np.hstack([values, np.full((80, 2), 0.1)]).astype(np.float32)
    columns = (*COLUMNS, "f", "g")
    found = Reader.fit(wider, present, columns, np.full(7, ""))
    expected = reader(values, present, COLUMNS, what="x")
    np.testing.assert_allclose(found(wider, present, columns, what="x")[:, :5], expected, atol=1e-4)
    alone = Reader.fit(wider[:, 5:], present, ("f", "g"), np.full(2, ""))
    assert np.abs(alone(wider[:, 5:], present, ("f", "g"), what="x")).sum() == pytest.approx(0)


@pytest.mark.parametrize(("cells", "columns"), [(0, 5), (80, 0), (0, 0)])
def test_a_modality_that_no_cell_has_is_read_as_nothing(read, cells, columns):
    values, present, _ = read
    present = present & (np.arange(80) < cells)
    reader = Reader.fit(values[:, :columns], present, COLUMNS[:columns], np.full(columns, ""))
    assert reader.dims == 0
    assert reader(values[:, :columns], present, COLUMNS[:columns], what="x").shape == (80, 0)


# ---- evidence ----------------------------------------------------------------------------------


def naive_kernel(cells):
    """Weights of one step, by hand: rings 0, 1, 2 around each cell that are cells of the place."""
    kernel = np.zeros((len(cells), len(cells)))
    for i in range(len(cells)):
        for ring, weight in [(2, np.exp(-2)), (1, np.exp(-0.5)), (0, 1.0)]:
            within = grid.disk(cells[i : i + 1], ring)[1]
            kernel[i, np.isin(cells, within)] = weight
    return kernel / kernel.sum(1, keepdims=True)


def naive_mean(weights, own, present):
    """Mean of those that are there, cell by cell, and the share of the weights on them."""
    means, shares = np.zeros((len(weights), own.shape[1])), np.zeros(len(weights))
    for i, row in enumerate(weights):
        shares[i] = sum(row[j] for j in range(len(row)) if present[j])
        for j in range(len(row)):
            if present[j] and row[j]:
                means[i] += row[j] * own[j] / shares[i]
    return means, shares


# An island, a strip so long that its ends hardly know of each other, and three cells alone.
ISLAND = grid.points_to_cells(
    lon=np.array([10.0, 11.0, 12.0]), lat=np.array([45.0, 45.0, 45.0]), resolution=6
)
STRIP = grid.polygon_to_cells(shapely.box(0, 0.02, 3, 0.1), 6)
ISLANDS = np.sort(np.concatenate([CELLS, STRIP, ISLAND]))


@pytest.fixture(scope="module")
def islands():
    rng = np.random.default_rng(0)
    present = rng.random(len(ISLANDS)) < 0.4
    lonely = np.isin(ISLANDS, ISLAND)
    present[lonely] = [True, False, True]
    along = grid.centers(ISLANDS)[:, 0]
    present[np.isin(ISLANDS, STRIP) & (along > 0.4)] = False
    own = np.where(present[:, None], rng.normal(size=(len(ISLANDS), WIDE_DIMS + 8)), 0)
    return own.astype(np.float32), present, lonely


def test_means_over_the_surroundings_are_those_of_a_loop(islands):
    own, present, _ = islands
    kernel = naive_kernel(ISLANDS)
    found = Evidence.gather(own, present, spatial_kernel(ISLANDS))
    near, share = naive_mean(kernel, own, present)
    np.testing.assert_allclose(found.near, near, atol=1e-5)
    np.testing.assert_array_equal(found.near_known, share > 0)
    assert (~found.near_known).sum() > 10
    far, share = naive_mean(np.linalg.matrix_power(kernel, FAR), own, present)
    assert ((share > 0) & (share < LEAST_FAR)).any()
    np.testing.assert_allclose(found.far, np.where(share[:, None] > LEAST_FAR, far, 0), atol=1e-4)
    wide, share = naive_mean(np.linalg.matrix_power(kernel, WIDE), own, present)
    assert ((share > 0.01 * LEAST_WIDE) & (share < 0.5 * LEAST_WIDE)).any()
    shrunk = wide * (share / np.maximum(share, LEAST_WIDE))[:, None]
    np.testing.assert_allclose(found.wide, shrunk[:, :WIDE_DIMS], atol=1e-4)
    np.testing.assert_array_equal(found.own, own)
    np.testing.assert_array_equal(found.present, present)


def test_where_nobody_within_reach_has_it_the_mean_is_that_of_all(islands):
    own, present, lonely = islands
    found = Evidence.gather(own, present, spatial_kernel(ISLANDS))
    without = lonely & ~present
    assert without.sum() == 1
    assert not found.near_known[without].any()
    for mean in (found.near, found.far, found.wide):
        assert (mean[without] == 0).all()


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_the_mean_of_what_is_the_same_everywhere_is_the_same(seed, share):
    present = np.random.default_rng(seed).random(N) < share
    found = Evidence.gather(present[:, None].astype(np.float32), present, spatial_kernel(CELLS))
    np.testing.assert_allclose(found.near[:, 0], found.near_known, atol=1e-5)
    assert found.near_known[present].all()
    for mean in (found.far, found.wide):
        assert ((mean > -1e-5) & (mean < 1 + 1e-5)).all()
        if present.any():  # on one island everyone is within reach
            np.testing.assert_allclose(mean, 1, atol=1e-4)


def test_what_is_left_of_a_cell_has_nothing_of_its_own_token(islands):
    own, present, lonely = islands
    kernel = spatial_kernel(ISLANDS)
    left = Evidence.gather(own, present, kernel).without_own(kernel)
    assert (left.own == 0).all()
    assert not left.present.any()
    for row in [*np.flatnonzero(present)[:6], *np.flatnonzero(lonely & present)]:
        other = own.copy()
        other[row] += 100
        again = Evidence.gather(other, present, kernel).without_own(kernel)
        for name in ("near", "near_known", "far", "wide"):
            np.testing.assert_array_equal(getattr(again, name)[row], getattr(left, name)[row])
        if not lonely[row]:
            assert (again.wide != left.wide).any()  # but its neighbours see it
    for mean in (left.near, left.far, left.wide):
        assert (mean[lonely] == 0).all()
        assert (mean[present & ~lonely] != 0).any()


def test_what_is_left_of_a_cell_is_the_mean_of_the_others(islands):
    own, present, _ = islands
    kernel = spatial_kernel(ISLANDS)
    whole = Evidence.gather(own, present, kernel)
    left = whole.without_own(kernel)
    others = naive_kernel(ISLANDS) * (1 - np.eye(len(ISLANDS)))
    near, share = naive_mean(others, own, present)
    np.testing.assert_allclose(left.near, near, atol=1e-5)
    np.testing.assert_array_equal(left.near_known, share > 0)
    for name in ("near", "far", "wide"):  # of a cell without a token nothing is hidden
        np.testing.assert_array_equal(getattr(left, name)[~present], getattr(whole, name)[~present])
    ramp = grid.centers(ISLANDS)[:, :1].astype(np.float32)
    everywhere = np.ones(len(ISLANDS), bool)
    smooth = Evidence.gather(ramp, everywhere, kernel)
    alike = smooth.without_own(kernel).wide[np.isin(ISLANDS, CELLS)]
    np.testing.assert_allclose(alike, smooth.wide[np.isin(ISLANDS, CELLS)], atol=0.02)


# ---- the linear model --------------------------------------------------------------------------


@pytest.mark.parametrize("persistence", [0.0, 1.0])
@pytest.mark.parametrize("wide", [0.02, 0.3])  # which is too loud for so small a place
def test_the_sum_of_all_votes_is_the_pca_of_all_smoothed_evidence(toy_place, wide, persistence):
    poi = toy_place.tables["poi"]  # so few that some cells have none near them
    tables = {**toy_place.tables, "poi": poi.restrict(poi.cells[::40])}
    place = toy_place.varied("few points", tables=tables)
    fitted = Fusion.fit([place], replace(CONFIG, wide=wide, persistence=persistence))
    blocks = {"smooth": [], "wide": [], "present": []}
    lonely = np.zeros(len(place.cells), bool)
    for one in fitted.evidence(place, spatial_kernel(place.cells)).values():
        lonely |= ~one.near_known & (one.far != 0).any(1)
        guess = np.where(one.near_known[:, None], 0.4 * one.near, 0.75 * 0.4 * one.far)
        own = 0.7 * one.trust[:, None]
        filled = np.where(one.present[:, None], own * one.own + (1 - own) * one.near, guess)
        blocks["smooth"].append(filled)
        blocks["wide"].append(one.wide)
        blocks["present"].append(one.present[:, None])
    assert lonely.sum() > 20
    joined = {kind: np.hstack(each).astype(float) for kind, each in blocks.items()}
    joined = {kind: each - each.mean(0) for kind, each in joined.items()}
    natural = {kind: 1 / np.sqrt((each**2).mean(0).sum()) for kind, each in joined.items()}
    assert 0.02 * natural["wide"] < natural["smooth"] < 0.3 * natural["wide"]
    weight = {
        "smooth": natural["smooth"],
        "wide": natural["smooth"] if wide == 0.3 else wide * natural["wide"],
        "present": 0.15 * natural["present"],
    }
    stacked = np.hstack([weight[kind] * each for kind, each in joined.items()])
    around = spatial_kernel(place.cells) @ stacked
    _, axes = np.linalg.eigh(np.cov(stacked.T) + persistence * np.cov(around.T))
    linear = stacked @ axes[:, ::-1][:, :12]
    sigma = linear.std(0)
    expected = linear * (sigma / sigma[0]) ** 0.3
    found = fitted.embed(place)
    assert found.shape == expected.shape
    np.testing.assert_allclose(up_to_sign(found, expected), expected, atol=2e-4)


def test_a_token_of_few_points_leans_on_its_neighbours():
    values = np.array([[0.0, 5.0], [np.log1p(10), 5.0], [np.log1p(1), 5.0]], np.float32)
    names = ("log_total", "share_x")
    everywhere = np.ones(3, bool)
    reader = Reader.fit(values, everywhere, names, np.array(["", ""]))
    # The middle token is made of one point; what is expected counts as a tenth of that.
    np.testing.assert_allclose(reader.trust(values, names, thin=0.1), [0, 10 / 10.1, 1 / 1.1])
    assert (reader.trust(values, names, thin=0.0) == 1).all()
    silent = Reader.fit(values[:, 1:], everywhere, names[1:], np.array([""]))
    assert (silent.trust(values[:, 1:], names[1:], thin=0.1) == 1).all()


def test_trust_is_that_of_each_cell_of_the_place(make):
    rng = np.random.default_rng(0)
    trips, points = graph_of(CELLS, rng), rng.integers(1, 100, N - 9)
    values = np.column_stack([rng.normal(size=N - 9), np.log1p(points)])
    place = make(
        [
            table("poi", CELLS[9:], values, ["share", "log_total"]),
            table("demographics", CELLS, rng.normal(size=(N, 2))),
        ],
        trips,
    )
    found = Fusion.fit([place], CONFIG).evidence(place, spatial_kernel(CELLS))
    of_points = points / np.median(points)
    np.testing.assert_allclose(found["poi"].trust[9:], of_points / (of_points + 0.1), rtol=1e-4)
    amount = trips.out_strength + trips.in_strength
    of_trips = amount / np.median(amount[trips.present])
    np.testing.assert_allclose(found["mobility"].trust, of_trips / (of_trips + 0.1), rtol=1e-4)
    assert (found["demographics"].trust == 1).all()


@pytest.mark.parametrize("emphasis", [0.0, 0.3, 1.0])
def test_emphasis_stretches_and_turns_nothing(toy_place, emphasis):
    plain = Fusion.fit([toy_place], replace(CONFIG, emphasis=0.0)).embed(toy_place)
    found = Fusion.fit([toy_place], replace(CONFIG, emphasis=emphasis)).embed(toy_place)
    sigma = plain.std(0)
    np.testing.assert_allclose(found, plain * (sigma / sigma[0]) ** emphasis, atol=1e-5)


def test_the_first_numbers_are_the_embedding_of_fewer_dims(toy_place):
    wide = Fusion.fit([toy_place], replace(CONFIG, dims=32)).embed(toy_place)
    narrow = Fusion.fit([toy_place], replace(CONFIG, dims=8)).embed(toy_place)
    np.testing.assert_allclose(up_to_sign(wide[:, :8], narrow), narrow, atol=1e-5)


def test_without_weights_the_evidence_is_what_is_left(toy_place):
    """near, fill, wide, presence 0: PCA of the readers' dimensions, as of a plain baseline."""
    none = dict.fromkeys(("near", "fill", "wide", "presence", "thin", "persistence"), 0.0)
    bare = replace(CONFIG, **none, emphasis=0.0)
    fitted = Fusion.fit([toy_place], bare)
    tokens = [
        one.own.astype(float)
        for one in fitted.evidence(toy_place, spatial_kernel(toy_place.cells)).values()
    ]
    stacked = np.hstack(tokens)
    stacked -= stacked.mean(0)
    u, s, _ = np.linalg.svd(stacked / np.sqrt((stacked**2).mean(0).sum()), full_matrices=False)
    expected = u[:, :12] * s[:12]
    np.testing.assert_allclose(up_to_sign(fitted.embed(toy_place), expected), expected, atol=1e-4)


def test_order_of_modalities_and_columns_and_units_change_nothing(make):
    rng = np.random.default_rng(0)
    graph = graph_of(CELLS, rng)
    poi, census = rng.normal(size=(N, 4)), rng.normal(size=(N - 9, 3))
    order = [2, 0, 3, 1]

    def embedded(*tables):
        return Fusion.fit([make(tables, graph)], CONFIG).embed(make(tables, graph))

    here = embedded(table("poi", CELLS, poi), table("demographics", CELLS[9:], census))
    names = table("poi", CELLS, poi).columns
    there = embedded(
        table("demographics", CELLS[9:], census * 1000 + 50),
        table("poi", CELLS, poi[:, order], [names[i] for i in order]),
    )
    np.testing.assert_allclose(up_to_sign(there, here), here, atol=2e-3)


# ---- states ------------------------------------------------------------------------------------


def test_a_modality_that_is_gone_has_no_vote(toy_place, fitted):
    votes = fitted.votes(toy_place).of_state[KNOWN]
    for name in fitted.modalities:
        rest = sum(vote for other, vote in votes.items() if other != name)
        found = fitted.embed(toy_place, states={name: GONE})
        np.testing.assert_allclose(found, rest, atol=1e-6)
        # As of a place that never had it.
        kept = [other for other in toy_place.modalities if other != name]
        without = toy_place.varied(f"without {name}", modalities=kept)
        np.testing.assert_allclose(fitted.embed(without), found, atol=1e-6)
    everything = fitted.embed(toy_place, states=dict.fromkeys(fitted.modalities, GONE))
    assert (everything == 0).all()


def test_a_hidden_token_has_no_say_at_its_own_cell(toy_place, fitted):
    poi = toy_place.tables["poi"]
    for row in (0, 17, 120):
        values = poi.values.copy()
        values[row] += 5
        other = toy_place.varied(
            "spoilt", tables={**toy_place.tables, "poi": replace(poi, values=values)}
        )
        cell = np.searchsorted(toy_place.cells, poi.cells[row])
        before, after = (
            fitted.embed(place, states={"poi": HIDDEN})[cell] for place in (toy_place, other)
        )
        np.testing.assert_array_equal(before, after)
        before, after = (fitted.embed(place)[cell] for place in (toy_place, other))
        assert np.abs(before - after).max() > 0.01


def test_what_is_hidden_of_a_cell_that_has_none_is_that_it_has_none(toy_place, fitted):
    absent = ~toy_place.present["poi"]
    hidden = fitted.embed(toy_place, states={"poi": HIDDEN})[absent]
    presence = fitted.axes["poi.present"][0] * fitted.means["poi.present"][0]
    known = fitted.embed(toy_place)[absent]
    np.testing.assert_allclose(hidden, known + presence, atol=1e-5)


def test_the_surroundings_stand_in_for_what_is_hidden(make):
    rng = np.random.default_rng(0)
    where = grid.centers(CELLS)
    where = (where - where.mean(0)) / where.std(0)

    def tokens():
        return where @ rng.normal(size=(2, 4)) + 0.2 * rng.normal(size=(N, 4))

    place = make([table("poi", CELLS, tokens()), table("demographics", CELLS, tokens())])
    model = Fusion.fit([place], CONFIG)
    own = model.embed(place)
    off = {
        state: np.linalg.norm(model.embed(place, states={"poi": state}) - own, axis=1).mean()
        for state in (HIDDEN, GONE)
    }
    assert off[HIDDEN] < 0.8 * off[GONE]


def test_the_network_is_not_asked_where_all_is_known(toy_place, fitted, trained):
    np.testing.assert_array_equal(trained.embed(toy_place), fitted.embed(toy_place))
    assert np.abs(trained.embed(toy_place, states={"poi": HIDDEN})).max() > 0
    assert not np.allclose(
        trained.embed(toy_place, states={"poi": HIDDEN}),
        fitted.embed(toy_place, states={"poi": HIDDEN}),
    )


def test_the_network_is_its_formula(trained, votes):
    states = np.array([[KNOWN, HIDDEN, GONE], [ALONE, GONE, GONE], [GONE, WORDS, KNOWN]], np.int8)
    rows = np.array([3, 50, 7])
    chosen = votes.chosen(rows, states)
    found = trained.combine(chosen, states)
    known = np.array([0, 0.5, 1, 1, 1])
    net = trained.network
    for i in range(3):
        flags = [float(state == kind) for state in states[i] for kind in range(STATES)]
        inputs = np.concatenate([8 * chosen[i].ravel(), flags])
        inner = np.maximum(inputs @ net.inner + net.inner_bias, 0)
        share = np.mean([known[state] for state in states[i]])
        expected = chosen[i].sum(0) + share * (inner @ net.outer + net.outer_bias)
        np.testing.assert_allclose(found[i], expected, atol=1e-5)
    assert network_inputs(chosen, states).shape == (3, len(net.inner))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_a_row_depends_on_itself_alone(trained, votes, seed):
    rng = np.random.default_rng(seed)
    rows = rng.integers(0, len(votes.present["poi"]), 6)
    states = rng.integers(0, STATES, (6, 3)).astype(np.int8)
    together = trained.combine(votes.chosen(rows, states), states)
    order = rng.permutation(6)
    again = trained.combine(votes.chosen(rows[order], states[order]), states[order])
    np.testing.assert_allclose(again, together[order], atol=1e-5)
    assert np.isfinite(together).all()
    share = doubt(states)
    assert ((share >= 0) & (share <= 1)).all()
    np.testing.assert_array_equal(share == 0, (states == KNOWN).all(1))


def test_only_the_states_that_are_asked_for_are_computed(toy_place, fitted):
    votes = fitted.votes(toy_place, {HIDDEN})
    assert set(votes.of_state[HIDDEN]) == set(fitted.modalities)
    assert not any(votes.of_state[state] for state in (KNOWN, ALONE, WORDS))
    every = fitted.votes(toy_place)
    assert set(every.of_state[WORDS]) == {"poi"}
    np.testing.assert_array_equal(votes.of_state[HIDDEN]["poi"], every.of_state[HIDDEN]["poi"])


def test_an_unknown_modality_is_named(toy_place, fitted):
    with pytest.raises(ConfigError, match="no modality 'smell'; it has mobility, poi"):
        fitted.embed(toy_place, states={"smell": HIDDEN})


def test_a_token_that_is_brought_along_lies_where_its_cell_does(toy_place, trained):
    census = toy_place.tables["demographics"]
    alone = dict.fromkeys(trained.modalities, GONE) | {"demographics": ALONE}
    np.testing.assert_allclose(
        trained.of_token("demographics", census.values),
        trained.embed(toy_place, states=alone),
        atol=1e-5,
    )


@pytest.mark.parametrize("network", [True, False])
def test_words_lie_where_the_text_of_a_cell_does_with_all_else_at_its_mean(
    toy_place, trained, network
):
    model = trained if network else replace(trained, network=None)
    poi = toy_place.tables["poi"]
    assert poi.columns == ("text_000", "text_001", "log_total")
    rows = np.searchsorted(toy_place.cells, poi.cells)
    of_cells = model.embed(
        toy_place, states=dict.fromkeys(model.modalities, GONE) | {"poi": WORDS}
    )[rows]
    words = model.of_token("poi", poi.values[:, :2], words=True)
    np.testing.assert_allclose(words, of_cells, atol=1e-5)
    at_mean = poi.values.copy()
    at_mean[:, 2] = at_mean[:, 2].mean()
    if not network:  # which is told that there is more than words
        np.testing.assert_allclose(model.of_token("poi", at_mean), words, atol=1e-5)


# ---- places ------------------------------------------------------------------------------------


def test_cells_that_were_not_there_at_the_fit(toy_place):
    rng = np.random.default_rng(0)
    kept = toy_place.cells[rng.random(len(toy_place.cells)) < 0.8]
    part = toy_place.varied("fewer cells", cells=kept)
    model = Fusion.fit([part], CONFIG)
    found = model.embed(toy_place)
    assert np.isfinite(found).all()
    rows, seen = grid.locate(toy_place.cells, kept)
    assert seen.all()
    whole, known = (
        model.evidence(place, spatial_kernel(place.cells)) for place in (toy_place, part)
    )
    for name in ("poi", "demographics"):
        np.testing.assert_allclose(whole[name].own[rows], known[name].own, atol=1e-5)
        np.testing.assert_array_equal(whole[name].present[rows], known[name].present)
    unseen = np.setdiff1d(np.arange(len(toy_place.cells)), rows)
    spread = found[unseen].std(0) / found[rows].std(0)
    assert ((spread > 0.4) & (spread < 2.5)).all()
    # Near where it lies if it was there: same linear map, other axes; so compare who is near.
    kind = toy_place.targets["kind"].values > 0.5
    leading = found[:, 0]
    assert abs(np.corrcoef(leading[unseen], kind[unseen])[0, 1]) > 0.5


def test_one_modality_is_enough_and_mobility_is_not_needed(make, toy_place):
    rng = np.random.default_rng(0)
    census = table("demographics", CELLS, rng.normal(size=(N, 3)))
    for place in (make([census]), make([], graph_of(CELLS, rng))):
        model = Fusion.fit([place], CONFIG)
        found = model.embed(place)
        assert found.shape[0] == N
        assert np.isfinite(found).all()
        assert found.std(0).min() > 0
        assert np.isfinite(model.embed(place, states={model.modalities[0]: HIDDEN})).all()
    lame = toy_place.varied("no flows", modalities=["poi", "demographics"])
    model = Fusion.fit([lame], CONFIG)
    assert model.flow_map is None
    np.testing.assert_allclose(model.embed(lame), model.embed(toy_place), atol=1e-6)


def test_tokens_of_no_cell_and_tokens_all_alike(make):
    rng = np.random.default_rng(0)
    census = table("demographics", CELLS, rng.normal(size=(N, 3)))
    expected = Fusion.fit([make([census])], CONFIG).embed(make([census]))
    nothing = table("poi", CELLS[:0], np.zeros((0, 3)))
    alike = table("poi", CELLS, np.full((N, 3), 0.1))
    no_flows = MobilityGraph.from_edges(CELLS, CELLS[:0], CELLS[:0], np.ones(0))
    for place in (
        make([census, nothing]),
        make([census, alike]),
        make([census, table("poi", CELLS, np.zeros((N, 0)))]),
        make([census], no_flows),
    ):
        model = Fusion.fit([place], CONFIG)
        found = model.embed(place)
        np.testing.assert_allclose(up_to_sign(found, expected), expected, atol=1e-4)
        for state in (HIDDEN, GONE, ALONE):
            states = dict.fromkeys(model.modalities, state)
            assert np.isfinite(model.embed(place, states=states)).all()


@pytest.mark.parametrize("cells", [2, 3, 5])
def test_fewer_cells_than_dims(make, cells):
    rng = np.random.default_rng(0)
    few = CELLS[:cells]
    graph = MobilityGraph.from_edges(few, few[:1], few[1:2], np.ones(1))
    place = make([table("demographics", few, rng.normal(size=(cells, 3)))], graph, few)
    model = Fusion.fit([place], FusionConfig())
    found = model.embed(place)
    assert 1 <= found.shape[1] < 128
    assert np.isfinite(found).all()
    assert np.linalg.norm(found[0] - found[1]) > 0.1


def test_cells_that_cannot_be_told_apart_are_refused(make):
    alike = table("demographics", CELLS, np.full((N, 3), 0.1))
    with pytest.raises(ConfigError, match="no cell of here differs from another in demographics"):
        Fusion.fit([make([alike])], CONFIG)
    one = table("demographics", CELLS[:1], np.ones((1, 3)))
    with pytest.raises(ConfigError, match="nothing to tell them apart"):
        Fusion.fit([make([one], cells=CELLS[:1])], CONFIG)
    with pytest.raises(ConfigError, match="no place"):
        Fusion.fit([], CONFIG)


THERE = grid.polygon_to_cells(shapely.box(20, 48, 20.4, 48.4), 6)
AWAY = grid.polygon_to_cells(shapely.box(80, 8, 80.4, 8.4), 6)


@pytest.fixture(scope="module")
def places(make):
    """Three places; the first has imagery and a text that the others do not share."""
    rng = np.random.default_rng(0)

    def one(name, cells, *more, drop=()):
        columns = ["hist_young", "hist_old", "log_total", f"text_{name}"]
        keep = [i for i, column in enumerate(columns) if column not in drop]
        values = rng.normal(size=(len(cells) - 4, 4))[:, keep]
        census = table("demographics", cells[4:], values, [columns[i] for i in keep])
        return make([census, *more], graph_of(cells, rng), cells, name)

    imagery = table("imagery", CELLS, rng.normal(size=(N, 5)), [f"feature_{i}" for i in range(5)])
    return (
        one("here", CELLS, imagery),
        one("there", THERE),
        one("away", AWAY),
        one("poor", AWAY, drop=("hist_old",)),
    )


def test_several_places_share_what_means_the_same_in_all(places, tmp_path):
    here, there, away, poor = places
    model = Fusion.fit([here, there], CONFIG)
    assert model.flow_map is None
    assert model.settings.wide == 0  # which tells places apart
    assert all((axes == 0).all() for name, axes in model.axes.items() if name.endswith(".wide"))
    assert model.shared == {
        "mobility": ("log_outflow", "log_inflow"),
        "demographics": ("hist_young", "hist_old", "log_total"),
    }
    both = np.concatenate([model.embed(here), model.embed(there)])
    np.testing.assert_allclose(both.mean(0), 0, atol=1e-5)  # of both together
    assert both.std(0).min() > 0
    # A third place, now and after the model was written and read.
    model.save(tmp_path / "model")
    again = Fusion.load(tmp_path / "model")
    assert again.shared == model.shared
    third = again.embed(away)
    assert third.shape == (len(AWAY), both.shape[1])
    np.testing.assert_allclose(third, model.embed(away), atol=1e-6)
    with pytest.raises(ConfigError, match="demographics of poor lacks the column 'hist_old'"):
        model.embed(poor)


def test_a_place_twice_is_the_place(places):
    """Cells count alike, so that a place and its copy have the axes of the place alone."""
    _, there, _, _ = places
    settings = replace(CONFIG, wide=0.0)
    census = there.varied("one modality", modalities=["demographics"])
    copy = census.varied("again")
    twice = Fusion.fit([census, copy], settings)
    np.testing.assert_array_equal(twice.embed(census), twice.embed(copy))
    table = there.tables["demographics"]
    shared = replace(table, values=table.values[:, :3], columns=table.columns[:3])
    alone = census.varied("shared columns", tables={"demographics": shared})
    expected = Fusion.fit([alone], settings).embed(alone)
    np.testing.assert_allclose(up_to_sign(twice.embed(census), expected), expected, atol=1e-4)


def test_cells_of_another_size_are_refused(make, places, fitted):
    coarse = np.unique(grid.parents(CELLS, 5))
    rng = np.random.default_rng(0)
    other = make(
        [table("demographics", coarse, rng.normal(size=(len(coarse), 3)))],
        cells=coarse,
        name="wide",
    )
    with pytest.raises(ConfigError, match="wide has cells of resolution 5, the model is of 6"):
        fitted.embed(other)
    with pytest.raises(ConfigError, match="different resolutions"):
        Fusion.fit([places[0], other], CONFIG)


# ---- files -------------------------------------------------------------------------------------


def test_a_model_is_written_and_read(toy_place, trained, tmp_path):
    trained.save(tmp_path / "model")
    again = Fusion.load(tmp_path / "model")
    assert again.settings == trained.settings
    assert again.modalities == trained.modalities
    assert again.shared is None
    assert again.places == (toy_place.name,)
    for states in ({}, {"poi": HIDDEN}, {"mobility": GONE, "demographics": ALONE}):
        np.testing.assert_allclose(
            again.embed(toy_place, states=states),
            trained.embed(toy_place, states=states),
            atol=1e-6,
        )


def test_a_model_without_flows_or_network_is_written_and_read(make, tmp_path):
    census = table("demographics", CELLS, np.random.default_rng(0).normal(size=(N, 3)))
    empty = table("poi", CELLS[:0], np.zeros((0, 2)))
    no_flows = MobilityGraph.from_edges(CELLS, CELLS[:0], CELLS[:0], np.ones(0))
    for place in (make([census]), make([census, empty], no_flows)):
        model = Fusion.fit([place], CONFIG)
        model.save(tmp_path / "model")
        again = Fusion.load(tmp_path / "model")
        assert again.network is None
        assert (again.flow_map is None) == (place.graph is None)
        np.testing.assert_allclose(again.embed(place), model.embed(place), atol=1e-6)


def test_embed_reads_the_model_of_a_run(toy_place, trained, tmp_path):
    trained.save(tmp_path / fusion.FUSION_FILE)
    made = fusion.embed(toy_place, tmp_path, name="run")
    assert made.name == "run"
    np.testing.assert_array_equal(made.cells, toy_place.cells)
    np.testing.assert_allclose(made.vectors, trained.embed(toy_place), atol=1e-6)
    np.testing.assert_array_equal(made.present["poi"], toy_place.present["poi"])
    assert made.provenance["settings"]["dims"] == 12


@pytest.mark.parametrize("damage", ["missing", "torn", "no header", "tensor", "setting", "network"])
def test_a_damaged_model_says_what_to_do(trained, tmp_path, damage):
    path = tmp_path / "model"
    if damage != "missing":
        trained.save(path)
        with safe_open(path, framework="numpy") as file:
            header = file.metadata()
        tensors = load_file(path)
        if damage == "torn":
            path.write_bytes(path.read_bytes()[:-100])
        elif damage == "no header":
            save_file(tensors, path)
        elif damage == "setting":
            save_file(tensors, path, {"mobclip": header["mobclip"].replace("near", "nearly")})
        else:
            del tensors["reader.poi.mean" if damage == "tensor" else "network.outer"]
            save_file(tensors, path, header)
    with pytest.raises(ArtefactError, match="missing or no model of mobclip"):
        Fusion.load(path)
