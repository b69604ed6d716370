"""Projections: colours, determinism, round trips."""

import numpy as np
import pytest

from mobclip.embeddings import Embeddings
from mobclip.errors import ArtefactError
from mobclip.projection import Projection, oklab_colours, pca_projection, umap_projection


@pytest.fixture
def embeddings(toy_place):
    rng = np.random.default_rng(0)
    kind = toy_place.targets["kind"].values[:, None] > 0.5
    vectors = np.where(kind, [3, 0, 0, 0], [0, 3, 0, 0]) + rng.normal(size=(len(kind), 4))
    return Embeddings(name="run", cells=toy_place.cells, vectors=vectors.astype(np.float32))


def test_pca_separates_what_the_vectors_separate(embeddings, toy_place):
    made = pca_projection(embeddings)
    kind = toy_place.targets["kind"].values > 0.5
    assert abs(made.xyz[kind, 0].mean() - made.xyz[~kind, 0].mean()) > 0.3
    assert made.rgb.dtype == np.uint8
    assert np.abs(made.rgb[kind].mean(0) - made.rgb[~kind].mean(0)).max() > 20


def test_few_dimensions_are_enough(embeddings):
    narrow = Embeddings(name="run", cells=embeddings.cells, vectors=embeddings.vectors[:, :1])
    assert np.isfinite(pca_projection(narrow).xyz).all()


@pytest.mark.filterwarnings("ignore::UserWarning")  # umap: one thread because seeded; knn given
def test_umap_is_seeded_and_saves_whole(embeddings, tmp_path):
    a, b = (umap_projection(embeddings, seed=3) for _ in range(2))
    np.testing.assert_array_equal(a.xyz, b.xyz)
    a.save(tmp_path / "p.parquet")
    loaded = Projection.load(tmp_path / "p.parquet")
    for name in ("cells", "xyz", "xy", "rgb"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(a, name))
    assert loaded.method == "umap"
    assert loaded.provenance["seed"] == 3


def test_colours_of_the_corners_differ_and_stay_readable():
    corners = np.array(np.meshgrid([0, 1], [0, 1], [0, 1])).reshape(3, -1).T.astype(np.float32)
    rgb = oklab_colours(corners).astype(int)
    apart = np.abs(rgb[:, None] - rgb[None]).sum(-1) + 1000 * np.eye(8, dtype=int)
    assert apart.min() > 40
    luminance = rgb @ [0.2126, 0.7152, 0.0722]
    assert luminance.min() > 20
    assert luminance.max() < 240


def test_grey_is_the_middle():
    grey = oklab_colours(np.array([[0.5, 0.5, 0.5]], np.float32))[0].astype(int)
    assert np.ptp(grey) <= 1


def test_a_truncated_file_is_a_clear_error(embeddings, tmp_path):
    path = tmp_path / "p.parquet"
    pca_projection(embeddings).save(path)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(ArtefactError, match="not a whole Parquet file"):
        Projection.load(path)
    embeddings.save(path)
    with pytest.raises(ArtefactError, match="no projection"):
        Projection.load(path)
