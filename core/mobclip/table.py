"""CellTable: the tokens of one modality, keyed by cell."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float, Float32, UInt64

from mobclip import grid
from mobclip.errors import ArtefactError
from mobclip.storage import (
    ArrayWriter,
    atomic_path,
    iterate_parquet,
    read_parquet,
    read_schema,
    write_parquet,
)

IN_MEMORY = 2_000_000_000  # bytes of values; those of a larger table are memory-mapped
ROWS_AT_ONCE = 65_536


@dataclass(frozen=True, kw_only=True)
class CellTable:
    """All tokens of one modality. A cell that is not in `cells` has no token: absent, not zero."""

    modality: str
    cells: UInt64[np.ndarray, "cells"]  # sorted, unique, one resolution
    values: Float32[np.ndarray, "cells dims"]  # finite
    columns: tuple[str, ...]  # one name per dim, `<kind>_<what>`

    def __post_init__(self) -> None:
        grid.check_cells(self.cells)
        expected = (len(self.cells), len(self.columns))
        if self.values.shape != expected:
            raise ArtefactError(
                f"{self.modality}: values have shape {self.values.shape}, "
                f"but cells and columns make {expected}."
            )
        if len(set(self.columns)) != len(self.columns):
            raise ArtefactError(f"{self.modality}: column names repeat: {self.columns}.")
        for start in range(0, len(self.values), ROWS_AT_ONCE):
            part = slice(start, start + ROWS_AT_ONCE)
            bad = ~np.isfinite(self.values[part]).all(axis=1)
            if bad.any():
                cell = grid.to_strings(self.cells[part][bad][:1])[0]
                raise ArtefactError(
                    f"{self.modality}: the token of cell {cell} is not finite. "
                    "A cell without evidence is left out of the table."
                )

    def aligned(
        self, cells: UInt64[np.ndarray, " n"]
    ) -> tuple[Float32[np.ndarray, "n dims"], Bool[np.ndarray, " n"]]:
        """Values in the order of `cells` (zero where absent) and the presence mask."""
        row, present = grid.locate(self.cells, cells)
        if len(self.cells) == 0:
            return np.zeros((len(cells), len(self.columns)), np.float32), present
        return np.where(present[:, None], self.values[row], np.float32(0)), present

    def restrict(self, cells: UInt64[np.ndarray, " kept"]) -> "CellTable":
        """The tokens of `cells` (sorted, unique) alone; those without one stay without."""
        kept = grid.locate(cells, self.cells)[1]
        return replace(self, cells=self.cells[kept], values=self.values[kept])

    def column(self, name: str) -> Float[np.ndarray, "cells"]:
        """Values of one named column."""
        return self.values[:, self.columns.index(name)]

    def save(self, path: Path | str) -> None:
        """Write as Parquet: `cell` (uint64), `h3` (string) and one float32 column per dim."""
        data = {
            "cell": pa.array(self.cells),
            "h3": pa.array(grid.to_strings(self.cells)),
            **{name: pa.array(self.values[:, i]) for i, name in enumerate(self.columns)},
        }
        table = pa.table(data).replace_schema_metadata({"modality": self.modality})
        write_parquet(path, table)

    @classmethod
    def load(cls, path: Path | str) -> "CellTable":
        """Read what `save` wrote; `ArtefactError` if it is missing, truncated or not one.

        Values of a large table stay on disk until they are touched, in an array that is made
        beside the file when it is loaded for the first time.
        """
        path = Path(path)
        schema = read_schema(path)
        metadata = schema.metadata or {}
        if b"modality" not in metadata or "cell" not in schema.names:
            raise ArtefactError(f"{path} is not a cell table. Run `mobclip tokenize` again.")
        columns = tuple(name for name in schema.names if name not in ("cell", "h3"))
        cells = read_parquet(path, ["cell"])["cell"].to_numpy()
        if 4 * len(cells) * len(columns) > IN_MEMORY:
            values = _mapped(path, columns)
        else:
            table = read_parquet(path, columns)
            values = np.empty((len(cells), len(columns)), np.float32)
            for i, name in enumerate(columns):
                values[:, i] = table[name].to_numpy()
        return cls(
            modality=metadata[b"modality"].decode(), cells=cells, values=values, columns=columns
        )


def _mapped(path: Path, columns: tuple[str, ...]) -> Float32[np.ndarray, "cells dims"]:
    """Values of a table as a memory-mapped array beside it, made anew if the table is newer."""
    array = path.with_suffix(".values.npy")
    if not array.is_file() or array.stat().st_mtime_ns < path.stat().st_mtime_ns:
        with atomic_path(array) as temporary, ArrayWriter(temporary, np.float32) as writer:
            for batch in iterate_parquet(path, columns, rows=ROWS_AT_ONCE):
                writer.append(np.column_stack([column.to_numpy() for column in batch]).ravel())
    return np.load(array, mmap_mode="r", allow_pickle=False).reshape(-1, len(columns))
