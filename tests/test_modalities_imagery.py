"""Chips against per-pixel transforms, whatever the CRS, resolution, mask or date line."""

from pathlib import Path

import numpy as np
import pyproj
import pytest
import rasterio
import shapely
from rasterio.enums import ColorInterp
from rasterio.transform import Affine

from mobclip import grid
from mobclip.errors import RecordError
from mobclip.featurizers.mosaiks import Mosaiks
from mobclip.modalities import imagery
from mobclip.records import RasterRecords

NAD27_UTM16 = "EPSG:26716"


def from_origin(west: float, north: float, width: float, height: float) -> Affine:
    """North-up. rasterio's own warns with affine 3: it multiplies with `*`."""
    return Affine(width, 0, west, 0, -height, north)


def write(
    path: Path,
    data: np.ndarray,
    *,
    crs: str | None,
    transform: Affine,
    nodata: float | None = None,
    mask: np.ndarray | None = None,
    alpha: bool = False,
) -> RasterRecords:
    profile = {
        "driver": "GTiff",
        "count": data.shape[0],
        "height": data.shape[1],
        "width": data.shape[2],
        "dtype": data.dtype,
        "crs": crs,
        "transform": transform,
        "nodata": nodata,
    }
    if alpha:
        profile["photometric"] = "MINISBLACK"
    with rasterio.open(path, "w", **profile) as file:
        if alpha:
            file.colorinterp = [*[ColorInterp.gray] * (len(data) - 1), ColorInterp.alpha]
        file.write(data)
        if mask is not None:
            file.write_mask(mask)
    return RasterRecords(source=path.stem, path=path, crs=crs or "", bands=data.shape[0])


def field(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Two smooth bands of position in the raster's own CRS."""
    return np.stack([x, y]).astype(np.float32)


def gradient(path: Path, crs: str, box: shapely.Geometry, pixel: float, **options) -> RasterRecords:  # type: ignore[no-untyped-def]
    """A raster whose two bands are the x and y of each pixel, relative to its corner."""
    west, south, east, north = box.bounds
    width, height = int((east - west) / pixel), int((north - south) / pixel)
    transform = from_origin(west, north, pixel, pixel)
    x = west + (np.arange(width) + 0.5) * pixel
    y = north - (np.arange(height) + 0.5) * pixel
    xx, yy = np.meshgrid(x - west, y - south)
    return write(path, field(xx, yy), crs=crs, transform=transform, **options)


def projected_box(crs: str, cells: np.ndarray, margin: float) -> shapely.Geometry:
    boxes = shapely.union_all(grid.boundaries(cells))
    bounds = pyproj.Transformer.from_crs("EPSG:4326", crs, always_xy=True).transform_bounds(
        *boxes.bounds
    )
    return shapely.box(*bounds).buffer(margin, join_style="mitre")


def positions(cell: np.ndarray, crs: str, pixels: int) -> np.ndarray:
    """x and y of every pixel of a chip, each carried through geodesics and pyproj by itself."""
    lon, lat = grid.centers(cell)[0]
    side = 2000 * grid.edge_km(grid.resolution_of(cell))
    steps = (np.arange(pixels) + 0.5) / pixels * side - side / 2
    east, north = np.meshgrid(steps, -steps)
    sphere = pyproj.Geod(a=6_371_007.2, b=6_371_007.2)
    shape = east.shape
    x, y, _ = sphere.fwd(
        np.full(shape, lon),
        np.full(shape, lat),
        np.degrees(np.arctan2(east, north)),
        np.hypot(east, north),
    )
    transformer = pyproj.Transformer.from_crs("EPSG:4326", crs, always_xy=True)
    return np.stack(transformer.transform(x, y))


def cells_near(lon: float, lat: float, resolution: int, k: int = 1) -> np.ndarray:
    cell = grid.points_to_cells(lon=np.array([lon]), lat=np.array([lat]), resolution=resolution)
    return np.unique(grid.disk(cell, k)[1])


@pytest.mark.parametrize(
    ("crs", "lon", "lat", "resolution", "pixel"),
    [
        (NAD27_UTM16, -87.63, 41.88, 9, 10.0),  # another datum, pixels about the chip's
        (NAD27_UTM16, -87.63, 41.88, 8, 5.0),  # finer than the chip: averaged
        (NAD27_UTM16, -87.63, 41.88, 10, 40.0),  # coarser than the chip: interpolated
        ("EPSG:3035", 10.0, 52.0, 6, 400.0),  # equal-area Europe
        ("EPSG:4326", 30.0, -20.0, 5, 0.004),  # degrees
        ("EPSG:3031", 100.0, -80.0, 5, 400.0),  # polar
    ],
)
def test_a_chip_holds_what_lies_at_each_pixel(
    tmp_path: Path, crs: str, lon: float, lat: float, resolution: int, pixel: float
) -> None:
    cells = cells_near(lon, lat, resolution)
    box = projected_box(crs, cells, 60 * pixel)
    raster = gradient(tmp_path / "ramp.tif", crs, box, pixel)
    images, covered = imagery.chips(raster, cells)
    assert images.shape == (len(cells), 2, 32, 32)
    assert images.dtype == np.float32
    assert covered.tolist() == [1] * len(cells)
    west, south = box.bounds[:2]
    for row in range(len(cells)):
        x, y = positions(cells[row : row + 1], crs, 32)
        # A ramp is its own average; float32 positions cost a hundredth of a pixel.
        np.testing.assert_allclose(images[row, 0], x - west, atol=0.05 * pixel)
        np.testing.assert_allclose(images[row, 1], y - south, atol=0.05 * pixel)


def test_the_datum_is_not_taken_for_wgs84(tmp_path: Path) -> None:
    # NAD27 and WGS84 lie over 200 m apart at Chicago in UTM northing: that must show.
    cells = cells_near(-87.63, 41.88, 9)
    box = projected_box(NAD27_UTM16, cells, 600)
    raster = gradient(tmp_path / "ramp.tif", NAD27_UTM16, box, 10.0)
    images, _ = imagery.chips(raster, cells[:1])
    wrong = positions(cells[:1], "EPSG:32616", 32)[1] - box.bounds[1]
    assert 150 < np.abs(images[0, 1] - wrong).mean() < 260


def test_chips_do_not_depend_on_what_is_read_together(tmp_path: Path) -> None:
    cells = cells_near(-87.63, 41.88, 9, k=4)
    rng = np.random.default_rng(0)
    box = projected_box(NAD27_UTM16, cells, 100)
    west, south, east, north = box.bounds
    data = rng.integers(0, 255, (3, int((north - south) / 4), int((east - west) / 4)), np.uint8)
    raster = write(
        tmp_path / "noise.tif", data, crs=NAD27_UTM16, transform=from_origin(west, north, 4, 4)
    )
    together, covered = imagery.chips(raster, cells)
    for row in (0, 17, len(cells) - 1):
        alone, share = imagery.chips(raster, cells[row : row + 1])
        np.testing.assert_allclose(alone[0], together[row], atol=1e-2)
        assert share[0] == covered[row]


def test_fine_pixels_are_averaged_not_picked(tmp_path: Path) -> None:
    # A checkerboard of single pixels: any picked pixel is 0 or 200, a mean is near 100.
    cells = cells_near(-87.63, 41.88, 8)
    box = projected_box(NAD27_UTM16, cells, 100)
    west, south, east, north = box.bounds
    rows, columns = int((north - south) / 8), int((east - west) / 8)
    board = (np.indices((rows, columns)).sum(axis=0) % 2 * 200).astype(np.uint8)
    raster = write(
        tmp_path / "board.tif",
        board[None],
        crs=NAD27_UTM16,
        transform=from_origin(west, north, 8, 8),
    )
    images, _ = imagery.chips(raster, cells)
    assert images.std() < 15
    assert images.mean() == pytest.approx(100, abs=1)


@pytest.mark.parametrize("how", ["nodata", "manifest", "mask", "alpha", "nan"])
def test_pixels_without_data_are_nan_and_do_not_bleed(tmp_path: Path, how: str) -> None:
    cells = cells_near(-87.63, 41.88, 9)
    box = projected_box(NAD27_UTM16, cells, 100)
    west, south, east, north = box.bounds
    height, width = int((north - south) / 10), int((east - west) / 10)
    data = np.full((2, height, width), 50, np.float32)
    hole = np.zeros((height, width), bool)
    hole[:, : width // 2] = True
    options: dict[str, object] = {}
    if how in ("nodata", "manifest"):
        data[:, hole] = 9999
        options = {"nodata": 9999.0} if how == "nodata" else {}
    elif how == "mask":
        data[:, hole] = 777
        options = {"mask": (~hole * 255).astype(np.uint8)}
    elif how == "alpha":
        data = np.concatenate([data, np.where(hole, 0, 255)[None]]).astype(np.uint8)
        data[:2, hole] = 7
        options = {"alpha": True}
    else:
        data[1, hole] = np.nan  # one band is enough
    raster = write(
        tmp_path / "half.tif",
        data,
        crs=NAD27_UTM16,
        transform=from_origin(west, north, 10, 10),
        **options,  # type: ignore[arg-type]
    )
    if how == "manifest":
        raster = RasterRecords(
            source="half", path=raster.path, crs=NAD27_UTM16, bands=2, nodata=9999.0
        )
    images, covered = imagery.chips(raster, cells)
    assert images.shape[1] == 2
    seen = images[np.isfinite(images)]
    np.testing.assert_allclose(seen, 50, atol=1e-3)  # never mixed with what is not there
    edge = west + (width // 2) * 10
    for row in range(len(cells)):
        x, _ = positions(cells[row : row + 1], NAD27_UTM16, 32)
        clear = np.abs(x - edge) > 1
        np.testing.assert_array_equal(np.isfinite(images[row, 0])[clear], (x > edge)[clear])
    assert covered.min() == 0
    assert covered.max() == 1


def test_a_fourth_band_beside_a_nodata_value_is_data(tmp_path: Path) -> None:
    # GDAL marks the fourth band of an 8-bit file as alpha by itself.
    cells = cells_near(-87.63, 41.88, 9)
    west, south, east, north = projected_box(NAD27_UTM16, cells, 100).bounds
    data = np.full((4, int((north - south) / 10), int((east - west) / 10)), 9, np.uint8)
    transform = from_origin(west, north, 10, 10)
    raster = write(tmp_path / "nir.tif", data, crs=NAD27_UTM16, transform=transform, nodata=0)
    with rasterio.open(raster.path) as file:
        assert file.colorinterp[3] == ColorInterp.alpha
    images, covered = imagery.chips(raster, cells)
    assert images.shape[1] == 4
    assert covered.min() == 1


def test_covered_is_the_share_of_the_hexagon(tmp_path: Path) -> None:
    cells = cells_near(-87.63, 41.88, 8)
    box = projected_box(NAD27_UTM16, cells, 0)
    west, south, east, north = box.bounds
    half = shapely.box(west, south, (west + east) / 2, north)
    raster = gradient(tmp_path / "half.tif", NAD27_UTM16, half, 10.0)
    _, covered = imagery.chips(raster, cells)
    to_crs = pyproj.Transformer.from_crs("EPSG:4326", NAD27_UTM16, always_xy=True)
    for cell, share in zip(grid.boundaries(cells), covered, strict=True):
        hexagon = shapely.transform(cell, lambda c: np.column_stack(to_crs.transform(*c.T)))
        expected = hexagon.intersection(half).area / hexagon.area
        assert share == pytest.approx(expected, abs=0.04)


def test_a_chip_across_the_date_line_is_whole(tmp_path: Path) -> None:
    cells = cells_near(180.0, -17.0, 6)
    width, height = 3600, 400
    x, y = np.meshgrid((np.arange(width) + 0.5) / 10 - 180, -15 - (np.arange(height) + 0.5) / 100)
    data = np.stack([np.cos(np.radians(x)), y]).astype(np.float32)
    raster = write(
        tmp_path / "world.tif", data, crs="EPSG:4326", transform=from_origin(-180, -15, 0.1, 0.01)
    )
    images, covered = imagery.chips(raster, cells)
    assert np.isfinite(images).all()
    assert covered.min() == 1
    np.testing.assert_allclose(images[:, 0], -1, atol=1e-4)
    table = imagery.tokenize([raster], cells, Mosaiks(filters=4))
    np.testing.assert_array_equal(table.cells, cells)


def test_later_rasters_fill_the_gaps_of_earlier_ones(tmp_path: Path) -> None:
    cells = cells_near(-87.63, 41.88, 9)
    west, south, east, north = projected_box(NAD27_UTM16, cells, 100).bounds
    height, width = int((north - south) / 10), int((east - west) / 10)
    transform = from_origin(west, north, 10, 10)
    left = np.full((1, height, width), 10, np.uint8)
    left[:, :, width // 2 :] = 0
    both = np.full((1, height, width), 20, np.uint8)
    first = write(tmp_path / "a.tif", left, crs=NAD27_UTM16, transform=transform, nodata=0)
    second = write(tmp_path / "b.tif", both, crs=NAD27_UTM16, transform=transform)
    images, covered = imagery.mosaic([first, second], cells)
    assert covered.tolist() == [1] * len(cells)
    only, _ = imagery.chips(first, cells)
    np.testing.assert_array_equal(images, np.where(np.isnan(only), 20, only))
    three = write(
        tmp_path / "c.tif", np.repeat(both, 3, axis=0), crs=NAD27_UTM16, transform=transform
    )
    with pytest.raises(RecordError, match="a has 1, c has 3"):
        imagery.tokenize([first, three], cells, Mosaiks())


def test_tokens_stand_where_enough_of_the_cell_is_seen(tmp_path: Path) -> None:
    cells = cells_near(-87.63, 41.88, 8, k=3)
    west, south, east, north = projected_box(NAD27_UTM16, cells, 0).bounds
    rng = np.random.default_rng(0)
    data = rng.integers(1, 255, (3, int((north - south) / 10), int((east - west) / 20)), np.uint8)
    raster = write(
        tmp_path / "half.tif", data, crs=NAD27_UTM16, transform=from_origin(west, north, 10, 10)
    )
    featurizer = Mosaiks(filters=4)
    table = imagery.tokenize([raster], cells, featurizer)
    images, covered = imagery.chips(raster, cells)
    enough = covered >= imagery.MIN_COVERED
    assert 0 < enough.sum() < len(cells)
    np.testing.assert_array_equal(table.cells, cells[enough])
    assert table.columns == (*featurizer.columns, "covered")
    np.testing.assert_allclose(table.column("covered"), covered[enough], atol=1e-6)
    np.testing.assert_allclose(table.values[:, :-1], featurizer(images[enough]), atol=1e-4)


def test_a_raster_without_crs_or_elsewhere_is_refused(tmp_path: Path) -> None:
    cells = cells_near(-87.63, 41.88, 8)
    data = np.ones((1, 40, 40), np.uint8)
    here = from_origin(4e5, 4e6, 10, 10)
    bare = write(tmp_path / "bare.tif", data, crs=None, transform=here)
    with pytest.raises(RecordError, match="has no CRS"):
        imagery.tokenize([bare], cells, Mosaiks())
    far = write(
        tmp_path / "far.tif", data, crs="EPSG:32633", transform=from_origin(5e5, 5e6, 10, 10)
    )
    with pytest.raises(RecordError, match="no cell is covered"):
        imagery.tokenize([far], cells, Mosaiks())
    (tmp_path / "cut.tif").write_bytes(b"II*\x00 not a raster")
    cut = RasterRecords(source="cut", path=tmp_path / "cut.tif", crs="EPSG:4326", bands=1)
    with pytest.raises(RecordError, match="cannot be read"):
        imagery.tokenize([cut], cells, Mosaiks())
    with pytest.raises(RecordError, match="at least one raster"):
        imagery.tokenize([], cells, Mosaiks())
