"""A table that somebody brought, read from bytes within bounds."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.csv as pc_csv
import pyarrow.parquet as pq

from mobclip.errors import RecordError
from mobclip.evaluation.external import CSV, PARQUET

MAX_BYTES = 50 * 2**20  # of the file
MAX_UNPACKED = 512 * 2**20  # of the columns of a Parquet file
MAX_ROWS = 2_000_000
MAX_COLUMNS = 500


@dataclass(frozen=True, kw_only=True)
class TableFile:
    """A table in memory, every column as text or numbers."""

    name: str  # of the file
    table: pa.Table
    crs: str = ""  # of its geometry, where that is not degrees WGS84
    ignored: tuple[str, ...] = ()  # columns of kinds that are no values: lists, structs
    broken: tuple[tuple[int, str], ...] = ()  # rows with another number of values: number, text

    @staticmethod
    def read(data: bytes, name: str) -> "TableFile":
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


def _read_csv(data: bytes, name: str) -> TableFile:
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
    return TableFile(name=name, table=table, broken=tuple(broken))


def _read_parquet(data: bytes, name: str) -> TableFile:
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
    return TableFile(name=name, table=plain, crs=crs, ignored=ignored)


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
