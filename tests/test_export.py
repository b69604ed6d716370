"""Tables with their provenance, as CSV, GeoParquet and PMTiles, read back by others' readers."""

import io
import json

import geopandas
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pyogrio
import pytest

from mobclip import __version__, grid
from mobclip.errors import ConfigError
from mobclip.export import provenance_of, results_table, to_csv, to_geoparquet, to_pmtiles

MADE = {"place": "islands-r6", "query": 'cafe,\n"bar" # 2', "licences": {"a": "CC0"}, "none": None}


@pytest.fixture
def table(toy_place):
    cells = toy_place.cells[[5, 2, 9]]  # in the order of the results, not of the cells
    columns = {
        "rank": np.arange(1, 4),
        "score": np.array([0.1, np.nan, 1 / 3], np.float32),
        "near": ["Westport", 'a, "b"', None],
        "embedding": np.arange(6, dtype=np.float32).reshape(3, 2),
    }
    return results_table(cells, columns, MADE)


def test_csv_is_read_back_with_its_provenance(table):
    text = to_csv(table).decode()
    lines = text.splitlines()
    assert lines[:4] == [
        f"# mobclip: {__version__}",
        "# place: islands-r6",
        '# query: cafe, "bar" # 2',
        '# licences: {"a": "CC0"}',
    ]
    assert lines[4] == "h3,lon,lat,rank,score,near,embedding_000,embedding_001"
    read = pd.read_csv(io.StringIO(text), skiprows=4, dtype={"h3": str})
    assert read["h3"].tolist() == table["h3"].to_pylist()
    assert read["rank"].tolist() == [1, 2, 3]
    assert read["near"].tolist()[:2] == ["Westport", 'a, "b"']
    assert read["near"].isna().tolist() == [False, False, True]
    assert ",0.1," in lines[5]  # not 0.10000000149011612
    assert ",0.333333," in lines[7]
    assert np.isnan(read["score"][1])
    np.testing.assert_allclose(read[["embedding_000", "embedding_001"]], [[0, 1], [2, 3], [4, 5]])


def test_geoparquet_has_the_outline_of_each_cell(table, toy_place, tmp_path):
    path = tmp_path / "results.parquet"
    path.write_bytes(to_geoparquet(table))
    read = geopandas.read_parquet(path)
    assert read.crs == "OGC:CRS84"
    assert read["h3"].tolist() == table["h3"].to_pylist()
    for outline, cell in zip(read.geometry, toy_place.cells[[5, 2, 9]], strict=True):
        assert outline.equals(grid.boundaries(np.array([cell]))[0])
    plain = pq.read_table(path)
    assert provenance_of(plain) == provenance_of(table)
    assert provenance_of(plain)["place"] == "islands-r6"
    assert plain["embedding"].type.list_size == 2


def test_no_rows_are_a_file_too(toy_place, tmp_path):
    empty = results_table(toy_place.cells[:0], {"score": np.zeros(0, np.float32)}, {})
    assert to_csv(empty).decode().splitlines()[-1] == "h3,lon,lat,score"
    (tmp_path / "empty.parquet").write_bytes(to_geoparquet(empty))
    assert len(geopandas.read_parquet(tmp_path / "empty.parquet")) == 0


def test_columns_that_cannot_be(toy_place):
    with pytest.raises(ConfigError, match="'lon' is there already"):
        results_table(toy_place.cells[:2], {"lon": [1, 2]}, {})
    with pytest.raises(ConfigError, match="3 values for 2 rows"):
        results_table(toy_place.cells[:2], {"score": [1, 2, 3]}, {})


def test_tiles_hold_every_cell_and_say_where_they_came_from(toy_place, tmp_path):
    cells = toy_place.cells
    table = results_table(cells, {"red": np.arange(len(cells), dtype=np.int32)}, MADE)
    path = tmp_path / "toy.pmtiles"
    to_pmtiles(table, path, title="Toy")
    to_pmtiles(table, path, title="Toy")  # what is there is replaced
    about = pyogrio.read_info(path)["dataset_metadata"]
    assert about["name"] == "Toy"
    assert json.loads(about["description"])["place"] == "islands-r6"
    assert about["maxzoom"] == "8"
    read = pyogrio.read_dataframe(path)  # of the finest zoom; a cell in two tiles is there twice
    assert set(read["h3"]) == set(grid.to_strings(cells))
    by_cell = dict(zip(read["h3"], read["red"], strict=True))
    assert [by_cell[cell] for cell in grid.to_strings(cells)] == list(range(len(cells)))
    assert [one.name for one in tmp_path.iterdir()] == ["toy.pmtiles"]
