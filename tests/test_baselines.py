"""The training-free ladder: what each row may see, and that it is what it says."""

from dataclasses import replace

import numpy as np
import pytest
import shapely

from mobclip import grid
from mobclip.baselines import BASELINES, Features, available, shared, shared_columns, spatial_kernel
from mobclip.baselines.clusters import memberships
from mobclip.errors import ConfigError
from mobclip.graph import MobilityGraph
from mobclip.probes import probe
from mobclip.spectral import flow_vectors, line_vectors, truncated_svd


@pytest.fixture(scope="module")
def features(toy_place):
    """All evidence of the toy place; what is computed once serves all tests of this file."""
    return Features(toy_place)


def vectors(name, features):
    return BASELINES[name].fit(features).vectors


def with_column(place, modality, column, values):
    """The place with one column of one table made otherwise, or added."""
    table = place.tables[modality]
    columns = dict(zip(table.columns, table.values.T, strict=True)) | {column: values}
    made = replace(
        table,
        columns=tuple(columns),
        values=np.column_stack(list(columns.values())).astype(np.float32),
    )
    return place.varied(f"{column} made otherwise", tables={**place.tables, modality: made})


def test_every_row_fits_and_repeats_itself(toy_place):
    assert available(toy_place) == [
        "random",
        "coordinates",
        "wrap",
        "harmonics",
        "fourier",
        "sphere2vec",
        "space2vec-grid",
        "space2vec-theory",
        "neighbours",
        "poi-counts",
        "poi",
        "demographics",
        "mobility",
        "line",
        "lightgcn",
        "poi-clusters",
        "pca",
        "propagated",
    ]
    for name in available(toy_place):
        a, b = (BASELINES[name].fit(Features(toy_place)) for _ in range(2))
        np.testing.assert_array_equal(a.vectors, b.vectors)
        assert a.dims <= 128


def test_rows_of_one_modality_see_only_it(toy_place):
    poi = BASELINES["poi"].fit(Features(toy_place))
    without = replace(toy_place, modalities=("poi",))
    np.testing.assert_array_equal(BASELINES["poi"].fit(Features(without)).vectors, poi.vectors)
    with pytest.raises(ConfigError, match="has no imagery"):
        BASELINES["imagery"].fit(Features(toy_place))


def test_a_cell_without_the_modality_stands_at_the_mean(toy_place):
    made = BASELINES["poi"].fit(Features(toy_place))
    absent = ~toy_place.present["poi"]
    assert absent.any()
    np.testing.assert_array_equal(made.vectors[absent], 0)


def test_pca_keeps_distances_when_nothing_is_cut(toy_place):
    # 3 + 4 columns and the flows are fewer than 128 dims only without the flows.
    small = replace(toy_place, modalities=("poi", "demographics"))
    features = Features(small).together.values
    made = BASELINES["pca"].fit(Features(small)).vectors
    before = np.linalg.norm(features[:20, None] - features[None, :20], axis=-1)
    after = np.linalg.norm(made[:20, None] - made[None, :20], axis=-1)
    np.testing.assert_allclose(after, before, atol=1e-4)


def test_evidence_beats_coordinates(toy_place):
    target = toy_place.targets["kind"]
    scores = {
        name: probe(BASELINES[name].fit(Features(toy_place)), target).scores["blocks"].mean
        for name in ("coordinates", "poi", "pca", "propagated")
    }
    assert scores["coordinates"] < 0.1 < scores["poi"]
    assert scores["poi"] < max(scores["pca"], scores["propagated"])


def test_spatial_kernel_averages(toy_place):
    kernel = spatial_kernel(toy_place.cells)
    np.testing.assert_allclose(kernel.sum(axis=1), 1, rtol=1e-5)
    lonlat = grid.centers(toy_place.cells)
    reach = kernel.tocoo()
    away = grid.distances_km(lonlat[reach.row], lonlat[reach.col])
    assert away.max() < 2 * 2 * grid.edge_km(6)  # two rings
    smoothed = kernel @ np.random.default_rng(0).normal(size=len(lonlat))
    assert smoothed.std() < 0.6


def test_truncated_svd_against_numpy():
    from scipy import sparse

    rng = np.random.default_rng(0)
    dense = (rng.normal(size=(60, 5)) * [9, 7, 5, 3, 1]) @ rng.normal(size=(5, 40))
    u, s, vt = truncated_svd(sparse.csr_array(dense), 5, rng=rng)
    np.testing.assert_allclose(s, np.linalg.svd(dense)[1][:5], rtol=1e-6)
    np.testing.assert_allclose(u * s @ vt, dense, atol=1e-6)
    assert (u[np.abs(u).argmax(0), range(5)] > 0).all()


def test_line_vectors_tell_planted_communities_apart(toy_place):
    vectors = line_vectors(toy_place.graph, 8, seed=0)
    kind = toy_place.targets["kind"].values > 0.5
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosine = unit @ unit.T
    same = kind[:, None] == kind[None]
    assert cosine[same].mean() > cosine[~same].mean() + 0.05
    assert np.isfinite(vectors).all()


def test_flow_magnitude_is_what_flows(toy_place):
    magnitude = flow_vectors(toy_place.graph, 4, seed=0)["magnitude"]
    dense = toy_place.graph.matrix.toarray()
    np.testing.assert_allclose(magnitude[:, 0], np.log1p(dense.sum(1)), rtol=1e-5)
    np.testing.assert_allclose(magnitude[:, 1], np.log1p(dense.sum(0)), rtol=1e-5)


@pytest.mark.parametrize("name", ["wrap", "harmonics", "fourier", "sphere2vec", "space2vec-grid"])
def test_an_encoding_knows_the_position_and_nothing_else(name, toy_place, features):
    east = grid.centers(toy_place.cells)[:, 0]
    made = vectors(name, features).astype(np.float64)
    design = np.column_stack([made, np.ones(len(made))])
    fitted = design @ np.linalg.lstsq(design, east, rcond=None)[0]
    assert np.corrcoef(fitted, east)[0, 1] > 0.99
    # Other evidence at the same cells changes nothing.
    bare = toy_place.varied("demographics alone", modalities=["demographics"])
    np.testing.assert_array_equal(vectors(name, Features(bare)), vectors(name, features))


def test_a_wide_encoding_is_cut_to_its_main_directions(toy_place):
    narrow, wide = (vectors("sphere2vec", Features(toy_place, dims=dims)) for dims in (5, 20))
    assert narrow.shape[1] == 5
    np.testing.assert_allclose(narrow, wide[:, :5], atol=1e-6)
    # Uncorrelated, the widest first.
    covariance = np.cov(wide.T)
    np.testing.assert_allclose(covariance, np.diag(np.diag(covariance)), atol=1e-3)
    assert (np.diff(np.diag(covariance)) < 1e-6).all()


# ---- what chance, position, counts and the graph alone give ----------------------------------


def test_every_row_says_what_it_knows(toy_place):
    without_flows = toy_place.varied("no flows", modalities=("poi", "demographics"))
    assert {"mobility", "line", "lightgcn"} == set(available(toy_place)) - set(
        available(without_flows)
    )
    for name, baseline in BASELINES.items():
        assert baseline.about, name
        assert "\n" not in baseline.about
        assert len(baseline.about) < 90, name
    assert BASELINES["neighbours"].probe == "neighbours"


def test_random_is_normal_and_new_for_every_seed(toy_place):
    first, second = (vectors("random", Features(toy_place, seed=seed)) for seed in (0, 1))
    assert abs(first.mean()) < 0.03
    assert abs(first.std() - 1) < 0.03
    assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 0.03


def test_neighbours_lie_as_far_apart_as_on_the_ground(toy_place, features):
    points = vectors("neighbours", features).astype(np.float64)
    np.testing.assert_allclose(np.linalg.norm(points, axis=1), 1, atol=1e-6)
    chord = np.linalg.norm(points[0] - points, axis=1)
    lonlat = grid.centers(toy_place.cells)
    on_ground = grid.distances_km(lonlat, lonlat[:1])
    np.testing.assert_allclose(6371.0088 * 2 * np.arcsin(chord / 2), on_ground, atol=2e-3)


def test_poi_counts_are_the_standardised_counts_and_total(toy_place):
    from sklearn.preprocessing import StandardScaler

    cafes = np.log1p(np.arange(len(toy_place.tables["poi"].cells)) % 7)
    place = with_column(toy_place, "poi", "count_cafe", cafes)
    made = vectors("poi-counts", Features(place))
    here = place.present["poi"]
    assert made.shape[1] == 2  # log_total and count_cafe, no text
    expected = StandardScaler().fit_transform(
        np.column_stack([place.tables["poi"].column("log_total"), cafes])
    )
    np.testing.assert_allclose(made[here], expected, atol=1e-5)
    np.testing.assert_array_equal(made[~here], 0)


def test_lightgcn_is_what_the_model_gives_before_training(toy_place):
    import torch

    from mobclip.config import TrainConfig
    from mobclip.model import LightGCN, Propagation

    for dims in (16, 128):
        features = Features(toy_place, seed=3, dims=dims)
        table = line_vectors(toy_place.graph, dims, seed=3)
        np.testing.assert_array_equal(vectors("line", features), table)
        smooth = Propagation.of(toy_place.graph.undirected())
        model = LightGCN(torch.from_numpy(table), smooth, TrainConfig().layers)
        np.testing.assert_allclose(
            vectors("lightgcn", features), model.all_rows().numpy(), atol=1e-5
        )
    dense = toy_place.graph.normalised("symmetric").toarray()
    np.testing.assert_allclose(
        vectors("lightgcn", features), table + dense @ table + dense @ dense @ table, atol=1e-5
    )


# ---- poi-clusters ----------------------------------------------------------------------------


def test_memberships_against_a_loop_and_well_apart():
    rng = np.random.default_rng(0)
    centres = np.array([[0, 0], [9, 0], [0, 9]])
    of = rng.integers(0, 3, 300)
    rows = (centres[of] + 0.3 * rng.normal(size=(300, 2))).astype(np.float32)
    # Twelve prototypes: k-means from random rows then has some in every blob.
    found, prototypes = memberships(rows, 12, np.random.default_rng(0))
    np.testing.assert_allclose(found.sum(1), 1, rtol=1e-5)
    blob = np.linalg.norm(prototypes[:, None] - centres, axis=2).argmin(1)
    assert set(blob) == {0, 1, 2}
    for one in range(3):
        assert found[of == one][:, blob == one].sum(1).min() > 0.999
    squared = [[sum((a - b) ** 2) for b in prototypes] for a in rows.astype(np.float64)]
    scale = np.mean([min(row) for row in squared])
    for row, near in zip(found[:20], squared, strict=False):
        weights = [np.exp(-d / scale) for d in near]
        np.testing.assert_allclose(row, np.array(weights) / sum(weights), rtol=1e-3, atol=1e-6)


def test_each_prototype_is_the_mean_of_those_nearest_to_it():
    rows = np.random.default_rng(0).normal(size=(400, 3)).astype(np.float32)
    _, prototypes = memberships(rows, 5, np.random.default_rng(1))
    nearest = np.linalg.norm(rows[:, None] - prototypes, axis=2).argmin(1)
    for one, prototype in enumerate(prototypes):
        np.testing.assert_allclose(rows[nearest == one].mean(0), prototype, atol=0.1)


def test_poi_clusters_know_kinds_of_places_and_say_nothing_of_deserts(toy_place, features):
    made = vectors("poi-clusters", features)
    poi = features.of("poi")
    np.testing.assert_array_equal(made[:, -1], poi.values[:, poi.names.index("log_total")])
    np.testing.assert_allclose(made[:, :-1].sum(1), 1, rtol=1e-4)
    # Two halves with other words: the memberships of one are unlike those of the other.
    west = grid.centers(toy_place.cells)[:, 0] < -34.5
    here = west[np.searchsorted(toy_place.cells, toy_place.tables["poi"].cells)]
    halves = with_column(toy_place, "poi", "text_000", np.where(here, 5.0, 0.0))
    members = vectors("poi-clusters", Features(halves))[:, :-1]
    shares = [members[side].mean(0) for side in (west, ~west)]
    assert np.minimum(*shares).sum() < 0.4
    # POIs in the west alone: cells far from them have the mean memberships.
    west = grid.centers(toy_place.cells)[:, 0] < -34.7
    poi = toy_place.tables["poi"].restrict(toy_place.cells[west])
    place = toy_place.varied("west", tables={**toy_place.tables, "poi": poi})
    made = vectors("poi-clusters", Features(place))
    desert = spatial_kernel(place.cells) @ place.present["poi"].astype(np.float32) == 0
    assert 0 < desert.sum() < len(desert)
    mean = made[~desert, :-1].mean(0)
    np.testing.assert_allclose(made[desert, :-1], np.tile(mean, (desert.sum(), 1)), atol=1e-6)


# ---- options for ablations -------------------------------------------------------------------


@pytest.mark.parametrize("name", ["pca", "propagated", "mobility", "random", "line", "lightgcn"])
def test_dims_are_how_wide_it_is(toy_place, features, name):
    for dims in (16, 64):
        assert vectors(name, features.varied(dims=dims)).shape == (len(toy_place.cells), dims)


def test_a_narrow_pca_is_the_first_columns_of_a_wide_one(features):
    for name in ("pca", "propagated"):
        wide = vectors(name, features)
        narrow = BASELINES[name].fit(features.varied(dims=16))
        np.testing.assert_allclose(narrow.vectors, wide[:, :16], atol=1e-5)
        assert narrow.provenance["dims"] == 16
    assert vectors("pca", features.varied(dims=200)).shape[1] > 128
    with pytest.raises(ConfigError, match="dims=0"):
        features.varied(dims=0)


@pytest.mark.parametrize("name", ["pca", "propagated"])
def test_known_hides_the_others_at_their_mean(toy_place, features, name):
    plain = vectors(name, features)
    everything = frozenset(toy_place.modalities)
    np.testing.assert_array_equal(vectors(name, features.varied(known=everything)), plain)
    # What is seen of two modalities together is the sum of what is seen of each.
    see = {
        known: vectors(name, features.varied(known=frozenset(known)))
        for known in [("mobility",), ("mobility", "poi"), ("mobility", "demographics")]
    }
    together = see["mobility", "poi"] + see["mobility", "demographics"] - see[("mobility",)]
    np.testing.assert_allclose(together, plain, atol=1e-4)
    nothing = vectors(name, features.varied(known=frozenset()))
    np.testing.assert_allclose(nothing, np.tile(nothing[:1], (len(nothing), 1)), atol=1e-6)


def test_without_mobility_nothing_comes_along_the_flows(toy_place, features):
    made = BASELINES["propagated"].fit(features.varied(known=frozenset({"poi"})))
    # Three POI columns, and the three of their near and of their far mean.
    assert np.linalg.matrix_rank(made.vectors - made.vectors.mean(0), tol=1e-3) == 9
    assert not made.present["mobility"].any()
    assert made.present["poi"].any()
    assert made.provenance["known"] == ["poi"]
    pca = vectors("pca", features.varied(known=frozenset({"poi"})))
    np.testing.assert_array_equal(pca[~toy_place.present["poi"]], 0)


def test_only_pca_and_propagated_can_hide(features):
    with pytest.raises(ConfigError, match=r"coordinates cannot hide .*pca and propagated"):
        BASELINES["coordinates"].fit(features.varied(known=frozenset({"poi"})))
    with pytest.raises(ConfigError, match="has no weather"):
        features.varied(known=frozenset({"weather"}))


@pytest.mark.parametrize(
    ("modality", "column", "rows"),
    [
        ("demographics", "hist_age_1", ("demographics", "pca", "propagated")),
        ("poi", "text_001", ("poi", "poi-clusters", "pca", "propagated")),
        ("poi", "log_total", ("poi", "poi-clusters", "pca")),
    ],
)
def test_a_column_that_is_left_out_has_no_influence(toy_place, modality, column, rows):
    table = toy_place.tables[modality]
    poison = 1e6 * np.random.default_rng(0).normal(size=len(table.cells))
    poisoned = with_column(toy_place, modality, column, poison)
    without = frozenset({(modality, column)})
    for name in rows:
        clean, dirty = (
            vectors(name, Features(one, without=without)) for one in (toy_place, poisoned)
        )
        np.testing.assert_array_equal(dirty, clean)
    clean, dirty = (vectors("pca", Features(one)) for one in (toy_place, poisoned))
    assert not np.allclose(dirty[:, 0], clean[:, 0], atol=1e-3)


def test_a_column_that_is_left_out_is_as_if_never_there(toy_place, features):
    without = frozenset({("demographics", "hist_age_3")})
    table = toy_place.tables["demographics"]
    shorter = replace(table, values=table.values[:, :3].copy(), columns=table.columns[:3])
    place = toy_place.varied("shorter", tables={**toy_place.tables, "demographics": shorter})
    for name in ("demographics", "pca", "propagated"):
        np.testing.assert_array_equal(
            vectors(name, features.varied(without=without)), vectors(name, Features(place))
        )
    flows = features.varied(without=frozenset({("mobility", "log_inflow")})).of("mobility")
    assert set(features.of("mobility").names) - set(flows.names) == {"log_inflow"}


def test_a_whole_modality_can_be_left_out(toy_place, features):
    bins = toy_place.tables["demographics"].columns
    without = frozenset(("demographics", name) for name in bins)
    alone = toy_place.varied("no census", modalities=("mobility", "poi"))
    np.testing.assert_array_equal(
        vectors("pca", features.varied(without=without)), vectors("pca", Features(alone))
    )
    with pytest.raises(ConfigError, match="no column of demographics is left"):
        BASELINES["demographics"].fit(features.varied(without=without))
    with pytest.raises(ConfigError, match=r"no column 'hist_age_9'; it has hist_age_0"):
        features.varied(without=frozenset({("demographics", "hist_age_9")})).of("demographics")


def test_variations_share_what_they_can_and_stay_apart(toy_place):
    without = frozenset({("poi", "log_total")})
    features = Features(toy_place)
    _ = features.axes
    other = features.varied(without=without, dims=20)
    assert other.options == {"dims": 20, "without": [["poi", "log_total"]]}
    assert other.of("demographics") is features.of("demographics")
    assert features.varied(dims=20).together is features.together
    for name in ("pca", "propagated", "poi"):
        np.testing.assert_array_equal(
            vectors(name, other), vectors(name, Features(toy_place, without=without, dims=20))
        )
    assert features.options == {}


# ---- shared ----------------------------------------------------------------------------------


def twin_of(place, *, east, provider="Foursquare"):
    """A place with the same evidence on cells somewhere else, and points of `provider`."""
    cells = grid.polygon_to_cells(shapely.box(east, 38, east + 2, 40), 6)[: len(place.cells)]
    number = np.searchsorted(place.cells, place.tables["poi"].cells)
    flows = place.graph.matrix
    moved = place.varied(f"moved to {east}")
    moved = replace(
        moved,
        cells=cells,
        provenance={**moved.provenance, "sources": {"v": {"kind": "points", "provider": provider}}},
    )
    moved.__dict__["graph"] = MobilityGraph.from_matrix(cells, flows.copy())
    moved.__dict__["targets"] = {}
    moved.__dict__["tables"] = {
        "poi": replace(place.tables["poi"], cells=cells[number]),
        "demographics": replace(place.tables["demographics"], cells=cells),
    }
    return moved


def test_only_what_means_the_same_is_shared(toy_place):
    here = with_column(toy_place, "poi", "count_cafe", np.ones(len(toy_place.tables["poi"].cells)))
    places = {"a": twin_of(here, east=10), "b": twin_of(here, east=20)}
    assert shared_columns(places) == {
        "mobility": ("log_outflow", "log_inflow"),
        "poi": ("log_total", "count_cafe"),
        "demographics": tuple(f"hist_age_{i}" for i in range(4)),
    }
    places["b"] = twin_of(here, east=20, provider="OpenStreetMap")
    assert "poi" not in shared_columns(places)
    places["b"] = twin_of(here, east=20).varied("no flows", modalities=("poi", "demographics"))
    assert "mobility" not in shared_columns(places)
    places = {
        "a": twin_of(here, east=10).varied("poi", modalities=("poi",)),
        "b": twin_of(here, east=20).varied("census", modalities=("demographics",)),
    }
    with pytest.raises(ConfigError, match=r"\(a: poi; b: demographics\)"):
        shared(places)


def test_the_same_evidence_has_the_same_vector_in_both_places(toy_place):
    places = {"a": twin_of(toy_place, east=10), "b": twin_of(toy_place, east=20)}
    # Twice the flows in b: magnitudes have no common unit, so that is no difference.
    doubled = 2 * places["b"].graph.matrix
    places["b"] = places["b"].varied(
        "more", graph=MobilityGraph.from_matrix(places["b"].cells, doubled)
    )
    made = shared(places)
    np.testing.assert_allclose(made["a"].vectors, made["b"].vectors, atol=1e-5)
    np.testing.assert_array_equal(made["a"].cells, places["a"].cells)
    assert made["a"].provenance["space"] == made["b"].provenance["space"]
    other = shared({"a": places["a"], "c": twin_of(toy_place, east=30)})
    assert other["a"].provenance["space"] != made["a"].provenance["space"]


def test_shared_keeps_distances_between_places(toy_place):
    places = {"a": twin_of(toy_place, east=10), "b": twin_of(toy_place, east=20)}
    table = places["b"].tables["demographics"]
    places["b"] = with_column(places["b"], "demographics", "hist_age_0", 3 + table.values[:, 0])
    census = {
        name: place.varied("census", modalities=("demographics",)) for name, place in places.items()
    }
    made = shared(census)
    pooled = np.concatenate([place.tables["demographics"].values for place in census.values()])
    pooled = (pooled - pooled.mean(0)) / pooled.std(0)
    pooled /= np.linalg.svd(pooled, compute_uv=False)[0] / np.sqrt(len(pooled))
    found = np.concatenate([one.vectors for one in made.values()])
    n = len(toy_place.cells)
    for i, j in [(0, n), (1, n + 5), (7, 9), (n - 1, 2 * n - 1)]:
        np.testing.assert_allclose(
            np.linalg.norm(found[i] - found[j]), np.linalg.norm(pooled[i] - pooled[j]), rtol=1e-4
        )


def test_places_of_one_space_have_one_resolution(toy_place):
    twin = twin_of(toy_place, east=10)
    with pytest.raises(ConfigError, match="different resolutions"):
        shared({"a": twin, "b": replace(twin, resolution=7)})
    with pytest.raises(ConfigError, match="two or more"):
        shared({"a": twin})
