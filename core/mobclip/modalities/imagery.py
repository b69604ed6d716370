"""GeoTIFFs -> one token per cell: features of a square chip cut around the cell's centre."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyproj
import rasterio
from jaxtyping import Bool, Float32, Float64, UInt64
from rasterio.enums import ColorInterp
from rasterio.errors import RasterioError
from rasterio.windows import Window

from mobclip import grid
from mobclip.chips import EARTH_RADIUS_M, Append, Look, chip_writer, local_metres, side_m
from mobclip.errors import ConfigError, RecordError
from mobclip.records import RasterRecords
from mobclip.table import CellTable

logger = logging.getLogger(__name__)

ImageFeaturizer = Callable[
    [Float32[np.ndarray, "chips bands pixels pixels"]], Float32[np.ndarray, "chips features"]
]

PIXELS = 32  # of a chip's side
MIN_COVERED = 0.5  # a cell with less of its hexagon in valid pixels has no token
FIT_CHIPS = 1_000  # chips from which a featurizer is fitted, spread over the place
CHUNK = 4_096  # cells in memory at once
BLOCK = 3  # resolutions coarser: cells of one parent, at most 343, share a read
OVERSAMPLING = 4  # a chip's pixel averages at most 4 × 4 pixels of a finer raster
# Positions of a chip's pixels are exact at 5 × 5 nodes and interpolated between them.
NODES = 5


def tokenize(
    rasters: Sequence[RasterRecords],
    cells: UInt64[np.ndarray, "cells"],
    featurizer: ImageFeaturizer,
    *,
    pixels: int = PIXELS,
    min_covered: float = MIN_COVERED,
    pictures: Path | None = None,
) -> CellTable:
    """Tokens of all cells of which at least `min_covered` lies in valid pixels.

    Columns: those of the featurizer, and ``covered``, the share of the cell's hexagon with data.
    Rasters fill one another's gaps: a later one counts where the earlier ones have no data.

    Parameters
    ----------
    rasters : one or more images with the same bands
    cells : sorted, unique, one resolution
    featurizer : fitted on up to 1,000 chips spread over these cells first if it is not fitted yet
    pictures : a folder to be made, with a picture of the chip of each token: `mobclip.chips`
    """
    _check_bands(rasters)
    candidates = _near(rasters, cells)
    fitted = getattr(featurizer, "fitted", True)
    sample = None
    if pictures or not fitted:
        sample = _sample(rasters, candidates, pixels, min_covered)
    if not fitted:
        featurizer.fit(sample)  # type: ignore[attr-defined]
    kept, shares, parts = [], [], []
    with _drawing(pictures, rasters, sample, pixels) as draw:
        for start in range(0, len(candidates), CHUNK):
            chunk = candidates[start : start + CHUNK]
            images, covered = mosaic(rasters, chunk, pixels=pixels)
            enough = np.flatnonzero(covered >= min_covered)
            if len(enough):
                features = featurizer(images[enough])
                # NaN: holes are strewn so that no window of the featurizer is whole.
                usable = np.isfinite(features).all(axis=1)
                rows = enough[usable]
                kept.append(chunk[rows])
                shares.append(covered[rows])
                parts.append(features[usable])
                draw(chunk[rows], images[rows])
    if not kept:
        raise _nothing_covered(rasters, min_covered)
    features = np.concatenate(parts)
    names = getattr(featurizer, "columns", None)
    columns = names or tuple(f"image_{i:03d}" for i in range(features.shape[1]))
    logger.info("imagery: %d of %d cells are covered", len(features), len(cells))
    return CellTable(
        modality="imagery",
        cells=np.concatenate(kept),
        values=np.column_stack([features, np.concatenate(shares)]).astype(np.float32),
        columns=(*columns, "covered"),
    )


def picture(
    rasters: Sequence[RasterRecords],
    cells: UInt64[np.ndarray, "cells"],
    folder: Path,
    *,
    pixels: int = PIXELS,
) -> None:
    """Make the folder of pictures for cells that have tokens from these rasters already."""
    sample = _sample(rasters, cells, pixels, MIN_COVERED)
    with _drawing(folder, rasters, sample, pixels) as draw:
        for start in range(0, len(cells), CHUNK):
            chunk = cells[start : start + CHUNK]
            draw(chunk, mosaic(rasters, chunk, pixels=pixels)[0])


def _drawing(
    folder: Path | None,
    rasters: Sequence[RasterRecords],
    sample: Float32[np.ndarray, "chips bands pixels pixels"] | None,
    pixels: int,
) -> AbstractContextManager[Append]:
    """What takes cells and their chips; nothing is kept of them without a folder."""
    if folder is None or sample is None:
        return nullcontext(lambda cells, images: None)
    with _opened(rasters[0]) as source:
        bands, named = _colours(source)
    return chip_writer(folder, Look.of(sample, bands, named=named), pixels)


def _colours(source: "_Source") -> tuple[tuple[int, ...], bool]:
    """Which bands of a chip are red, green and blue, and whether the file says so.

    By the bands' names, else by their colour interpretation, else the first three; of one or two
    bands the first, alone. Names come first because GDAL calls the bands of any 8-bit file with
    three or four of them red, green, blue, if nobody says otherwise.
    """
    dataset = source.dataset
    names = [(dataset.descriptions[band - 1] or "").strip().lower() for band in source.bands]
    meanings = [dataset.colorinterp[band - 1].name for band in source.bands]
    for said in (names, meanings):
        if {"red", "green", "blue"} <= set(said):
            red, green, blue = (said.index(one) + 1 for one in ("red", "green", "blue"))
            return (red, green, blue), True
    return ((1, 2, 3) if len(names) > 2 else (1,)), False


def _sample(
    rasters: Sequence[RasterRecords],
    candidates: UInt64[np.ndarray, "near"],
    pixels: int,
    min_covered: float,
) -> Float32[np.ndarray, "chips bands pixels pixels"]:
    """Up to 1,000 chips, spread evenly over the cells that are covered."""
    step = max(1, len(candidates) // FIT_CHIPS)
    # An even sample can miss an image of a few cells: then the cells between have their turn.
    for first in range(step):
        images, covered = mosaic(rasters, candidates[first::step], pixels=pixels)
        if (covered >= min_covered).any():
            chosen = images[covered >= min_covered]
            return chosen[:FIT_CHIPS]
    raise _nothing_covered(rasters, min_covered)


def _nothing_covered(rasters: Sequence[RasterRecords], min_covered: float) -> RecordError:
    return RecordError(
        f"no cell is covered to {min_covered:.0%} by "
        f"{', '.join(raster.source for raster in rasters)}: check the raster's CRS and nodata, "
        "and the area and resolution in data_manifest.yaml."
    )


def mosaic(
    rasters: Sequence[RasterRecords], cells: UInt64[np.ndarray, "cells"], *, pixels: int = PIXELS
) -> tuple[Float32[np.ndarray, "cells bands pixels pixels"], Float32[np.ndarray, " cells"]]:
    """Chips of several rasters, each filling what the ones before it leave without data."""
    images, covered = chips(rasters[0], cells, pixels=pixels)
    for raster in rasters[1:]:
        open_cells = np.flatnonzero(np.isnan(images[:, 0]).any(axis=(1, 2)))
        if len(open_cells) == 0:
            break
        more, _ = chips(raster, cells[open_cells], pixels=pixels)
        images[open_cells] = np.where(np.isnan(images[open_cells]), more, images[open_cells])
        inside = _hexagon(cells[open_cells], pixels)
        covered[open_cells] = _share(np.isfinite(images[open_cells, 0]), inside)
    return images, covered


def chips(
    raster: RasterRecords, cells: UInt64[np.ndarray, "cells"], *, pixels: int = PIXELS
) -> tuple[Float32[np.ndarray, "cells bands pixels pixels"], Float32[np.ndarray, " cells"]]:
    """One square, north-up chip per cell, and the share of the cell's hexagon with data.

    A chip is centred on the cell; its side is twice the mean edge length of the resolution, the
    circumscribed circle of a mean cell, so that a pixel is as wide on the ground everywhere.
    Pixels lie on an azimuthal equidistant grid around the centre, are carried to the raster's CRS
    (datum shift included) and read with bilinear weights; a raster finer than the chip is averaged
    to about the chip's pixel first (over 4 × 4 of its pixels at most). Without data (nodata, mask,
    alpha, beyond the edge): NaN.

    Raises
    ------
    RecordError : a raster without CRS, or a file that cannot be read
    """
    if pixels < 3:
        raise ConfigError(f"chips of {pixels} pixels: at least 3.")
    with _opened(raster) as source:
        images = np.full((len(cells), len(source.bands), pixels, pixels), np.nan, np.float32)
        for rows in _blocks(cells):
            _cut(source, cells[rows], pixels, images, rows)
    valid = np.isfinite(images[:, 0])
    covered = np.zeros(len(cells), np.float32)
    some = np.flatnonzero(valid.any(axis=(1, 2)))
    if len(some):
        covered[some] = _share(valid[some], _hexagon(cells[some], pixels))
    return images, covered


@dataclass(frozen=True, kw_only=True)
class _Source:
    """An open raster and the way from degrees to its pixels."""

    dataset: rasterio.DatasetReader
    nodata: float | None  # of the file, else of the manifest
    bands: list[int]  # numbers from 1, without alpha
    alpha: int | None  # number of the band of transparency
    to_crs: pyproj.Transformer
    period: float  # x of once around the world in the raster's CRS; 0 where x does not wrap

    def pixels_of(self, lonlat: Float64[np.ndarray, "chips nodes 2"]) -> np.ndarray:
        """(chips, nodes, 2) column and row in the raster, whole numbers at corners of pixels."""
        x, y = self.to_crs.transform(lonlat[..., 0], lonlat[..., 1])
        if self.period:
            # A chip across the date line has its parts at both ends of x: bring them together.
            middle = x[:, x.shape[1] // 2, None]
            x = x - self.period * np.round((x - middle) / self.period)
        inverse = ~self.dataset.transform
        return np.stack(
            [
                inverse.a * x + inverse.b * y + inverse.c,
                inverse.d * x + inverse.e * y + inverse.f,
            ],
            axis=-1,
        )

    def shifts(self) -> tuple[float, ...]:
        """Columns by which the raster repeats around the world."""
        width = self.period / abs(self.dataset.transform.a) if self.period else 0.0
        return (0.0, width, -width) if width else (0.0,)


@contextmanager
def _opened(raster: RasterRecords) -> Iterator[_Source]:
    try:
        with rasterio.open(raster.path) as dataset:
            crs = dataset.crs or raster.crs
            if not crs:
                raise RecordError(
                    f"{raster.source}: {raster.path} has no CRS. Name it under `crs` in "
                    "data_manifest.yaml, such as EPSG:32616; it is never guessed."
                )
            to_crs = pyproj.Transformer.from_crs(
                "EPSG:4326", pyproj.CRS.from_user_input(crs), always_xy=True
            )
            west, middle, quarter, east = to_crs.transform([-180, 0, 90, 180], [0] * 4)[0]
            around = east - west
            # Conic and polar maps bring -180 and 180 together, but for rounding.
            wraps = np.isfinite(around) and around > 0.1 * abs(quarter - middle)
            nodata = raster.nodata if dataset.nodata is None else dataset.nodata
            # GDAL calls the fourth band of any 8-bit file alpha, if nobody says otherwise: where
            # a nodata value marks the holes, it is a band like the others (near infrared, say).
            alpha = [
                band
                for band, meaning in zip(dataset.indexes, dataset.colorinterp, strict=True)
                if meaning == ColorInterp.alpha and nodata is None
            ]
            yield _Source(
                dataset=dataset,
                nodata=nodata,
                bands=[band for band in dataset.indexes if band not in alpha],
                alpha=alpha[0] if alpha else None,
                to_crs=to_crs,
                period=float(around) if wraps else 0.0,
            )
    except RasterioError as error:
        raise RecordError(
            f"{raster.source}: {raster.path} cannot be read as a raster ({error}). "
            "Fetch it again, or convert it to GeoTIFF."
        ) from error


def _blocks(cells: UInt64[np.ndarray, "cells"]) -> Iterator[np.ndarray]:
    """Row numbers of cells that lie together."""
    if len(cells) == 0:
        return
    coarse = max(grid.resolution_of(cells) - BLOCK, 0)
    _, block = np.unique(grid.parents(cells, coarse), return_inverse=True)
    order = np.argsort(block, kind="stable")
    yield from np.split(order, np.cumsum(np.bincount(block))[:-1])


def _cut(
    source: _Source,
    cells: UInt64[np.ndarray, " block"],
    pixels: int,
    images: np.ndarray,
    rows: np.ndarray,
) -> None:
    """Fill `images[rows]` with the chips of `cells` from one windowed read."""
    side = side_m(grid.resolution_of(cells))
    ends = np.linspace(-side / 2, side / 2, NODES)
    east, north = np.meshgrid(ends, -ends)  # row by row from the north-west
    nodes = source.pixels_of(_unproject(grid.centers(cells), east.ravel(), north.ravel()))
    # Where a projection tears (its own edge), pixels would be taken from anywhere: leave them out.
    step = np.abs(np.diff(nodes.reshape(len(cells), NODES, NODES, 2), axis=2)).max(axis=(1, 2, 3))
    whole = np.isfinite(nodes).all(axis=(1, 2))
    if not whole.any():
        return
    whole &= step < 20 * np.median(step[whole]) + 1
    nodes, rows = nodes[whole], rows[whole]
    positions = _spread_nodes(pixels) @ nodes  # (chips, pixels², 2)
    scale = max(int(_chip_step(nodes, pixels) + 1e-6), 1)
    filled = images[rows].reshape(len(rows), len(source.bands), pixels**2)
    for shift in source.shifts():
        _fill(source, positions + np.array([shift, 0.0]), scale, filled)
    images[rows] = filled.reshape(len(rows), len(source.bands), pixels, pixels)


def _chip_step(nodes: np.ndarray, pixels: int) -> float:
    """Raster pixels per chip pixel, in the direction in which they are fewer."""
    lattice = nodes.reshape(len(nodes), NODES, NODES, 2)
    middle = NODES // 2
    along = lattice[:, middle, -1] - lattice[:, middle, 0]
    down = lattice[:, -1, middle] - lattice[:, 0, middle]
    across = np.abs(np.stack([along, down])).max(axis=0)  # columns and rows of the raster
    return float(np.median(across, axis=0).min() / pixels)


def _spread_nodes(pixels: int) -> Float64[np.ndarray, "pixels2 nodes2"]:
    """Weights that interpolate positions of pixel centres from the nodes (Lagrange, degree 4)."""
    nodes = np.linspace(-1, 1, NODES)
    centres = (2 * np.arange(pixels) + 1) / pixels - 1
    weights = np.ones((pixels, NODES))
    for i, node in enumerate(nodes):
        for other in np.delete(nodes, i):
            weights[:, i] *= (centres - other) / (node - other)
    both: np.ndarray = np.einsum("ra,cb->rcab", weights, weights).reshape(pixels**2, NODES**2)
    return both


def _unproject(
    centres: Float64[np.ndarray, "chips 2"],
    east: Float64[np.ndarray, " nodes"],
    north: Float64[np.ndarray, " nodes"],
) -> Float64[np.ndarray, "chips nodes 2"]:
    """Degrees lon, lat at metres from each centre; azimuthal equidistant (Snyder 1987, p. 197)."""
    lon, lat = np.radians(centres).T[:, :, None]
    distance = np.hypot(east, north) / EARTH_RADIUS_M
    bearing = np.arctan2(east, north)
    sine = np.sin(lat) * np.cos(distance) + np.cos(lat) * np.sin(distance) * np.cos(bearing)
    over = np.arctan2(
        np.sin(bearing) * np.sin(distance) * np.cos(lat),
        np.cos(distance) - np.sin(lat) * sine,
    )
    turned = (np.degrees(lon + over) + 180) % 360 - 180
    return np.stack([turned, np.degrees(np.arcsin(np.clip(sine, -1, 1)))], axis=-1)


def _hexagon(
    cells: UInt64[np.ndarray, "cells"], pixels: int
) -> Bool[np.ndarray, "cells pixels pixels"]:
    """Which pixels of its chip have their centre inside the cell."""
    side = side_m(grid.resolution_of(cells))
    centres = (np.arange(pixels) + 0.5) / pixels * side - side / 2
    x, y = centres.astype(np.float32), -centres.astype(np.float32)
    corner, index = grid.corners(cells)
    local = local_metres(grid.centers(cells)[index], corner).astype(np.float32)
    first = np.searchsorted(index, np.arange(len(cells)))
    count = np.bincount(index, minlength=len(cells))
    inside = np.ones((len(cells), pixels, pixels), bool)
    # A cell is convex: inside is left of each of its edges, corners being counter-clockwise. Cells
    # with fewer edges than others (pentagons) go around once more.
    for edge in range(int(count.max(initial=0))):
        a = local[first + edge % count]
        b = local[first + (edge + 1) % count]
        dx, dy = (b - a).T[:, :, None]
        # (x - ax) dy <= (y - ay) dx, as a sum of a part per column and a part per row.
        by_column = (x - a[:, :1]) * dy
        by_row = (y - a[:, 1:]) * dx
        inside &= by_column[:, None, :] <= by_row[:, :, None]
    return inside


def _share(
    valid: Bool[np.ndarray, "cells pixels pixels"], inside: Bool[np.ndarray, "cells pixels pixels"]
) -> Float32[np.ndarray, " cells"]:
    both = (valid & inside).sum(axis=(1, 2))
    return np.asarray(both / np.maximum(inside.sum(axis=(1, 2)), 1), np.float32)


def _fill(source: _Source, positions: np.ndarray, scale: int, images: np.ndarray) -> None:
    """Put bilinear values at raster `positions` where `images` (chips, bands, points) is NaN."""
    dataset = source.dataset
    size = np.array([dataset.width, dataset.height])
    # A very fine raster is thinned while it is read (from its overviews, if it has some), and
    # at most OVERSAMPLING² of its pixels are averaged.
    # Every third, fifth, ... pixel: an odd number has one in its middle.
    thin = -(-scale // OVERSAMPLING) // 2 * 2 + 1 if scale > OVERSAMPLING else 1
    step = scale // thin
    block = thin * step
    # Blocks are counted from the raster's corner: what is averaged does not depend on which
    # cells are read together.
    low = np.floor(positions.min(axis=(0, 1)) / block - 1) * block
    high = np.ceil(positions.max(axis=(0, 1)) / block + 1) * block
    left, top = np.clip(low, 0, size).astype(int)
    right, bottom = np.clip(high, 0, size).astype(int)
    if right <= left or bottom <= top:
        return
    shape = (-(-(bottom - top) // thin), -(-(right - left) // thin))
    window = Window(left, top, right - left, bottom - top)
    reading = {"window": window, "out_shape": (len(source.bands), *shape)}
    data = dataset.read(source.bands, out_dtype="float32", **reading)
    valid = np.isfinite(data)
    if source.nodata is not None:
        valid &= data != np.float32(source.nodata)
    else:
        valid &= dataset.read_masks(source.bands, **reading) > 0
    if source.alpha is not None:  # GDAL's masks know it only as the second or fourth band
        valid &= dataset.read(source.alpha, window=window, out_shape=shape) > 0
    # A pixel has data when every band has: what a featurizer sees is whole.
    averaged, weight = _averaged(data, valid.all(axis=0), step)
    shrink = step * np.array([(right - left) / shape[1], (bottom - top) / shape[0]])
    at = ((positions - [left, top]) / shrink - 0.5).astype(np.float32)
    values, usable = _bilinear(averaged, weight, at)
    np.copyto(images, values, where=np.isnan(images) & usable[:, None])


def _averaged(
    data: Float32[np.ndarray, "bands height width"],
    valid: Bool[np.ndarray, "height width"],
    step: int,
) -> tuple[Float32[np.ndarray, "rows columns bands"], Float32[np.ndarray, "rows columns"]]:
    """Sums of valid pixels over blocks of `step` pixels, divided by step², and their share.

    Their ratio is the mean over valid pixels.
    """
    layers = np.concatenate([np.where(valid, data, 0), valid[None]]).astype(np.float32)
    rest = [-length % step for length in valid.shape]
    layers = np.pad(layers, ((0, 0), (0, rest[0]), (0, rest[1])))
    rows, columns = (length // step for length in layers.shape[1:])
    blocks = layers.reshape(len(layers), rows, step, columns, step).mean(axis=(2, 4))
    return np.ascontiguousarray(blocks[:-1].transpose(1, 2, 0)), blocks[-1]


def _bilinear(
    weighted: Float32[np.ndarray, "height width bands"],
    weight: Float32[np.ndarray, "height width"],
    at: Float32[np.ndarray, "chips points 2"],
) -> tuple[Float32[np.ndarray, "chips bands points"], Bool[np.ndarray, "chips points"]]:
    """Means of the four pixels around each position, by distance and share of valid data.

    `weighted` holds values times `weight`. Valid where at least half of the weight is on data.
    """
    height, width, bands = weighted.shape
    # A rim without weight takes every position beyond the edge.
    values = np.zeros((height + 2, width + 2, bands + 1), np.float32)
    values[1:-1, 1:-1, :-1] = weighted
    values[1:-1, 1:-1, -1] = weight
    flat = values.reshape(-1, bands + 1)
    x = np.clip(at[..., 0] + 1, 0, np.float32(width + 1) - np.float32(1e-3))
    y = np.clip(at[..., 1] + 1, 0, np.float32(height + 1) - np.float32(1e-3))
    column, row = x.astype(np.int64), y.astype(np.int64)
    right = (x - column.astype(np.float32))[..., None]
    below = (y - row.astype(np.float32))[..., None]
    first = row * (width + 2) + column
    upper = flat[first] * (1 - right) + flat[first + 1] * right
    lower = flat[first + width + 2] * (1 - right) + flat[first + width + 3] * right
    total = upper * (1 - below) + lower * below
    share = total[..., -1]
    valid = share >= 0.5 - 1e-4
    means = total[..., :-1] / np.where(valid, share, 1)[..., None]
    return means.transpose(0, 2, 1), valid


def _near(
    rasters: Sequence[RasterRecords], cells: UInt64[np.ndarray, "cells"]
) -> UInt64[np.ndarray, "near"]:
    """Cells whose chip may touch one of the rasters."""
    half = 1000 * grid.edge_km(grid.resolution_of(cells))
    lonlat = _unproject(grid.centers(cells), np.array([0, half, 0]), np.array([0, 0, half]))
    near = np.zeros(len(cells), bool)
    for raster in rasters:
        with _opened(raster) as source:
            nodes = source.pixels_of(lonlat)
            size = np.array([source.dataset.width, source.dataset.height])
            shifts = source.shifts()
        # Twice the half side holds the chip's corners, and the bend of any map at this scale.
        reach = 2 * np.abs(nodes[:, 1:] - nodes[:, :1]).max(axis=(1, 2))[:, None] + 2
        for shift in shifts:
            centre = nodes[:, 0] + np.array([shift, 0.0])
            near |= ((centre > -reach) & (centre < size + reach)).all(axis=1)
    return cells[near]


def _check_bands(rasters: Sequence[RasterRecords]) -> None:
    """`RecordError` unless all rasters have the same number of bands, alpha not counted."""
    if not rasters:
        raise RecordError("imagery tokens need at least one raster.")
    counts = []
    for raster in rasters:
        with _opened(raster) as source:
            counts.append(len(source.bands))
    if len(set(counts)) > 1:
        listed = ", ".join(
            f"{raster.source} has {count}" for raster, count in zip(rasters, counts, strict=True)
        )
        raise RecordError(
            f"rasters of one modality need the same bands, but {listed}. "
            "Leave one out, or write files with the same bands."
        )
