"""The training-free ladder: what each row may see, and that it is what it says."""

from dataclasses import replace

import numpy as np
import pytest

from mobclip import grid
from mobclip.baselines import BASELINES, Features, available, spatial_kernel
from mobclip.errors import ConfigError
from mobclip.probes import probe
from mobclip.spectral import flow_vectors, line_vectors, truncated_svd


def test_every_row_fits_and_repeats_itself(toy_place):
    assert available(toy_place) == [
        "random",
        "coordinates",
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
        a, b = (BASELINES[name].fit(Features(toy_place)).embeddings for _ in range(2))
        np.testing.assert_array_equal(a.vectors, b.vectors)
        assert a.dims <= 128


def test_rows_of_one_modality_see_only_it(toy_place):
    poi = BASELINES["poi"].fit(Features(toy_place)).embeddings
    without = replace(toy_place, modalities=("poi",))
    np.testing.assert_array_equal(
        BASELINES["poi"].fit(Features(without)).embeddings.vectors, poi.vectors
    )
    with pytest.raises(ConfigError, match="has no imagery"):
        BASELINES["imagery"].fit(Features(toy_place))


def test_a_cell_without_the_modality_stands_at_the_mean(toy_place):
    made = BASELINES["poi"].fit(Features(toy_place)).embeddings
    absent = ~toy_place.present["poi"]
    assert absent.any()
    np.testing.assert_array_equal(made.vectors[absent], 0)


def test_pca_keeps_distances_when_nothing_is_cut(toy_place):
    # 3 + 4 columns and the flows are fewer than 128 dims only without the flows.
    small = replace(toy_place, modalities=("poi", "demographics"))
    features = Features(small).together.values
    made = BASELINES["pca"].fit(Features(small)).embeddings.vectors
    before = np.linalg.norm(features[:20, None] - features[None, :20], axis=-1)
    after = np.linalg.norm(made[:20, None] - made[None, :20], axis=-1)
    np.testing.assert_allclose(after, before, atol=1e-4)


def test_evidence_beats_coordinates(toy_place):
    target = toy_place.targets["kind"]
    scores = {
        name: probe(BASELINES[name].fit(Features(toy_place)).embeddings, target)
        .scores["blocks"]
        .mean
        for name in ("coordinates", "poi", "pca", "propagated")
    }
    assert scores["coordinates"] < 0.1 < scores["poi"]
    assert scores["poi"] < max(scores["pca"], scores["propagated"])


def test_a_text_lands_on_its_kind_of_place(toy_place):
    for name in ("poi", "pca", "propagated"):
        fitted = BASELINES[name].fit(Features(toy_place))
        a, b = fitted.text_map(np.eye(2, dtype=np.float32))
        vectors = fitted.embeddings.vectors
        leaning = (vectors @ a - vectors @ b)[toy_place.present["poi"]]
        kind = toy_place.targets["kind"].values[toy_place.present["poi"]] > 0.5
        assert leaning[~kind].mean() > leaning[kind].mean()


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
