"""Targets against naive loops: zones, points at cells and in zones, weightings, rates, kinds."""

import logging
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import shapely

from mobclip import grid
from mobclip.errors import ManifestError, RecordError
from mobclip.graph import MobilityGraph
from mobclip.manifest import (
    Area,
    ModalitySpec,
    Per,
    PlaceSpec,
    SourceSpec,
    TargetSpec,
    load_manifest,
)
from mobclip.modalities import targets
from mobclip.place import Target
from mobclip.records import PointRecords, RasterRecords, Records, ZoneRecords

CELLS = grid.polygon_to_cells(shapely.box(5, 50, 5.5, 50.4), 6)


def zones() -> ZoneRecords:
    """Four columns of boxes from inside the cells to far outside, and one wholly outside."""
    x = [5.0, 5.2, 5.4, 5.7, 6.2]
    boxes = [shapely.box(a, 50.02, b, 50.38) for a, b in pairwise(x)]
    boxes.append(shapely.box(8, 50, 9, 51))
    return ZoneRecords(
        source="tracts",
        ids=np.array(["a", "b", "c", "d", "e"], dtype=object),
        geometry=np.array(boxes, dtype=object),
        values={"income": np.array([10.0, np.nan, 30, 40, 50]), "jobs": np.arange(5.0)},
    )


def points(lonlat: np.ndarray, price: np.ndarray) -> PointRecords:
    return PointRecords(
        source="crimes",
        lon=lonlat[:, 0].copy(),
        lat=lonlat[:, 1].copy(),
        weight=np.ones(len(lonlat)),
        values={"price": price},
    )


def build(
    records: Records,
    *specs: TargetSpec,
    counts: dict[str, str] | None = None,
    graph: MobilityGraph | None = None,
    **others: Records,
) -> dict[str, Target]:
    """Targets of one source; `counts` are those of every zones source."""
    found = {records.source: records, **others}
    sources = {
        name: SourceSpec(
            name=name,
            kind="zones" if isinstance(one, ZoneRecords) else "points",
            path="x.csv",
            provider="",
            licence="",
            citation="",
            date="",
            counts=(counts or {}) if isinstance(one, ZoneRecords) else {},
            targets={spec.name: spec for spec in specs} if one is records else {},
        )
        for name, one in found.items()
    }
    place = PlaceSpec(
        name="here",
        title="Here",
        resolution=6,
        area=Area(bbox=(5.0, 50.0, 5.5, 50.4)),
        sources=sources,
        modalities={"mobility": ModalitySpec(name="mobility", sources=())},
    )
    return targets.build(found, place, CELLS, graph)


def spec(name: str, **fields: object) -> TargetSpec:
    defaults = {
        "title": name.title(),
        "unit": "u",
        "column": None,
        "aggregate": "count",
        "level": "cell",
        "note": "a note",
    }
    return TargetSpec(**{"name": name, **defaults, **fields})


def test_values_of_zones_with_their_cells_by_area() -> None:
    table = zones()
    found = build(
        table,
        spec("income", column="income", aggregate="value", level="tracts"),
        spec("density", column="jobs", aggregate="density", level="tracts"),
    )
    income = found["income"]
    # b has no value; d lies outside for the most part and e wholly; c is half inside.
    assert income.unit_ids.tolist() in (["a", "c"], ["a"])
    assert income.values[0] == 10
    assert (income.title, income.note, income.level) == ("Income", "a note", "tracts")
    np.testing.assert_allclose(income.weights.sum(axis=1), 1)
    # Weights by area, in a projection chosen here: degrees are near enough within one zone.
    shares = np.array(
        [hexagon.intersection(table.geometry[0]).area for hexagon in grid.boundaries(CELLS)]
    )
    np.testing.assert_allclose(income.weights.toarray()[0], shares / shares.sum(), atol=2e-3)
    density = found["density"]
    assert density.unit_ids.tolist()[:2] == ["a", "b"]
    km2 = 0.2 * 111.2 * np.cos(np.radians(50.2)) * 0.36 * 111.2
    assert density.values[1] == pytest.approx(1 / km2, rel=0.02)


def test_points_at_cells_agree_with_a_naive_loop() -> None:
    rng = np.random.default_rng(0)
    lonlat = np.column_stack([rng.uniform(5.0, 5.3, 80), rng.uniform(50.05, 50.3, 80)])
    price = np.where(rng.random(80) < 0.2, np.nan, rng.uniform(1, 9, 80))
    found = build(
        points(lonlat, price),
        spec("count", absent="zero"),
        spec("seen"),
        spec("sum", aggregate="sum", column="price", absent="zero"),
        spec("mean", aggregate="mean", column="price"),
        spec("density", aggregate="density", absent="zero"),
    )
    cell = grid.points_to_cells(lon=lonlat[:, 0], lat=lonlat[:, 1], resolution=6)
    hull = shapely.MultiPoint(lonlat).convex_hull
    names = grid.to_strings(CELLS)
    centres = grid.centers(CELLS)
    area = grid.areas_km2(CELLS)
    expected: dict[str, dict[str, float]] = {name: {} for name in found}
    for i, one in enumerate(CELLS):
        here = cell == one
        near = hull.contains(shapely.Point(centres[i]))
        known = here & np.isfinite(price)
        if here.any() or near:
            expected["count"][names[i]] = here.sum()
            expected["density"][names[i]] = here.sum() / area[i]
        if here.any():
            expected["seen"][names[i]] = here.sum()
        if known.any() or near:
            expected["sum"][names[i]] = price[known].sum()
        if known.any():
            expected["mean"][names[i]] = price[known].mean()
    for name, target in found.items():
        got = dict(zip(target.unit_ids.tolist(), target.values.tolist(), strict=True))
        assert got == pytest.approx(expected[name]), name
        # A cell is its own only member.
        ids = np.array(names, dtype=object)[target.weights.indices]
        assert ids.tolist() == target.unit_ids.tolist()
        assert (target.weights.data == 1).all()
    counts = found["count"]
    assert (counts.values == 0).any()
    assert len(counts.values) < len(CELLS)  # beyond the hull nobody looked


def test_points_in_zones_agree_with_a_naive_loop() -> None:
    rng = np.random.default_rng(1)
    table = zones()
    lonlat = np.column_stack([rng.uniform(5.0, 5.15, 50), rng.uniform(50.05, 50.3, 50)])
    lonlat[:3] = [[8.5, 50.5], [5.2, 50.2], [5.55, 50.2]]  # outside, on a border, in c
    price = rng.uniform(1, 9, 50)
    found = build(
        points(lonlat, price),
        spec("count", level="tracts", absent="zero"),
        spec("mean", level="tracts", aggregate="mean", column="price"),
        tracts=table,
    )
    inside = [table.geometry[0].intersects(shapely.Point(p)) for p in lonlat]
    count = dict(zip(found["count"].unit_ids, found["count"].values, strict=True))
    assert count["a"] == sum(inside)
    assert count["b"] == 0  # the point on the border counts once, in a
    mean = dict(zip(found["mean"].unit_ids, found["mean"].values, strict=True))
    assert mean["a"] == pytest.approx(price[inside].mean())
    assert "b" not in mean


def test_targets_without_values_or_of_the_wrong_kind_are_refused() -> None:
    table = zones()
    empty = ZoneRecords(
        source="tracts",
        ids=table.ids,
        geometry=table.geometry,
        values={"income": np.full(5, np.nan)},
    )
    with pytest.raises(RecordError, match="'income' of tracts has no value"):
        build(empty, spec("income", column="income", aggregate="value", level="tracts"))
    raster = RasterRecords(source="image", path=Path("x.tif"), crs="EPSG:4326", bands=1)
    with pytest.raises(ManifestError, match="targets come from points and zones"):
        build(raster, spec("x"))


# ---- weightings --------------------------------------------------------------------------------


def partition(people: tuple[float, ...] = (100.0, 0.0, np.nan)) -> ZoneRecords:
    """Three columns of boxes that cover all cells."""
    boxes = [shapely.box(a, 49.95, b, 50.45) for a, b in pairwise([4.95, 5.15, 5.35, 5.55])]
    return ZoneRecords(
        source="tracts",
        ids=np.array(["a", "b", "c"], dtype=object),
        geometry=np.array(boxes, dtype=object),
        values={"income": np.array([10.0, 20.0, 30.0]), "people": np.array(people)},
    )


def shared_area(table: ZoneRecords) -> np.ndarray:
    """(zones, cells) area in square degrees: nearly proportional to km² in so small a place."""
    hexagons = grid.boundaries(CELLS)
    return np.array(
        [[hexagon.intersection(zone).area for hexagon in hexagons] for zone in table.geometry]
    )


def of_weighting(table: ZoneRecords, weighting: str, **fields: object) -> np.ndarray:
    income = spec("income", column="income", aggregate="value", level="tracts", weighting=weighting)
    return build(table, income, **fields)["income"].weights.toarray()


def test_the_plain_mean_is_over_the_cells_whose_centre_lies_in_the_zone() -> None:
    table = partition()
    weights = of_weighting(table, "plain")
    for zone, row in zip(table.geometry, weights, strict=True):
        members = np.array([zone.contains(shapely.Point(xy)) for xy in grid.centers(CELLS)])
        np.testing.assert_allclose(row, members / members.sum())


def test_weights_by_people_and_the_fallback_to_area(caplog: pytest.LogCaptureFixture) -> None:
    """Nobody lives in b, and of c nobody knows: cells there are empty, but for those of the rim."""
    table = partition()
    area = shared_area(table)
    people = 100.0 * area[0] / table.geometry[0].area
    weights = of_weighting(table, "population", counts={"population": "people"})
    expected = area / area.sum(axis=0) * people
    np.testing.assert_allclose(weights[0], expected[0] / expected[0].sum(), atol=2e-3)
    np.testing.assert_allclose(weights[1], expected[1] / expected[1].sum(), atol=2e-3)
    assert (weights[1] > 0).sum() < (area[1] > 0).sum()  # only the cells shared with a
    # c shares no cell with a: no weight at all, so that its cells are weighted by area.
    np.testing.assert_allclose(weights[2], area[2] / area[2].sum(), atol=2e-3)
    assert "1 of 3 zones have no weight by population" in caplog.text
    np.testing.assert_allclose(weights.sum(axis=1), 1)


def test_a_second_source_of_people_fills_what_the_first_does_not_know() -> None:
    table = partition(people=(100.0, np.nan, np.nan))
    second = replace(partition(people=(7.0, 50.0, 20.0)), source="wards")
    weights = of_weighting(table, "population", counts={"population": "people"}, wards=second)
    area = shared_area(table)
    share = area / np.array([zone.area for zone in table.geometry])[:, None]
    first = 100.0 * share[0]
    other = share.T @ [7.0, 50.0, 20.0]
    people = np.where(area[0] > 0, first, other)
    expected = area / area.sum(axis=0) * people
    np.testing.assert_allclose(weights, expected / expected.sum(axis=1, keepdims=True), atol=2e-3)


def test_weights_by_the_flow_of_the_cells() -> None:
    rng = np.random.default_rng(5)
    table = partition()
    nodes = CELLS[::2]  # the graph need not have every cell
    origin, destination = rng.choice(nodes, (2, 60))
    amount = rng.uniform(1, 5, 60)
    graph = MobilityGraph.from_edges(nodes, origin, destination, amount)
    weights = of_weighting(table, "flows", graph=graph)
    flow = np.zeros(len(CELLS))
    for ends, weight in zip(zip(origin, destination, strict=True), amount, strict=True):
        if ends[0] != ends[1]:
            flow[np.isin(CELLS, ends)] += weight
    area = shared_area(table)
    expected = area / area.sum(axis=0) * flow
    np.testing.assert_allclose(weights, expected / expected.sum(axis=1, keepdims=True), atol=2e-3)


# ---- rates -------------------------------------------------------------------------------------


def test_a_rate_is_per_count_of_the_zone() -> None:
    rng = np.random.default_rng(1)
    table = partition(people=(200.0, 40.0, np.nan))
    lonlat = np.column_stack([rng.uniform(4.96, 5.54, 90), rng.uniform(49.96, 50.44, 90)])
    per = Per(count="population", times=1000.0, at_least=50.0)
    found = build(
        points(lonlat, np.ones(90)),
        spec("crimes", level="tracts", absent="zero"),
        spec("rate", level="tracts", absent="zero", per=per),
        counts={"population": "people"},
        tracts=table,
    )
    crimes, rate = found["crimes"], found["rate"]
    assert crimes.unit_ids.tolist() == ["a", "b", "c"]
    assert rate.unit_ids.tolist() == ["a"]  # b has too few people, those of c are not known
    assert rate.values[0] == 1000 * (lonlat[:, 0] < 5.15).sum() / 200
    # Of the zones themselves, and of another table with the same ids in another order.
    lent = ZoneRecords(
        source="payments",
        ids=np.array(["x", "b", "a"], object),
        geometry=table.geometry[[2, 1, 0]],
        values={"paid": np.array([1.0, 8.0, 5.0])},
    )
    paid = spec(
        "paid", column="paid", aggregate="value", level="tracts", per=Per(count="population")
    )
    found = build(lent, paid, counts={"population": "people"}, tracts=table)
    assert dict(zip(found["paid"].unit_ids, found["paid"].values, strict=True)) == {
        "b": 8 / 40,
        "a": 5 / 200,
    }


# ---- kinds -------------------------------------------------------------------------------------


def landuse() -> ZoneRecords:
    table = partition()
    return replace(
        table,
        ids=np.array(list("abcdef"), object),
        geometry=np.concatenate([table.geometry, table.geometry]),
        values={
            "c0": np.array([2.0, 1.0, 0.0, -1.0, np.nan, 1.0]),
            "c1": np.array([1.0, 3.0, 0.0, 3.0, 1.00, 1.0]),
            "c2": np.array([1.0, 0.0, 0.0, 0.0, 1.00, 0.0]),
        },
    )


def test_shares_and_the_largest_of_them(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    classes = {"parks": "c0", "homes": "c1", "water": "c2"}
    common = {"aggregate": "value", "level": "tracts", "classes": classes}
    found = build(
        landuse(),
        spec("shares", kind="composition", **common),
        spec("main", kind="class", **common),
    )
    shares, main = found["shares"], found["main"]
    # c has nothing, d a negative part, e one that is not known.
    assert shares.unit_ids.tolist() == main.unit_ids.tolist() == ["a", "b", "f"]
    np.testing.assert_array_equal(
        shares.values, [[0.5, 0.25, 0.25], [0.25, 0.75, 0], [0.5, 0.5, 0]]
    )
    assert shares.classes == ("parks", "homes", "water")
    assert main.classes == ("parks", "homes")  # nowhere is water the largest
    assert [main.classes[int(value)] for value in main.values] == ["parks", "homes", "parks"]
    assert "main: no unit is of the class water" in caplog.text
    assert "shares: 3 units without parts" in caplog.text
    np.testing.assert_allclose(shares.weights.sum(axis=1), 1)


def test_one_class_everywhere_is_refused() -> None:
    one = spec(
        "main", kind="class", aggregate="value", level="tracts", classes={"x": "c1", "y": "c2"}
    )
    with pytest.raises(RecordError, match="one class alone in this place, 'x': nothing to learn"):
        build(landuse(), one)


def test_binary_by_a_number_or_as_it_stands() -> None:
    table = zones()
    common = {"kind": "binary", "aggregate": "value", "level": "tracts"}
    found = build(table, spec("rich", column="income", above=10.0, **common))
    # 10 is not above 10; b is not known.
    known = dict(zip(found["rich"].unit_ids, found["rich"].values, strict=True))
    assert known["a"] == 0
    assert "b" not in known
    assert known.get("c", 1.0) == 1
    found = build(table, spec("working", column="jobs", above=0.0, **common))
    assert found["working"].values.tolist()[:2] == [0, 1]
    with pytest.raises(RecordError, match=r"'income' is binary, but its column holds 10 .*`above`"):
        build(table, spec("income", column="income", **common))
    flags = replace(table, values={"flag": np.array([0.0, 1.0, np.nan, 1.0, 0.0])})
    found = build(flags, spec("flag", column="flag", **common))
    assert found["flag"].values.tolist() == [0, 1]
    assert found["flag"].kind == "binary"


def categories(n: int) -> PointRecords:
    rng = np.random.default_rng(2)
    lonlat = np.column_stack([rng.uniform(5.0, 5.6, n), rng.uniform(50.0, 50.4, n)])
    names = np.array(["cafe", "bank", "zoo", "pier", ""], object)
    return replace(
        points(lonlat, rng.integers(0, 2, n).astype(float)),
        category=names[rng.choice(5, n, p=[0.3, 0.3, 0.2, 0.1, 0.1])],
        weight=rng.integers(1, 4, n).astype(float),
    )


@pytest.mark.parametrize("level", ["cell", "tracts"])
def test_categories_of_points_agree_with_a_naive_loop(level: str) -> None:
    rows = categories(150)
    table = partition()
    declared = {"classes": {"coffee": "cafe", "money": "bank", "sea": "pier"}}
    found = build(
        rows,
        spec("main", kind="class", level=level, **declared),
        spec("shares", kind="composition", level=level, **declared),
        spec("common", kind="class", level=level, most_frequent=2),
        tracts=table,
    )
    cell = grid.points_to_cells(lon=rows.lon, lat=rows.lat, resolution=6)
    shown = {int(one): name for one, name in zip(CELLS, grid.to_strings(CELLS), strict=True)}
    counts: dict[str, Counter[str]] = {}
    for i in range(len(rows)):
        unit = shown.get(int(cell[i]))
        if level == "tracts":
            here = shapely.Point(rows.lon[i], rows.lat[i])
            inside = [zone.covers(here) for zone in table.geometry]
            unit = table.ids[inside][0] if any(inside) else None
        if unit is not None and rows.category[i]:
            counts.setdefault(unit, Counter())[rows.category[i]] += rows.weight[i]
    labels = {"cafe": "coffee", "bank": "money", "pier": "sea"}
    expected = {}
    for unit, count in counts.items():
        parts = np.array([count[name] for name in labels])
        if parts.sum() > 0:
            expected[unit] = parts / parts.sum()
    shares, main, common = found["shares"], found["main"], found["common"]
    assert set(shares.unit_ids) == set(main.unit_ids) == set(expected)
    assert shares.classes == tuple(labels.values())
    for unit, row in zip(shares.unit_ids, shares.values, strict=True):
        np.testing.assert_allclose(row, expected[unit])
    for unit, value in zip(main.unit_ids, main.values, strict=True):
        assert main.classes[int(value)] == shares.classes[int(expected[unit].argmax())]
    everywhere: Counter[str] = sum(counts.values(), Counter())
    assert set(common.classes) <= {name for name, _ in everywhere.most_common(2)}
    assert len(common.classes) == 2


def test_single_points_lie_in_their_cells() -> None:
    rows = categories(60)
    rows = replace(rows, lon=np.where(np.arange(60) == 3, 9.0, rows.lon))  # far outside
    price = np.where(np.arange(60) == 5, np.nan, np.arange(60.0))
    rows = replace(rows, values={"price": price, "open": rows.values["price"]})
    at_point = {"level": "point", "aggregate": "value"}
    found = build(
        rows,
        spec("price", column="price", **at_point),
        spec("open", kind="binary", column="open", **at_point),
        spec("what", kind="class", classes={"cafe": "cafe", "zoo": "zoo"}, level="point"),
    )
    cell = grid.points_to_cells(lon=rows.lon, lat=rows.lat, resolution=6)
    inside = np.isin(cell, CELLS)
    assert not inside[3]
    kept = [i for i in range(60) if inside[i] and i != 5]
    target = found["price"]
    assert target.unit_ids.tolist() == [str(i) for i in kept]
    assert target.values.tolist() == kept
    assert (target.weights.data == 1).all()
    np.testing.assert_array_equal(target.cell_of_unit(CELLS), cell[kept])
    np.testing.assert_array_equal(found["open"].values, rows.values["open"][inside])
    what = found["what"]
    assert what.unit_ids.tolist() == [
        str(i) for i in range(60) if inside[i] and rows.category[i] in ("cafe", "zoo")
    ]
    assert [what.classes[int(value)] for value in what.values] == [
        rows.category[int(i)] for i in what.unit_ids
    ]


@pytest.mark.real
def test_land_use_of_chicago(mirror: Path, manifest_path: Path) -> None:
    """Its shares are those of the numbers, and its main class is the largest of them."""
    from mobclip import sources

    chicago = load_manifest(manifest_path).place("chicago")
    some = {name: chicago.sources[name] for name in ("tracts", "landuse")}
    place = replace(chicago, sources=some)
    records = sources.read_place(place, {name: mirror / one.path for name, one in some.items()})
    cells = grid.polygon_to_cells(shapely.box(-87.75, 41.8, -87.6, 41.95), 8)
    found = targets.build(records, place, cells)
    shares, main = found["landuse_shares"], found["landuse_main"]
    numbers = np.column_stack([found[f"landuse_{label}"].values for label in shares.classes])
    assert found["landuse_1"].unit_ids.tolist() == shares.unit_ids.tolist()
    np.testing.assert_allclose(shares.values, numbers / numbers.sum(axis=1, keepdims=True))
    assert [main.classes[int(value)] for value in main.values] == [
        shares.classes[index] for index in shares.values.argmax(axis=1)
    ]
