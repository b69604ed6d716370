"""Demographic tokens against a naive areal interpolation, cell by cell and zone by zone."""

from collections.abc import Mapping

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from mobclip import grid
from mobclip.errors import RecordError
from mobclip.manifest import HistogramSpec, SourceSpec
from mobclip.modalities import demographics
from mobclip.overlay import overlay
from mobclip.records import ZoneRecords

CELLS = grid.polygon_to_cells(shapely.box(5, 50, 5.5, 50.4), 6)


def tiles(columns: int, rows: int, *, west: float = 4.9, east: float = 5.6) -> np.ndarray:
    """A chequered cover of the cells and beyond."""
    x, y = np.linspace(west, east, columns + 1), np.linspace(49.9, 50.5, rows + 1)
    boxes = [
        shapely.box(x[i], y[j], x[i + 1], y[j + 1]) for i in range(columns) for j in range(rows)
    ]
    return np.array(boxes, dtype=object)


def zones(
    geometry: np.ndarray, values: Mapping[str, object], source: str = "tracts"
) -> ZoneRecords:
    return ZoneRecords(
        source=source,
        ids=np.array([f"z{i}" for i in range(len(geometry))], dtype=object),
        geometry=geometry,
        values={name: np.asarray(v, np.float64) for name, v in values.items()},
    )


def spec(**fields: object) -> SourceSpec:
    return SourceSpec(
        **{
            "name": "tracts",
            "kind": "zones",
            "path": "x.parquet",
            "provider": "",
            "licence": "",
            "citation": "",
            "date": "",
            **fields,
        }
    )


POPULATION = {"counts": {"population": "people"}}
counts_of_zones = st.lists(
    st.tuples(
        st.floats(0, 5000),
        st.integers(0, 100),
        st.integers(0, 100),
        st.one_of(st.floats(10, 90), st.just(float("nan"))),
    ),
    min_size=12,
    max_size=12,
)


@given(rows=counts_of_zones)
@settings(max_examples=25, deadline=None)
def test_tokens_agree_with_a_naive_loop(
    rows: list[tuple[float, int, int, float]],
) -> None:
    people, young, old, age = (np.array(column, np.float64) for column in zip(*rows, strict=True))
    if not people.any():
        return
    table = demographics.tokenize(
        [zones(tiles(4, 3), {"people": people, "young": young, "old": old, "age": age})],
        [
            spec(
                **POPULATION,
                histograms={"age": HistogramSpec(bins={"y": "young", "o": "old"}, unit="count")},
                intensive={"age": "age"},
            )
        ],
        CELLS,
    )
    shared = overlay(zones(tiles(4, 3), {}), CELLS)
    area = shared.area_km2.toarray()
    weights = area / shared.zone_area_km2[:, None]
    row = {int(cell): i for i, cell in enumerate(table.cells)}
    summed, mean_sum, mean_weight = np.zeros(2), 0.0, 0.0
    for c, cell in enumerate(CELLS):
        with_people = sum(area[z, c] for z in range(12) if people[z] > 0)
        here = with_people / shared.cell_area_km2[c] >= demographics.MIN_COVERED
        assert (int(cell) in row) == here
        if here:
            summed += [weights[:, c] @ young, weights[:, c] @ old]
            known = np.isfinite(age)
            mean_sum += (weights[known, c] * people[known]) @ age[known]
            mean_weight += (weights[known, c] * people[known]).sum()
    for c, cell in enumerate(CELLS):
        if int(cell) not in row:
            continue
        i = row[int(cell)]
        bins = np.array([weights[:, c] @ young, weights[:, c] @ old])
        if summed.sum() > 0:
            expected = bins / bins.sum() if bins.sum() > 0 else summed / summed.sum()
            got = [table.column("hist_age_y")[i], table.column("hist_age_o")[i]]
            np.testing.assert_allclose(got, expected, atol=1e-5)
        known = np.isfinite(age)
        weight = weights[known, c] * people[known]
        if mean_weight > 0:
            value = (
                weight @ age[known] / weight.sum() if weight.sum() > 0 else mean_sum / mean_weight
            )
            assert table.column("mean_age")[i] == pytest.approx(value, rel=1e-4)
        density = weights[:, c] @ people / shared.cell_area_km2[c]
        assert table.column("log_population")[i] == pytest.approx(np.log1p(density), rel=1e-4)


def test_the_total_of_a_count_is_preserved() -> None:
    inside = grid.boundaries(CELLS)
    people = np.linspace(10, 900, len(CELLS))
    table = demographics.tokenize([zones(inside, {"people": people})], [spec(**POPULATION)], CELLS)
    counted = np.expm1(table.column("log_population").astype(np.float64))
    areas = overlay(zones(inside, {}), CELLS).cell_area_km2
    assert counted @ areas == pytest.approx(people.sum(), rel=1e-5)


@given(value=st.floats(1, 1000), people=st.lists(st.integers(1, 999), min_size=6, max_size=6))
@settings(max_examples=20, deadline=None)
def test_constant_in_constant_out(value: float, people: list[int]) -> None:
    table = demographics.tokenize(
        [zones(tiles(3, 2), {"people": people, "age": [value] * 6, "a": [30] * 6, "b": [10] * 6})],
        [
            spec(
                **POPULATION,
                intensive={"age": "age"},
                histograms={"x": HistogramSpec(bins={"a": "a", "b": "b"}, unit="count")},
            )
        ],
        CELLS,
    )
    np.testing.assert_allclose(table.column("mean_age"), value, rtol=1e-5)
    np.testing.assert_allclose(table.column("hist_x_a"), 0.75, rtol=1e-5)


def test_a_count_doubles_with_the_zone_and_an_average_does_not() -> None:
    # One zone cut in two halves: people are shared out, the median age is the same on both sides.
    whole = tiles(1, 1)
    halves = tiles(2, 1)
    fields = spec(**POPULATION, intensive={"age": "age"})
    one = demographics.tokenize([zones(whole, {"people": [900], "age": [40]})], [fields], CELLS)
    two = demographics.tokenize(
        [zones(halves, {"people": [450, 450], "age": [40, 40]})], [fields], CELLS
    )
    # The halves are equal in degrees, and so, to a thousandth, in area.
    np.testing.assert_allclose(one.values, two.values, rtol=2e-3)


def test_percent_bins_weigh_by_their_total() -> None:
    # Two zones share every cell between them: 1,000 people of which 10 %, 100 of which 90 %.
    geometry = np.array([tiles(1, 1)[0], tiles(1, 1)[0]], dtype=object)
    values = {"people": [1000, 100], "young": [10, 90], "old": [90, 10]}
    histogram = HistogramSpec(bins={"y": "young", "o": "old"}, unit="percent", total="people")
    table = demographics.tokenize(
        [zones(geometry, values)], [spec(**POPULATION, histograms={"age": histogram})], CELLS
    )
    np.testing.assert_allclose(table.column("hist_age_y"), 190 / 1100, rtol=1e-5)
    # As counts they would weigh alike.
    counted = HistogramSpec(bins={"y": "young", "o": "old"}, unit="count")
    table = demographics.tokenize(
        [zones(geometry, values)], [spec(**POPULATION, histograms={"age": counted})], CELLS
    )
    np.testing.assert_allclose(table.column("hist_age_y"), 0.5, rtol=1e-5)


def test_cells_without_people_have_no_token() -> None:
    east_empty = demographics.tokenize(
        [zones(tiles(2, 1), {"people": [100, 0]})], [spec(**POPULATION)], CELLS
    )
    lon = grid.centers(east_empty.cells)[:, 0]
    everywhere = grid.centers(CELLS)[:, 0]
    assert 0 < len(east_empty.cells) < len(CELLS)
    assert lon.max() < 5.25 + 0.05  # a tenth of the cell may suffice
    assert (everywhere < 5.2).sum() <= len(lon)
    with pytest.raises(RecordError, match="no zone with people of tracts"):
        demographics.tokenize([zones(tiles(2, 1), {"people": [0, 0]})], [spec(**POPULATION)], CELLS)
    with pytest.raises(RecordError, match="no zone with people of no source"):
        demographics.tokenize([], [], CELLS)


def test_several_sources_unite_and_say_whom_they_know() -> None:
    age = {"age": HistogramSpec(bins={"y": "young", "o": "old"}, unit="count")}
    west = zones(tiles(1, 1, east=5.25), {"people": [100], "young": [30], "old": [10]}, "west")
    whole = zones(tiles(1, 1), {"people": [100], "cars": [2.0], "young": [1], "old": [3]}, "all")
    table = demographics.tokenize(
        [west, whole],
        [
            spec(name="west", **POPULATION, histograms=age),
            spec(name="all", **POPULATION, histograms=age, intensive={"cars": "cars"}),
        ],
        CELLS,
    )
    np.testing.assert_array_equal(table.cells, CELLS)
    known = table.column("has_west") == 1
    assert 0 < known.sum() < len(CELLS)
    assert "has_all" not in table.columns  # it knows every cell
    np.testing.assert_allclose(table.column("mean_cars"), 2)
    # The first source that knows the cell counts.
    np.testing.assert_allclose(table.column("hist_age_y"), np.where(known, 0.75, 0.25), rtol=1e-5)
    assert np.unique(np.round(table.column("log_population"), 2)).size >= 2


def test_what_one_source_does_not_know_stands_at_the_mean() -> None:
    west = zones(tiles(2, 1, east=5.25), {"people": [100, 300], "age": [20, 60]}, "west")
    whole = zones(tiles(1, 1), {"people": [100]}, "all")
    table = demographics.tokenize(
        [whole, west],
        [spec(name="all", **POPULATION), spec(name="west", **POPULATION, intensive={"a": "age"})],
        CELLS,
    )
    known = table.column("has_west") == 1
    filled = table.column("mean_a")[~known]
    assert np.ptp(filled) == 0
    assert 20 < filled[0] < 60


def test_sources_that_contradict_each_other_are_refused() -> None:
    one = zones(tiles(1, 1), {"people": [1], "a": [1], "b": [1]}, "one")
    two = zones(tiles(1, 1), {"people": [1], "a": [1], "b": [1]}, "two")
    bins = [
        HistogramSpec(bins=b, unit="count") for b in ({"a": "a", "b": "b"}, {"x": "a", "y": "b"})
    ]
    specs = [
        spec(name=name, **POPULATION, histograms={"age": one_of})
        for name, one_of in zip(("one", "two"), bins, strict=True)
    ]
    with pytest.raises(RecordError, match=r"two: hist_age has the bins hist_age_x"):
        demographics.tokenize([one, two], specs, CELLS)
    negative = zones(tiles(1, 1), {"people": [1], "a": [-666], "b": [1]}, "one")
    with pytest.raises(RecordError, match="negative bins"):
        demographics.tokenize([negative], specs[:1], CELLS)
