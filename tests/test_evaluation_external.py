"""Embedding files of others: every usual layout, against the vectors that were written."""

import gzip
import json

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc_csv
import pyarrow.parquet as pq
import pytest
import shapely

from mobclip import grid
from mobclip.embeddings import Embeddings
from mobclip.errors import CellError, MobclipError, RecordError
from mobclip.evaluation import external
from mobclip.evaluation.external import read_external

CELLS = grid.polygon_to_cells(shapely.box(-35, 38, -34.5, 38.5), 6)
DIMS = 12


@pytest.fixture
def vectors():
    return np.random.default_rng(0).normal(size=(len(CELLS), DIMS)).astype(np.float32)


def columns_of(vectors, names):
    return {name: vectors[:, i] for i, name in enumerate(names)}


def lists_of(vectors, kind=None):
    kind = kind or pa.list_(pa.float32(), DIMS)
    return pa.array(vectors.tolist(), kind)


POSITIONS = {
    "h3 text": lambda: {"h3": grid.to_strings(CELLS)},
    "uint64": lambda: {"cell": CELLS},
    "int64": lambda: {"H3_index": CELLS.astype(np.int64)},
    "by resolution": lambda: {"h3_06": grid.to_strings(CELLS)},
    "lon lat": lambda: dict(zip(("Longitude", "LAT"), grid.centers(CELLS).T, strict=True)),
    "x y": lambda: dict(zip("xy", grid.centers(CELLS).T, strict=True)),
    "wkb": lambda: {"geometry": shapely.to_wkb(shapely.points(grid.centers(CELLS))).tolist()},
}
LAYOUTS = {
    "fixed lists": lambda v: {"embedding": lists_of(v)},
    "lists": lambda v: {"vec": lists_of(v, pa.list_(pa.float64()))},
    "large lists": lambda v: {"vec": lists_of(v, pa.large_list(pa.float32()))},
    "emb_": lambda v: columns_of(v, [f"emb_{i}" for i in range(DIMS)]),
    "AlphaEarth": lambda v: columns_of(v, [f"A{i:02d}" for i in range(DIMS)]),
    "PDFM": lambda v: columns_of(v, [f"feature{i}" for i in range(DIMS)]),
    "numbers": lambda v: columns_of(v, [str(i) for i in range(DIMS)]),
    "words": lambda v: columns_of(v, ["height", "wet", "sun", *"abcdefghi"]),
}


@pytest.mark.parametrize(
    ("kind", "position", "layout"),
    [
        (kind, position, layout)
        for kind in ("parquet", "csv", "csv.gz")
        for position in POSITIONS
        for layout in LAYOUTS
        if kind == "parquet" or ("lists" not in layout and position != "wkb")
    ],
)
def test_every_layout_gives_back_what_was_written(tmp_path, vectors, kind, position, layout):
    order = np.random.default_rng(1).permutation(len(CELLS))
    extra = {"name": [f"place {i}" for i in range(len(CELLS))], "id": np.arange(len(CELLS))}
    table = pa.table({**extra, **POSITIONS[position](), **LAYOUTS[layout](vectors)}).take(order)
    path = tmp_path / f"Others.{kind}"
    if kind == "parquet":
        pq.write_table(table, path)
    else:
        pc_csv.write_csv(table, tmp_path / "plain.csv")
        text = (tmp_path / "plain.csv").read_bytes()
        path.write_bytes(gzip.compress(text) if kind == "csv.gz" else text)
    found = read_external(path, CELLS)
    np.testing.assert_allclose(found.embeddings.vectors, vectors, rtol=1e-5)
    np.testing.assert_array_equal(found.embeddings.cells, CELLS)
    assert found.covered.all()
    assert found.embeddings.name == "Others"
    assert found.report["rows"] == found.report["inside"] == len(CELLS)
    assert found.report["dims"] == DIMS
    assert found.report["notes"] == []


def test_our_own_file_comes_back(tmp_path, vectors):
    path = tmp_path / "embeddings.parquet"
    made = Embeddings(name="run", cells=CELLS, vectors=vectors)
    made.save(path)
    found = read_external(path, CELLS[5:], name="theirs")
    np.testing.assert_array_equal(found.embeddings.vectors, vectors[5:])
    assert found.report["outside"] == 5
    assert found.embeddings.name == "theirs"
    assert found.embeddings.provenance["external"]
    assert len(found.embeddings.provenance["sha256"]) == 64
    json.dumps([found.report, found.embeddings.provenance])


def test_several_rows_of_a_cell_and_finer_cells_are_averaged(tmp_path, vectors, monkeypatch):
    monkeypatch.setattr(external, "BATCH_NUMBERS", 256 * 8)  # many batches
    children = grid.children(CELLS, 8)
    rng = np.random.default_rng(2)
    values = rng.normal(size=(len(children), 3))
    row = grid.locate(CELLS, grid.parents(children, 6))[0]
    expected = np.array([values[row == i].mean(0) for i in range(len(CELLS))])
    finer = tmp_path / "finer.parquet"
    pq.write_table(pa.table({"h3": grid.to_strings(children), "v": values.tolist()}), finer)
    found = read_external(finer, CELLS)
    np.testing.assert_allclose(found.embeddings.vectors, expected, rtol=1e-5)
    assert found.report["resolutions"] == {"8": len(children)}
    points = grid.centers(children)
    many = tmp_path / "points.parquet"
    pq.write_table(pa.table({"lon": points[:, 0], "lat": points[:, 1], "v": values.tolist()}), many)
    at = grid.points_to_cells(lon=points[:, 0], lat=points[:, 1], resolution=6)
    row, inside = grid.locate(CELLS, at)
    expected = np.array([values[inside & (row == i)].mean(0) for i in range(len(CELLS))])
    found = read_external(many, CELLS)
    np.testing.assert_allclose(found.embeddings.vectors, expected, rtol=1e-5)
    assert found.report["resolutions"] == {}


def test_coarser_cells_give_their_vector_to_all_children_and_say_so(tmp_path):
    parents = np.unique(grid.parents(CELLS, 5))
    values = np.random.default_rng(3).normal(size=(len(parents), 2))
    # A finer row counts for its cell, before its parent does.
    table = pa.table(
        {
            "cell": np.concatenate([parents, CELLS[:1]]),
            "v": [*values.tolist(), [7.0, 7.0]],
        }
    )
    pq.write_table(table, tmp_path / "coarse.parquet")
    found = read_external(tmp_path / "coarse.parquet", CELLS)
    expected = values[grid.locate(parents, grid.parents(CELLS, 5))[0]]
    expected[0] = 7
    np.testing.assert_allclose(found.embeddings.vectors, expected, rtol=1e-6)
    assert "coarser" in found.report["notes"][0]
    assert found.report["resolutions"] == {"5": len(parents), "6": 1}


def test_what_is_not_covered_has_the_mean_and_is_named(tmp_path, vectors):
    away = grid.polygon_to_cells(shapely.box(10, 50, 10.4, 50.4), 6)
    text = [*grid.to_strings(CELLS[:20]), *grid.to_strings(away), None, ""]
    rows = np.vstack([vectors[:20], np.full((len(away) + 2, DIMS), np.nan)])
    pq.write_table(
        pa.table({"h3": text, **columns_of(rows, [f"e{i}" for i in range(DIMS)])}),
        tmp_path / "some.parquet",
    )
    found = read_external(tmp_path / "some.parquet", CELLS)  # NaN elsewhere is no matter
    np.testing.assert_array_equal(found.covered, np.arange(len(CELLS)) < 20)
    np.testing.assert_allclose(
        found.embeddings.vectors[20:],
        np.tile(vectors[:20].mean(0), (len(CELLS) - 20, 1)),
        rtol=1e-5,
        atol=1e-7,
    )
    assert found.report["outside"] == len(away)
    assert found.report["without_position"] == 2
    assert found.report["covered"] == 20
    assert "not covered" in found.report["notes"][0]
    np.testing.assert_array_equal(found.embeddings.present["external"], found.covered)


def test_the_vector_can_be_named(tmp_path, vectors):
    path = tmp_path / "two.parquet"
    both = {
        **columns_of(vectors, [f"a_{i}" for i in range(DIMS)]),
        **columns_of(-vectors, [f"b_{i}" for i in range(DIMS)]),
    }
    pq.write_table(pa.table({"cell": CELLS, **both}), path)
    with pytest.raises(RecordError, match="vector="):
        read_external(path, CELLS)
    found = read_external(path, CELLS, vector="b")
    np.testing.assert_array_equal(found.embeddings.vectors, -vectors)
    assert found.report["vector"] == "b_0 ... b_11"
    with pytest.raises(RecordError, match="no vector 'c'"):
        read_external(path, CELLS, vector="c")
    pq.write_table(pa.table({"cell": CELLS, "p": lists_of(vectors), "q": lists_of(-vectors)}), path)
    with pytest.raises(RecordError, match="several columns of lists"):
        read_external(path, CELLS)
    np.testing.assert_array_equal(
        read_external(path, CELLS, vector="q").embeddings.vectors, -vectors
    )


def test_whole_numbers_that_get_decimals_later(tmp_path):
    lines = ["h3,e0,e1"] + [f"{cell},0,1" for cell in grid.to_strings(CELLS)] * 3000
    cell = grid.to_strings(CELLS[:1])[0]
    path = tmp_path / "late.csv"
    path.write_text("\n".join([*lines, f"{cell},0.5,1"]) + "\n")
    assert path.stat().st_size > 2**20  # beyond the rows that types are guessed from
    found = read_external(path, CELLS)
    assert found.embeddings.vectors[0, 0] == pytest.approx(0.5 / 3001)


def bad_files(tmp_path):
    """(path, error, words of the message)."""
    n = len(CELLS)
    text = grid.to_strings(CELLS)
    good = [[1.0, 2.0]] * n
    away = grid.polygon_to_cells(shapely.box(10, 50, 10.4, 50.4), 6)
    gap = [*good[:4], [1.0, float("nan")], *good[5:]]
    crs = {
        "primary_column": "geometry",
        "columns": {
            "geometry": {"crs": {"name": "UTM", "id": {"authority": "EPSG", "code": 32618}}}
        },
    }
    wkb = shapely.to_wkb(shapely.points(grid.centers(CELLS))).tolist()
    boxes = shapely.to_wkb(grid.boundaries(CELLS)).tolist()
    tables = {
        "no position": ({"name": text, "v": good}, RecordError, "where its rows are"),
        "no vector": ({"h3": text, "name": text, "id": range(n)}, RecordError, "no vector"),
        "nan": ({"h3": text, "v": gap}, RecordError, "first 4, counted"),
        "null": ({"h3": text, "v": [*good[:7], None, *good[8:]]}, RecordError, "first 7, counted"),
        "ragged": (
            {"h3": text, "v": [*good[:9], [1.0], *good[10:]]},
            RecordError,
            "row 9 is not 2",
        ),
        "huge": ({"h3": text, "a0": [1e300] * n, "a1": [0.0] * n}, RecordError, "not finite"),
        "float cells": ({"h3": CELLS.astype(float), "v": good}, RecordError, "lose"),
        "words": ({"h3": [*text[:3], "chicago", *text[4:]], "v": good}, CellError, "row 3 is 'chi"),
        "numbers": ({"cell": [*CELLS[:2], 12, *CELLS[3:]], "v": good}, CellError, "row 2 is 12"),
        "elsewhere": ({"cell": away, "v": [[1.0]] * len(away)}, RecordError, "longitude 10.0"),
        "metres": ({"x": np.full(n, 4e5), "y": np.full(n, 9.0), "v": good}, RecordError, "row 0"),
        "no degrees": ({"lon": text, "lat": text, "v": good}, RecordError, "degrees are numbers"),
        "boxes": ({"geometry": boxes, "v": good}, RecordError, "Polygon"),
        "not wkb": ({"geometry": [b"12"] * n, "v": good}, RecordError, "not WKB"),
        "wide": (
            {"h3": text, **{f"e{i}": np.zeros(n, np.int8) for i in range(4097)}},
            RecordError,
            "4097 numbers",
        ),
        "nowhere": (
            {"h3": pa.nulls(n, pa.string()), "v": good},
            RecordError,
            "none of its 57 rows has a position",
        ),
    }
    for name, (columns, error, words) in tables.items():
        path = tmp_path / f"{name}.parquet"
        pq.write_table(pa.table({one: pa.array(values) for one, values in columns.items()}), path)
        yield path, error, words
    path = tmp_path / "utm.parquet"
    table = pa.table({"geometry": wkb, "v": good})
    pq.write_table(table.replace_schema_metadata({"geo": json.dumps(crs)}), path)
    yield path, RecordError, "positions in UTM"
    for name, content, words in (
        ("broken.parquet", b"PAR1....", "is it whole"),
        ("broken.csv.gz", b"not gzip", "is it whole"),
        ("ragged.csv", b"h3,e0\n862a1072fffffff,1\n862a1072fffffff,1,2\n", "is it whole"),
        ("empty.csv", b"", "is it whole"),
        ("twice.csv", b"h3,e0,e0\n862a1072fffffff,1,2\n", "several columns 'e0'"),
        ("array.npy", b"", "may run code"),
        ("weights.pkl", b"", "may run code"),
    ):
        (tmp_path / name).write_bytes(content)
        yield tmp_path / name, RecordError, words
    yield tmp_path / "missing.csv", RecordError, "is missing"


def test_errors_name_what_is_wrong(tmp_path):
    seen = 0
    for path, error, words in bad_files(tmp_path):
        with pytest.raises(error, match=words) as caught:
            read_external(path, CELLS)
        assert isinstance(caught.value, MobclipError)
        assert str(path) in str(caught.value)
        seen += 1
    assert seen == 25


def test_size_is_bounded(tmp_path, vectors, monkeypatch):
    path = tmp_path / "big.parquet"
    pq.write_table(pa.table({"cell": CELLS, "v": lists_of(vectors)}), path)
    monkeypatch.setattr(external, "MAX_BYTES", 500)
    with pytest.raises(RecordError, match="500 are allowed"):
        read_external(path, CELLS)
    # Much in little: a file that is small until it is unpacked.
    packed = tmp_path / "packed.csv.gz"
    line = grid.to_strings(CELLS[:1])[0] + ",0.0,0.0\n"
    packed.write_bytes(gzip.compress(("h3,e0,e1\n" + line * 200_000).encode()))
    monkeypatch.setattr(external, "MAX_BYTES", packed.stat().st_size + 1)
    with pytest.raises(RecordError, match="are allowed"):
        read_external(packed, CELLS)
