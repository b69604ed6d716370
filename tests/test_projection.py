"""Projections: colours, determinism, round trips."""

from dataclasses import replace

import numpy as np
import pytest

from mobclip.embeddings import Embeddings
from mobclip.errors import ArtefactError, ConfigError
from mobclip.projection import (
    LIGHTNESS,
    Projection,
    aligned,
    inside,
    linear_rgb,
    oklab,
    oklab_colours,
    overlap,
    pca_projection,
    umap_projection,
)


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


@pytest.fixture(scope="module")
def cube():
    steps = np.linspace(0, 1, 13)
    return np.array(np.meshgrid(steps, steps, steps)).reshape(3, -1).T.astype(np.float32)


def test_colours_are_perceptual(cube):
    # Corners that no screen has keep their lightness and their hue: cutting the channels off
    # would miss the lightness by up to a tenth.
    lab = oklab(oklab_colours(cube))
    low, high = LIGHTNESS
    assert np.abs(lab[:, 0] - (low + (high - low) * cube[:, 2])).max() < 0.004
    wanted = np.arctan2(cube[:, 0] - 0.5, cube[:, 1] - 0.5)
    strong = np.hypot(lab[:, 1], lab[:, 2]) > 0.03
    off = np.angle(np.exp(1j * (np.arctan2(lab[:, 2], lab[:, 1]) - wanted)))[strong]
    assert np.abs(np.degrees(off)).max() < 4
    # Equal steps look equally large: distances of colours follow those of points.
    one, other = np.random.default_rng(0).integers(0, len(cube), (2, 4000))
    points = np.linalg.norm((cube[one] - cube[other]) * [0.3, 0.3, high - low], axis=1)
    seen = np.linalg.norm(lab[one] - lab[other], axis=1)
    assert np.corrcoef(points, seen)[0, 1] > 0.97


def test_points_outside_the_gamut_keep_colours_of_their_own(cube):
    ray = np.column_stack([np.linspace(0.5, 1, 12), np.full(12, 0.5), np.zeros(12)])
    rgb = oklab_colours(ray.astype(np.float32))
    assert len(np.unique(rgb, axis=0)) == 12
    assert (np.diff(oklab(rgb)[:, 2]) > 0).all()


def test_oklab_of_known_colours():
    # From Ottosson's page: white, and the primaries of sRGB.
    given = np.array([[255, 255, 255], [255, 0, 0], [0, 0, 255]], np.uint8)
    known = [[1.0, 0.0, 0.0], [0.628, 0.2249, 0.1258], [0.452, -0.0325, -0.3115]]
    np.testing.assert_allclose(oklab(given), known, atol=1e-3)
    assert linear_rgb(given).max() == 1


def test_alignment_finds_a_turned_mirrored_and_shrunk_projection(embeddings):
    made = pca_projection(embeddings)
    rng = np.random.default_rng(5)
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    turn[:, 0] *= -np.sign(np.linalg.det(turn))  # with a mirror in it
    flat = np.array([[0, 1], [1, 0]])
    other = replace(
        made,
        xyz=(made.xyz @ turn * 0.2 + 7).astype(np.float32),
        xy=(made.xy @ flat * 3).astype(np.float32),
    )
    back = aligned(other, made)
    np.testing.assert_allclose(back.xyz, made.xyz, atol=1e-4)
    np.testing.assert_allclose(back.xy, made.xy, atol=1e-4)
    assert np.abs(back.rgb.astype(int) - made.rgb).max() <= 1
    assert back.provenance["aligned"] == "run"


def test_alignment_goes_by_the_cells_in_common(embeddings):
    made = pca_projection(embeddings)
    part = Projection(
        cells=made.cells[::2],
        xyz=made.xyz[::2][:, [2, 0, 1]],
        xy=made.xy[::2],
        rgb=made.rgb[::2],
        method="pca",
    )
    np.testing.assert_allclose(aligned(part, made).xyz, made.xyz[::2], atol=1e-4)
    with pytest.raises(ConfigError, match="in common"):
        aligned(part, replace(made, cells=made.cells + np.uint64(1 << 60)))


def test_overlap_counts_common_neighbours(embeddings, monkeypatch):
    monkeypatch.setattr("mobclip.projection.BLOCK", 1)  # several blocks
    told: list[float] = []
    same = overlap(embeddings, embeddings, k=5, progress=told.append)
    assert (same == 1).all()
    assert told == sorted(told)
    assert told[-1] == 1
    rng = np.random.default_rng(2)
    vectors = rng.normal(size=(len(embeddings.cells), 6)).astype(np.float32)
    other = replace(embeddings, vectors=vectors)
    found = overlap(embeddings, other, k=5)

    def near(one):
        cosine = one.unit() @ one.unit().T
        np.fill_diagonal(cosine, -2)
        return [set(row) for row in np.argsort(-cosine, axis=1)[:, :5]]

    by_hand = [len(a & b) / 5 for a, b in zip(near(embeddings), near(other), strict=True)]
    np.testing.assert_allclose(found, by_hand, atol=1e-6)
    # All at once, and with a first look at fewer cells than there are.
    for sparse in (1, 2, 10_000):
        monkeypatch.setattr("mobclip.projection.SPARSE", sparse)
        np.testing.assert_array_equal(overlap(embeddings, other, k=5), found)


def test_overlap_of_a_sample_and_of_fewer_cells(embeddings):
    n = len(embeddings.cells)
    asked = overlap(embeddings, embeddings, k=3, queries=7)
    assert np.isfinite(asked).sum() == 7
    assert np.nanmin(asked) == 1
    part = replace(
        embeddings, cells=embeddings.cells[: n // 2], vectors=embeddings.vectors[: n // 2]
    )
    half = overlap(embeddings, part, k=3)
    assert (half[: n // 2] == 1).all()
    assert np.isnan(half[n // 2 :]).all()


def test_a_lasso_takes_what_is_inside_even_if_it_crosses_itself():
    xy = np.array([[0.5, 0.1], [0.5, 0.9], [0.1, 0.5], [2, 2], [np.nan, 0]], np.float32)
    bow = np.array([[0, 0], [1, 0], [0, 1], [1, 1]], float)
    assert inside(xy, bow).tolist() == [True, True, False, False, False]
    assert not inside(xy, bow[:2]).any()


def test_a_truncated_file_is_a_clear_error(embeddings, tmp_path):
    path = tmp_path / "p.parquet"
    pca_projection(embeddings).save(path)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(ArtefactError, match="not a whole Parquet file"):
        Projection.load(path)
    embeddings.save(path)
    with pytest.raises(ArtefactError, match="no projection"):
        Projection.load(path)
