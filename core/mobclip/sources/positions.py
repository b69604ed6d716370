"""Positions: CRS, reprojection to degrees WGS84, and rows whose position cannot be."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import pyproj
import shapely

from mobclip import grid
from mobclip.errors import RecordError
from mobclip.manifest import PlaceSpec, SourceSpec
from mobclip.records import FlowRecords, PointRecords, RasterRecords, Records, ZoneRecords
from mobclip.sources.rows import Dropped, number

WGS84 = pyproj.CRS.from_epsg(4326)


def declared_crs(spec: SourceSpec) -> pyproj.CRS | None:
    """The CRS that the manifest gives, if any."""
    if spec.crs is None:
        return None
    try:
        return pyproj.CRS.from_user_input(spec.crs)
    except pyproj.exceptions.CRSError as error:
        raise RecordError(
            f"{spec.name}: crs {spec.crs!r} in the manifest is not known to PROJ ({error}). "
            "Write it as EPSG:4326."
        ) from error


def agreed_crs(spec: SourceSpec, found: pyproj.CRS | None) -> pyproj.CRS:
    """The CRS of the file; `RecordError` if there is none, or the manifest says another."""
    declared = declared_crs(spec)
    if declared is None and found is not None:
        return found
    if declared is None:
        raise RecordError(
            f"{spec.name}: {spec.path} states no CRS and the manifest gives none. Find out which "
            "it is and write it as `crs: EPSG:...`; never assume WGS84."
        )
    if found is not None and not _same(found, declared):
        raise RecordError(
            f"{spec.name}: {spec.path} states the CRS {_name(found)}, but the manifest gives "
            f"{_name(declared)}. Remove `crs` from the manifest to follow the file."
        )
    return declared


def _same(one: pyproj.CRS, other: pyproj.CRS) -> bool:
    if one.equals(other, ignore_axis_order=True):
        return True
    # The same CRS as WKT of a shapefile and as a code differ in wording.
    codes = {one.to_epsg(min_confidence=60), other.to_epsg(min_confidence=60)}
    return len(codes) == 1 and None not in codes


def _name(crs: pyproj.CRS) -> str:
    code = crs.to_epsg(min_confidence=60)
    return f"EPSG:{code} ({crs.name})" if code else crs.name


def to_degrees(x: np.ndarray, y: np.ndarray, crs: pyproj.CRS) -> tuple[np.ndarray, np.ndarray]:
    """Degrees lon, lat WGS84; infinite where there is no such place."""
    if _same(crs, WGS84):
        return x, y
    lon, lat = pyproj.Transformer.from_crs(crs, WGS84, always_xy=True).transform(x, y)
    return np.asarray(lon), np.asarray(lat)


def shapes_to_degrees(geometry: np.ndarray, crs: pyproj.CRS) -> np.ndarray:
    """Geometry in degrees lon, lat WGS84."""
    geometry = shapely.force_2d(geometry)
    if _same(crs, WGS84):
        return np.asarray(geometry)
    transformer = pyproj.Transformer.from_crs(crs, WGS84, always_xy=True)
    return np.asarray(
        shapely.transform(
            geometry, lambda xy: np.column_stack(transformer.transform(xy[:, 0], xy[:, 1]))
        )
    )


def position_columns(
    frame: pd.DataFrame, spec: SourceSpec, x: str, y: str
) -> tuple[np.ndarray, np.ndarray]:
    """Two columns of a table as degrees; NaN where there is none."""
    crs = declared_crs(spec) or WGS84
    return to_degrees(number(frame, x, spec), number(frame, y, spec), crs)


def usable(
    lon: np.ndarray, lat: np.ndarray, dropped: Dropped, what: str = "coordinates"
) -> np.ndarray:
    """Mask of the rows whose position can be used; the rest is counted."""
    known = dropped.keep(~(np.isnan(lon) | np.isnan(lat)), f"no {what}")
    lon, lat = lon[known], lat[known]
    inside = (np.abs(lat) <= 90) & (lon >= -180) & (lon <= 360)
    hint = " Is this a projected CRS? Then declare it as `crs: EPSG:...`."
    if ((np.abs(lon) <= 90) & (np.abs(lat) <= 180))[~inside].all():
        hint = " Longitude and latitude look swapped."
    good = known.copy()
    good[known] = dropped.keep(inside, f"{what} out of range", hint=hint)
    return good


def wrapped(lon: np.ndarray) -> np.ndarray:
    """Longitude in -180 to 180, where files count to 360."""
    return np.asarray(np.where(lon > 180, lon - 360, lon), np.float64)


def check_in_area(
    records: Records, spec: SourceSpec, place: PlaceSpec, zones: Mapping[str, ZoneRecords]
) -> None:
    """`RecordError` if nothing of a source lies near the area of its place: a swap, a wrong CRS."""
    bounds = _area_bounds(place, zones)
    boxes = _boxes(records)
    if bounds is None or boxes is None:
        return
    west, south, east, north = bounds
    margin = 0.1 + 2 * max(east - west, north - south)
    box = np.array([west - margin, south - margin, east + margin, north + margin])
    if _meets(boxes, box).any():
        return
    swapped = _meets(boxes[:, [1, 0, 3, 2]], box).mean() > 0.5
    hint = (
        "Longitude and latitude are swapped: exchange the two columns in the manifest."
        if swapped
        else "Check the columns and `crs` in the manifest, and the area of the place."
    )
    lon, lat = boxes[0, :2]
    raise RecordError(
        f"{spec.name}: nothing in {spec.path} lies near {place.title} "
        f"(lon {west:.3f} to {east:.3f}, lat {south:.3f} to {north:.3f}); "
        f"the first row is at lon {lon:.3f}, lat {lat:.3f}. {hint}"
    )


def _meets(boxes: np.ndarray, box: np.ndarray) -> np.ndarray:
    return np.asarray(
        (boxes[:, 0] <= box[2])
        & (boxes[:, 2] >= box[0])
        & (boxes[:, 1] <= box[3])
        & (boxes[:, 3] >= box[1])
    )


def _area_bounds(place: PlaceSpec, zones: Mapping[str, ZoneRecords]) -> np.ndarray | None:
    if place.area.bbox is not None:
        return np.asarray(place.area.bbox, float)
    if place.area.source is not None and place.area.source in zones:
        return np.asarray(shapely.total_bounds(zones[place.area.source].geometry))
    return None


def _boxes(records: Records) -> np.ndarray | None:
    """(rows, 4) bounding boxes in degrees."""
    if isinstance(records, ZoneRecords):
        return np.asarray(shapely.bounds(records.geometry))
    if isinstance(records, RasterRecords):
        return None
    if isinstance(records, PointRecords):
        return np.column_stack([records.lon, records.lat, records.lon, records.lat])
    if isinstance(records, FlowRecords) and records.ends == "points":
        return np.hstack([records.origin, records.origin])
    if isinstance(records, FlowRecords) and records.ends == "cells":
        centers = grid.centers(records.origin)
        return np.hstack([centers, centers])
    return None
