"""Pictures of the imagery: the right cell, the right colours, whole or not at all."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyproj
import pytest
import rasterio
from rasterio.enums import ColorInterp
from rasterio.transform import Affine
from typer.testing import CliRunner

from mobclip import chips, grid, pipeline
from mobclip.chips import Chips, Look, chip_writer, outline
from mobclip.errors import ArtefactError, RecordError
from mobclip.featurizers.mosaiks import Mosaiks
from mobclip.modalities import imagery
from mobclip.place import Place, save_place
from mobclip.records import RasterRecords

UTM = "EPSG:32616"
LON, LAT = -87.63, 41.88
CELLS = np.unique(
    grid.disk(
        grid.points_to_cells(lon=np.array([LON]), lat=np.array([LAT]), resolution=8), 2
    )[1]
)  # fmt: skip
TO_UTM = pyproj.Transformer.from_crs("EPSG:4326", UTM, always_xy=True)
X, Y = TO_UTM.transform(LON, LAT)
WIDE, PIXEL = 400, 20.0  # pixels, metres: 8 km
WEST, NORTH = X - WIDE * PIXEL / 2, Y + WIDE * PIXEL / 2


def raster(
    path: Path,
    data: np.ndarray,
    *,
    said: tuple[ColorInterp, ...] = (),
    names: tuple[str, ...] = (),
    nodata: float | None = None,
) -> RasterRecords:
    """An image of 8 km around the cells."""
    profile = {"driver": "GTiff", "count": len(data), "height": WIDE, "width": WIDE}
    profile |= {"dtype": data.dtype, "crs": UTM, "nodata": nodata, "photometric": "MINISBLACK"}
    with rasterio.open(
        path, "w", transform=Affine(PIXEL, 0, WEST, 0, -PIXEL, NORTH), **profile
    ) as f:
        if said:
            f.colorinterp = said
        for band, name in enumerate(names, start=1):
            f.set_band_description(band, name)
        f.write(data)
    return RasterRecords(source=path.stem, path=path, crs=UTM, bands=len(data))


def ramps() -> np.ndarray:
    """Three bands: 20 to 220 from west to east, from south to north, and 120 everywhere."""
    shade = np.linspace(20, 220, WIDE)
    east, south = np.meshgrid(shade, shade)
    return np.stack([east, south[::-1], np.full_like(east, 120)]).round().astype(np.uint8)


def made(rasters: list[RasterRecords], folder: Path) -> Chips:
    table = imagery.tokenize(rasters, CELLS, Mosaiks(filters=4), pictures=folder)
    made = Chips.load(folder)
    np.testing.assert_array_equal(made.cells, table.cells)
    return made


def values(found: Chips) -> np.ndarray:
    """What the shades stand for in the file."""
    span = found.look.high - found.look.low
    return found.look.low + (np.asarray(found.pixels, float) - 1) / 254 * span


def test_colours_tell_where_a_cell_lies(tmp_path: Path) -> None:
    found = made([raster(tmp_path / "a.tif", ramps())], tmp_path / "chips")
    assert found.pixels.shape == (len(CELLS), 32, 32, 3)
    assert isinstance(found.pixels, np.memmap)
    assert not found.look.named  # grey and undefined bands: the first three
    x, y = np.stack(TO_UTM.transform(*grid.centers(CELLS).T))
    middle = values(found)[:, 15:17, 15:17].mean(axis=(1, 2))
    slope = 200 / (WIDE - 1) / PIXEL
    step = (found.look.high - found.look.low) / 254
    inside = (np.abs(x - X) < 2500) & (np.abs(y - Y) < 2500)  # beyond: clipped by the stretch
    assert inside.sum() > 10
    np.testing.assert_allclose(
        middle[inside, 0], 20 + slope * (x - WEST - PIXEL / 2)[inside], atol=step + 0.5
    )
    np.testing.assert_allclose(
        middle[inside, 1], 220 - slope * (NORTH - PIXEL / 2 - y)[inside], atol=step + 0.5
    )
    np.testing.assert_allclose(middle[:, 2], 120, atol=step)  # one scale for all three
    # North is up, east is right.
    inner = np.asarray(found.pixels, int)[inside]
    assert (inner[:, :, 24:, 0].mean((1, 2)) > inner[:, :, :8, 0].mean((1, 2))).all()
    assert (inner[:, :8, :, 1].mean((1, 2)) > inner[:, 24:, :, 1].mean((1, 2))).all()
    # Looked up by cell, in any order; a cell without has nothing.
    other = grid.points_to_cells(lon=np.array([10.0]), lat=np.array([50.0]), resolution=8)
    pictures, known = found.of(np.append(CELLS[[5, 2]], other))
    assert known.tolist() == [True, True, False]
    np.testing.assert_array_equal(pictures[:2], found.pixels[[5, 2]])
    assert (pictures[2] == chips.EMPTY).all()


RED, GREEN, BLUE = ColorInterp.red, ColorInterp.green, ColorInterp.blue
ALPHA = ColorInterp.alpha


@pytest.mark.parametrize(
    ("said", "names", "nodata", "expected"),
    [
        ((BLUE, GREEN, RED, ColorInterp.undefined), (), None, ((3, 2, 1), True)),
        # The name of a band counts for more: GDAL guesses colours of files with four bands.
        ((RED, GREEN, BLUE, ALPHA), ("blue", "green", "Red", "nir"), 0, ((3, 2, 1), True)),
        # Alpha is no band of a chip: what comes after it moves up.
        ((BLUE, ALPHA, GREEN, RED), (), None, ((3, 2, 1), True)),
        ((), ("nir", "swir", "red", "b4"), None, ((1, 2, 3), False)),
    ],
)  # fmt: skip
def test_red_green_blue_by_what_the_file_says(
    tmp_path: Path,
    said: tuple[ColorInterp, ...],
    names: tuple[str, ...],
    nodata: float | None,
    expected: tuple[tuple[int, ...], bool],
) -> None:
    data = np.stack([np.full((WIDE, WIDE), shade, np.uint8) for shade in (40, 90, 140, 200)])
    data[:, ::2] += 5  # something to read
    if ALPHA in said:
        data[said.index(ALPHA)] = 255
    source = raster(tmp_path / "a.tif", data, said=said, names=names, nodata=nodata)
    found = made([source], tmp_path / "chips")
    assert (found.look.bands, found.look.named) == expected
    kept = [one for one, what in zip(data, said or [None] * 4, strict=True)
            if what != ALPHA or nodata is not None]  # fmt: skip
    means = [kept[band - 1].mean() for band in expected[0]]
    assert np.argsort(found.pixels[:].mean(axis=(0, 1, 2))).tolist() == np.argsort(means).tolist()


@pytest.mark.parametrize("bands", [1, 2])
def test_one_or_two_bands_are_grey(tmp_path: Path, bands: int) -> None:
    found = made([raster(tmp_path / "a.tif", ramps()[:bands])], tmp_path / "chips")
    assert found.look.bands == (1,)
    pixels = np.asarray(found.pixels)
    assert (pixels[..., :1] == pixels).all()
    assert pixels.std() > 10


def test_where_there_are_no_data_there_is_no_colour(tmp_path: Path) -> None:
    data = ramps()
    data[:, :, WIDE // 2 :] = 0
    found = made([raster(tmp_path / "a.tif", data, nodata=0)], tmp_path / "chips")
    images, covered = imagery.mosaic([raster(tmp_path / "b.tif", data, nodata=0)], CELLS)
    enough = covered >= imagery.MIN_COVERED
    np.testing.assert_array_equal(found.cells, CELLS[enough])
    empty = np.isnan(images[enough, 0])
    assert 0 < empty.sum() < empty.size
    np.testing.assert_array_equal((np.asarray(found.pixels) == chips.EMPTY).all(axis=3), empty)
    assert (found.pixels[~empty] >= 1).all()


def test_hues_stay_and_a_flat_image_is_no_error() -> None:
    rng = np.random.default_rng(0)
    sample = rng.normal([[[[50]], [[100]], [[150]]]], 20, size=(30, 3, 8, 8)).astype(np.float32)
    sample[0, :, 0, 0] = np.nan
    look = Look.of(sample, (3, 2, 1), named=True)
    low, high = np.nanpercentile(sample, (2, 98))
    np.testing.assert_allclose([look.low, look.high], [low, high], rtol=1e-6)
    naive = np.clip((sample[:, ::-1] - low) / (high - low), 0, 1) * 254 + 1
    naive = np.nan_to_num(naive.transpose(0, 2, 3, 1))
    assert np.abs(look.drawn(sample) - naive).max() <= 0.5 + 1e-3
    flat = np.full((2, 1, 4, 4), 7, np.float32)
    assert (Look.of(flat, (1,), named=False).drawn(flat) == 1).all()


def test_the_outline_is_the_cell() -> None:
    # The same pixels as those over which a cell's cover is counted.
    inside = imagery._hexagon(CELLS[:1], 64)[0]
    corners = outline(int(CELLS[0])) * 64
    across, down = np.meshgrid(np.arange(64) + 0.5, np.arange(64) + 0.5)
    edges = np.roll(corners, -1, axis=0) - corners
    sides = [
        (across - x) * dy - (down - y) * dx for (x, y), (dx, dy) in zip(corners, edges, strict=True)
    ]
    np.testing.assert_array_equal(np.all(np.array(sides) >= 0, axis=0), inside)


# ---- on disk


def test_interrupted_pictures_leave_nothing(tmp_path: Path) -> None:
    look = Look(bands=(1,), named=False, low=0.0, high=1.0)
    with pytest.raises(KeyboardInterrupt), chip_writer(tmp_path / "chips", look, 4) as append:
        append(CELLS[:2], np.ones((2, 1, 4, 4), np.float32))
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []
    with chip_writer(tmp_path / "chips", look, 4) as append:
        append(CELLS[:2], np.ones((2, 1, 4, 4), np.float32))
        append(CELLS[2:3], np.full((1, 1, 4, 4), np.nan, np.float32))
    found = Chips.load(tmp_path / "chips")
    assert found.pixels[:, 0, 0, 0].tolist() == [255, 255, 0]
    assert found.look == look


def test_nothing_covered_leaves_no_pictures(tmp_path: Path) -> None:
    data = np.zeros((3, WIDE, WIDE), np.uint8)
    with pytest.raises(RecordError, match="no cell is covered"):
        made([raster(tmp_path / "a.tif", data, nodata=0)], tmp_path / "chips")
    assert not (tmp_path / "chips").exists()


@pytest.fixture
def place(tmp_path: Path, toy_place: Place) -> Place:
    """A place with imagery of some cells, and pictures of them."""
    table = replace(toy_place.tables["poi"], modality="imagery")
    look = Look(bands=(1, 2, 3), named=True, low=0.0, high=1.0)
    images = np.random.default_rng(1).random((len(table.cells), 3, 4, 4)).astype(np.float32)
    with chip_writer(tmp_path / "drawn", look, 4) as append:
        append(table.cells, images)
    return save_place(
        tmp_path / "place",
        name="toy",
        title="Toy",
        resolution=6,
        cells=toy_place.cells,
        tables={"imagery": table},
        graph=None,
        targets={},
        provenance={"key": "1"},
        chips=tmp_path / "drawn",
    )


def test_a_place_takes_its_pictures_with_it(place: Place, tmp_path: Path) -> None:
    assert not (tmp_path / "drawn").exists()
    assert place.chips is not None
    np.testing.assert_array_equal(place.chips.cells, place.tables["imagery"].cells)
    # Some cells only, or a folder that cannot be written: the pictures are those of their cells.
    fewer = place.varied("half", cells=place.cells[::2])
    assert fewer.chips is not None
    cells = fewer.tables["imagery"].cells
    pictures, known = fewer.chips.of(cells)
    assert known.all()
    rows, _ = grid.locate(place.chips.cells, cells)
    np.testing.assert_array_equal(pictures, place.chips.pixels[rows])


def test_a_place_without_pictures_has_none(place: Place, toy_place: Place) -> None:
    assert toy_place.chips is None
    shutil.rmtree(place.folder / "chips")
    assert place.chips is None


@pytest.mark.parametrize("name", ["cells.npy", "pixels.npy", "look.json"])
@pytest.mark.parametrize("missing", [False, True])
def test_damaged_pictures_say_what_to_do(place: Place, name: str, missing: bool) -> None:
    path = place.folder / "chips" / name
    whole = path.read_bytes()
    path.unlink() if missing else path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ArtefactError, match=r"damaged .*Run `mobclip tokenize` again"):
        _ = place.chips


def test_pictures_of_other_cells_are_refused(place: Place) -> None:
    table = place.tables["imagery"]
    table.restrict(table.cells[1:]).save(place.folder / "tokens" / "imagery.parquet")
    with pytest.raises(
        ArtefactError, match=r"pictures of \d+ cells, .* `mobclip tokenize toy --resolution 6`"
    ):
        _ = place.chips
    one_less = np.load(place.folder / "chips" / "cells.npy")[1:]
    np.save(place.folder / "chips" / "cells.npy", one_less)
    with pytest.raises(ArtefactError, match="do not fit together"):
        _ = place.chips


# ---- the stage


def test_tokenizing_keeps_pictures_and_adds_them_to_an_older_place(
    country_data: Path, manifest_path: Path, tmp_path: Path
) -> None:
    workspace = pipeline.Workspace.open(manifest=manifest_path, data=country_data)
    spec = workspace.spec("synthetic", cells=600)
    country = Place.load(workspace.folder(spec))
    assert country.chips is not None
    # Its file has blue first, and GDAL takes that for red.
    assert country.chips.look.bands == (3, 2, 1)
    np.testing.assert_array_equal(country.chips.cells, country.tables["imagery"].cells)
    elsewhere = tmp_path / "data"
    shutil.copytree(country_data, elsewhere)
    older = elsewhere / "places" / country.folder.name
    shutil.rmtree(older / "chips")
    before = {one: one.stat().st_mtime_ns for one in older.rglob("*") if one.is_file()}
    command = ["--manifest", str(manifest_path), "--data", str(elsewhere)]
    command += ["tokenize", "synthetic", "--cells", "600"]
    from mobclip.cli import app

    for damaged in (False, True):
        if damaged:
            (older / "chips" / "pixels.npy").write_bytes(b"")
        assert CliRunner().invoke(app, command).exit_code == 0
        found = Place.load(older).chips
        assert found is not None
        np.testing.assert_array_equal(found.cells, country.chips.cells)
        # The stretch comes from a sample, which differs a little.
        difference = found.pixels[:].astype(int) - country.chips.pixels[:]
        assert np.abs(difference).max() < 8
    assert {one: one.stat().st_mtime_ns for one in before} == before
    after = {one: one.stat().st_mtime_ns for one in older.rglob("*") if one.is_file()}
    assert CliRunner().invoke(app, command).exit_code == 0
    assert after == {one: one.stat().st_mtime_ns for one in older.rglob("*") if one.is_file()}


def test_without_the_files_an_older_place_stays_as_it_is(
    place: Place, manifest_path: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.rmtree(place.folder / "chips")
    workspace = pipeline.Workspace.open(
        manifest=manifest_path, data=tmp_path, mirror=tmp_path / "nowhere"
    )
    pipeline.add_chips(workspace, workspace.spec("chicago"), place)
    assert "toy stays without pictures of its imagery" in caplog.text
    assert place.chips is None
