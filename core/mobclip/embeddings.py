"""Embeddings: the artefact that search, maps and probes read. numpy and pyarrow only."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float32, UInt64

from mobclip import grid
from mobclip.errors import ArtefactError, CellError
from mobclip.storage import read_parquet, write_parquet


@dataclass(frozen=True, kw_only=True)
class Embeddings:
    """One vector per cell, from one run."""

    name: str  # the run that made them, e.g. "mobclip-paper"
    cells: UInt64[np.ndarray, "cells"]  # sorted, unique, one resolution
    vectors: Float32[np.ndarray, "cells dims"]  # finite; NOT normalised: length carries magnitude
    present: Mapping[str, Bool[np.ndarray, "cells"]] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)  # what made them, JSON-able

    def __post_init__(self) -> None:
        grid.check_cells(self.cells)
        if self.vectors.ndim != 2 or len(self.vectors) != len(self.cells):
            raise ArtefactError(
                f"{self.name}: {self.vectors.shape} vectors for {len(self.cells)} cells."
            )
        bad = ~np.isfinite(self.vectors).all(axis=1)
        if bad.any():
            cell = grid.to_strings(self.cells[bad][:1])[0]
            raise ArtefactError(f"{self.name}: the vector of cell {cell} is not finite.")

    @property
    def dims(self) -> int:
        """Length of a vector."""
        return int(self.vectors.shape[1])

    def rows(self, cells: UInt64[np.ndarray, " n"]) -> np.ndarray:
        """(n,) row numbers of `cells`; `CellError` names the first that is unknown."""
        row, known = grid.locate(self.cells, np.asarray(cells, np.uint64))
        if not known.all():
            unknown = grid.to_strings(np.asarray(cells, np.uint64)[~known][:1])[0]
            raise CellError(
                f"cell {unknown} is not among the {len(self.cells):,} cells of {self.name!r} "
                f"(resolution {grid.resolution_of(self.cells)}). Pick a cell of this place."
            )
        return row

    def at(self, cells: UInt64[np.ndarray, " n"]) -> Float32[np.ndarray, "n dims"]:
        """Vectors of `cells`, in their order; `CellError` if one is unknown."""
        return self.vectors[self.rows(cells)]

    def unit(self) -> Float32[np.ndarray, "cells dims"]:
        """Vectors divided by their length; a zero vector stays zero."""
        return unit_rows(self.vectors)

    def save(self, path: Path | str) -> None:
        """Write GeoParquet with footer metadata, after the GeoEmbedding conventions.

        Columns: `h3` (string), `cell` (uint64), `geometry` (WKB point, cell centre),
        `embedding` (fixed-size list of float32), `present_<modality>` (bool). The footer key
        `mobclip` holds name, dims, resolution, normalised flag and provenance.
        """
        lonlat = grid.centers(self.cells)
        columns: dict[str, Any] = {
            "h3": pa.array(grid.to_strings(self.cells)),
            "cell": pa.array(self.cells),
            "geometry": _wkb_points(lonlat),
            "embedding": pa.FixedSizeListArray.from_arrays(
                pa.array(self.vectors.ravel()), self.dims
            ),
            **{f"present_{name}": pa.array(mask) for name, mask in self.present.items()},
        }
        header = {
            "name": self.name,
            "dims": self.dims,
            "resolution": grid.resolution_of(self.cells),
            "normalised": False,
            "provenance": dict(self.provenance),
        }
        geo = {
            "version": "1.1.0",
            "primary_column": "geometry",
            "columns": {"geometry": {"encoding": "WKB", "geometry_types": ["Point"]}},
        }
        table = pa.table(columns).replace_schema_metadata(
            {"mobclip": json.dumps(header), "geo": json.dumps(geo)}
        )
        write_parquet(path, table)

    @classmethod
    def load(cls, path: Path | str) -> "Embeddings":
        """Read what `save` wrote; `ArtefactError` if it is missing, truncated or not one."""
        table = read_parquet(path)
        metadata = table.schema.metadata or {}
        if b"mobclip" not in metadata or "embedding" not in table.column_names:
            raise ArtefactError(f"{path} holds no embeddings. Run `mobclip embed` again.")
        header = json.loads(metadata[b"mobclip"])
        embedding = table["embedding"].combine_chunks()
        prefix = "present_"
        return cls(
            name=header["name"],
            cells=table["cell"].to_numpy(),
            vectors=embedding.flatten().to_numpy().reshape(-1, header["dims"]),
            present={
                name.removeprefix(prefix): table[name].to_numpy()
                for name in table.column_names
                if name.startswith(prefix)
            },
            provenance=header["provenance"],
        )


def unit_rows(vectors: Float32[np.ndarray, "n dims"]) -> Float32[np.ndarray, "n dims"]:
    """Each row divided by its length; a zero row stays zero."""
    norm = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.where(norm > 0, norm, 1)).astype(np.float32)


def _wkb_points(lonlat: np.ndarray) -> pa.Array:
    """WKB of points: byte order 1, type 1, then x and y as little-endian doubles."""
    record = np.empty(len(lonlat), dtype=[("order", "u1"), ("type", "<u4"), ("xy", "<f8", 2)])
    record["order"], record["type"], record["xy"] = 1, 1, lonlat
    offsets = np.arange(len(lonlat) + 1, dtype=np.int32) * record.itemsize
    return pa.Array.from_buffers(
        pa.binary(), len(lonlat), [None, pa.py_buffer(offsets), pa.py_buffer(record.tobytes())]
    )
