"""The H3 grid against h3-py, geometry against shapely, and what must hold on the whole globe."""

import h3.api.numpy_int as h3
import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from mobclip import grid
from mobclip.errors import CellError

EARTH_KM2 = 4 * np.pi * 6371.007180918475**2  # H3's sphere

lons = st.floats(-180, 180, allow_nan=False)
lats = st.floats(-90, 90, allow_nan=False)
resolutions = st.integers(0, 12)


def cells_at(lonlat: list[tuple[float, float]], resolution: int) -> np.ndarray:
    lon, lat = np.array(lonlat, np.float64).T
    return np.unique(grid.points_to_cells(lon=lon, lat=lat, resolution=resolution))


def globe(resolution: int) -> np.ndarray:
    return grid.children(np.array(sorted(map(int, h3.get_res0_cells())), np.uint64), resolution)


@given(lon=lons, lat=lats, resolution=resolutions)
@settings(max_examples=200, deadline=None)
def test_points_to_cells_agrees_with_h3_py(lon: float, lat: float, resolution: int) -> None:
    found = grid.points_to_cells(lon=np.array([lon]), lat=np.array([lat]), resolution=resolution)
    assert found.dtype == np.uint64
    assert int(found[0]) == int(h3.latlng_to_cell(lat, lon, resolution))


@given(points=st.lists(st.tuples(lons, lats), min_size=1, max_size=20), resolution=resolutions)
@settings(max_examples=60, deadline=None)
def test_a_cell_comes_back_from_its_centre_and_its_name(
    points: list[tuple[float, float]], resolution: int
) -> None:
    cells = cells_at(points, resolution)
    lon, lat = grid.centers(cells).T
    np.testing.assert_array_equal(
        grid.points_to_cells(lon=lon, lat=lat, resolution=resolution), cells
    )
    np.testing.assert_array_equal(grid.from_strings(grid.to_strings(cells)), cells)
    assert grid.resolution_of(cells) == resolution
    assert grid.is_cell(cells).all()


@given(lon=lons, lat=lats, resolution=st.integers(3, 9))
@settings(max_examples=100, deadline=None)
def test_centres_and_corners_agree_with_h3_py(lon: float, lat: float, resolution: int) -> None:
    cell = cells_at([(lon, lat)], resolution)
    lat_h3, lon_h3 = h3.cell_to_latlng(cell[0])
    np.testing.assert_allclose(grid.centers(cell)[0], [lon_h3, lat_h3], atol=1e-9)
    corners, index = grid.corners(cell)
    assert (index == 0).all()
    expected = np.array(h3.cell_to_boundary(cell[0]))[:, ::-1]
    assert len(corners) == len(expected)
    # The same ring, from wherever it begins.
    start = int(np.abs(corners - expected[0]).sum(axis=1).argmin())
    np.testing.assert_allclose(np.roll(corners, -start, axis=0), expected, atol=1e-9)


@given(lon=lons, lat=st.floats(-85, 85), resolution=st.integers(2, 10))
@settings(max_examples=150, deadline=None)
def test_a_point_lies_in_the_boundary_of_its_cell(lon: float, lat: float, resolution: int) -> None:
    cell = grid.points_to_cells(lon=np.array([lon]), lat=np.array([lat]), resolution=resolution)
    boundary = grid.boundaries(cell)[0]
    # Edges are arcs on the sphere and straight lines in degrees: allow for the bow between them.
    assert boundary.distance(shapely.Point(lon, lat)) < 0.05 * grid.edge_km(resolution) / 111 / (
        np.cos(np.radians(lat))
    )


def test_boundaries_cover_the_globe_once() -> None:
    cells = globe(1)
    boundaries = grid.boundaries(cells)
    assert shapely.is_valid(boundaries).all()
    # Straight lines in degrees leave and share slivers, which cancel.
    assert shapely.area(boundaries).sum() == pytest.approx(360 * 180, rel=2e-3)
    west, south, east, north = shapely.bounds(boundaries).T
    assert west.min() >= -180
    assert east.max() <= 180
    assert south.min() == -90
    assert north.max() == 90


@pytest.mark.parametrize(("resolution", "count"), [(0, 122), (1, 842), (2, 5882)])
def test_areas_sum_to_the_globe(resolution: int, count: int) -> None:
    cells = globe(resolution)
    assert len(cells) == count
    areas = grid.areas_km2(cells)
    assert areas.sum() == pytest.approx(EARTH_KM2, rel=1e-6)
    for row in range(0, count, 97):
        assert areas[row] == pytest.approx(h3.cell_area(cells[row], unit="km^2"), rel=1e-9)


@pytest.mark.parametrize("lat", [0.0, 52.0, -75.0])
def test_a_cell_across_the_date_line_is_split(lat: float) -> None:
    cells = cells_at([(180.0, lat)], 4)  # the line runs through this cell
    boundary = grid.boundaries(cells)[0]
    assert isinstance(boundary, shapely.MultiPolygon)
    assert boundary.is_valid
    west, _, east, _ = boundary.bounds
    assert (west, east) == (-180, 180)
    # No wider than a cell is, once both sides are brought together.
    width = sum(part.bounds[2] - part.bounds[0] for part in boundary.geoms)
    assert width < 6 * grid.edge_km(4) / 111 / np.cos(np.radians(lat))
    other = grid.boundaries(
        grid.points_to_cells(lon=np.zeros(1), lat=np.array([lat]), resolution=4)
    )
    assert boundary.area == pytest.approx(other[0].area, rel=0.5)


@pytest.mark.parametrize("pole", [-90.0, 90.0])
def test_a_cell_around_a_pole_reaches_it_from_every_side(pole: float) -> None:
    cell = grid.points_to_cells(lon=np.zeros(1), lat=np.array([pole]), resolution=3)
    boundary = grid.boundaries(cell)[0]
    assert boundary.is_valid
    for lon in (-179, -100, 0, 77, 179):
        assert boundary.covers(shapely.Point(lon, pole))
        assert boundary.covers(shapely.Point(lon, pole * 0.9999))
        assert not boundary.covers(shapely.Point(lon, pole * 0.95))


@given(
    lon=st.floats(-170, 170),
    lat=st.floats(-70, 70),
    width=st.floats(0.05, 0.4),
    resolution=st.integers(5, 7),
)
@settings(max_examples=40, deadline=None)
def test_polygon_to_cells_holds_exactly_the_centres(
    lon: float, lat: float, width: float, resolution: int
) -> None:
    hole = shapely.box(lon + width / 4, lat + width / 4, lon + width / 2, lat + width / 2)
    shape = shapely.box(lon, lat, lon + width, lat + width).difference(hole)
    found = grid.polygon_to_cells(shape, resolution)
    assert (np.diff(found.astype(np.int64)) > 0).all()
    ring = np.linspace(-0.2, width + 0.2, 80)
    x, y = np.meshgrid(lon + ring, lat + ring)
    around = np.unique(grid.points_to_cells(lon=x.ravel(), lat=y.ravel(), resolution=resolution))
    centres = grid.centers(around)
    inside = shapely.contains_xy(shape, centres[:, 0], centres[:, 1])
    assert set(around[inside].tolist()) <= set(found.tolist())
    # And nothing else: every found cell's centre is inside.
    centres = grid.centers(found)
    assert shapely.contains_xy(shape, centres[:, 0], centres[:, 1]).all()


def test_polygon_to_cells_takes_the_union_of_a_multipolygon() -> None:
    left, right = shapely.box(5, 50, 5.4, 50.4), shapely.box(5.2, 50, 5.8, 50.4)
    both = grid.polygon_to_cells(shapely.MultiPolygon([left, right]), 7)
    expected = np.union1d(grid.polygon_to_cells(left, 7), grid.polygon_to_cells(right, 7))
    np.testing.assert_array_equal(both, expected)
    assert len(grid.polygon_to_cells(shapely.Polygon(), 7)) == 0


@given(points=st.lists(st.tuples(lons, lats), min_size=1, max_size=10))
@settings(max_examples=50, deadline=None)
def test_parents_and_children_undo_each_other(points: list[tuple[float, float]]) -> None:
    cells = cells_at(points, 5)
    children = grid.children(cells, 7)
    np.testing.assert_array_equal(np.unique(grid.parents(children, 5)), cells)
    expected = np.concatenate([h3.cell_to_children(cell, 7) for cell in cells])
    np.testing.assert_array_equal(children, np.sort(np.asarray(expected, np.uint64)))
    parents = grid.parents(cells, 3)
    assert [int(p) for p in parents] == [int(h3.cell_to_parent(cell, 3)) for cell in cells]
    np.testing.assert_array_equal(grid.parents(cells, 5), cells)


@given(lon=lons, lat=lats, k=st.integers(0, 3))
@settings(max_examples=60, deadline=None)
def test_disk_agrees_with_h3_py(lon: float, lat: float, k: int) -> None:
    cells = cells_at([(lon, lat), (lat, lon / 2)], 4)
    index, neighbours = grid.disk(cells, k)
    for row, cell in enumerate(cells):
        mine = set(neighbours[index == row].tolist())
        assert mine == {int(one) for one in h3.grid_disk(cell, k)}


def test_adjacency_is_symmetric_and_knows_only_given_cells() -> None:
    cells = grid.polygon_to_cells(shapely.box(5, 50, 5.5, 50.5), 6)
    matrix = grid.adjacency(cells).toarray()
    np.testing.assert_array_equal(matrix, matrix.T)
    for i, a in enumerate(cells):
        for j, b in enumerate(cells):
            near = i != j and h3.are_neighbor_cells(a, b)
            assert matrix[i, j] == near


def test_locate_finds_rows_and_tells_strangers() -> None:
    cells = grid.polygon_to_cells(shapely.box(5, 50, 5.5, 50.5), 6)
    stranger = grid.polygon_to_cells(shapely.box(9, 50, 9.5, 50.5), 6)[:1]
    row, known = grid.locate(cells, np.concatenate([cells[::-1], stranger]))
    assert known.tolist() == [True] * len(cells) + [False]
    np.testing.assert_array_equal(row[:-1], np.arange(len(cells))[::-1])
    row, known = grid.locate(cells[:0], cells)
    assert not known.any()
    assert len(row) == len(cells)


@given(a=st.tuples(lons, lats), b=st.tuples(lons, lats))
@settings(max_examples=100, deadline=None)
def test_distances_agree_with_h3_py(a: tuple[float, float], b: tuple[float, float]) -> None:
    expected = h3.great_circle_distance(a[::-1], b[::-1], unit="km")
    assert grid.distances_km(np.array([a]), np.array([b]))[0] == pytest.approx(expected, abs=0.05)


def test_longitudes_above_180_are_the_same_meridian() -> None:
    east = grid.points_to_cells(lon=np.array([270.0]), lat=np.array([10.0]), resolution=7)
    west = grid.points_to_cells(lon=np.array([-90.0]), lat=np.array([10.0]), resolution=7)
    assert east[0] == west[0]


def test_bad_coordinates_are_named_by_row() -> None:
    lon, lat = np.array([1.0, np.nan, 3.0, np.inf]), np.array([1.0, 2.0, 3.0, 4.0])
    with pytest.raises(CellError, match=r"NaN coordinates \(2 rows, first 1, 3\)"):
        grid.points_to_cells(lon=lon, lat=lat, resolution=5)
    with pytest.raises(CellError, match=r"out of range \(1 rows, first 0\)"):
        grid.points_to_cells(lon=np.array([1.0, 2.0]), lat=np.array([91.0, 2.0]), resolution=5)
    with pytest.raises(CellError, match="choose 0 to 15"):
        grid.points_to_cells(lon=np.zeros(1), lat=np.zeros(1), resolution=16)


@pytest.mark.parametrize("text", ["862a1072fffffff0", "not a cell", "", "-5", "8" * 40, "0"])
def test_a_string_that_is_no_cell_is_named(text: str) -> None:
    with pytest.raises(CellError, match="row 1"):
        grid.from_strings(["862a1072fffffff", text])


def test_cells_must_be_sorted_unique_and_of_one_resolution() -> None:
    cells = cells_at([(5, 50), (6, 51), (7, 52)], 6)
    grid.check_cells(cells)
    with pytest.raises(CellError, match="sorted and unique"):
        grid.check_cells(cells[::-1].copy())
    with pytest.raises(CellError, match="sorted and unique"):
        grid.check_cells(np.repeat(cells, 2))
    with pytest.raises(CellError, match="mixed resolutions"):
        grid.check_cells(np.sort(np.concatenate([cells, grid.parents(cells, 5)])))
    with pytest.raises(CellError, match=r"7 \(row 0\) is not an H3 cell"):
        grid.check_cells(np.array([7], np.uint64))
    with pytest.raises(CellError, match="not an H3 cell"):
        grid.centers(np.array([7], np.uint64))
    with pytest.raises(CellError, match="finer"):
        grid.parents(cells, 8)
    with pytest.raises(CellError, match="coarser"):
        grid.children(cells, 3)


def test_no_cells_are_no_trouble() -> None:
    none = np.empty(0, np.uint64)
    assert grid.centers(none).shape == (0, 2)
    assert grid.corners(none)[0].shape == (0, 2)
    assert len(grid.boundaries(none)) == len(grid.areas_km2(none)) == 0
    assert len(grid.children(none, 5)) == len(grid.parents(none, 5)) == 0
    assert [len(one) for one in grid.disk(none, 1)] == [0, 0]
    with pytest.raises(CellError, match="no cells"):
        grid.resolution_of(none)
