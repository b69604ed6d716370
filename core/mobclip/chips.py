"""Chips: small pictures of the imagery that tokens were read from, for people to look at.

Files of a folder, written piece by piece and whole or not at all:

============  =========================================================================
`cells.npy`   (cells,) uint64: those with imagery tokens, sorted
`pixels.npy`  (cells, pixels, pixels, 3) uint8: a memory map, one picture is read at once
`look.json`   how bands became colours: `Look`
============  =========================================================================

Tokens are never made from these: they are made from the image itself.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32, Float64, UInt8, UInt64

from mobclip import grid
from mobclip.errors import ArtefactError
from mobclip.storage import ArrayWriter, atomic_path, read_json, write_json

EMPTY = 0  # red, green and blue of a pixel without data; one with data has 1 to 255
TAILS = (2, 98)  # percentiles that become the darkest and the lightest shade
EARTH_RADIUS_M = 6_371_007.2  # the sphere on which H3 lays out its cells

Append = Callable[[np.ndarray, np.ndarray], None]  # cells and their chips as cut from the image


def side_m(resolution: int) -> float:
    """Width of a chip on the ground, metres: the circumscribed circle of a mean cell."""
    return 2000 * grid.edge_km(resolution)


def local_metres(
    centres: Float64[np.ndarray, "points 2"], lonlat: Float64[np.ndarray, "points 2"]
) -> Float64[np.ndarray, "points 2"]:
    """Metres east and north of each centre, azimuthal equidistant (Snyder 1987, p. 195)."""
    lon0, lat0 = np.radians(centres).T
    lon, lat = np.radians(lonlat).T
    cosine = np.sin(lat0) * np.sin(lat) + np.cos(lat0) * np.cos(lat) * np.cos(lon - lon0)
    east = np.cos(lat) * np.sin(lon - lon0)
    north = np.cos(lat0) * np.sin(lat) - np.sin(lat0) * np.cos(lat) * np.cos(lon - lon0)
    sine = np.hypot(east, north)
    angle = np.arctan2(sine, cosine)
    stretch = np.divide(angle, sine, out=np.ones_like(angle), where=sine > 0)
    local: np.ndarray = EARTH_RADIUS_M * stretch[:, None] * np.column_stack([east, north])
    return local


def outline(cell: int) -> Float64[np.ndarray, "corners 2"]:
    """Corners of a cell on its chip: from the left and from the top, 0 to 1 across the chip.

    A cell is smaller or larger than a mean one, so its corners can lie beyond the chip.
    """
    cells = np.array([cell], np.uint64)
    corner, index = grid.corners(cells)
    metres = local_metres(grid.centers(cells)[index], corner)
    return 0.5 + metres * [1, -1] / side_m(grid.resolution_of(cells))


@dataclass(frozen=True, kw_only=True)
class Look:
    """How the bands of an image become colours; the same for all cells of a place."""

    bands: tuple[int, ...]  # numbers from 1 of those shown as red, green, blue; one alone is grey
    named: bool  # whether the file says that they are red, green and blue
    low: float  # value that becomes the darkest shade, in every band: hues stay
    high: float  # and the lightest

    @classmethod
    def of(
        cls,
        sample: Float32[np.ndarray, "chips bands pixels pixels"],
        bands: tuple[int, ...],
        *,
        named: bool,
    ) -> "Look":
        """One scale for all bands: 2nd to 98th percentile of the valid pixels of some chips."""
        values = sample[:, np.array(bands) - 1]
        low, high = np.percentile(values[np.isfinite(values)], TAILS)
        return cls(bands=bands, named=named, low=float(low), high=float(high))

    def drawn(
        self, images: Float32[np.ndarray, "chips bands pixels pixels"]
    ) -> UInt8[np.ndarray, "chips pixels pixels 3"]:
        """Pictures of images in the units of the file; NaN: `EMPTY`."""
        picked = images[:, np.array(self.bands) - 1]
        share = (picked - self.low) / ((self.high - self.low) or 1)
        shades = 1 + np.rint(254 * np.clip(np.nan_to_num(share), 0, 1))
        seen = np.isfinite(picked).all(axis=1, keepdims=True)
        coloured = np.where(seen, shades, EMPTY).astype(np.uint8).transpose(0, 2, 3, 1)
        return coloured if len(self.bands) == 3 else np.repeat(coloured, 3, axis=3)


@dataclass(frozen=True, kw_only=True)
class Chips:
    """Pictures keyed by cell, north up, `side_m` wide, the middle of the cell in the middle."""

    cells: UInt64[np.ndarray, "cells"]  # sorted, unique, one resolution
    pixels: UInt8[np.ndarray, "pictures pixels pixels 3"]  # of each cell; `EMPTY`: no data
    look: Look

    def __post_init__(self) -> None:
        grid.check_cells(self.cells)
        if len(self.pixels) != len(self.cells):
            raise ArtefactError(
                f"{len(self.pixels)} pictures for {len(self.cells)} cells do not fit together."
            )

    @classmethod
    def load(cls, folder: Path | str) -> "Chips":
        """Open what `chip_writer` wrote, without reading any picture."""
        folder = Path(folder)
        try:
            look = read_json(folder / "look.json")
            return cls(
                cells=np.load(folder / "cells.npy", allow_pickle=False),
                pixels=np.load(folder / "pixels.npy", mmap_mode="r", allow_pickle=False),
                look=Look(**{**look, "bands": tuple(look["bands"])}),
            )
        except (ArtefactError, OSError, EOFError, ValueError, TypeError, KeyError) as error:
            raise ArtefactError(
                f"The pictures in {folder} are damaged ({error}). Run `mobclip tokenize` again."
            ) from error

    def of(
        self, cells: UInt64[np.ndarray, " n"]
    ) -> tuple[UInt8[np.ndarray, "n pixels pixels 3"], Bool[np.ndarray, " n"]]:
        """Pictures in the order of `cells` (`EMPTY` where there is none), and which there are."""
        rows, known = grid.locate(self.cells, cells)
        found = np.full((len(cells), *self.pixels.shape[1:]), EMPTY, np.uint8)
        found[known] = self.pixels[rows[known]]
        return found, known


@contextmanager
def chip_writer(folder: Path, look: Look, pixels: int) -> Iterator[Append]:
    """Make a folder of chips from pieces, in the order of their cells; it is there at the end."""
    with atomic_path(folder) as temporary:
        temporary.mkdir()
        write_json(temporary / "look.json", asdict(look))
        with (
            ArrayWriter(temporary / "cells.npy", np.uint64) as keys,
            ArrayWriter(temporary / "pixels.npy", np.uint8, (pixels, pixels, 3)) as pictures,
        ):

            def append(cells: np.ndarray, images: np.ndarray) -> None:
                keys.append(cells)
                pictures.append(look.drawn(images))

            yield append
