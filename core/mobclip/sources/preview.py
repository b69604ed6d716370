"""What is in a file, before anybody has said what its columns mean: for files that people bring.

Only the first rows are read. A file must be what its suffix says: the first bytes decide, since a
library that opens whatever it recognises would open too much.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pyogrio
import pyproj
import shapely

from mobclip import grid
from mobclip.errors import RecordError
from mobclip.manifest import SourceSpec
from mobclip.sources.tables import open_table, readable

FORMATS = {".csv": "CSV", ".parquet": "Parquet", ".geojson": "GeoJSON"}
BYTES = 200_000_000
ROWS = 20_000_000
COLUMNS = 2_000
HEADER = 1_000_000  # bytes of the first line of a CSV file
SAMPLE = 2_000  # rows
STRAYS = 20  # different words in a column of numbers that may stand for “not known”
HEAD = 65_536  # bytes that tell what a file is

Kind = str  # number, whole number, yes or no, date, H3 cell, text


@dataclass(frozen=True, kw_only=True)
class ColumnPreview:
    """One column in the first rows."""

    name: str
    kind: Kind
    examples: tuple[str, ...]
    missing: float  # share of the first rows
    unique: bool  # no value stands twice in the first rows


@dataclass(frozen=True, kw_only=True)
class Preview:
    """A file at first sight."""

    path: Path
    format: str
    rows: int
    columns: tuple[ColumnPreview, ...]
    crs: str = ""  # what the file states; empty: nothing
    geometry: str = ""  # points, polygons, mixed; empty: none

    def of_kind(self, *kinds: Kind) -> list[str]:
        """Names of the columns of some kinds."""
        return [one.name for one in self.columns if one.kind in kinds]


def preview(path: Path) -> Preview:
    """Look into a file; `RecordError` if it cannot be used at all, with the reason."""
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise RecordError(
            f"{path.name}: this format is not taken. Save it as {', '.join(FORMATS)}."
        )
    size = path.stat().st_size
    if size == 0:
        raise RecordError(f"{path.name} is empty: it has 0 bytes.")
    if size > BYTES:
        raise RecordError(
            f"{path.name} has {size / 1e6:,.0f} MB; {BYTES / 1e6:,.0f} are taken. Leave out rows "
            "or columns, or save it as Parquet, which is smaller."
        )
    with path.open("rb") as file:
        head = file.read(HEAD)
        file.seek(max(size - HEAD, 0))
        tail = file.read()
    with readable(path.name, path):
        if suffix == ".csv":
            found = _csv(path, head)
        elif suffix == ".parquet":
            found = _parquet(path, head, tail)
        else:
            found = _geojson(path, head, tail)
    if found.rows == 0:
        raise RecordError(f"{path.name} has no rows below its header.")
    if found.rows > ROWS:
        raise RecordError(f"{path.name} has {found.rows:,} rows; at most {ROWS:,} are taken.")
    return found


def _csv(path: Path, head: bytes) -> Preview:
    if b"\0" in head:
        hint = " It looks like an Excel or zip file: save it as CSV." if head[:2] == b"PK" else ""
        raise RecordError(f"{path.name} is no CSV file: it does not hold text.{hint}")
    with path.open("rb") as file:
        first = file.readline(HEADER + 1)
        if len(first) > HEADER:
            raise RecordError(
                f"{path.name}: its first line is longer than {HEADER / 1e6:.0f} MB, so it is no "
                "header with names of columns. Is a line break missing?"
            )
        rows = sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(1 << 20), b""))
        file.seek(-1, 2)
        rows += file.read(1) != b"\n" and b"\n" in first
    try:
        header = first.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RecordError(
            f"{path.name} is not written in UTF-8 (byte {error.start + 1} of its header): save it "
            "again with the encoding UTF-8."
        ) from error
    for other, name in ((";", "semicolons"), ("\t", "tabs")):
        if header.count(other) > header.count(","):
            raise RecordError(
                f"{path.name}: its columns are separated by {name}. Save it with commas."
            )
    _check_columns(path, header.count(",") + 1)
    frame = pd.read_csv(path, nrows=SAMPLE, encoding="utf-8-sig", low_memory=False)
    return Preview(path=path, format="CSV", rows=int(rows), columns=_columns(frame))


def _parquet(path: Path, head: bytes, tail: bytes) -> Preview:
    if head[:4] != b"PAR1" or tail[-4:] != b"PAR1":
        raise RecordError(
            f"{path.name} is no whole Parquet file: it does not begin and end with “PAR1”. Files "
            "of other programs, pickles among them, are not opened."
        )
    with pq.ParquetFile(path) as file:
        schema, rows = file.schema_arrow, file.metadata.num_rows
        _check_columns(path, len(schema.names))
        geo = json.loads((schema.metadata or {}).get(b"geo", b"{}"))
        primary = geo.get("primary_column")
        plain = [
            field.name
            for field in schema
            if field.name != primary and not pa.types.is_nested(field.type)
        ]
        batch = next(file.iter_batches(SAMPLE, columns=plain), None) if rows else None
        frame = (
            pd.DataFrame(columns=plain) if batch is None else batch.to_pandas(ignore_metadata=True)
        )
        shapes = None
        if primary is not None and rows:
            shapes = next(file.iter_batches(SAMPLE, columns=[primary])).column(0).to_pylist()
    crs, geometry = "", ""
    if primary is not None:
        # Reads no row: the metadata of geopandas is what the reader will go by.
        told = geo["columns"][primary].get("crs", "OGC:CRS84")
        crs = _crs_name(told)
        geometry = _geometry(shapely.from_wkb(shapes or []))
    return Preview(
        path=path,
        format="GeoParquet" if primary else "Parquet",
        rows=rows,
        columns=_columns(frame),
        crs=crs,
        geometry=geometry,
    )


def _geojson(path: Path, head: bytes, tail: bytes) -> Preview:
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if not text.startswith(b"{") or b"FeatureCollection" not in head + tail:
        raise RecordError(
            f"{path.name} is no GeoJSON FeatureCollection: it must begin with “{{” and say "
            '"type": "FeatureCollection".'
        )
    told = pyogrio.read_info(str(path))
    if told.get("driver", "GeoJSON") != "GeoJSON":
        raise RecordError(f"{path.name} is read as {told['driver']}, not as GeoJSON.")
    _check_columns(path, len(told["fields"]))
    frame = gpd.read_file(path, engine="pyogrio", max_features=SAMPLE)
    if not isinstance(frame, gpd.GeoDataFrame):
        raise RecordError(f"{path.name} has no geometry.")
    return Preview(
        path=path,
        format="GeoJSON",
        rows=int(told["features"]),
        columns=_columns(pd.DataFrame(frame.drop(columns=frame.geometry.name))),
        crs=_crs_name(frame.crs) if frame.crs is not None else "",
        geometry=_geometry(frame.geometry.to_numpy()),
    )


def _crs_name(crs: object) -> str:
    if crs is None:
        return ""
    known = pyproj.CRS.from_user_input(crs)
    code = known.to_epsg(min_confidence=60)
    return f"EPSG:{code}" if code else known.name


def _geometry(shapes: np.ndarray) -> str:
    kinds = {int(one) for one in shapely.get_type_id(shapes)} - {-1}
    if not kinds:
        return ""
    return "points" if kinds <= {0, 4} else "polygons" if kinds <= {3, 6} else "mixed"


def _check_columns(path: Path, count: int) -> None:
    if count > COLUMNS:
        raise RecordError(
            f"{path.name} has {count:,} columns; at most {COLUMNS:,} are taken: leave some out."
        )


def _columns(frame: pd.DataFrame) -> tuple[ColumnPreview, ...]:
    return tuple(
        ColumnPreview(
            name=str(name),
            kind=_kind(frame[name]),
            examples=tuple(_shown(value) for value in frame[name].dropna().unique()[:3]),
            missing=float(frame[name].isna().mean()) if len(frame) else 0.0,
            unique=bool(frame[name].is_unique),
        )
        for name in frame.columns
    )


def _shown(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)[:40]


def _kind(series: pd.Series) -> Kind:
    known = series.dropna()
    if len(known) == 0:
        return "text"
    if pd.api.types.is_bool_dtype(known.dtype):
        return "yes or no"
    if pd.api.types.is_datetime64_any_dtype(known.dtype):
        return "date"
    if pd.api.types.is_numeric_dtype(known.dtype):
        numbers = known.to_numpy(np.float64)
        whole = bool((numbers == np.floor(numbers)).all())
        large = pd.api.types.is_integer_dtype(known.dtype) and numbers.min() > 2**58
        if large and grid.is_cell(known.to_numpy(np.uint64)).all():
            return "H3 cell"
        return "whole number" if whole else "number"
    texts = known.astype(str)
    if texts.str.fullmatch(r"[0-9a-fA-F]{15,16}").all():
        cells = np.array([int(one, 16) for one in texts.head(50)], np.uint64)
        if grid.is_cell(cells).all():
            return "H3 cell"
    # Numbers with a few words for “not known” among them. What is text without need is an id.
    share = pd.to_numeric(texts, errors="coerce").notna().mean()
    return "number" if 0.5 < share < 1 and not texts.map(_leading_zero).any() else "text"


def _leading_zero(text: str) -> bool:
    return bool(re.fullmatch(r"0\d+", text))


@dataclass(frozen=True, kw_only=True)
class Strays:
    """What stands in a column of numbers and is none, or below zero."""

    words: tuple[str, ...]  # different ones
    rows: int  # that hold such words
    negative: tuple[float, ...]  # different ones, six at most


def strays(spec: SourceSpec, path: Path, columns: Sequence[str]) -> dict[str, Strays]:
    """Column of numbers -> what in it is none; columns without any are left out."""
    table = open_table(spec, path, texts=(), geometry=False)
    found = {}
    for column in columns:
        series = table.frame[column]
        numbers = pd.to_numeric(series, errors="coerce")
        bad = numbers.isna() & series.notna()
        words = tuple(str(one) for one in series[bad].unique()[: STRAYS + 1])
        below = numbers[numbers < 0].unique()[:6]
        if words or len(below):
            found[column] = Strays(
                words=words,
                rows=int(bad.sum()),
                negative=tuple(float(one) for one in below),
            )
    return found
