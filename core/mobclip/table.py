"""CellTable: the tokens of one modality, keyed by cell."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float, Float32, UInt64

from mobclip import grid
from mobclip.errors import ArtefactError
from mobclip.storage import read_parquet, write_parquet


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
        bad = ~np.isfinite(self.values).all(axis=1)
        if bad.any():
            cell = grid.to_strings(self.cells[bad][:1])[0]
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
        """Read what `save` wrote; `ArtefactError` if it is missing, truncated or not one."""
        table = read_parquet(path)
        metadata = table.schema.metadata or {}
        if b"modality" not in metadata or "cell" not in table.column_names:
            raise ArtefactError(f"{path} is not a cell table. Run `mobclip tokenize` again.")
        columns = tuple(name for name in table.column_names if name not in ("cell", "h3"))
        values = np.empty((table.num_rows, len(columns)), np.float32)
        for i, name in enumerate(columns):
            values[:, i] = table[name].to_numpy()
        return cls(
            modality=metadata[b"modality"].decode(),
            cells=table["cell"].to_numpy(),
            values=values,
            columns=columns,
        )
