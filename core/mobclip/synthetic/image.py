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
PIXELS_PER_SPACING = 13  # about 500 m at resolution 6
COARSE = 4  # pixels between the nodes of the coarse grid that carries the cells' latents
_TILE = 1024  # pixels of the texture that repeats
_STRIP = 256  # rows written at a time
_SHOWN = ("built", "forest", "farmland", "bare", "elevation", "industry", "mining")

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
_CROPS = np.array(
    [
        (42, 92, 58, 168),
        (58, 112, 128, 124),
        (66, 84, 108, 92),
        (46, 100, 78, 150),
        (60, 98, 96, 132),
    ],
    np.float32,
)


def write_image(
    path: Path, rng: np.random.Generator, world: World, towns: Settlements, latents: Latents
) -> None:
    """Write the GeoTIFF (4 bands, uint8, nodata 0: the open sea, and a swath never recorded)."""
    pixel = world.spacing_km / PIXELS_PER_SPACING
    west, south, east, north = shapely.bounds(world.land)
    margin = 2 * world.spacing_km
    west, north = west - margin, north + margin
    width = int((east + margin - west) / pixel / COARSE) * COARSE + COARSE
    height = int((north - south + margin) / pixel / COARSE) * COARSE + COARSE
    to_km = Affine(pixel, 0, west, 0, -pixel, north)
    frame = _Frame(pixel=pixel, west=west, north=north, width=width, height=height)

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
    texture = _Texture(rng)
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
            seen &= ~_swath(frame, world, top, bottom)
            fields = {name: frame.upsampled(grid, top, bottom) for name, grid in coarse.items()}
            pixels = _paint(
                fields,
                frame.upsampled(shade, top, bottom),
                covered[top:bottom] == 2,
                lines[top:bottom],
                texture,
                top,
            )
            pixels[:, ~seen] = NODATA
            image.write(pixels, window=Window(0, top, width, bottom - top))


def in_swath(world: World, xy: Float[np.ndarray, "n 2"]) -> Bool[np.ndarray, " n"]:
    """Whether a point lies in the strip that the satellite never recorded."""
    along = (xy[:, 0] * 0.94 + xy[:, 1] * 0.34) / world.scale_km
    return np.abs(along + 0.28) < 0.045


class _Frame:
    """Pixel grid in km, with the coarse grid whose nodes lie on every `COARSE`-th pixel corner."""

    def __init__(self, *, pixel: float, west: float, north: float, width: int, height: int) -> None:
        self.pixel, self.west, self.north = pixel, west, north
        self.width, self.height = width, height
        self.shape = (height // COARSE + 1, width // COARSE + 1)

    def nodes(self) -> Float[np.ndarray, "nodes 2"]:
        row, column = np.mgrid[0 : self.shape[0], 0 : self.shape[1]]
        step = self.pixel * COARSE
        return np.column_stack([self.west + column.ravel() * step, self.north - row.ravel() * step])

    def upsampled(
        self, coarse: Float[np.ndarray, "rows columns"], top: int, bottom: int
    ) -> Float[np.ndarray, "strip width"]:
        """Bilinear values at the pixel centres of rows `top` to `bottom`."""
        row = (np.arange(top, bottom) + 0.5) / COARSE
        column = (np.arange(self.width) + 0.5) / COARSE
        i, j = row.astype(np.int64), column.astype(np.int64)
        v, u = (row - i).astype(np.float32)[:, None], (column - j).astype(np.float32)
        lines = coarse[i] * (1 - v) + coarse[i + 1] * v
        return np.asarray(lines[:, j] * (1 - u) + lines[:, j + 1] * u)


class _Texture:
    """Uniform noise of several grains that repeats every `_TILE` pixels."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._tiles = {grain: _noise_tile(rng, grain) for grain in (0.0, 1.2, 2.5, 5.0)}
        self._parcel_value = rng.random((64, 64), dtype=np.float32)

    def uniform(
        self, grain: float, top: int, rows: int, width: int, *, shift: int = 0
    ) -> Float[np.ndarray, "rows width"]:
        """Values 0 to 1 for a strip; `shift` gives another piece of the same noise."""
        row = (np.arange(top, top + rows) + 7 * shift) % _TILE
        column = (np.arange(width) + 131 * shift) % _TILE
        return np.asarray(self._tiles[grain][row[:, None], column])

    def parcels(self, top: int, rows: int, width: int) -> Float[np.ndarray, "rows width"]:
        """Values 0 to 1, constant within fields of a few pixels whose borders wander."""
        bend = (self.uniform(5.0, top, rows, width, shift=9) * 5).astype(np.int64)
        row = (np.arange(top, top + rows)[:, None] + bend) // 3
        column = (np.arange(width) + bend + row % 2) // 4
        return np.asarray(self._parcel_value[(row * 7 + column * 3) % 64, (column + row * 5) % 64])


def _noise_tile(rng: np.random.Generator, grain: float) -> Float[np.ndarray, "tile tile"]:
    white = rng.standard_normal((_TILE, _TILE), dtype=np.float32)
    if grain == 0:
        return np.asarray(special.ndtr(white), np.float32)
    soft = ndimage.gaussian_filter(white, grain, mode="wrap", truncate=3)
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
    slope = (down + right) / (COARSE * frame.pixel * 1000)
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


def _swath(frame: _Frame, world: World, top: int, bottom: int) -> Bool[np.ndarray, "strip width"]:
    x = frame.west + (np.arange(frame.width) + 0.5) * frame.pixel
    y = frame.north - (np.arange(top, bottom) + 0.5) * frame.pixel
    points = np.stack(np.broadcast_arrays(x[None, :], y[:, None]), axis=-1)
    return in_swath(world, points.reshape(-1, 2)).reshape(bottom - top, frame.width)


def _paint(
    fields: dict[str, Float[np.ndarray, "rows width"]],
    shade: Float[np.ndarray, "rows width"],
    land: Bool[np.ndarray, "rows width"],
    lines: UInt8[np.ndarray, "rows width"],
    texture: _Texture,
    top: int,
) -> UInt8[np.ndarray, "bands rows width"]:
    """Each pixel takes one land cover, with the probabilities of its cell, in clumps."""
    rows, width = land.shape
    out = np.empty((len(BANDS), rows, width), np.uint8)
    where = np.flatnonzero(land)
    out[:] = np.array(_COLOURS["water"], np.uint8)[:, None, None]
    if len(where) == 0:
        return out
    f = {name: grid.ravel()[where] for name, grid in fields.items()}

    def noise(grain: float, shift: int) -> Float[np.ndarray, " pixels"]:
        return texture.uniform(grain, top, rows, width, shift=shift).ravel()[where]

    fine = noise(0.0, 3)
    clump = noise(1.2, 1)
    built = clump < f["built"]
    rest = np.maximum(1 - f["built"], 1e-3)
    forest = ~built & (noise(2.5, 2) < f["forest"] / rest)
    rest = np.maximum(rest - f["forest"], 1e-3)
    farm = ~built & ~forest & (noise(2.5, 5) < f["farmland"] / rest)
    rest = np.maximum(rest - f["farmland"], 1e-3)
    bare = ~built & ~forest & ~farm & (noise(1.2, 7) < f["bare"] / rest)

    parcel = texture.parcels(top, rows, width).ravel()[where]
    colour = np.tile(np.array(_COLOURS["grass"], np.float32), (len(where), 1))
    colour[forest] = _COLOURS["forest"]
    colour[farm] = _CROPS[(parcel[farm] * len(_CROPS)).astype(np.int64)]
    colour[bare] = _COLOURS["bare"]
    snow = (f["elevation"] > 1900 + 500 * noise(2.5, 11)) & ~built
    colour[snow] = _COLOURS["snow"]
    colour[built] = _COLOURS["built"]
    colour[built & (noise(1.2, 13) < 0.45 * f["industry"])] = _COLOURS["works"]
    colour[~built & (noise(1.2, 17) < 0.35 * f["mining"])] = _COLOURS["pit"]
    grain = np.where(built, 0.55, np.where(farm, 0.12, 0.22)).astype(np.float32)
    light = shade.ravel()[where] * (1 + grain * (fine - 0.5))
    line = lines.ravel()[where]
    colour[line == 1] = 0.5 * colour[line == 1] + 0.5 * np.array(_COLOURS["road"], np.float32)
    colour[line == 2] = _COLOURS["water"]
    colour *= light[:, None]
    colour += (noise(5.0, 19) * 10 - 5)[:, None]  # haze
    out.reshape(len(BANDS), -1)[:, where] = np.clip(np.round(colour), 1, 255).astype(np.uint8).T
    return out
