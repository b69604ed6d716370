"""Embeddings that others made, on our cells: read a file, keep what lies in the place.

Read are GeoParquet, Parquet and CSV (also .csv.gz), such as exports of SatCLIP, GeoCLIP,
AlphaEarth (`A00` ... `A63`) or PDFM (`feature0` ...), and the files that mobclip writes itself.
Files that run code when they are opened (.pkl, .npy with objects, .pt) are not read at all.

=========  ==================================================================================
position   a column of H3 cells (`h3`, `cell`, `hex_id` ...; text or uint64), or longitude and
           latitude under any usual name, or a geometry column of points (WKB, degrees WGS84)
vector     a column of lists, or columns with one stem and a number, or all numeric columns
           that are neither positions nor row numbers; `vector=` names it where that is not
           clear
=========  ==================================================================================
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc_csv
import pyarrow.parquet as pq
import shapely
from jaxtyping import Bool, Float64, UInt64
from scipy import sparse

from mobclip import grid
from mobclip.embeddings import Embeddings
from mobclip.errors import CellError, RecordError
from mobclip.records import first_rows
from mobclip.storage import file_sha256

MAX_BYTES = 4 * 2**30  # of the file, and of what is read from it
MAX_DIMS = 4096
BATCH_NUMBERS = 2**23  # numbers in memory at a time: 64 MiB

PARQUET = (".parquet", ".geoparquet", ".pq")
CSV = (".csv", ".csv.gz")

# Names of position columns, in lower case and without what is not a letter or a digit.
CELL_NAMES = ("h3", "cell", "h3index", "h3cell", "h3id", "h3address", "cellid", "hexid", "hex")
LONGITUDES = (
    "lon",
    "lng",
    "long",
    "longitude",
    "centroidlon",
    "centroidlng",
    "centroidlongitude",
    "intptlon",
    "intptlong",
    "x",
)
LATITUDES = (
    "lat",
    "latitude",
    "centroidlat",
    "centroidlatitude",
    "intptlat",
    "y",
)
GEOMETRIES = ("geometry", "geom", "wkb")
# Numbers of rows that tables carry along; "" is what pandas calls an index in a CSV file.
ROW_NUMBERS = ("", "id", "fid", "ogcfid", "objectid", "gid", "index", "unnamed0", "indexlevel0")


@dataclass(frozen=True, kw_only=True)
class ExternalEmbeddings:
    """What a file says about the cells of a place."""

    embeddings: Embeddings  # of all cells; a cell that is not covered has the mean vector
    covered: Bool[np.ndarray, "cells"]  # whether the file has a vector for the cell
    report: dict[str, Any]  # rows read, left out and why, columns, resolutions, notes


def read_external(
    path: Path | str,
    cells: UInt64[np.ndarray, "cells"],
    *,
    name: str | None = None,
    vector: str | None = None,
) -> ExternalEmbeddings:
    """Read an embedding file and bring it to `cells` (sorted, unique, of one resolution).

    Several rows in one cell become their mean; so do cells of the file that are finer than ours.
    A cell of the file that is coarser than ours gives its vector to all our cells inside it that
    no finer row covers, and the report says so: such cells cannot be told apart by it.

    Parameters
    ----------
    name : of the embeddings; default: the name of the file
    vector : the list column that is the vector, or the stem of its numbered columns

    Raises
    ------
    RecordError : no such file, another kind of file, too large, no position or vector columns,
        vectors that are not finite (with row numbers, counted from 0), or nothing in the place
    CellError : the cells of the file are not H3 cells
    """
    path = Path(path)
    grid.check_cells(cells)
    source = _open(path)
    position = _position_columns(path, source)
    columns = _vector_columns(path, source, position, vector)
    resolution = grid.resolution_of(cells)
    means: dict[int, _Means] = {}  # resolution -> sums over the cells (or parents) of the place
    extent = _Extent()
    rows = inside = without_position = 0
    by_resolution: dict[int, int] = {}
    for batch in source.batches([*position.columns, *columns]):
        at, known = position.cells(path, batch, rows, resolution)
        without_position += int((~known).sum())
        placed = np.flatnonzero(known)
        finer_than = (at[placed] >> np.uint64(52)) & np.uint64(15)
        for found in np.unique(finer_than).tolist():
            of_batch = placed[finer_than == found]
            level = min(int(found), resolution)
            here = grid.parents(at[of_batch], level)
            extent.add(here)
            if level not in means:
                means[level] = _Means(np.unique(grid.parents(cells, level)))
            kept = grid.locate(means[level].cells, here)[1]
            if kept.any():
                values = _vectors(path, batch, columns, of_batch[kept], rows)
                means[level].add(here[kept], values)
                inside += int(kept.sum())
            by_resolution[int(found)] = by_resolution.get(int(found), 0) + len(of_batch)
        rows += batch.num_rows
    if inside == 0:
        raise RecordError(_nothing_inside(path, rows, without_position, extent, cells))

    vectors, covered, filled = _brought_down(means, cells, resolution)
    notes = []
    if filled:
        coarse = ", ".join(str(level) for level in sorted(filled))
        notes.append(
            f"{sum(filled.values()):,} of {len(cells):,} cells have the vector of a coarser cell "
            f"(resolution {coarse}, ours {resolution}): cells inside one cannot be told apart."
        )
    if not covered.all():
        notes.append(
            f"{int((~covered).sum()):,} of {len(cells):,} cells are not covered and have the mean "
            "vector."
        )
    shown = columns[0] if len(columns) == 1 else f"{columns[0]} ... {columns[-1]}"
    report = {
        "file": path.name,
        "rows": rows,
        "inside": inside,
        "outside": rows - without_position - inside,
        "without_position": without_position,
        "cells": len(cells),
        "covered": int(covered.sum()),
        "position": list(position.columns),
        "vector": shown,
        "dims": vectors.shape[1],
        "resolutions": (
            {str(level): by_resolution[level] for level in sorted(by_resolution)}
            if position.kind == "cells"
            else {}
        ),
        "notes": notes,
    }
    provenance = {
        "recipe": f"read from {path.name}",
        "external": True,
        "sha256": file_sha256(path),
        "columns": {"position": report["position"], "vector": shown},
    }
    embeddings = Embeddings(
        name=name or path.name.removesuffix(source.suffix),
        cells=cells,
        vectors=vectors.astype(np.float32),
        present={"external": covered},
        provenance=provenance,
    )
    return ExternalEmbeddings(embeddings=embeddings, covered=covered, report=report)


@dataclass(frozen=True, kw_only=True)
class _Source:
    """A file that is read batch by batch."""

    path: Path
    suffix: str
    schema: pa.Schema

    def batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """The named columns, a bounded number of rows at a time."""
        read = 0
        try:
            for batch in self._read(list(columns)):
                read += batch.nbytes
                if read > MAX_BYTES:
                    raise RecordError(_too_large(self.path, f"holds more than {read:,} bytes"))
                yield batch
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise RecordError(_not_whole(self.path, error)) from error

    def _read(self, columns: list[str]) -> Iterator[pa.RecordBatch]:
        if self.suffix in PARQUET:
            with pq.ParquetFile(self.path) as file:
                width = max(len(columns), *(_width(self.schema.field(one)) for one in columns))
                yield from file.iter_batches(max(256, BATCH_NUMBERS // width), columns=columns)
            return
        # What looked like whole numbers in the first rows may have decimals further down.
        types = {
            one.name: pa.float64()
            if _is_number(one.type) and not _is_cell_name(one.name)
            else one.type
            for one in self.schema
        }
        with pc_csv.open_csv(
            self.path,
            read_options=pc_csv.ReadOptions(use_threads=False, block_size=2**24),
            convert_options=pc_csv.ConvertOptions(include_columns=columns, column_types=types),
        ) as reader:
            yield from reader


def _open(path: Path) -> _Source:
    name = path.name.lower()
    suffix = next((one for one in (*PARQUET, *CSV) if name.endswith(one)), None)
    if suffix is None:
        raise RecordError(
            f"{path} is not a file that is read here: {', '.join((*PARQUET, *CSV))} are. Write it "
            "as Parquet first (.npy and .pkl carry no cells, and may run code when opened)."
        )
    if not path.is_file():
        raise RecordError(f"{path} is missing: give the path of an embedding file.")
    if path.stat().st_size > MAX_BYTES:
        raise RecordError(_too_large(path, f"is {path.stat().st_size:,} bytes"))
    try:
        if suffix in PARQUET:
            schema = pq.read_schema(path)
        else:
            with pc_csv.open_csv(path, pc_csv.ReadOptions(use_threads=False)) as reader:
                schema = reader.schema
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise RecordError(_not_whole(path, error)) from error
    names = schema.names
    twice = sorted({one for one in names if names.count(one) > 1})
    if twice:
        raise RecordError(f"{path} has several columns {twice[0]!r}: give each its own name.")
    return _Source(path=path, suffix=path.name[-len(suffix) :], schema=schema)


def _too_large(path: Path, what: str) -> str:
    return (
        f"{path} {what}, and {MAX_BYTES:,} are allowed: cut it to the place first, or write the "
        "vectors as float32 in Parquet."
    )


def _not_whole(path: Path, error: Exception) -> str:
    return f"{path} cannot be read ({error}): is it whole, and of the kind its name says?"


def _width(column: pa.Field) -> int:
    if pa.types.is_fixed_size_list(column.type):
        return int(column.type.list_size)
    return MAX_DIMS // 4 if _is_list(column.type) else 1


# --- which columns ---


@dataclass(frozen=True, kw_only=True)
class _Position:
    """Where a row is."""

    kind: str  # "cells", "lonlat" or "points"
    columns: tuple[str, ...]

    def cells(
        self, path: Path, batch: pa.RecordBatch, first: int, resolution: int
    ) -> tuple[UInt64[np.ndarray, " n"], Bool[np.ndarray, " n"]]:
        """Cell of each row (0 where it has none) and whether it has one.

        A row with a cell keeps the resolution of that cell; a position is brought to ours.
        """
        if self.kind == "cells":
            return _read_cells(path, batch.column(self.columns[0]), self.columns[0], first)
        if self.kind == "lonlat":
            lon, lat = (_numbers(batch.column(one)) for one in self.columns)
        else:
            lon, lat = _read_points(path, batch.column(self.columns[0]), self.columns[0], first)
        known = np.isfinite(lon) & np.isfinite(lat)
        bad = known & ((np.abs(lat) > 90) | (lon < -180) | (lon > 360))
        if bad.any():
            row = int(np.flatnonzero(bad)[0])
            raise RecordError(
                f"{path}: {', '.join(self.columns)} of row {first + row} are lon {lon[row]}, lat "
                f"{lat[row]}, which are not degrees. Are they swapped, or in a projected CRS?"
            )
        at = np.zeros(len(lon), np.uint64)
        at[known] = grid.points_to_cells(lon=lon[known], lat=lat[known], resolution=resolution)
        return at, known


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _is_cell_name(name: str) -> bool:
    """Names such as h3, hex_id, h3_8 and h3_res9."""
    plain = _plain(name)
    return plain in CELL_NAMES or re.fullmatch(r"h3(res|r)?\d{1,2}", plain) is not None


def _named(schema: pa.Schema, names: Sequence[str]) -> str | None:
    """The column that has the first of `names`."""
    plain = {_plain(one): one for one in reversed(schema.names)}
    return next((plain[name] for name in names if name in plain), None)


def _position_columns(path: Path, source: _Source) -> _Position:
    schema = source.schema
    cell = _named(schema, CELL_NAMES) or next(filter(_is_cell_name, schema.names), None)
    if cell is not None:
        kind = schema.field(cell).type
        if pa.types.is_floating(kind):
            raise RecordError(
                f"{path}: column {cell!r} holds H3 cells as floating-point numbers, which lose "
                "their last digits. Write cells as text (862a1072fffffff) or as uint64."
            )
        return _Position(kind="cells", columns=(cell,))
    lon, lat = _named(schema, LONGITUDES), _named(schema, LATITUDES)
    if lon is not None and lat is not None:
        for one in (lon, lat):
            if not _is_number(schema.field(one).type):
                raise RecordError(
                    f"{path}: column {one!r} is {schema.field(one).type}, and degrees are numbers."
                )
        return _Position(kind="lonlat", columns=(lon, lat))
    points = _geometry_column(path, schema)
    if points is not None:
        return _Position(kind="points", columns=(points,))
    raise RecordError(
        f"{path} does not say where its rows are: it has columns {_listed(schema.names)}. Needed "
        f"is one of cells ({', '.join(CELL_NAMES[:4])} ...), or lon and lat, or a WKB geometry."
    )


def _geometry_column(path: Path, schema: pa.Schema) -> str | None:
    """The GeoParquet column of points, or a binary column that is named like one."""
    try:
        metadata = json.loads((schema.metadata or {}).get(b"geo", b"{}"))
        name = metadata.get("primary_column")
        crs = metadata.get("columns", {}).get(name, {}).get("crs")
    except (ValueError, AttributeError) as error:
        raise RecordError(f"{path} has GeoParquet metadata that is not whole ({error}).") from error
    if name in schema.names:
        _check_crs(path, crs)
    else:
        name = _named(schema, GEOMETRIES)
    if name is None:
        return None
    kind = schema.field(name).type
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return str(name)
    raise RecordError(
        f"{path}: geometry column {name!r} is {kind}, and WKB (binary) is read. Write WKB, or "
        "columns lon and lat."
    )


def _check_crs(path: Path, crs: Any) -> None:
    """GeoParquet: no CRS means OGC:CRS84, which is degrees lon, lat WGS84."""
    if crs is None:
        return
    code = (crs.get("id") or {}).get("code") if isinstance(crs, dict) else crs
    if str(code).upper() not in ("4326", "CRS84", "EPSG:4326", "OGC:CRS84"):
        named = crs.get("name", code) if isinstance(crs, dict) else crs
        raise RecordError(
            f"{path} has positions in {named}: only degrees WGS84 (EPSG:4326) are read. "
            "Reproject it first."
        )


def _vector_columns(
    path: Path, source: _Source, position: _Position, vector: str | None
) -> list[str]:
    """The list column, or the numbered columns in order of their numbers."""
    schema = source.schema
    lists = [one.name for one in schema if _is_list(one.type)]
    numeric = [
        one.name
        for one in schema
        if _is_number(one.type)
        and one.name not in position.columns
        and _plain(one.name) not in (*LONGITUDES, *LATITUDES)
        and not _is_cell_name(one.name)
    ]
    stems: dict[str, list[tuple[int, str]]] = {}
    for one in numeric:
        found = re.fullmatch(r"(.*?)(\d+)", one)
        if found:
            stems.setdefault(found[1], []).append((int(found[2]), one))
    numbered = {stem: [one for _, one in sorted(found)] for stem, found in stems.items()}
    if vector is not None:
        return _checked_dims(path, _chosen(path, schema, lists, numbered, vector))
    if lists:
        if len(lists) > 1:
            raise RecordError(
                f"{path} has several columns of lists, {_listed(lists)}: name the vector with "
                "`vector=`."
            )
        return lists
    longest = max(map(len, numbered.values()), default=0)
    if longest > 1:
        best = [stem for stem, columns in numbered.items() if len(columns) == longest]
        if len(best) > 1:
            raise RecordError(
                f"{path}: columns {best[0]}# and {best[1]}# are both {longest} numbers: name the "
                "stem of the vector with `vector=`."
            )
        return _checked_dims(path, numbered[best[0]])
    plain = [one for one in numeric if _plain(one) not in ROW_NUMBERS]
    if not plain:
        raise RecordError(
            f"{path} has no vector: its columns are {_listed(schema.names)}. Needed is one column "
            "of lists, or numeric columns such as emb_0, emb_1 ..."
        )
    return _checked_dims(path, plain)


def _chosen(
    path: Path, schema: pa.Schema, lists: list[str], numbered: dict[str, list[str]], vector: str
) -> list[str]:
    if vector in lists:
        return [vector]
    for stem, columns in numbered.items():
        if vector in (stem, stem.rstrip("_-. ")):
            return columns
    known = [*lists, *numbered]
    raise RecordError(
        f"{path} has no vector {vector!r}: "
        + (f"choose among {_listed(known)}." if known else f"it has {_listed(schema.names)}.")
    )


def _checked_dims(path: Path, columns: list[str]) -> list[str]:
    if len(columns) > MAX_DIMS:
        raise RecordError(
            f"{path}: a vector of {len(columns)} numbers; at most {MAX_DIMS} are read. Reduce it "
            "first, e.g. by PCA."
        )
    return columns


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:12])) + (" ..." if len(names) > 12 else "")


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _is_list(kind: pa.DataType) -> bool:
    nested = (
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    )
    return bool(nested and _is_number(kind.value_type))


# --- values of a batch ---


def _numbers(column: pa.Array) -> Float64[np.ndarray, " n"]:
    """As float64; what is missing becomes NaN."""
    return np.asarray(column.to_numpy(zero_copy_only=False), np.float64)


def _read_cells(
    path: Path, column: pa.Array, name: str, first: int
) -> tuple[UInt64[np.ndarray, " n"], Bool[np.ndarray, " n"]]:
    known = np.asarray(column.is_valid().to_numpy(zero_copy_only=False), bool)
    at = np.zeros(len(column), np.uint64)
    values = column.filter(pa.array(known))
    if pa.types.is_dictionary(column.type):
        values = values.dictionary_decode()
    if pa.types.is_integer(values.type):
        at[known] = values.to_numpy(zero_copy_only=False).astype(np.uint64)
        _check_cells(path, name, column, at, known, first)
        return at, known
    if not (pa.types.is_string(values.type) or pa.types.is_large_string(values.type)):
        raise RecordError(
            f"{path}: column {name!r} is {column.type}, and cells are text or uint64."
        )
    text = np.array(values.to_pylist(), dtype=object)
    rows = np.flatnonzero(known)
    blank = np.array([not one.strip() for one in text], bool)
    known[rows[blank]] = False
    for row, one in zip(rows[~blank], text[~blank], strict=True):
        try:
            at[row] = int(one, 16)
        except (ValueError, OverflowError):
            at[row] = 0
    _check_cells(path, name, column, at, known, first)
    return at, known


def _check_cells(
    path: Path, name: str, column: pa.Array, at: np.ndarray, known: np.ndarray, first: int
) -> None:
    valid = grid.is_cell(at)
    if not valid[known].all():
        row = int(np.flatnonzero(known & ~valid)[0])
        raise CellError(
            f"{path}: {name} of row {first + row} is {column[row].as_py()!r}, which is not an H3 "
            "cell. A cell is written as 15 hexadecimal digits, or as a whole number."
        )


def _read_points(
    path: Path, column: pa.Array, name: str, first: int
) -> tuple[Float64[np.ndarray, " n"], Float64[np.ndarray, " n"]]:
    try:
        shapes = shapely.from_wkb(np.asarray(column.to_pylist(), dtype=object))
    except shapely.errors.ShapelyError as error:
        raise RecordError(f"{path}: geometry column {name!r} is not WKB ({error}).") from error
    other = (shapely.get_type_id(shapes) > 0) & ~shapely.is_missing(shapes)
    if other.any():
        row = int(np.flatnonzero(other)[0])
        raise RecordError(
            f"{path}: the geometry of row {first + row} is a {shapes[row].geom_type}, and points "
            "are read. Bring polygons to cells or to points first."
        )
    return shapely.get_x(shapes), shapely.get_y(shapes)


def _vectors(
    path: Path,
    batch: pa.RecordBatch,
    columns: list[str],
    rows: np.ndarray,
    first: int,
) -> Float64[np.ndarray, "n dims"]:
    """Vectors of some rows of a batch, finite as float32."""
    picked = pa.array(rows)
    if _is_list(batch.schema.field(columns[0]).type):
        values = _of_lists(path, batch.column(columns[0]).take(picked), columns[0], rows, first)
    else:
        values = np.column_stack([_numbers(batch.column(one).take(picked)) for one in columns])
    with np.errstate(over="ignore"):
        bad = ~np.isfinite(values.astype(np.float32)).all(axis=1)
    if bad.any():
        everywhere = np.zeros(first + batch.num_rows, bool)
        everywhere[first + rows[bad]] = True
        raise RecordError(
            f"{path}: vectors that are missing or not finite ({first_rows(everywhere)}, counted "
            "from 0). Leave these rows out: a cell without a row is not covered."
        )
    return values


def _of_lists(
    path: Path, column: pa.Array, name: str, rows: np.ndarray, first: int
) -> Float64[np.ndarray, "n dims"]:
    missing = ~np.asarray(column.is_valid().to_numpy(zero_copy_only=False), bool)
    lists = column.filter(pa.array(~missing))
    if pa.types.is_fixed_size_list(column.type):
        dims = int(column.type.list_size)
    else:
        lengths = np.diff(lists.offsets.to_numpy())
        dims = int(lengths[0]) if len(lengths) else 0
        if (lengths != dims).any():
            row = int(rows[~missing][np.flatnonzero(lengths != dims)[0]])
            raise RecordError(
                f"{path}: {name!r} of row {first + row} is not {dims} numbers long, as others are."
            )
    if not 0 < dims <= MAX_DIMS:
        raise RecordError(
            f"{path}: {name!r} holds vectors of {dims} numbers; 1 to {MAX_DIMS} are read."
        )
    values = np.full((len(column), dims), np.nan)
    values[~missing] = _numbers(lists.flatten()).reshape(-1, dims)
    return values


# --- from rows to cells ---


class _Means:
    """Sums of vectors over sorted cells."""

    def __init__(self, cells: UInt64[np.ndarray, " cells"]) -> None:
        self.cells = cells
        self.count = np.zeros(len(cells))
        self.total: np.ndarray | None = None  # (cells, dims) once a vector was added

    def add(self, at: UInt64[np.ndarray, " n"], vectors: Float64[np.ndarray, "n dims"]) -> None:
        """Add rows, all of which lie in these cells."""
        row = grid.locate(self.cells, at)[0]
        into = sparse.csr_array(
            (np.ones(len(row)), (row, np.arange(len(row)))), shape=(len(self.cells), len(row))
        )
        if self.total is None:
            self.total = np.zeros((len(self.cells), vectors.shape[1]))
        if self.total.shape[1] != vectors.shape[1]:
            raise RecordError(
                f"vectors of {self.total.shape[1]} and of {vectors.shape[1]} numbers in one file: "
                "all must have the same length."
            )
        self.total += into @ vectors
        self.count += np.bincount(row, minlength=len(self.cells))


def _brought_down(
    means: dict[int, _Means], cells: UInt64[np.ndarray, "cells"], resolution: int
) -> tuple[Float64[np.ndarray, "cells dims"], Bool[np.ndarray, "cells"], dict[int, int]]:
    """Vector of each cell, whether it is covered, and how many were filled by each coarser level.

    The finest evidence counts.
    """
    dims = {one.total.shape[1] for one in means.values() if one.total is not None}
    if len(dims) > 1:
        raise RecordError(
            f"vectors of {min(dims)} and of {max(dims)} numbers in one file: all must have the "
            "same length."
        )
    vectors = np.zeros((len(cells), dims.pop()))
    covered = np.zeros(len(cells), bool)
    filled: dict[int, int] = {}
    for level in sorted(means, reverse=True):
        found = means[level]
        if found.total is None:
            continue
        row = grid.locate(found.cells, grid.parents(cells, level))[0]
        new = ~covered & (found.count[row] > 0)
        vectors[new] = found.total[row[new]] / found.count[row[new], None]
        covered |= new
        if level < resolution and new.any():
            filled[level] = int(new.sum())
    vectors[~covered] = vectors[covered].mean(0)
    return vectors, covered, filled


@dataclass(kw_only=True)
class _Extent:
    """Bounding box of cell centres, degrees."""

    low: np.ndarray = field(default_factory=lambda: np.full(2, np.inf))
    high: np.ndarray = field(default_factory=lambda: np.full(2, -np.inf))

    def add(self, cells: UInt64[np.ndarray, " n"]) -> None:
        """Widen the box to hold these cells."""
        centers = grid.centers(np.unique(cells))
        self.low = np.minimum(self.low, centers.min(0))
        self.high = np.maximum(self.high, centers.max(0))

    def __str__(self) -> str:
        return (
            f"longitude {self.low[0]:.4f} to {self.high[0]:.4f}, "
            f"latitude {self.low[1]:.4f} to {self.high[1]:.4f}"
        )


def _nothing_inside(
    path: Path, rows: int, without_position: int, extent: _Extent, cells: np.ndarray
) -> str:
    if rows == without_position:
        return f"{path}: none of its {rows:,} rows has a position."
    ours = _Extent()
    ours.add(cells)
    return (
        f"{path}: none of its {rows:,} rows lies in the place. The file covers {extent}; the place "
        f"covers {ours}. Is it the right file, and are lon and lat not swapped?"
    )
