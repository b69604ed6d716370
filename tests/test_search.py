"""Search against a naive loop; examples, exclusion, ties, text."""

import numpy as np
import pytest

from mobclip import grid
from mobclip.embeddings import Embeddings
from mobclip.errors import ArtefactError, CellError, ConfigError
from mobclip.search import SimilarityIndex, TextQuery
from mobclip.textmap import TextMap


@pytest.fixture
def index(toy_place):
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(len(toy_place.cells), 6)).astype(np.float32)
    return SimilarityIndex(Embeddings(name="run", cells=toy_place.cells, vectors=vectors))


def cosine(a, b):
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def test_equals_a_naive_loop(index):
    made = index.embeddings
    query = made.cells[17]
    expected = sorted(
        (
            (cosine(made.vectors[17], v), cell)
            for v, cell in zip(made.vectors, made.cells, strict=True)
            if cell != query
        ),
        key=lambda pair: -pair[0],
    )[:10]
    found = index.like_cell(query, 10)
    np.testing.assert_array_equal(found.cells, [cell for _, cell in expected])
    np.testing.assert_allclose(found.scores, [score for score, _ in expected], rtol=1e-5)


def test_length_does_not_matter_and_ties_go_to_the_smaller_cell(toy_place):
    vectors = np.tile([[1.0, 2.0]], (len(toy_place.cells), 1)).astype(np.float32)
    vectors *= np.linspace(1, 9, len(vectors))[:, None].astype(np.float32)
    rounded = SimilarityIndex(Embeddings(name="run", cells=toy_place.cells, vectors=vectors))
    found = rounded.like_vector(np.array([1, 2], np.float32), len(vectors))
    np.testing.assert_allclose(found.scores, 1, rtol=1e-6)
    assert len(found.cells) == len(vectors)


def test_nearby_cells_can_be_left_out(index):
    query = index.embeddings.cells[100]
    found = index.like_cell(query, 20, exclude_within_km=30.0)
    away = grid.distances_km(grid.centers(found.cells), grid.centers(np.array([query]))[0])
    assert away.min() > 30


def test_negative_examples_push_away(index):
    positive, negative = index.embeddings.cells[[3, 50]]
    plain = index.scores(index.vector_of([positive]))[50]
    pushed = index.scores(index.vector_of([positive], [negative]))[50]
    assert pushed < plain
    found = index.like([positive], [negative], 15)
    assert not {int(positive), int(negative)} & {int(cell) for cell in found.cells}


def test_more_answers_than_cells_gives_all(index):
    n = len(index.embeddings.cells)
    assert len(index.like_cell(index.embeddings.cells[0], 10 * n).cells) == n - 1


def test_unknown_cell_and_wrong_width_are_clear_errors(index):
    far = grid.points_to_cells(lon=np.array([10.0]), lat=np.array([10.0]), resolution=6)[0]
    with pytest.raises(CellError, match=r"not among the .* cells of 'run'"):
        index.like_cell(far, 5)
    with pytest.raises(ConfigError, match="6 numbers"):
        index.scores(np.ones(5, np.float32))
    with pytest.raises(ConfigError, match="at least one positive"):
        index.like([], [index.embeddings.cells[0]], 5)


def test_text_map_round_trip_and_damage(tmp_path):
    rng = np.random.default_rng(0)
    made = TextMap(weight=rng.normal(size=(4, 3)).astype(np.float32))
    text = rng.normal(size=(2, 4)).astype(np.float32)
    made.save(tmp_path / "text.safetensors")
    loaded = TextMap.load(tmp_path / "text.safetensors")
    np.testing.assert_array_equal(loaded(text), made(text))
    (tmp_path / "text.safetensors").write_bytes(b"12345678901234567890")
    with pytest.raises(ArtefactError, match="cannot be searched by text"):
        TextMap.load(tmp_path / "text.safetensors")
    assert not TextQuery(run=tmp_path / "none", featurizer=tmp_path).available
