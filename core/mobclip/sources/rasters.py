"""Rasters: a GeoTIFF is checked here and read later, window by window."""

import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyproj
import rasterio
from rasterio.errors import NotGeoreferencedWarning
from rasterio.windows import Window

from mobclip.errors import RecordError
from mobclip.manifest import SourceSpec
from mobclip.records import RasterRecords, ZoneRecords
from mobclip.sources.positions import agreed_crs
from mobclip.sources.tables import readable


def read_raster(spec: SourceSpec, path: Path, _zones: Mapping[str, ZoneRecords]) -> RasterRecords:
    """Header of one GeoTIFF; `RecordError` without a CRS or a position, or if it is truncated."""
    with warnings.catch_warnings():
        # Said as a RecordError below, with what to do.
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with readable(spec.name, path), rasterio.open(path) as image:
            crs = None if image.crs is None else pyproj.CRS.from_user_input(image.crs)
            crs = agreed_crs(spec, crs)
            if image.transform.is_identity:
                raise RecordError(
                    f"{spec.name}: {path} has no georeference (no transform from pixels to "
                    "coordinates). Use a GeoTIFF that has one; gdal_translate -a_ullr sets it."
                )
            # The end of the file is what a broken download lacks.
            image.read(image.count, window=Window(image.width - 1, image.height - 1, 1, 1))
            nodata = image.nodata
            bands = image.count
    if spec.nodata is not None and nodata is not None and not _equal(nodata, spec.nodata):
        raise RecordError(
            f"{spec.name}: {path} states nodata {nodata}, but the manifest gives {spec.nodata}. "
            "Remove `nodata` from the manifest to follow the file."
        )
    return RasterRecords(
        source=spec.name,
        path=path,
        crs=crs.to_string(),
        bands=bands,
        nodata=spec.nodata if nodata is None else float(nodata),
    )


def _equal(one: float, other: float) -> bool:
    return bool(np.isclose(one, other, equal_nan=True))
