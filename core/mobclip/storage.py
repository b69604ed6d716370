"""Files written whole or not at all, and read with errors that say what to do."""

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mobclip.errors import ArtefactError


@contextmanager
def atomic_path(path: Path | str) -> Iterator[Path]:
    """Yield a temporary sibling of `path` to be made as a file or a folder.

    It takes the place of `path` when the block ends, and is removed when the block raises
    (Ctrl-C included), so that `path` is always the whole old version or the whole new one.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f".{path.name}.{uuid.uuid4().hex[:8]}.tmp"
    try:
        yield temporary
        if temporary.is_dir() and path.is_dir():
            # A folder cannot be renamed over a full one: step aside, swap, then delete.
            old = path.parent / f".{path.name}.{uuid.uuid4().hex[:8]}.old"
            os.replace(path, old)
            os.replace(temporary, path)
            shutil.rmtree(old)
        else:
            os.replace(temporary, path)
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        else:
            temporary.unlink(missing_ok=True)


class ArrayWriter:
    """A .npy file, written piece by piece along its first axis: for arrays larger than memory.

    Used as a context; the file is whole when the context ends. numpy leaves room in the header
    for the final length.
    """

    def __init__(self, path: Path, dtype: np.dtype | type, item: tuple[int, ...] = ()) -> None:
        self.dtype = np.dtype(dtype)
        self.item = item  # shape of what is counted by `length`: a number, unless said otherwise
        self.length = 0
        self._file = path.open("wb")
        self._write_header()

    def append(self, values: np.ndarray) -> None:
        """Write more values of the dtype."""
        if values.shape[1:] != self.item:
            raise ValueError(f"pieces have the shape (n, *{self.item}), not {values.shape}")
        np.ascontiguousarray(values, self.dtype).tofile(self._file)
        self.length += len(values)

    def __enter__(self) -> "ArrayWriter":
        return self

    def __exit__(self, *_: object) -> None:
        with self._file:
            self._file.seek(0)
            self._write_header()

    def _write_header(self) -> None:
        np.lib.format.write_array_header_1_0(
            self._file,
            {
                "descr": np.lib.format.dtype_to_descr(self.dtype),
                "fortran_order": False,
                "shape": (self.length, *self.item),
            },
        )


def write_parquet(path: Path | str, table: pa.Table) -> None:
    """Write `table` to `path`, atomically, zstd-compressed."""
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


@contextmanager
def _parquet(path: Path) -> Iterator[Path]:
    """Whatever goes wrong with the file inside is said in our words."""
    if not path.is_file():
        raise ArtefactError(
            f"{path} is missing. Run the stage that makes it; `mobclip --help` lists them."
        )
    try:
        yield path
    except (pa.ArrowException, OSError) as error:
        raise ArtefactError(
            f"{path} is not a whole Parquet file ({error}). "
            "Delete it and run the stage that makes it again."
        ) from error


def read_parquet(path: Path | str, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a Parquet file that mobclip wrote; `ArtefactError` if that cannot be done."""
    with _parquet(Path(path)) as path:
        schema = pq.read_schema(path)
        missing = [name for name in columns or () if name not in schema.names]
        if missing:
            raise ArtefactError(
                f"{path} has no column {missing[0]!r}; it has {', '.join(schema.names)}. "
                "Delete it and run the stage that makes it again."
            )
        return pq.read_table(path, columns=list(columns) if columns is not None else None)


def read_schema(path: Path | str) -> pa.Schema:
    """Columns and metadata of a Parquet file, without reading any column."""
    with _parquet(Path(path)) as path:
        return pq.read_schema(path)


def iterate_parquet(
    path: Path | str, columns: Sequence[str], *, rows: int
) -> Iterator[pa.RecordBatch]:
    """Some rows at a time of a Parquet file, for those larger than memory."""
    with _parquet(Path(path)) as path, pq.ParquetFile(path) as file:
        yield from file.iter_batches(rows, columns=list(columns))


def read_footer(path: Path | str) -> dict[str, Any]:
    """The `mobclip` entry of a Parquet footer, without reading any column."""
    path = Path(path)
    if not path.is_file():
        raise ArtefactError(
            f"{path} is missing. Run the stage that makes it; `mobclip --help` lists them."
        )
    try:
        header: dict[str, Any] = json.loads((pq.read_schema(path).metadata or {})[b"mobclip"])
    except (pa.ArrowException, OSError, KeyError) as error:
        raise ArtefactError(
            f"{path} is not a whole Parquet file of mobclip ({error!r}). "
            "Delete it and run the stage that makes it again."
        ) from error
    return header


def write_json(path: Path | str, value: Any) -> None:
    """Write `value` to `path` as indented JSON, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", "utf-8")


def read_json(path: Path | str) -> Any:
    """Read a JSON file that mobclip wrote; `ArtefactError` if that cannot be done."""
    path = Path(path)
    try:
        return json.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise ArtefactError(
            f"{path} is missing. Run the stage that makes it; `mobclip --help` lists them."
        ) from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ArtefactError(
            f"{path} is not whole JSON ({error}). Delete it and run the stage that makes it again."
        ) from error


def file_sha256(path: Path | str) -> str:
    """SHA-256 of the bytes of a file, as 64 hexadecimal digits."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest(value: Any) -> str:
    """16 hexadecimal digits that stand for any JSON-able value, the same on every machine."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:16]
