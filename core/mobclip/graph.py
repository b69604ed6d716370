"""MobilityGraph: flows between cells as one directed, weighted, memory-mapped CSR matrix."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float32, Int32, Int64, UInt64
from scipy import sparse

from mobclip import grid
from mobclip.errors import ArtefactError, CellError
from mobclip.storage import atomic_path, read_json, write_json

Normalisation = Literal["symmetric", "out", "in"]


@dataclass(frozen=True, kw_only=True)
class MobilityGraph:
    """Directed flows: row = origin, column = destination, weight > 0, duplicates summed.

    Every cell of the place is a node, with or without flows; nodes are in H3 order, which keeps
    neighbours close in memory. The diagonal is empty: flows inside a cell are counted in `report`.
    """

    cells: UInt64[np.ndarray, "cells"]  # sorted, unique, one resolution
    indptr: Int64[np.ndarray, " rows"]  # cells + 1: where each row starts
    indices: Int32[np.ndarray, "edges"]  # column numbers, sorted within a row
    weights: Float32[np.ndarray, "edges"]
    report: Mapping[str, Any] = field(default_factory=dict)  # what was read and what was left out

    def __post_init__(self) -> None:
        grid.check_cells(self.cells)
        if len(self.indptr) != len(self.cells) + 1 or self.indptr[-1] != len(self.indices):
            raise ArtefactError(
                f"graph arrays do not fit together: {len(self.cells)} cells, "
                f"{len(self.indptr)} row pointers, {len(self.indices)} edges."
            )

    @classmethod
    def from_edges(
        cls,
        cells: UInt64[np.ndarray, "cells"],
        origin: UInt64[np.ndarray, " m"],
        destination: UInt64[np.ndarray, " m"],
        weight: np.ndarray,
        report: Mapping[str, Any] | None = None,
    ) -> "MobilityGraph":
        """Sum flows between cells into a graph.

        Flows inside a cell and flows with an end outside `cells` are left out; their weight is
        reported under `self_flow_weight` and `outside_weight`.
        """
        row, row_known = grid.locate(cells, origin)
        column, column_known = grid.locate(cells, destination)
        known = row_known & column_known
        inside = known & (row == column)
        keep = known & ~inside
        matrix = sparse.coo_array(
            (np.asarray(weight, np.float64)[keep], (row[keep], column[keep])),
            shape=(len(cells), len(cells)),
        ).tocsr()
        return cls.from_matrix(
            cells,
            matrix,
            {
                **(report or {}),
                "weight": float(np.sum(weight)),
                "self_flow_weight": float(np.sum(weight[inside])),
                "outside_weight": float(np.sum(weight[~known])),
            },
        )

    @classmethod
    def from_matrix(
        cls,
        cells: UInt64[np.ndarray, "cells"],
        matrix: sparse.csr_array,
        report: Mapping[str, Any] | None = None,
    ) -> "MobilityGraph":
        """Take over a (cells × cells) matrix with an empty diagonal; zeros are dropped."""
        matrix = sparse.csr_array(matrix)
        if (matrix.data < 0).any():
            raise CellError("negative flow weights: a flow is a count or an amount, 0 or more.")
        matrix.eliminate_zeros()
        matrix.sum_duplicates()
        return cls(
            cells=cells,
            indptr=matrix.indptr.astype(np.int64),
            indices=matrix.indices.astype(np.int32),
            weights=matrix.data.astype(np.float32),
            report={**(report or {}), "edges": int(matrix.nnz)},
        )

    @property
    def matrix(self) -> sparse.csr_array:
        """The directed matrix, without a copy."""
        n = len(self.cells)
        return sparse.csr_array((self.weights, self.indices, self.indptr), shape=(n, n))

    @property
    def out_strength(self) -> Float32[np.ndarray, "cells"]:
        """Weight leaving each cell."""
        return np.asarray(self.matrix.sum(axis=1), np.float32).ravel()

    @property
    def in_strength(self) -> Float32[np.ndarray, "cells"]:
        """Weight arriving in each cell."""
        return np.asarray(self.matrix.sum(axis=0), np.float32).ravel()

    @property
    def present(self) -> np.ndarray:
        """(cells,) bool: whether the cell has any flow."""
        return (self.out_strength + self.in_strength) > 0

    def symmetrised(self) -> sparse.csr_array:
        """A + Aᵀ, the undirected graph of the model."""
        return sparse.csr_array(self.matrix + self.matrix.T)

    def normalised(self, kind: Normalisation) -> sparse.csr_array:
        """One propagation step as a matrix P; rows of cells without flow are empty.

        ``symmetric``: D^-1/2 S D^-1/2 with S = A + Aᵀ and D its row sums (LightGCN, He et al.
        2020, eq. 4; MobCLIP). Keeps degree: busy cells get larger values.
        ``out``: D_out^-1 A, the mean over the destinations of a cell's flows.
        ``in``: D_in^-1 Aᵀ, the mean over the origins of the flows into a cell.
        """
        if kind == "symmetric":
            matrix = self.symmetrised()
            scale = _inverse(np.sqrt(matrix.sum(axis=1)))
            normal = sparse.diags_array(scale) @ matrix @ sparse.diags_array(scale)
        elif kind == "out":
            normal = sparse.diags_array(_inverse(self.out_strength)) @ self.matrix
        else:
            normal = sparse.diags_array(_inverse(self.in_strength)) @ self.matrix.T
        return sparse.csr_array(normal).astype(np.float32)

    def restrict(self, cells: UInt64[np.ndarray, " kept"]) -> "MobilityGraph":
        """The graph among `cells` (sorted, unique); unknown cells become nodes without flow."""
        row, known = grid.locate(self.cells, cells)
        pick = sparse.csr_array(
            (np.ones(int(known.sum())), (np.flatnonzero(known), row[known])),
            shape=(len(cells), len(self.cells)),
        )
        return MobilityGraph.from_matrix(cells, pick @ self.matrix @ pick.T, self.report)

    def save(self, folder: Path | str) -> None:
        """Write a folder of .npy arrays that memory-map, and report.json; atomic."""
        with atomic_path(folder) as temporary:
            temporary.mkdir()
            for name in ("cells", "indptr", "indices", "weights"):
                np.save(temporary / f"{name}.npy", getattr(self, name))
            write_json(temporary / "report.json", dict(self.report))

    @classmethod
    def load(cls, folder: Path | str, *, mmap: bool = True) -> "MobilityGraph":
        """Read what `save` wrote; with `mmap`, edges stay on disk until they are touched."""
        folder = Path(folder)
        arrays = {}
        for name in ("cells", "indptr", "indices", "weights"):
            try:
                arrays[name] = np.load(
                    folder / f"{name}.npy",
                    mmap_mode="r" if mmap and name in ("indices", "weights") else None,
                    allow_pickle=False,
                )
            except (OSError, ValueError, EOFError) as error:
                raise ArtefactError(
                    f"{folder / name}.npy is missing or truncated ({error}). "
                    "Run `mobclip tokenize` again."
                ) from error
        return cls(**arrays, report=read_json(folder / "report.json"))


def _inverse(values: np.ndarray) -> np.ndarray:
    values = np.asarray(values, np.float64).ravel()
    return np.divide(1.0, values, out=np.zeros_like(values), where=values > 0)
