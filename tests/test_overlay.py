"""Overlay against tobler, a naive loop, and what areas must satisfy."""

import geopandas as gpd
import numpy as np
import pytest
import shapely
import shapely.affinity
import shapely.ops
from hypothesis import given, settings
from hypothesis import strategies as st

from mobclip import grid
from mobclip.errors import RecordError
from mobclip.overlay import overlay
from mobclip.records import ZoneRecords


def zones_of(shapes):
    ids = np.array([f"z{i}" for i in range(len(shapes))], dtype=object)
    return ZoneRecords(source="zones", ids=ids, geometry=np.array(shapes, dtype=object))


def lattice(west, south, step, count):
    """A checkered partition: `count` x `count` squares of `step` degrees."""
    return [
        shapely.box(
            west + i * step, south + j * step, west + (i + 1) * step, south + (j + 1) * step
        )
        for i in range(count)
        for j in range(count)
    ]


@pytest.fixture(scope="module")
def city():
    """Squares over a town, and the cells whose centre is in them."""
    shapes = lattice(-87.70, 41.80, 0.013, 6)
    return zones_of(shapes), grid.polygon_to_cells(shapely.union_all(shapes), 8)


def test_agrees_with_a_naive_loop(city):
    zones, cells = city
    found = overlay(zones, cells)
    crs = "+proj=laea +lat_0=41.839 +lon_0=-87.661 +datum=WGS84 +units=km"
    squares = gpd.GeoSeries(zones.geometry, crs=4326).segmentize(0.1).to_crs(crs)
    hexagons = gpd.GeoSeries(grid.boundaries(cells), crs=4326).to_crs(crs)
    naive = np.array([[square.intersection(h).area for h in hexagons] for square in squares])
    np.testing.assert_allclose(found.area_km2.toarray(), naive, atol=1e-6)
    np.testing.assert_allclose(found.cell_area_km2, hexagons.area, rtol=1e-6)
    np.testing.assert_allclose(found.zone_area_km2, squares.area, rtol=1e-6)


def test_agrees_with_tobler(city):
    tobler = pytest.importorskip("tobler.area_weighted")
    zones, cells = city
    rng = np.random.default_rng(0)
    people, age = rng.uniform(0, 1000, len(zones)), rng.uniform(20, 60, len(zones))
    crs = "+proj=laea +lat_0=41.839 +lon_0=-87.661 +datum=WGS84 +units=m"
    source = gpd.GeoDataFrame(
        {"people": people, "age": age}, geometry=list(zones.geometry), crs=4326
    ).to_crs(crs)
    target = gpd.GeoDataFrame(geometry=list(grid.boundaries(cells)), crs=4326).to_crs(crs)
    expected = tobler.area_interpolate(
        source,
        target,
        extensive_variables=["people"],
        intensive_variables=["age"],
        allocate_total=False,
    )
    found = overlay(zones, cells)
    np.testing.assert_allclose(
        found.shares_of_zones().T @ people, expected["people"], rtol=1e-5, atol=1e-6
    )
    covered = np.asarray(found.shares_of_cells().sum(axis=0)).ravel()
    np.testing.assert_allclose(
        found.shares_of_cells().T @ age / covered, expected["age"], rtol=1e-5
    )


def test_a_zone_that_covers_everything_holds_every_cell_whole(city):
    _, cells = city
    found = overlay(zones_of([shapely.box(-89, 41, -86, 43)]), cells)
    np.testing.assert_allclose(found.shares_of_cells().toarray(), 1, rtol=1e-12)
    np.testing.assert_allclose(found.area_km2.sum(), found.cell_area_km2.sum())
    # The sphere of H3 and the ellipsoid differ by a part in a thousand.
    np.testing.assert_allclose(found.cell_area_km2, grid.areas_km2(cells), rtol=5e-3)


def test_partition_of_unity(city):
    """Zones inside the cells are spread whole; cells inside the zones are covered whole."""
    zones, cells = city
    wide = np.unique(grid.disk(cells, 2)[1])
    found = overlay(zones, wide)
    np.testing.assert_allclose(np.asarray(found.shares_of_zones().sum(axis=1)), 1, rtol=1e-9)
    covered = np.asarray(found.shares_of_cells().sum(axis=0)).ravel()
    assert covered.max() <= 1 + 1e-9
    inside = shapely.covers(shapely.union_all(zones.geometry), grid.boundaries(wide))
    assert inside.sum() > 20
    np.testing.assert_allclose(covered[inside], 1, rtol=1e-6)


@settings(max_examples=15, deadline=None)
@given(
    lon=st.floats(-177, 177),
    lat=st.floats(-70, 70),
    angle=st.floats(0, 90),
    size=st.floats(0.05, 0.6),
)
def test_areas_add_up_anywhere(lon, lat, angle, size):
    square = shapely.affinity.rotate(shapely.box(lon, lat, lon + size, lat + size), angle)
    halves = shapely.ops.split(
        square, shapely.LineString([(lon - 2, lat + size / 3), (lon + 3, lat + size / 2)])
    )
    parts = [part for part in halves.geoms if part.area > 1e-6]
    cells = grid.polygon_to_cells(square.buffer(0.3), 5)
    whole, split = overlay(zones_of([square]), cells), overlay(zones_of(parts), cells)
    total = whole.area_km2.toarray()[0]
    np.testing.assert_allclose(split.area_km2.sum(axis=0), total, rtol=1e-3, atol=0.05)
    np.testing.assert_allclose(total.sum(), whole.zone_area_km2[0], rtol=1e-3)


def test_across_the_date_line():
    fiji = shapely.MultiPolygon(
        [shapely.box(179, -18, 180, -17), shapely.box(-180, -18, -179, -17)]
    )
    around = [shapely.box(178.6, -18.4, 180, -16.6), shapely.box(-180, -18.4, -178.6, -16.6)]
    cells = np.unique(np.concatenate([grid.polygon_to_cells(part, 5) for part in around]))
    found = overlay(zones_of([fiji]), cells)
    near = np.abs(np.abs(grid.centers(cells)[:, 0]) - 180) < 0.06
    assert near.any()
    inside = near & (np.abs(grid.centers(cells)[:, 1] + 17.5) < 0.3)
    np.testing.assert_allclose(found.shares_of_cells().toarray()[0, inside], 1, rtol=1e-6)
    np.testing.assert_allclose(found.cell_area_km2, grid.areas_km2(cells), rtol=2e-2)


def test_the_whole_world_uses_the_cylindrical_map():
    halves = [shapely.box(-170, -60, 0, 60), shapely.box(0, -60, 170, 60)]
    strips = [shapely.box(west, -50, west + 40, 50) for west in range(-160, 160, 40)]
    cells = np.unique(np.concatenate([grid.polygon_to_cells(strip, 1) for strip in strips]))
    found = overlay(zones_of(halves), cells)
    np.testing.assert_allclose(found.shares_of_cells().sum(axis=0), 1, rtol=1e-6)
    np.testing.assert_allclose(found.cell_area_km2, grid.areas_km2(cells), rtol=2e-2)


def test_chunks_change_nothing(city, monkeypatch):
    zones, cells = city
    whole = overlay(zones, cells)
    monkeypatch.setattr("mobclip.overlay._CHUNK", 7)
    assert (overlay(zones, cells).area_km2 != whole.area_km2).nnz == 0


def test_no_cells_and_far_cells_share_nothing(city):
    zones, _ = city
    assert overlay(zones, np.empty(0, np.uint64)).area_km2.shape == (36, 0)
    far = grid.polygon_to_cells(shapely.box(10, 50, 10.1, 50.1), 8)
    assert overlay(zones, far).area_km2.nnz == 0


def test_a_zone_without_area_is_an_error():
    line = shapely.Polygon([(0, 0), (1, 1), (0, 0)])
    with pytest.raises(RecordError, match="zone 'z0' has no area"):
        overlay(zones_of([line]), grid.polygon_to_cells(shapely.box(0, 0, 1, 1), 5))
