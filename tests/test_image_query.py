"""An image as a query: what is read, what is refused, and that it finds places that look so."""

import json

import numpy as np
import pytest
import rasterio
from rasterio.io import MemoryFile

from mobclip import grid
from mobclip.embeddings import Embeddings
from mobclip.errors import ArtefactError, ConfigError, RecordError
from mobclip.image_query import as_json, from_json, image_query, why_not
from mobclip.place import Place
from mobclip.search import Query, SimilarityIndex
from mobclip.sources.chips import read_chip

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


@pytest.fixture(scope="module")
def place(pictured_data):
    return Place.load(pictured_data / "places" / "islands-r6")


def blocks(side=64, bands=3):
    """As the west looks, drawn anew, at a multiple of the size of a chip."""
    across, down = np.meshgrid(np.arange(32), np.arange(32))
    grey = np.where((across // 8 + down // 8) % 2, 220.0, 40.0)
    shades = np.array([0.9, 1.0, 0.8])[:bands, None, None]
    chip = grey * shades + 10 * np.random.default_rng(1).normal(size=(bands, 32, 32))
    return chip.repeat(side // 32, axis=1).repeat(side // 32, axis=2).astype(np.float32)


def encoded(pixels, driver, **more):
    bands, height, width = pixels.shape
    profile = {"driver": driver, "count": bands, "height": height, "width": width} | more
    with MemoryFile() as memory:
        with memory.open(dtype=pixels.dtype.name, **profile) as out:
            out.write(pixels)
        return bytes(memory.read())


# ---- files


@pytest.mark.parametrize("driver", ["PNG", "GTiff"])
def test_pixels_are_read_as_they_are(driver):
    pixels = np.random.default_rng(0).integers(0, 255, (3, 40, 50)).astype(np.uint8)
    np.testing.assert_array_equal(read_chip(encoded(pixels, driver)), pixels.astype(np.float32))


def test_what_is_transparent_or_has_no_data_is_not_known():
    pixels = np.full((4, 8, 8), 9, np.uint8)
    pixels[3] = 255
    pixels[3, :2] = 0
    found = read_chip(encoded(pixels, "PNG"))
    assert found.shape == (3, 8, 8)
    assert np.isnan(found[:, :2]).all()
    assert (found[:, 2:] == 9).all()
    marked = np.full((2, 8, 8), 5.5, np.float32)
    marked[0, 0, 0] = -1
    found = read_chip(encoded(marked, "GTiff", nodata=-1))
    assert np.isnan(found[:, 0, 0]).all()
    assert np.isfinite(found).sum() == 2 * 63


def test_images_that_are_too_large_or_none_are_refused(tmp_path):
    with pytest.raises(RecordError, match=r"bomb.png has 4\.1 MB"):
        read_chip(bytes(4_100_000), "bomb.png")
    wide = np.zeros((1, 4, 1025), np.uint8)
    with pytest.raises(RecordError, match="1025 × 4 pixels and 1 bands"):
        read_chip(encoded(wide, "PNG"))
    noise = np.random.default_rng(0).integers(0, 255, (3, 40, 40)).astype(np.uint8)
    cut = [encoded(noise, driver)[:1500] for driver in ("PNG", "GTiff")]
    for junk in (b"", b"\x80\x04cos\nsystem\n", b"<svg></svg>", *cut):
        with pytest.raises(RecordError, match="cannot be read as an image"):
            read_chip(junk)


def test_a_file_that_names_another_one_is_not_followed(tmp_path):
    """A VRT is text in which GDAL would look up any file, or address."""
    secret = tmp_path / "secret.tif"
    secret.write_bytes(encoded(np.ones((1, 40, 40), np.uint8), "GTiff"))
    vrt = (
        '<VRTDataset rasterXSize="40" rasterYSize="40"><VRTRasterBand dataType="Byte" band="1">'
        f"<SimpleSource><SourceFilename>{secret}</SourceFilename></SimpleSource>"
        "</VRTRasterBand></VRTDataset>"
    ).encode()
    with MemoryFile(vrt) as memory, rasterio.open(memory.name) as source:
        assert source.driver == "VRT"  # so it would be read
    with pytest.raises(RecordError, match="cannot be read as an image"):
        read_chip(vrt)


# ---- queries


def test_an_image_finds_places_that_look_like_it(place):
    index = SimilarityIndex(Embeddings.load(place.folder / "runs/mobclip/embeddings.parquet"))
    query = image_query(place, "mobclip", blocks())
    ranked = index.ranked(Query(towards=(query.direction,)), others=query.others)
    found = ranked.best(20)
    assert (grid.centers(found.cells)[:, 0] < -30).all()  # the west, where there are blocks
    assert np.isfinite(found.chance).all()
    assert query.others.shape == (len(place.tables["imagery"].cells), 16)


def test_an_image_comes_back_from_a_session_file(place):
    image = blocks(side=96)
    image[:, :40, :40] = np.nan
    name, back = from_json(json.loads(json.dumps(as_json("west.png", image))))
    assert name == "west.png"
    assert back.shape == (3, 32, 32)
    assert np.isnan(back).any()
    once, again = (image_query(place, "mobclip", one).direction for one in (image, back))
    np.testing.assert_array_equal(once, again)


@pytest.mark.parametrize(
    "pixels", [None, 3, [[1.0]], [[[1.0] * 32] * 31], [[["x"] * 32] * 32], [[[1e99] * 32] * 32]]
)
def test_an_image_of_a_session_file_is_anybodys(pixels):
    for given in ({"name": "a", "pixels": pixels}, {"pixels": pixels}, pixels):
        with pytest.raises(ArtefactError, match="not whole"):
            from_json(given)


def test_the_size_of_the_image_has_little_say(place):
    """Averaged to a chip: the same picture in twice the pixels is the same direction."""
    once, twice = (image_query(place, "mobclip", blocks(side)).direction for side in (32, 96))
    np.testing.assert_allclose(once, twice, rtol=1e-4, atol=1e-5)


def test_an_image_on_another_scale_is_told_apart(place):
    assert image_query(place, "mobclip", 30 * blocks()).as_far == 0
    assert image_query(place, "mobclip", blocks()).as_far > 0


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (blocks(bands=1), "has 1 bands, which is not what the imagery of Two islands"),
        (blocks()[:, :20], "64 × 20 pixels; at least 32 × 32"),
        (np.full((3, 40, 40), np.nan, np.float32), "has data in 0% of its pixels"),
    ],
)
def test_images_that_cannot_be_asked(place, image, said):
    with pytest.raises(ConfigError, match=said):
        image_query(place, "mobclip", image)


def test_where_an_image_cannot_be_a_query_it_is_said(place, app_data):
    assert why_not(place, "mobclip") == ""
    assert "`propagated` has no place for an image" in why_not(place, "propagated")
    assert "Choose `mobclip` above" in why_not(place, "propagated")
    bare = Place.load(app_data / "places" / "islands-r6")
    assert "has no imagery" in why_not(bare, "propagated")
    with pytest.raises(ConfigError, match="has no imagery"):
        image_query(bare, "propagated", blocks())
