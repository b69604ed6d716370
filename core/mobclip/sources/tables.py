"""Open a table file of any supported format: columns, geometry, CRS. One opener per suffix."""

import difflib
import json
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pyogrio
import pyproj

from mobclip.errors import RecordError
from mobclip.manifest import SourceSpec


@dataclass(frozen=True, kw_only=True)
class Table:
    """A file in memory: the columns that were asked for and, if asked for, the geometry."""

    frame: pd.DataFrame
    geometry: np.ndarray | None  # (rows,) object shapely, in `crs`
    crs: pyproj.CRS | None  # what the file itself says


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is wanted from a file."""

    source: str
    columns: tuple[str, ...]
    texts: frozenset[str]  # columns to be read as text: ids keep their leading zeros
    geometry: bool
    member: str | None

    def check(self, path: Path, present: Sequence[str]) -> None:
        """`RecordError` for a column that the file has not got."""
        for column in self.columns:
            if column not in present:
                close = difflib.get_close_matches(column, [str(name) for name in present], n=1)
                hint = f" Did you mean {close[0]!r}?" if close else ""
                raise RecordError(
                    f"{self.source}: {path} has no column {column!r}.{hint} Its columns: "
                    f"{', '.join(map(str, present))}. Correct the name in the manifest."
                )


def open_table(spec: SourceSpec, path: Path, *, texts: Sequence[str], geometry: bool) -> Table:
    """Columns that `spec` names, and the geometry if wanted; `RecordError` if that fails."""
    request = Request(
        source=spec.name,
        columns=spec.file_columns,
        texts=frozenset(texts),
        geometry=geometry,
        member=spec.member,
    )
    if not path.is_file():
        raise RecordError(f"{spec.name}: there is no file {path}. Run `mobclip fetch`.")
    with readable(spec.name, path):
        table = _opener(path)(path, request)
    if len(table.frame) == 0:
        raise RecordError(f"{spec.name}: {path} has no rows.")
    return table


@contextmanager
def readable(source: str, path: Path) -> Iterator[None]:
    """Turns what the libraries raise on damaged files into one error with a next step."""
    try:
        yield
    except (
        pa.ArrowException,
        OSError,
        EOFError,
        zipfile.BadZipFile,
        zlib.error,
        pd.errors.ParserError,
        pd.errors.EmptyDataError,
        UnicodeDecodeError,
        pyogrio.errors.DataSourceError,
        pyogrio.errors.DataLayerError,
    ) as error:
        raise RecordError(
            f"{source}: {path} cannot be read ({type(error).__name__}: {error}). It may be "
            "truncated or not of the format that its suffix says: delete it and run "
            "`mobclip fetch` again, or correct `path` in the manifest."
        ) from error


def _opener(path: Path) -> Callable[[Path, Request], Table]:
    for suffix, opener in READERS.items():
        if path.name.lower().endswith(suffix):
            return opener
    raise RecordError(f"{path}: no reader for this suffix. There are {', '.join(READERS)}.")


def _open_csv(path: Path, request: Request) -> Table:
    return _csv(path, request, lambda: path)


def _csv(path: Path, request: Request, source: Callable[[], Any]) -> Table:
    if request.geometry:
        raise RecordError(
            f"{request.source}: {path} is a CSV file and has no polygons: name their source with "
            "`geometry_from`, or give the columns lon and lat for points."
        )
    compression: Any = "gzip" if path.name.lower().endswith(".gz") else None
    reading: Any = {"compression": compression, "encoding": "utf-8-sig"}
    present = list(pd.read_csv(source(), nrows=0, **reading).columns)
    request.check(path, present)
    texts = {name: str for name in request.columns if name in request.texts}
    frame = pd.read_csv(
        source(), usecols=list(request.columns), dtype=texts, low_memory=False, **reading
    )
    return Table(frame=frame, geometry=None, crs=None)


def _open_parquet(path: Path, request: Request) -> Table:
    schema = pq.read_schema(path)
    request.check(path, schema.names)
    columns = list(request.columns)
    if not request.geometry:
        frame = pq.read_table(path, columns=columns).to_pandas(ignore_metadata=True)
        return Table(frame=frame, geometry=None, crs=None)
    header = (schema.metadata or {}).get(b"geo")
    if header is None:
        raise RecordError(
            f"{request.source}: {path} is a Parquet file without geometry: name the source of "
            "the polygons with `geometry_from`, or give the columns lon and lat for points."
        )
    primary = json.loads(header)["primary_column"]
    frame = gpd.read_parquet(path, columns=[*columns, primary])
    return _from_geopandas(frame, primary)


def _from_geopandas(frame: gpd.GeoDataFrame, geometry: str) -> Table:
    return Table(
        frame=pd.DataFrame(frame.drop(columns=geometry)),
        geometry=frame[geometry].to_numpy(),
        crs=None if frame.crs is None else pyproj.CRS.from_user_input(frame.crs),
    )


def _open_vector(path: Path, request: Request) -> Table:
    return _vector(path, request, str(path), member=request.member)


def _open_vector_gz(path: Path, request: Request) -> Table:
    return _vector(path, request, f"/vsigzip/{path.resolve()}", member=None)


def _vector(path: Path, request: Request, address: str, *, member: str | None) -> Table:
    layers = [str(name) for name, _ in pyogrio.list_layers(address)]
    if member is None and len(layers) > 1:
        raise RecordError(
            f"{request.source}: {path} has the layers {', '.join(layers)}: "
            "say which with `member` in the manifest."
        )
    present = list(pyogrio.read_info(address, layer=member or layers[0])["fields"])
    request.check(path, present)
    frame = gpd.read_file(
        address,
        layer=member or layers[0],
        columns=list(request.columns),
        engine="pyogrio",
        read_geometry=True,
    )
    if not isinstance(frame, gpd.GeoDataFrame):
        raise RecordError(f"{request.source}: {path} has no geometry.")
    return _from_geopandas(frame, frame.geometry.name)


def _open_zip(path: Path, request: Request) -> Table:
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if not name.startswith("__MACOSX/")]
    inside = [name for name in names if name.lower().endswith((".csv", *_VECTOR))]
    if request.member is not None:
        inside = [name for name in inside if name == request.member]
    if len(inside) != 1:
        wanted = "one file that can be read" if request.member is None else repr(request.member)
        raise RecordError(
            f"{request.source}: {path} does not hold {wanted} but {', '.join(names)}: "
            "say which with `member` in the manifest."
        )
    name = inside[0]
    if not name.lower().endswith(".csv"):
        return _vector(path, request, f"/vsizip/{path.resolve()}/{name}", member=None)
    with zipfile.ZipFile(path) as archive:
        return _csv(path, request, lambda: archive.open(name))


_VECTOR = (".shp", ".geojson", ".json", ".gpkg")
READERS: dict[str, Callable[[Path, Request], Table]] = {
    ".csv": _open_csv,
    ".csv.gz": _open_csv,
    ".parquet": _open_parquet,
    ".geojson": _open_vector,
    ".geojson.gz": _open_vector_gz,
    ".shp": _open_vector,
    ".gpkg": _open_vector,
    ".zip": _open_zip,
}
