"""The four kinds of raw records, as they leave a reader.

Coordinates are degrees WGS84 already, rows that the manifest filters out are gone, and `dropped`
says how many rows were left out and why: `{"no coordinates": 317, "outside filter": 15}`;
`first_dropped` has the first row numbers of each reason.

=======  ======================================  =====================================
kind     one row is                              becomes
=======  ======================================  =====================================
points   a place with a position                 POI tokens, targets at cells
zones    a polygon with counts and averages      demographic tokens, targets at zones
flows    a movement from an origin to an end     the mobility graph
rasters  a georeferenced image                   imagery tokens
=======  ======================================  =====================================
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import shapely
from jaxtyping import Float64

from mobclip.errors import RecordError

Ends = Literal["points", "zones", "cells"]


def first_rows(bad: np.ndarray) -> str:
    """First row numbers where `bad` is true, for an error message or a log line."""
    rows = np.flatnonzero(bad)
    more = ", ..." if len(rows) > 5 else ""
    return f"{len(rows):,} rows, first {', '.join(map(str, rows[:5]))}{more}"


def _check_lengths(source: str, rows: int, arrays: Mapping[str, np.ndarray | None]) -> None:
    for name, array in arrays.items():
        if array is not None and len(array) != rows:
            raise RecordError(
                f"{source}: {name} has {len(array)} rows where {rows} are expected: "
                "every array of a record table has one entry per row."
            )


def _check_coordinates(source: str, what: str, lon: np.ndarray, lat: np.ndarray) -> None:
    bad = ~(np.isfinite(lon) & np.isfinite(lat)) | (np.abs(lat) > 90) | (np.abs(lon) > 180)
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise RecordError(
            f"{source}: {what} is not a position in degrees lon, lat ({first_rows(bad)}; "
            f"lon {lon[row]}, lat {lat[row]}). Drop these rows or reproject them."
        )


def _check_weights(source: str, weight: np.ndarray) -> None:
    bad = ~(np.isfinite(weight) & (weight >= 0))
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise RecordError(
            f"{source}: weights must be finite and not negative ({first_rows(bad)}; "
            f"{weight[row]}). Leave such rows out with `where` in the manifest."
        )


@dataclass(frozen=True, kw_only=True)
class PointRecords:
    """Places with a position."""

    source: str
    lon: Float64[np.ndarray, " n"]  # degrees WGS84, -180 to 180
    lat: Float64[np.ndarray, " n"]  # degrees WGS84
    text: np.ndarray | None = None  # (n,) object str, "" where the row has none
    category: np.ndarray | None = None  # (n,) object str, "" where the row has none
    weight: Float64[np.ndarray, " n"]  # >= 0; 1 where the source has no weights
    values: Mapping[str, np.ndarray] = field(default_factory=dict)  # column -> (n,), NaN = unknown
    dropped: Mapping[str, int] = field(default_factory=dict)
    first_dropped: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        arrays = {"lat": self.lat, "text": self.text, "category": self.category}
        _check_lengths(self.source, len(self.lon), arrays)
        _check_lengths(self.source, len(self.lon), {"weight": self.weight, **self.values})
        _check_coordinates(self.source, "a point", self.lon, self.lat)
        _check_weights(self.source, self.weight)

    def __len__(self) -> int:
        return len(self.lon)


@dataclass(frozen=True, kw_only=True)
class ZoneRecords:
    """Polygons with numbers. `values` is keyed by the column name of the file, or `derive`."""

    source: str
    ids: np.ndarray  # (n,) object str, unique
    geometry: np.ndarray  # (n,) object shapely Polygon or MultiPolygon, valid, degrees lon, lat
    values: Mapping[str, np.ndarray] = field(default_factory=dict)  # column -> (n,), NaN = unknown
    dropped: Mapping[str, int] = field(default_factory=dict)
    first_dropped: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_lengths(self.source, len(self.ids), {"geometry": self.geometry, **self.values})
        unique, counts = np.unique(self.ids.astype(str), return_counts=True)
        if len(unique) < len(self.ids):
            raise RecordError(
                f"{self.source}: zone id {str(unique[counts > 1][0])!r} stands in "
                f"{counts.max()} rows ({(counts > 1).sum()} ids repeat). Ids must be unique: "
                "choose another id column, or set `repeated_ids: merge` for zones without values."
            )
        bad = shapely.is_missing(self.geometry) | shapely.is_empty(self.geometry)
        if bad.any():
            raise RecordError(f"{self.source}: zones without a polygon ({first_rows(bad)}).")

    def __len__(self) -> int:
        return len(self.ids)

    def outline(self) -> shapely.Geometry:
        """Union of all zones."""
        return shapely.union_all(self.geometry)


@dataclass(frozen=True, kw_only=True)
class FlowRecords:
    """Movements between two ends, which are points, zones or cells: both of one kind."""

    source: str
    origin: np.ndarray  # (n, 2) float64 lon, lat | (n,) object zone id | (n,) uint64 cell
    destination: np.ndarray  # as `origin`
    weight: Float64[np.ndarray, " n"]  # >= 0; 1 where the source has no weights
    zones: str | None = None  # the source of the zones, where the ends are zones
    dropped: Mapping[str, int] = field(default_factory=dict)
    first_dropped: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        arrays = {"destination": self.destination, "weight": self.weight}
        _check_lengths(self.source, len(self.origin), arrays)
        _check_weights(self.source, self.weight)
        if self.origin.dtype != self.destination.dtype or (
            self.origin.ndim != self.destination.ndim
        ):
            raise RecordError(
                f"{self.source}: origins are {self.origin.dtype} and destinations "
                f"{self.destination.dtype}: both ends must be of one kind."
            )
        if self.ends == "points":
            for what, end in (("an origin", self.origin), ("a destination", self.destination)):
                _check_coordinates(self.source, what, end[:, 0], end[:, 1])
        if (self.ends == "zones") != (self.zones is not None):
            raise RecordError(
                f"{self.source}: flows between zones, and only they, name the source of the zones."
            )

    def __len__(self) -> int:
        return len(self.origin)

    @property
    def ends(self) -> Ends:
        """What the two ends are."""
        if self.origin.ndim == 2:
            return "points"
        return "cells" if self.origin.dtype == np.uint64 else "zones"


@dataclass(frozen=True, kw_only=True)
class RasterRecords:
    """A georeferenced image, read window by window later on."""

    source: str
    path: Path
    crs: str  # as rasterio and pyproj take it; the datum of the file, not WGS84
    bands: int
    nodata: float | None = None  # pixel value that stands for no data
    dropped: Mapping[str, int] = field(default_factory=dict)


Records = PointRecords | ZoneRecords | FlowRecords | RasterRecords
