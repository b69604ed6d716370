"""CellTable: joins by cell, survives the disk, and refuses what is not one."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from mobclip import grid
from mobclip.errors import ArtefactError, CellError
from mobclip.storage import write_parquet
from mobclip.table import CellTable

CELLS = grid.polygon_to_cells(shapely.box(5, 50, 5.5, 50.5), 6)


def table(n: int = 5, dims: int = 3) -> CellTable:
    values = np.arange(1, n * dims + 1, dtype=np.float32).reshape(n, dims)
    columns = tuple(f"x_{i}" for i in range(dims))
    return CellTable(modality="poi", cells=CELLS[: 2 * n : 2], values=values, columns=columns)


@given(wanted=st.lists(st.integers(0, len(CELLS) - 1), max_size=30))
@settings(max_examples=50, deadline=None)
def test_aligned_looks_every_cell_up(wanted: list[int]) -> None:
    one = table()
    cells = CELLS[np.array(wanted, np.int64)]
    values, present = one.aligned(cells)
    by_cell = dict(zip(one.cells.tolist(), one.values, strict=True))
    for cell, value, here in zip(cells.tolist(), values, present, strict=True):
        assert here == (cell in by_cell)
        np.testing.assert_array_equal(value, by_cell.get(cell, np.zeros(3)))


def test_an_empty_table_aligns_to_nothing_present() -> None:
    empty = CellTable(
        modality="poi",
        cells=CELLS[:0],
        values=np.empty((0, 2), np.float32),
        columns=("a", "b"),
    )
    values, present = empty.aligned(CELLS)
    assert values.shape == (len(CELLS), 2)
    assert not present.any()
    assert not values.any()


def test_values_of_a_large_table_are_memory_mapped(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("mobclip.table.IN_MEMORY", 10)
    monkeypatch.setattr("mobclip.table.ROWS_AT_ONCE", 2)
    path = tmp_path / "poi.parquet"
    for one in (table(5), table(4)):
        one.save(path)
        for _ in range(2):  # made, then found
            back = CellTable.load(path)
            assert isinstance(back.values, np.memmap)
            np.testing.assert_array_equal(back.values, one.values)
            np.testing.assert_array_equal(back.aligned(CELLS)[0], one.aligned(CELLS)[0])


def test_a_value_that_is_not_finite_is_named_wherever_it_stands(monkeypatch) -> None:
    monkeypatch.setattr("mobclip.table.ROWS_AT_ONCE", 2)
    one = table(5)
    one.values[3, 1] = np.nan
    with pytest.raises(ArtefactError, match=grid.to_strings(one.cells[3:4])[0]):
        CellTable(modality="poi", cells=one.cells, values=one.values, columns=one.columns)


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    one = table()
    one.save(tmp_path / "poi.parquet")
    back = CellTable.load(tmp_path / "poi.parquet")
    assert (back.modality, back.columns) == (one.modality, one.columns)
    np.testing.assert_array_equal(back.cells, one.cells)
    assert back.cells.dtype == np.uint64
    np.testing.assert_array_equal(back.values, one.values)
    assert back.values.dtype == np.float32
    np.testing.assert_array_equal(back.column("x_1"), one.values[:, 1])


def test_what_is_no_table_is_refused() -> None:
    one = table()
    fields = {"modality": "poi", "cells": one.cells, "values": one.values, "columns": one.columns}
    with pytest.raises(CellError, match="sorted"):
        CellTable(**{**fields, "cells": one.cells[::-1].copy()})
    with pytest.raises(ArtefactError, match="shape"):
        CellTable(**{**fields, "columns": ("a", "b")})
    with pytest.raises(ArtefactError, match="repeat"):
        CellTable(**{**fields, "columns": ("a", "b", "a")})
    values = one.values.copy()
    values[2, 1] = np.nan
    with pytest.raises(ArtefactError, match=grid.to_strings(one.cells[2:3])[0]):
        CellTable(**{**fields, "values": values})


def test_a_damaged_file_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "poi.parquet"
    with pytest.raises(ArtefactError, match="missing"):
        CellTable.load(path)
    table().save(path)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(ArtefactError, match=r"not a whole Parquet file.*again"):
        CellTable.load(path)
    write_parquet(path, pa.table({"cell": pa.array(CELLS)}))
    with pytest.raises(ArtefactError, match="not a cell table"):
        CellTable.load(path)
