"""A satellite picture of the country: land cover, parcels, hill shade, roads and water."""

from pathlib import Path

import numpy as np
import rasterio
import shapely
from jaxtyping import Bool, Float, UInt8
from rasterio.features import rasterize
from rasterio.transform import Affine
from rasterio.windows import Window
from scipy import ndimage, special
from scipy.spatial import cKDTree

from mobclip.synthetic.latents import Latents
from mobclip.synthetic.settlements import Settlements
from mobclip.synthetic.world import NOTICE, World

NODATA = 0
BANDS = ("blue", "green", "red", "nir")
NODES_PER_SPACING = 3.5  # of the coarse grid that carries the cells' latents
_TILE = 1024  # pixels of the texture that repeats
_STRIP = 256  # rows painted and written at a time
_SHOWN = ("built", "forest", "farmland", "bare", "elevation", "industry", "mining")
_CLUMP, _PATCH, _HAZE = 0.07, 0.14, 0.3  # grain of the noise, in distances between cell centres

# Reflectance-like means, 1 to 255, in the order of BANDS.
_COLOURS: dict[str, tuple[int, int, int, int]] = {
    "forest": (28, 48, 30, 118),
    "grass": (52, 82, 72, 120),
    "bare": (104, 118, 132, 142),
    "snow": (228, 230, 232, 205),
    "built": (104, 106, 112, 92),
    "works": (168, 170, 176, 120),
    "pit": (122, 142, 172, 150),
    "water": (66, 48, 26, 10),
    "road": (140, 142, 146, 112),
}
_CROPS = (
    (42, 92, 58, 168),
    (58, 112, 128, 124),
    (66, 84, 108, 92),
    (46, 100, 78, 150),
    (60, 98, 96, 132),
)
_LABEL = {name: label for label, name in enumerate(_COLOURS)}
_PLAIN = np.array([*_COLOURS.values(), *_CROPS], np.float32)
# The second half: the same ground with a road across it.
_PALETTE = np.concatenate([_PLAIN, (_PLAIN + _PLAIN[_LABEL["road"]]) / 2])


def pixels_per_spacing(cells: int) -> int:
    """Pixels between neighbouring cell centres: 56, 28 or 14, so that a file stays small.

    A chip as wide as a cell (1.155 times the distance between centres) then has 64, 32 or 16
    pixels of its own.
    """
    if cells <= 5_000:
        return 56
    return 28 if cells <= 50_000 else 14


def write_image(
    path: Path, rng: np.random.Generator, world: World, towns: Settlements, latents: Latents
) -> None:
    """Write the GeoTIFF (4 bands, uint8, nodata 0: the open sea, and a swath never recorded)."""
    fineness = pixels_per_spacing(len(world.cells))
    pixel = world.spacing_km / fineness
    coarsen = int(fineness / NODES_PER_SPACING)
    west, south, east, north = shapely.bounds(world.land)
    margin = 2 * world.spacing_km
    west, north = west - margin, north + margin
    width = (int((east + margin - west) / pixel / coarsen) + 1) * coarsen
    height = (int((north - south + margin) / pixel / coarsen) + 1) * coarsen
    to_km = Affine(pixel, 0, west, 0, -pixel, north)
    frame = _Frame(pixel=pixel, west=west, north=north, width=width, height=height, coarsen=coarsen)

    coarse = _coarse_fields(world, latents, frame)
    shade = _hill_shade(world, coarse["elevation"], frame)
    shore = shapely.buffer(shapely.simplify(world.land, pixel), 1.2 * world.spacing_km)
    covered = _burn([(shore, 1), (world.land, 2)], to_km, height, width)
    lines = _burn(
        [(road, 1) for road in towns.roads] + [(river, 2) for river in world.rivers],
        to_km,
        height,
        width,
        touched=True,
    )
    texture = _Texture(rng, fineness)
    profile = {
        "driver": "GTiff",
        "width": width,
        "height": height,
        "count": len(BANDS),
        "dtype": "uint8",
        "nodata": NODATA,
        "crs": world.crs.to_wkt(),
        "transform": Affine(pixel * 1000, 0, west * 1000, 0, -pixel * 1000, north * 1000),
        "compress": "deflate",
        "zlevel": 1,
        "predictor": 2,
        "tiled": True,
        "blockxsize": 256,
        "blockysize": 256,
        "interleave": "pixel",
        "bigtiff": "if_safer",
    }
    with rasterio.open(path, "w", **profile) as image:
        image.update_tags(NOTICE=NOTICE)
        for band, name in enumerate(BANDS, start=1):
            image.set_band_description(band, name)
        for top in range(0, height, _STRIP):
            bottom = min(top + _STRIP, height)
            seen = covered[top:bottom] > 0
            x = frame.west + (np.arange(width) + 0.5) * pixel
            y = frame.north - (np.arange(top, bottom) + 0.5) * pixel
            seen &= ~in_swath(world, x, y[:, None])
            # The columns between the first and the last land of the strip.
            dry = np.flatnonzero((covered[top:bottom] == 2).any(axis=0))
            pixels = np.empty((len(BANDS), bottom - top, width), np.uint8)
            pixels[:] = np.array(_COLOURS["water"], np.uint8)[:, None, None]
            if len(dry):
                part = slice(int(dry[0]), int(dry[-1]) + 1)
                painted = _paint(
                    {name: frame.upsampled(g, top, bottom, part) for name, g in coarse.items()},
                    frame.upsampled(shade, top, bottom, part),
                    lines[top:bottom, part],
                    texture,
                    top,
                    part,
                )
                land = covered[top:bottom, part] == 2
                np.copyto(pixels[:, :, part], painted, where=land)
            pixels[:, ~seen] = NODATA
            image.write(pixels, window=Window(0, top, width, bottom - top))


def in_swath(
    world: World, x: Float[np.ndarray, "..."], y: Float[np.ndarray, "..."]
) -> Bool[np.ndarray, "..."]:
    """Whether a point (km) lies in the strip that the satellite never recorded."""
    along = x * (0.94 / world.scale_km) + y * (0.34 / world.scale_km)
    return np.asarray(np.abs(along + 0.28) < 0.045)


class _Frame:
    """Pixel grid in km; its coarse grid has a node on every `coarsen`-th pixel corner."""

    def __init__(
        self, *, pixel: float, west: float, north: float, width: int, height: int, coarsen: int
    ) -> None:
        self.pixel, self.west, self.north = pixel, west, north
        self.width, self.height, self.coarsen = width, height, coarsen
        self.shape = (height // coarsen + 1, width // coarsen + 1)

    def nodes(self) -> Float[np.ndarray, "nodes 2"]:
        row, column = np.mgrid[0 : self.shape[0], 0 : self.shape[1]]
        step = self.pixel * self.coarsen
        return np.column_stack([self.west + column.ravel() * step, self.north - row.ravel() * step])

    def upsampled(
        self, coarse: Float[np.ndarray, "rows columns"], top: int, bottom: int, part: slice
    ) -> Float[np.ndarray, "strip part"]:
        """Bilinear values at the pixel centres of rows `top` to `bottom` and columns `part`."""
        column = (np.arange(part.start, part.stop, dtype=np.float32) + 0.5) / self.coarsen
        row = (np.arange(top, bottom, dtype=np.float32) + 0.5) / self.coarsen
        j, i = column.astype(np.int64), row.astype(np.int64)
        u, v = column - j, (row - i)[:, None]
        lines = coarse[i[0] : i[-1] + 2]
        lines = lines[:, j] * (1 - u) + lines[:, j + 1] * u
        return np.asarray(lines[i - i[0]] * (1 - v) + lines[i - i[0] + 1] * v)


class _Texture:
    """Uniform noise of several grains that repeats every `_TILE` pixels."""

    def __init__(self, rng: np.random.Generator, fineness: int) -> None:
        self._tiles = {
            grain: _noise_tile(rng, grain * fineness) for grain in (0.0, _CLUMP, _PATCH, _HAZE)
        }
        self._parcel_value = rng.integers(0, len(_CROPS), (64, 64), dtype=np.uint8)
        self._parcel = (max(1, fineness * 3 // 16), max(1, fineness // 4))  # rows, columns

    def uniform(
        self, grain: float, top: int, rows: int, part: slice, *, shift: int = 0
    ) -> Float[np.ndarray, "rows part"]:
        """Values 0 to 1 for a strip; `shift` gives another piece of the same noise."""
        row = np.arange(top + 7 * shift, top + 7 * shift + rows) % _TILE
        column = np.arange(part.start + 131 * shift, part.stop + 131 * shift) % _TILE
        return np.asarray(self._tiles[grain][row].take(column, axis=1))

    def crops(self, top: int, rows: int, part: slice) -> UInt8[np.ndarray, "rows part"]:
        """Number of a crop, constant within fields of some pixels whose borders wander."""
        tall, wide = self._parcel
        bend = (self.uniform(_HAZE, top, rows, part, shift=9) * (2 * wide)).astype(np.int32)
        row = (np.arange(top, top + rows, dtype=np.int32)[:, None] + bend) // tall
        column = (np.arange(part.start, part.stop, dtype=np.int32) + bend + row % 2) // wide
        return np.asarray(self._parcel_value[(row * 7 + column * 3) % 64, (column + row * 5) % 64])


def _noise_tile(rng: np.random.Generator, sigma: float) -> Float[np.ndarray, "tile tile"]:
    white = rng.standard_normal((_TILE, _TILE), dtype=np.float32)
    if sigma == 0:
        return np.asarray(special.ndtr(white), np.float32)
    soft = ndimage.gaussian_filter(white, sigma, mode="wrap", truncate=3)
    return np.asarray(special.ndtr(soft / soft.std()), np.float32)


def _coarse_fields(
    world: World, latents: Latents, frame: _Frame
) -> dict[str, Float[np.ndarray, "rows columns"]]:
    """Latents of the nearest cell at each coarse node, softened by a fraction of a cell."""
    nearest = cKDTree(world.xy).query(frame.nodes())[1].reshape(frame.shape)
    return {
        name: ndimage.gaussian_filter(latents[name].astype(np.float32)[nearest], 0.6)
        for name in _SHOWN
    }


def _hill_shade(
    world: World, elevation: Float[np.ndarray, "rows columns"], frame: _Frame
) -> Float[np.ndarray, "rows columns"]:
    """Brightness under a low sun in the north-west, 1 on flat ground."""
    detail = world.relief(frame.nodes()).reshape(frame.shape).astype(np.float32)
    surface = ndimage.gaussian_filter(elevation, 1.0) * (1 + 0.3 * detail)
    down, right = np.gradient(surface)
    slope = (down + right) / (frame.coarsen * frame.pixel * 1000)
    return np.asarray(np.clip(1 + 5.5 * slope, 0.45, 1.6))


def _burn(
    shapes: list[tuple[shapely.Geometry, int]],
    to_km: Affine,
    height: int,
    width: int,
    *,
    touched: bool = False,
) -> UInt8[np.ndarray, "height width"]:
    return np.asarray(
        rasterize(
            shapes, out_shape=(height, width), transform=to_km, dtype="uint8", all_touched=touched
        )
    )


def _paint(
    fields: dict[str, Float[np.ndarray, "rows part"]],
    shade: Float[np.ndarray, "rows part"],
    lines: UInt8[np.ndarray, "rows part"],
    texture: _Texture,
    top: int,
    part: slice,
) -> UInt8[np.ndarray, "bands rows part"]:
    """Each pixel takes one land cover, with the probabilities of its cell, in clumps."""
    rows = len(lines)

    def noise(grain: float, shift: int) -> Float[np.ndarray, "rows part"]:
        return texture.uniform(grain, top, rows, part, shift=shift)

    built = noise(_CLUMP, 1) < fields["built"]
    label = np.full(lines.shape, _LABEL["grass"], np.uint8)
    # From the last cover to the first: each overwrites what it wins from those after it.
    rest = np.maximum(1 - fields["built"], 1e-3)
    forest = noise(_PATCH, 2) * rest < fields["forest"]
    rest = np.maximum(rest - fields["forest"], 1e-3)
    farm = noise(_PATCH, 5) * rest < fields["farmland"]
    rest = np.maximum(rest - fields["farmland"], 1e-3)
    label[noise(_CLUMP, 7) * rest < fields["bare"]] = _LABEL["bare"]
    farm &= ~forest & ~built
    np.copyto(label, len(_COLOURS) + texture.crops(top, rows, part), where=farm)
    label[forest] = _LABEL["forest"]
    label[fields["elevation"] > 1900 + 500 * noise(_PATCH, 11)] = _LABEL["snow"]
    label[noise(_CLUMP, 17) < 0.35 * fields["mining"]] = _LABEL["pit"]
    label[built] = _LABEL["built"]
    label[built & (noise(_CLUMP, 13) < 0.45 * fields["industry"])] = _LABEL["works"]
    label[lines == 2] = _LABEL["water"]

    grain = np.full(len(_PALETTE), 0.22, np.float32)
    grain[[_LABEL["built"], _LABEL["works"]]] = 0.55
    grain[len(_COLOURS) : len(_PLAIN)] = 0.12
    light = shade * (1 + grain[label] * (noise(0.0, 3) - 0.5))
    haze = noise(_HAZE, 19) * 10 - 4.5  # the half rounds
    label[lines == 1] += len(_PLAIN)
    out = np.empty((len(BANDS), *lines.shape), np.uint8)
    for band in range(len(BANDS)):
        out[band] = np.clip(_PALETTE[:, band][label] * light + haze, 1, 255)
    return out
