"""An image that somebody brought along: a PNG or GeoTIFF, read within bounds."""

import warnings

import numpy as np
import rasterio
from jaxtyping import Float32
from rasterio.enums import ColorInterp
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import MemoryFile

from mobclip.errors import RecordError

LARGEST = 4_000_000  # bytes
SIDE = 1024  # pixels
BANDS = 16
# How a file begins -> who reads it. No other: some formats of GDAL name further files, or
# addresses, to be opened.
DRIVERS = {b"\x89PNG": "PNG", b"II*\0": "GTiff", b"MM\0*": "GTiff"}


def read_chip(data: bytes, name: str = "the image") -> Float32[np.ndarray, "bands height width"]:
    """Pixels of a PNG or GeoTIFF as they are; without data (nodata, mask, alpha): NaN.

    Raises
    ------
    RecordError : no such image, or one that is too large
    """
    allowed = f"A PNG or GeoTIFF of at most {LARGEST // 1_000_000} MB and {SIDE} × {SIDE} pixels is"
    if len(data) > LARGEST:
        raise RecordError(
            f"{name} has {len(data) / 1e6:.1f} MB. {allowed} read: cut out a smaller square."
        )
    driver = DRIVERS.get(data[:4])
    if driver is None:
        raise RecordError(f"{name} cannot be read as an image. {allowed} read; others are not.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with (
                rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR"),
                MemoryFile(data) as memory,
                rasterio.open(memory.name, driver=driver) as source,
            ):
                if max(source.width, source.height) > SIDE or source.count > BANDS:
                    raise RecordError(
                        f"{name} has {source.width} × {source.height} pixels and {source.count} "
                        f"bands. {allowed} read, with {BANDS} bands or fewer: cut out a smaller "
                        "square."
                    )
                return _read(source)
    except (RasterioError, ValueError) as error:
        raise RecordError(
            f"{name} cannot be read as an image: it is damaged ({error}). {allowed} read."
        ) from error


def _read(source: rasterio.DatasetReader) -> Float32[np.ndarray, "bands height width"]:
    alpha = [
        band
        for band, meaning in zip(source.indexes, source.colorinterp, strict=True)
        if meaning == ColorInterp.alpha and source.nodata is None
    ]
    bands = [band for band in source.indexes if band not in alpha]
    pixels = source.read(bands, out_dtype="float32")
    valid = np.isfinite(pixels).all(axis=0) & (source.read_masks(bands) > 0).all(axis=0)
    if alpha:
        valid &= source.read(alpha[0]) > 0
    return np.where(valid, pixels, np.float32(np.nan))
