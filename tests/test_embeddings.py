"""The embeddings artefact: GeoParquet that others can read, whole or not at all."""

import geopandas
import numpy as np
import pytest

from mobclip import grid
from mobclip.embeddings import Embeddings
from mobclip.errors import ArtefactError, CellError


@pytest.fixture
def embeddings(toy_place):
    rng = np.random.default_rng(0)
    n = len(toy_place.cells)
    return Embeddings(
        name="run",
        cells=toy_place.cells,
        vectors=rng.normal(size=(n, 5)).astype(np.float32),
        present={"poi": rng.random(n) < 0.5},
        provenance={"recipe": "random"},
    )


def test_round_trip(embeddings, tmp_path):
    embeddings.save(tmp_path / "e.parquet")
    loaded = Embeddings.load(tmp_path / "e.parquet")
    np.testing.assert_array_equal(loaded.vectors, embeddings.vectors)
    np.testing.assert_array_equal(loaded.present["poi"], embeddings.present["poi"])
    assert (loaded.name, loaded.provenance) == ("run", {"recipe": "random"})


def test_geopandas_reads_it(embeddings, tmp_path):
    embeddings.save(tmp_path / "e.parquet")
    frame = geopandas.read_parquet(tmp_path / "e.parquet")
    assert frame.crs.equals("OGC:CRS84")
    lonlat = np.column_stack([frame.geometry.x, frame.geometry.y])
    np.testing.assert_allclose(lonlat, grid.centers(embeddings.cells))
    assert frame["h3"].tolist() == grid.to_strings(embeddings.cells)
    np.testing.assert_array_equal(np.stack(frame["embedding"].to_list()), embeddings.vectors)


def test_vectors_come_in_the_order_asked_for(embeddings):
    picked = embeddings.cells[[7, 3, 7]]
    np.testing.assert_array_equal(embeddings.at(picked), embeddings.vectors[[7, 3, 7]])
    with pytest.raises(CellError, match="not among"):
        embeddings.at(np.array([embeddings.cells[0] + np.uint64(1)]))


@pytest.mark.parametrize("kept", [0, 10, 300])
def test_a_truncated_file_is_a_clear_error(embeddings, tmp_path, kept):
    path = tmp_path / "e.parquet"
    embeddings.save(path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ArtefactError, match="not a whole Parquet file"):
        Embeddings.load(path)


def test_values_that_are_not_finite_are_refused(embeddings):
    vectors = embeddings.vectors.copy()
    vectors[4, 2] = np.nan
    name = grid.to_strings(embeddings.cells[4:5])[0]
    with pytest.raises(ArtefactError, match=name):
        Embeddings(name="run", cells=embeddings.cells, vectors=vectors)
