"""Targets that people bring along: a table of theirs, joined to the cells or zones of a place.

Read are CSV, Parquet and GeoParquet, from bytes, within bounds; nothing that runs code when it is
opened. First a report says what was found and what will be left out, then `Upload.target` is made.

=========  ==================================================================================
key        a column of H3 cells, or longitude and latitude, or a geometry column of points
           (degrees WGS84), or a column of ids of the place's own zones
value      a column of numbers, of yes and no, or of classes
=========  ==================================================================================

Several rows of one cell or zone become one: their mean, or their most frequent class. Cells finer
than the place's count for the cell that they lie in; one that is coarser is a unit of several.
"""

import csv
import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pc_csv
import pyarrow.parquet as pq
import shapely
from jaxtyping import Bool, Float64, UInt64
from scipy import sparse

from mobclip import grid
from mobclip.errors import RecordError
from mobclip.evaluation.external import CELL_NAMES, CSV, GEOMETRIES, LATITUDES, LONGITUDES, PARQUET
from mobclip.place import Place, Target, TargetKind

MAX_BYTES = 50 * 2**20  # of the file
MAX_UNPACKED = 512 * 2**20  # of the columns of a Parquet file
MAX_ROWS = 2_000_000
MAX_COLUMNS = 500
MAX_CLASSES = 30
KINDS: tuple[TargetKind, ...] = ("number", "binary", "class")
SHOWN = 5  # problem rows that are named
BROKEN = "another number of values than columns"
SAMPLE = 2000  # rows by which a key is guessed
# Words for what is not known, in lower case.
NOTHING = ("", "na", "n/a", "nan", "null", "none", "-", "–", ".")
YES, NO = ("1", "1.0", "yes", "true", "y", "t"), ("0", "0.0", "no", "false", "n", "f")


@dataclass(frozen=True, kw_only=True)
class Key:
    """How rows are joined to a place."""

    kind: Literal["cells", "lonlat", "points", "zones"]
    columns: tuple[str, ...]
    level: str = ""  # of zones: whose
    share: float = 0.0  # of the first rows that it finds in the place

    def __str__(self) -> str:
        named = " and ".join(f"“{one}”" for one in self.columns)
        what = {
            "cells": "H3 cells in",
            "lonlat": "longitude and latitude in",
            "points": "points in",
            "zones": f"zones ({self.level}) in",
        }[self.kind]
        return f"{what} {named}"


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a file becomes, before it is used."""

    rows: int
    used: int
    units: int  # cells or zones with a value
    cells: int  # of the place that they cover
    of_cells: int
    dropped: Mapping[str, int]  # reason -> rows
    problems: Sequence[tuple[int, str, str]]  # row (1 is the first below the header), what, why


@dataclass(frozen=True, kw_only=True)
class Upload:
    """A table in memory, every column as text or numbers."""

    name: str  # of the file
    table: pa.Table
    crs: str = ""  # of its geometry, where that is not degrees WGS84
    ignored: tuple[str, ...] = ()  # columns of kinds that are no values: lists, structs
    broken: tuple[tuple[int, str], ...] = ()  # rows with another number of values: number, text

    @classmethod
    def read(cls, data: bytes, name: str) -> "Upload":
        """Open a file; `RecordError` in words if it is too large, or of another kind."""
        if len(data) > MAX_BYTES:
            raise RecordError(
                f"{name} has {len(data) / 2**20:.0f} MB; up to {MAX_BYTES >> 20} MB are taken. "
                "Keep the key and the value column, cut it to the place, or write Parquet."
            )
        lower = name.lower()
        if lower.endswith(PARQUET):
            return _read_parquet(data, name)
        if lower.endswith(CSV[0]):
            return _read_csv(data, name)
        raise RecordError(
            f"{name} is of a kind that is not read here. Write the table as CSV (.csv), Parquet or "
            "GeoParquet (.parquet)."
        )

    @property
    def rows(self) -> int:
        """Rows of the table."""
        return int(self.table.num_rows)

    def columns(self) -> dict[str, str]:
        """Column -> what it holds, in words."""
        return {name: self._texts(name).worded for name in self.table.column_names}

    def _texts(self, column: str) -> "_Column":
        return _Column(self.table.column(column))

    # ---- which columns

    def keys(self, place: Place) -> list[Key]:
        """Ways in which rows can be joined to a place, the one that finds most first."""
        plain = {name: re.sub(r"[^a-z0-9]", "", name.lower()) for name in self.table.column_names}
        found: list[Key] = []
        for name, short in plain.items():
            usual = short in CELL_NAMES or re.fullmatch(r"h3(res|r)?\d{1,2}", short)
            if usual or self._looks_like_cells(name):
                found.append(Key(kind="cells", columns=(name,)))
        lon, lat = (
            next((name for one in names for name, short in plain.items() if short == one), None)
            for names in (LONGITUDES, LATITUDES)
        )
        if lon is not None and lat is not None:
            found.append(Key(kind="lonlat", columns=(lon, lat)))
        found += [
            Key(kind="points", columns=(name,))
            for name, short in plain.items()
            if pa.types.is_binary(self.table.schema.field(name).type)
            and (short in GEOMETRIES or len(plain) > 0)
        ]
        levels = zones_of(place)
        for name in self.table.column_names:
            kind = self.table.schema.field(name).type
            if pa.types.is_string(kind) or pa.types.is_integer(kind):
                found += [Key(kind="zones", columns=(name,), level=level) for level in levels]
        head = self.table.slice(0, SAMPLE)
        scored = []
        for key in found:
            small = Upload(name=self.name, table=head, crs=self.crs)
            try:
                unit, _ = small._units(key, place)
            except RecordError:
                continue
            share = float((unit >= 0).mean()) if len(unit) else 0.0
            if share > 0 or key.kind != "zones":
                scored.append(Key(kind=key.kind, columns=key.columns, level=key.level, share=share))
        return sorted(scored, key=lambda key: -key.share)

    def _looks_like_cells(self, column: str) -> bool:
        kind = self.table.schema.field(column).type
        if not (pa.types.is_string(kind) or pa.types.is_uint64(kind) or pa.types.is_int64(kind)):
            return False
        cells, known = _cells(self.table.column(column).slice(0, 50))
        return bool(known.sum() > 0 and grid.is_cell(cells[known]).mean() > 0.9)

    def value_columns(self, key: Key | None) -> list[str]:
        """Columns that can be predicted, those that vary and are no key first."""
        taken = set(key.columns) if key else set()
        names = [
            name
            for name in self.table.column_names
            if name not in taken and not pa.types.is_binary(self.table.schema.field(name).type)
        ]
        likely = [name for name in names if self.kind_of(name) is not None]
        # Ids and numbers of rows come last: a number that is another one in every row.
        return sorted(likely, key=self._like_an_id)

    def _like_an_id(self, column: str) -> bool:
        return self._texts(column).like_an_id

    def kind_of(self, column: str) -> TargetKind | None:
        """What a column most probably is; None: nothing that can be predicted."""
        return self._texts(column).kind

    def kinds_of(self, column: str) -> list[TargetKind]:
        """What a column may be taken as."""
        one = self._texts(column)
        found: list[TargetKind] = []
        if one.is_numeric:
            found.append("number")
        if one.is_binary:
            found.append("binary")
        if 2 <= one.distinct <= MAX_CLASSES:
            found.append("class")
        return found

    # ---- joining

    def _units(self, key: Key, place: Place) -> tuple[np.ndarray, "_Units"]:
        """Unit of each row, -1 where it has none (see `_Units.why`), and the units."""
        if key.kind == "zones":
            return self._zones(key, place)
        why = np.full(self.rows, "", object)
        if key.kind == "cells":
            cells, known = _cells(self.table.column(key.columns[0]))
            why[~known] = "no cell"
            wrong = known & ~grid.is_cell(cells)
            why[wrong] = "not an H3 cell"
            known &= ~wrong
        else:
            lon, lat = self._positions(key)
            known = np.isfinite(lon) & np.isfinite(lat)
            why[~known] = "no position"
            wrong = known & ((np.abs(lat) > 90) | (lon < -180) | (lon > 360))
            why[wrong] = "not degrees: swapped, or in a projected CRS?"
            known &= ~wrong
            cells = np.zeros(self.rows, np.uint64)
            cells[known] = grid.points_to_cells(
                lon=lon[known], lat=lat[known], resolution=place.resolution
            )
        at = cells.copy()
        finer = (at >> np.uint64(52)) & np.uint64(15)
        for resolution in np.unique(finer[known]).tolist():
            if resolution > place.resolution:
                here = known & (finer == resolution)
                at[here] = grid.parents(at[here], place.resolution)
        names, members = _members(np.unique(at[known]), place)
        unit, there = grid.locate(names, at)
        there &= known
        why[known & ~there] = "outside of the place"
        found = np.where(there, unit, -1)
        ids = np.array(grid.to_strings(names), object)
        return found, _Units(ids=ids, members=members, why=why, level="cell")

    def _positions(self, key: Key) -> tuple[np.ndarray, np.ndarray]:
        if key.kind == "lonlat":
            lon, lat = (self._texts(one).numbers for one in key.columns)
            return lon, lat
        if self.crs:
            raise RecordError(
                f"{self.name} has positions in {self.crs}: only degrees WGS84 (EPSG:4326) are "
                "read. Reproject it first."
            )
        column = self.table.column(key.columns[0])
        try:
            shapes = shapely.from_wkb(np.asarray(column.to_pylist(), dtype=object))
        except shapely.errors.ShapelyError as error:
            raise RecordError(f"“{key.columns[0]}” is no geometry ({error}).") from error
        other = (shapely.get_type_id(shapes) > 0) & ~shapely.is_missing(shapes)
        if other.any():
            raise RecordError(
                f"the geometry of {self.name} is a {shapes[other][0].geom_type} in "
                f"{int(other.sum()):,} rows; points are read. Give points, cells, or zone ids."
            )
        return shapely.get_x(shapes), shapely.get_y(shapes)

    def _zones(self, key: Key, place: Place) -> tuple[np.ndarray, "_Units"]:
        zones = zones_of(place)[key.level]
        ids = self._texts(key.columns[0]).ids
        width = {len(one) for one in zones.ids}
        if len(width) == 1:  # leading zeros that a spreadsheet has eaten
            ids = np.array([one.zfill(next(iter(width))) if one else one for one in ids], object)
        row_of = {one: row for row, one in enumerate(zones.ids)}
        unit = np.array([row_of.get(one, -1) for one in ids], np.int64)
        why = np.full(self.rows, "", object)
        why[unit < 0] = "not a zone of this place"
        why[ids == ""] = "no zone id"
        return unit, _Units(ids=zones.ids, members=zones.members, why=why, level=key.level)

    def _joined(
        self, place: Place, key: Key, column: str, kind: TargetKind
    ) -> tuple[np.ndarray, Float64[np.ndarray, " rows"], tuple[str, ...], "_Units", np.ndarray]:
        """Unit (or -1) and value of each row, class names, units, and why a row has none."""
        unit, units = self._units(key, place)
        values, classes, bad = self._texts(column).as_kind(kind)
        why = units.why.copy()
        nothing = (unit >= 0) & np.isnan(values)
        why[nothing] = "no value"
        why[nothing & bad] = "not a number" if kind == "number" else "neither yes nor no"
        unit = np.where(nothing, -1, unit)
        return unit, values, classes, units, why

    def report(self, place: Place, key: Key, column: str, kind: TargetKind) -> Report:
        """What `target` would use and leave out."""
        unit, _, _, units, why = self._joined(place, key, column, kind)
        used = unit >= 0
        bad = np.flatnonzero(~used)
        reasons, counts = np.unique(why[bad].astype(str), return_counts=True)
        order = np.argsort(-counts)
        there = np.unique(unit[used])
        return Report(
            rows=self.rows + len(self.broken),
            used=int(used.sum()),
            units=len(there),
            cells=len(np.unique(units.members[there].indices)),
            of_cells=len(place.cells),
            dropped={
                **({BROKEN: len(self.broken)} if self.broken else {}),
                **{str(reasons[one]): int(counts[one]) for one in order},
            },
            problems=[
                *((row, text[:80], BROKEN) for row, text in self.broken[:SHOWN]),
                *self._named(bad[: max(SHOWN - len(self.broken), 0)], [*key.columns, column], why),
            ],
        )

    def _named(
        self, rows: np.ndarray, columns: Sequence[str], why: np.ndarray
    ) -> list[tuple[int, str, str]]:
        return [
            (
                int(row) + 1,
                ", ".join(f"{one} = {self._shown(one, int(row))}" for one in columns),
                str(why[row]),
            )
            for row in rows
        ]

    def _shown(self, column: str, row: int) -> str:
        value = self.table.column(column)[row].as_py()
        text = "(geometry)" if isinstance(value, bytes) else "" if value is None else str(value)
        return text if len(text) <= 40 else text[:39] + "…"

    def target(
        self,
        place: Place,
        key: Key,
        column: str,
        kind: TargetKind,
        *,
        name: str,
        title: str,
        unit: str = "",
        licence: str = "",
    ) -> Target:
        """The table as a target of the place."""
        of_row, values, classes, units, _ = self._joined(place, key, column, kind)
        used = of_row >= 0
        if not used.any():
            raise RecordError(
                f"no row of {self.name} can be used: choose another key or value column."
            )
        there, row = np.unique(of_row[used], return_inverse=True)
        given = values[used]
        if kind == "class":
            counts = np.zeros((len(there), len(classes)))
            np.add.at(counts, (row, given.astype(np.int64)), 1)
            made = counts.argmax(1).astype(np.float64)
            # A class that no unit is left with cannot be learned.
            left, made = np.unique(made, return_inverse=True)
            classes = tuple(classes[int(one)] for one in left)
            made = made.astype(np.float64)
            if len(classes) < 2:
                raise RecordError(
                    f"“{column}” has the class “{classes[0]}” alone here: nothing to learn."
                )
        else:
            made = np.bincount(row, given) / np.bincount(row)
            if kind == "binary":
                made = (made >= 0.5).astype(np.float64)
        return Target(
            name=name,
            title=title,
            unit=unit,
            level=units.level,
            unit_ids=units.ids[there],
            values=made,
            weights=sparse.csr_array(units.members[there]),
            kind=kind,
            classes=classes,
            note=f"Your own: column “{column}” of {self.name}. Licence: {licence or 'not said'}.",
        )


@dataclass(frozen=True, kw_only=True)
class _Units:
    ids: np.ndarray  # (units,) object str
    members: sparse.csr_array  # (units, cells), rows sum to 1
    why: np.ndarray  # (rows of the file,) object str: why a row has no unit
    level: str


@dataclass(frozen=True, kw_only=True)
class Zones:
    """Zones that a place knows, from its targets."""

    ids: np.ndarray  # (zones,) object str
    members: sparse.csr_array  # (zones, cells of the place), rows sum to 1


def zones_of(place: Place) -> dict[str, Zones]:
    """Level -> the zones of it that any target of the place is about."""
    ids: dict[str, list[str]] = {}
    blocks: dict[str, list[sparse.csr_array]] = {}
    for target in place.targets.values():
        if target.level in ("cell", "point"):
            continue
        known = set(ids.setdefault(target.level, []))
        new = [row for row, one in enumerate(target.unit_ids) if str(one) not in known]
        ids[target.level] += [str(target.unit_ids[row]) for row in new]
        blocks.setdefault(target.level, []).append(sparse.csr_array(target.weights[new]))
    return {
        level: Zones(
            ids=np.array(ids[level], object), members=sparse.csr_array(sparse.vstack(parts))
        )
        for level, parts in blocks.items()
    }


def _members(
    names: UInt64[np.ndarray, " m"], place: Place
) -> tuple[UInt64[np.ndarray, " units"], sparse.csr_array]:
    """Those of some cells (ours or coarser) that hold cells of the place, and which."""
    level = (names >> np.uint64(52)) & np.uint64(15)
    kept: list[np.ndarray] = []
    rows: list[np.ndarray] = []
    columns: list[np.ndarray] = []
    for resolution in np.unique(level).tolist():
        here = names[level == resolution]
        row, there = grid.locate(here, grid.parents(place.cells, int(resolution)))
        used, row = np.unique(row[there], return_inverse=True)
        rows.append(row + sum(len(one) for one in kept))
        columns.append(np.flatnonzero(there))
        kept.append(here[used])
    if not kept:
        return np.empty(0, np.uint64), sparse.csr_array((0, len(place.cells)))
    units = np.concatenate(kept)
    row, column = np.concatenate(rows), np.concatenate(columns)
    weight = 1 / np.bincount(row, minlength=len(units))[row]
    order = np.argsort(units)  # `grid.locate` wants them sorted
    rank = np.empty(len(units), np.int64)
    rank[order] = np.arange(len(units))
    return units[order], sparse.csr_array(
        (weight, (rank[row], column)), shape=(len(units), len(place.cells))
    )


# ---- files ---------------------------------------------------------------------------------------


def _read_csv(data: bytes, name: str) -> Upload:
    # Lines of provenance, as on top of what mobclip exports, are no table.
    start = len(b"\xef\xbb\xbf") if data.startswith(b"\xef\xbb\xbf") else 0
    while data.startswith(b"#", start):
        end = data.find(b"\n", start)
        start = len(data) if end < 0 else end + 1
    data = data[start:]
    head = data[:65536].decode("utf-8", errors="replace")
    first = head.split("\n", 1)[0]
    delimiter = max(",;\t", key=first.count)
    broken: list[tuple[int, str]] = []

    def skip(row: pc_csv.InvalidRow) -> str:
        broken.append(((row.number or 0) - 1, row.text))
        return "skip"

    try:
        columns = next(csv.reader(io.StringIO(head), delimiter=delimiter), [])
        columns = [one.strip("\r\n") for one in columns]
        _check_columns(name, columns)
        table = pc_csv.read_csv(
            io.BytesIO(data),
            read_options=pc_csv.ReadOptions(use_threads=False, block_size=2**24),
            parse_options=pc_csv.ParseOptions(
                delimiter=delimiter, newlines_in_values=True, invalid_row_handler=skip
            ),
            # As text, so that ids keep their leading zeros and a bad number names its row.
            convert_options=pc_csv.ConvertOptions(
                column_types=dict.fromkeys(columns, pa.string()), strings_can_be_null=False
            ),
        )
    except (pa.ArrowException, csv.Error, UnicodeDecodeError) as error:
        raise RecordError(
            f"{name} cannot be read as a table ({error}). Save it as CSV in UTF-8, one line of "
            "column names on top and as many values in every row."
        ) from error
    _check_rows(name, table.num_rows)
    return Upload(name=name, table=table, broken=tuple(broken))


def _read_parquet(data: bytes, name: str) -> Upload:
    try:
        with pq.ParquetFile(pa.BufferReader(data)) as file:
            _check_rows(name, file.metadata.num_rows)
            schema = file.schema_arrow
            _check_columns(name, schema.names)
            kept = [one.name for one in schema if _is_plain(one.type)]
            unpacked = sum(
                file.metadata.row_group(group).column(one).total_uncompressed_size
                for group in range(file.metadata.num_row_groups)
                for one in range(file.metadata.num_columns)
                if file.metadata.row_group(group).column(one).path_in_schema in kept
            )
            if unpacked > MAX_UNPACKED:
                raise RecordError(
                    f"{name} unpacks to {unpacked / 2**20:.0f} MB; up to {MAX_UNPACKED >> 20} MB "
                    "are taken. Keep the key and the value column."
                )
            table = file.read(columns=kept, use_threads=False)
            crs = _crs(schema.metadata or {})
    except (pa.ArrowException, OSError) as error:
        raise RecordError(f"{name} cannot be read ({error}): is it whole, and Parquet?") from error
    plain = pa.table(
        {one: _plain_column(table.column(one)) for one in kept},
    )
    ignored = tuple(one for one in schema.names if one not in kept)
    return Upload(name=name, table=plain, crs=crs, ignored=ignored)


def _is_plain(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
    )


def _plain_column(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Fewer types to think of: text, bytes, numbers."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_large_string(column.type) or pa.types.is_boolean(column.type):
        return column.cast(pa.string())
    return column.cast(pa.binary()) if pa.types.is_large_binary(column.type) else column


def _check_rows(name: str, rows: int) -> None:
    if rows == 0:
        raise RecordError(f"{name} has no rows below its column names.")
    if rows > MAX_ROWS:
        raise RecordError(
            f"{name} has {rows:,} rows; up to {MAX_ROWS:,} are taken. Cut it to the place, or "
            "take the mean of each cell first."
        )


def _check_columns(name: str, columns: Sequence[str]) -> None:
    if not columns or not any(columns):
        raise RecordError(f"{name} has no column names in its first line.")
    if len(columns) > MAX_COLUMNS:
        raise RecordError(f"{name} has {len(columns)} columns; up to {MAX_COLUMNS} are taken.")
    twice = sorted({one for one in columns if list(columns).count(one) > 1})
    if twice:
        raise RecordError(f"{name} has several columns “{twice[0]}”: give each its own name.")


def _crs(metadata: Mapping[bytes, bytes]) -> str:
    """Name of the CRS of a GeoParquet file, where it is not degrees WGS84."""
    try:
        header = json.loads(metadata.get(b"geo", b"{}"))
        crs = header.get("columns", {}).get(header.get("primary_column"), {}).get("crs")
    except (ValueError, AttributeError) as error:
        raise RecordError(f"its GeoParquet header is not whole ({error}).") from error
    if crs is None:
        return ""
    code = (crs.get("id") or {}).get("code") if isinstance(crs, dict) else crs
    if str(code).upper() in ("4326", "CRS84", "EPSG:4326", "OGC:CRS84"):
        return ""
    return str(crs.get("name", code)) if isinstance(crs, dict) else str(crs)


# ---- columns -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Column:
    """One column, read as whatever is asked for."""

    values: pa.ChunkedArray

    @cached_property
    def _number_type(self) -> bool:
        kind = self.values.type
        return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))

    @cached_property
    def texts(self) -> np.ndarray:
        """(n,) object str, stripped; "" where nothing is known."""
        if pa.types.is_binary(self.values.type):
            return np.full(len(self.values), "", object)
        column = pc.utf8_trim_whitespace(pc.fill_null(self.values.cast(pa.string()), ""))
        texts = column.to_numpy(zero_copy_only=False).astype(object)
        lower = pc.utf8_lower(column)
        nothing = pc.is_in(lower, pa.array(NOTHING)).to_numpy(zero_copy_only=False)
        texts[nothing] = ""
        return np.asarray(texts)

    @cached_property
    def ids(self) -> np.ndarray:
        """As text; 17031010100.0 of a spreadsheet is 17031010100."""
        return np.array([re.sub(r"^(\d+)\.0+$", r"\1", one) for one in self.texts], object)

    @cached_property
    def numbers(self) -> Float64[np.ndarray, " n"]:
        """As numbers; NaN where there is none."""
        if self._number_type:
            found = np.array(
                self.values.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
            )
        else:
            found = np.array([_number(one) for one in self.texts], np.float64)
        return np.where(np.isfinite(found), found, np.nan)

    @cached_property
    def _distinct(self) -> np.ndarray:
        # Few are enough to know that there are many.
        return np.unique(self.texts[self.texts != ""].astype(str))

    @property
    def distinct(self) -> int:
        """Different values."""
        return len(self._distinct)

    @cached_property
    def is_numeric(self) -> bool:
        """Whether nine of ten values are numbers."""
        known = self.texts != ""
        return bool(known.any() and np.isfinite(self.numbers[known]).mean() >= 0.9)

    @cached_property
    def is_binary(self) -> bool:
        """Whether it says yes and no, both."""
        said = {one.lower() for one in self._distinct[: len(YES) + len(NO) + 1]}
        return bool(said & set(YES) and said & set(NO) and said <= {*YES, *NO})

    @cached_property
    def like_an_id(self) -> bool:
        """Whether it is another whole number in every row."""
        if not self.is_numeric or self.distinct < len(self.texts):
            return False
        numbers = self.numbers
        return bool(np.isfinite(numbers).all() and (numbers == np.round(numbers)).all())

    @cached_property
    def kind(self) -> TargetKind | None:
        """What it most probably is."""
        if self.distinct < 2 or pa.types.is_binary(self.values.type):
            return None
        if self.is_binary:
            return "binary"
        if self.is_numeric:
            return "number"
        return "class" if self.distinct <= MAX_CLASSES else None

    @property
    def worded(self) -> str:
        """What it holds."""
        if pa.types.is_binary(self.values.type):
            return "geometry or bytes"
        empty = int((self.texts == "").sum())
        missing = f", {empty:,} empty" if empty else ""
        if self.distinct == 0:
            return "empty"
        if self.is_numeric:
            low, high = np.nanmin(self.numbers), np.nanmax(self.numbers)
            return f"numbers, {low:g} to {high:g}{missing}"
        first = ", ".join(self._distinct[:3])
        return f"text, {self.distinct:,} different ({first[:60]}){missing}"

    def as_kind(
        self, kind: TargetKind
    ) -> tuple[Float64[np.ndarray, " n"], tuple[str, ...], Bool[np.ndarray, " n"]]:
        """Values (NaN where none), names of classes, and where something stands that is none."""
        known = self.texts != ""
        if kind == "number":
            return self.numbers, (), known & ~np.isfinite(self.numbers)
        if kind == "binary":
            lower = np.char.lower(self.texts.astype(str))
            said = np.where(np.isin(lower, YES), 1.0, np.where(np.isin(lower, NO), 0.0, np.nan))
            return said, (), known & np.isnan(said)
        if self.distinct > MAX_CLASSES:
            raise RecordError(
                f"it has {self.distinct:,} different values; a class has up to {MAX_CLASSES}. "
                "Take it as a number, or put rare classes together."
            )
        index = np.searchsorted(self._distinct, self.texts.astype(str)).astype(np.float64)
        return np.where(known, index, np.nan), tuple(map(str, self._distinct)), ~known & False


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return np.nan


def _cells(column: pa.ChunkedArray) -> tuple[UInt64[np.ndarray, " n"], Bool[np.ndarray, " n"]]:
    """H3 cells and which rows have one; what is no cell at all is 0, and said to be there."""
    if pa.types.is_floating(column.type):
        raise RecordError(
            "cells are written as floating-point numbers, which lose their last digits: write "
            "them as text (862a1072fffffff)."
        )
    if pa.types.is_integer(column.type):
        known = column.is_valid().to_numpy(zero_copy_only=False)
        return pc.fill_null(column, 0).to_numpy(zero_copy_only=False).astype(np.uint64), known
    texts = _Column(column).texts
    cells = np.zeros(len(texts), np.uint64)
    for row, text in enumerate(texts):
        if text:
            cells[row] = _cell(text)
    return cells, texts != ""


def _cell(text: str) -> int:
    # 15 hexadecimal digits, or the same as a whole number, which has 18.
    for base, length in ((16, (15, 16)), (10, (17, 20))):
        if length[0] <= len(text) <= length[1]:
            try:
                return int(text, base)
            except ValueError:
                continue
    return 0
