"""POI tokens against naive loops over the points."""

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from mobclip import grid
from mobclip.errors import RecordError
from mobclip.featurizers.tfidf import Tfidf
from mobclip.modalities import poi
from mobclip.records import PointRecords

CELLS = grid.polygon_to_cells(shapely.box(5, 50, 5.5, 50.5), 6)
NAMES = ("cafe", "school", "Book_Shop", "", "4bf58dd8d48988d1e0931735", "17")


def points(
    rows: list[tuple[int, str, str, float]], *, source: str = "venues", text: bool = True
) -> PointRecords:
    """Rows of cell number, category, text and weight; a point lies at its cell's centre."""
    lon, lat = grid.centers(CELLS)[[row[0] for row in rows]].T
    return PointRecords(
        source=source,
        lon=lon.copy(),
        lat=lat.copy(),
        category=np.array([row[1] for row in rows], dtype=object),
        text=np.array([row[2] for row in rows], dtype=object) if text else None,
        weight=np.array([row[3] for row in rows], np.float64),
    )


rows_of_points = st.lists(
    st.tuples(
        st.integers(0, 7),
        st.sampled_from(NAMES),
        st.sampled_from(["Joe's place", "", "corner"]),
        st.sampled_from([1.0, 2.0, 0.5]),
    ),
    min_size=1,
    max_size=40,
)


@given(rows=rows_of_points)
@settings(max_examples=60, deadline=None)
def test_counts_agree_with_a_naive_loop(rows: list[tuple[int, str, str, float]]) -> None:
    table = poi.tokenize([points(rows)], CELLS, None)
    total: dict[int, float] = {}
    by_category: dict[str, dict[int, float]] = {}
    for row, category, _, weight in rows:
        cell = int(CELLS[row])
        total[cell] = total.get(cell, 0) + weight
        counts = by_category.setdefault(category, {})
        counts[cell] = counts.get(cell, 0) + weight
    assert table.cells.tolist() == sorted(total)
    np.testing.assert_allclose(
        table.column("log_total"), [np.log1p(total[c]) for c in sorted(total)], rtol=1e-6
    )
    frequent = {n: c for n, c in by_category.items() if n and len(c) >= poi.MIN_CELLS}
    order = sorted(frequent, key=lambda name: (-sum(frequent[name].values()), name))
    assert table.columns == (*(f"count_{name}" for name in order), "log_total")
    for name in order:
        np.testing.assert_allclose(
            table.column(f"count_{name}"),
            [np.log1p(frequent[name].get(c, 0)) for c in sorted(total)],
            rtol=1e-6,
        )


@given(rows=rows_of_points, seed=st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_counts_do_not_depend_on_the_order_or_the_split_of_sources(
    rows: list[tuple[int, str, str, float]], seed: int
) -> None:
    order = np.random.default_rng(seed).permutation(len(rows))
    shuffled = [rows[i] for i in order]
    half = len(rows) // 2
    parts = [
        points(part, source=str(i))
        for i, part in enumerate((shuffled[:half], shuffled[half:]))
        if part
    ]
    one, two = poi.tokenize([points(rows)], CELLS, None), poi.tokenize(parts, CELLS, None)
    assert one.columns == two.columns
    np.testing.assert_array_equal(one.cells, two.cells)
    np.testing.assert_allclose(one.values, two.values, rtol=1e-6)


def test_documents_are_one_line_per_point_in_their_order() -> None:
    rows = [
        (3, "Book_Shop", "Old  pages", 1.0),
        (1, "cafe", "", 1.0),
        (3, "4bf58dd8d48988d1e0931735", "secret", 1.0),
        (1, "", "Joe's place", 5.0),
        (2, "17", "", 1.0),
    ]
    cells, texts = poi.documents([points(rows)], CELLS)
    np.testing.assert_array_equal(cells, CELLS[[1, 2, 3]])
    assert texts == ["cafe\nJoe's place", "", "Book Shop Old pages\nsecret"]


def test_text_comes_from_the_documents_and_fits_only_once() -> None:
    rows = [(i % 8, NAMES[i % 3], f"word{'abc'[i % 3]} place", 1.0) for i in range(30)]
    featurizer = Tfidf(dims=4)
    table = poi.tokenize([points(rows)], CELLS, featurizer)
    cells, texts = poi.documents([points(rows)], CELLS)
    np.testing.assert_array_equal(table.cells, cells)
    text = [c for c in table.columns if c.startswith("text_")]
    np.testing.assert_array_equal(table.values[:, : len(text)], featurizer(texts))
    before = featurizer.words
    poi.tokenize([points([(0, "museum", "new", 1.0)])], CELLS, featurizer)
    assert featurizer.words == before


def test_any_callable_can_make_the_text_vectors() -> None:
    rows = [(0, "cafe", "a", 1.0), (1, "cafe", "b", 1.0)]
    table = poi.tokenize(
        [points(rows)], CELLS, lambda texts: np.array([[len(t)] for t in texts], np.float32)
    )
    assert table.columns == ("text_000", "log_total")
    assert table.values[:, 0].tolist() == [6, 6]


def test_only_the_most_frequent_categories_have_a_column() -> None:
    rows = [
        (cell, f"kind {kind:03d}", "", 1.0 + (kind == 77))
        for kind in range(100)
        for cell in range(3)
    ]
    table = poi.tokenize([points(rows)], CELLS, None)
    assert len(table.columns) == poi.MAX_CATEGORIES + 1
    # 77 counts double; the others tie and stand in alphabetical order.
    assert table.columns[:3] == ("count_kind 077", "count_kind 000", "count_kind 001")


def test_points_outside_the_cells_are_left_out() -> None:
    rows = [(0, "cafe", "in", 1.0), (5, "cafe", "out", 1.0)]
    cells, texts = poi.documents([points(rows)], CELLS[:3])
    assert cells.tolist() == CELLS[:1].tolist()
    assert texts == ["cafe in"]
    with pytest.raises(RecordError, match="none of 1 points of venues"):
        poi.tokenize([points(rows[1:])], CELLS[:3], None)
    with pytest.raises(RecordError, match="at least one source"):
        poi.tokenize([], CELLS, None)
