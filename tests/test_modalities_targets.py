"""Targets against naive loops: zones, points at cells, points in zones."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import shapely

from mobclip import grid
from mobclip.errors import ManifestError, RecordError
from mobclip.manifest import Area, PlaceSpec, SourceSpec, TargetSpec
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


def build(records: Records, *specs: TargetSpec, **others: Records) -> dict[str, Target]:
    kind = "zones" if isinstance(records, ZoneRecords) else "points"
    source = SourceSpec(
        name=records.source,
        kind=kind,
        path="x.csv",
        provider="",
        licence="",
        citation="",
        date="",
        targets={spec.name: spec for spec in specs},
    )
    place = PlaceSpec(
        name="here",
        title="Here",
        resolution=6,
        area=Area(bbox=(5.0, 50.0, 5.5, 50.4)),
        sources={records.source: source},
        modalities={},
    )
    return targets.build({records.source: records, **others}, place, CELLS)


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
