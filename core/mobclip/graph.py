"""MobilityGraph: flows between cells as one directed, weighted, memory-mapped CSR matrix."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float32, Float64, Int32, Int64, UInt8, UInt16, UInt64
from scipy import sparse

from mobclip import grid
from mobclip.errors import ArtefactError, CellError, ConfigError
from mobclip.storage import ArrayWriter, atomic_path, read_json, write_json

Normalisation = Literal["symmetric", "out", "in"]
PARTS = 5  # of the pairs of cells, in `hold_out`
IN_MEMORY = 100_000_000  # directed edges; `undirected` of larger graphs is made on disk
PARTITION = 30_000_000  # edges symmetrised or scanned at once, there: about 1 GB


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
    folder: Path | None = None  # where it was loaded from

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

    def undirected(self) -> "Undirected":
        """A + Aᵀ for products; of a large graph on disk, made once beside the graph.

        The disk then holds 5 to 8 bytes for each entry; memory is that of `PARTITION` edges.
        """
        if self.folder is None or len(self.indices) <= IN_MEMORY:
            matrix = self.symmetrised()
            return Undirected.of(
                matrix.indptr, matrix.indices, matrix.data.astype(self._narrowest())
            )
        folder = self.folder / "undirected"
        if not folder.is_dir():
            with atomic_path(folder) as temporary:
                self._write_undirected(temporary)
        return Undirected.load(folder)

    def _narrowest(self) -> type[np.uint8 | np.uint16 | np.float32]:
        """The smallest type that holds every weight of A + Aᵀ exactly."""
        largest = 0.0
        for start in range(0, len(self.weights), PARTITION):
            part = self.weights[start : start + PARTITION]
            if (part != np.floor(part)).any():
                return np.float32
            largest = max(largest, 2 * float(part.max()))
        return np.uint8 if largest < 2**8 else np.uint16 if largest < 2**16 else np.float32

    def _write_undirected(self, folder: Path) -> None:
        """Row range by row range: the rows of A, plus the entries of A in those columns."""
        folder.mkdir()
        n = len(self.cells)
        degree = np.diff(self.indptr)
        for _, _, columns, _ in self._chunks():
            degree = degree + np.bincount(columns, minlength=n)
        indptr = [0]
        with (
            ArrayWriter(folder / "indices.npy", np.int32) as indices,
            ArrayWriter(folder / "weights.npy", self._narrowest()) as weights,
        ):
            for start, stop in _ranges(np.concatenate([[0], np.cumsum(degree)])):
                both = self._rows_of_both(start, stop)
                indices.append(both.indices)
                weights.append(both.data)
                indptr.extend(indptr[-1] + both.indptr[1:])
        np.save(folder / "indptr.npy", np.array(indptr, np.int64))

    def _rows_of_both(self, start: int, stop: int) -> sparse.csr_array:
        """Rows `start` ... `stop` of A + Aᵀ."""
        shape = (stop - start, len(self.cells))
        first, last = self.indptr[start], self.indptr[stop]
        own = sparse.csr_array(
            (
                self.weights[first:last],
                self.indices[first:last],
                (self.indptr[start : stop + 1] - first).astype(np.int32),
            ),
            shape=shape,
        )
        found = []
        for row, per_row, columns, weights in self._chunks():
            here = np.flatnonzero((columns >= start) & (columns < stop))
            origin = np.repeat(np.arange(row, row + len(per_row), dtype=np.int32), per_row)
            found.append((columns[here] - start, origin[here], weights[here]))
        column, origin, weight = (np.concatenate(part) for part in zip(*found, strict=True))
        return sparse.csr_array(own + sparse.csr_array((weight, (column, origin)), shape=shape))

    def _chunks(self) -> Iterator[tuple[int, np.ndarray, np.ndarray, np.ndarray]]:
        """First row, edges per row, columns and weights of consecutive rows."""
        for start, stop in _ranges(self.indptr):
            edges = slice(self.indptr[start], self.indptr[stop])
            per_row = np.diff(self.indptr[start : stop + 1])
            yield start, per_row, self.indices[edges], self.weights[edges]

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
        return cls(**arrays, report=read_json(folder / "report.json"), folder=folder)


@dataclass(frozen=True, kw_only=True)
class Undirected:
    """S = A + Aᵀ as CSR, with D^-1/2: what the propagation P = D^-1/2 S D^-1/2 is made of.

    P itself is not kept: weights stay counts of one or two bytes where they are, and the scale is
    applied on both sides of a product.
    """

    indptr: Int64[np.ndarray, " rows"]  # cells + 1
    indices: Int32[np.ndarray, "edges"]  # sorted within a row; each edge is there twice
    weights: UInt8[np.ndarray, "edges"] | UInt16[np.ndarray, "edges"] | Float32[np.ndarray, "edges"]
    strength: Float64[np.ndarray, "cells"]  # row sums, the diagonal of D

    @classmethod
    def of(cls, indptr: np.ndarray, indices: np.ndarray, weights: np.ndarray) -> "Undirected":
        """With the strength that follows from the rest."""
        strength = np.zeros(len(indptr) - 1)
        for start, stop in _ranges(indptr):
            filled = start + np.flatnonzero(np.diff(indptr[start : stop + 1]))
            if len(filled):
                part = weights[indptr[start] : indptr[stop]]
                starts = indptr[filled] - indptr[start]
                strength[filled] = np.add.reduceat(part, starts, dtype=np.float64)
        return cls(
            indptr=indptr.astype(np.int64),
            indices=indices.astype(np.int32, copy=False),
            weights=weights,
            strength=strength,
        )

    @classmethod
    def load(cls, folder: Path) -> "Undirected":
        """Memory-mapped."""
        indptr, indices, weights = (
            np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
            for name in ("indptr", "indices", "weights")
        )
        return cls.of(np.array(indptr), indices, weights)

    def __len__(self) -> int:
        return len(self.strength)

    @cached_property
    def scale(self) -> Float32[np.ndarray, "cells"]:
        """D^-1/2; 0 for cells without flow."""
        return _inverse(np.sqrt(self.strength)).astype(np.float32)

    def parts(self) -> Iterator[tuple[slice, sparse.csr_array]]:
        """Rows of S in float64, as many at a time as make `PARTITION` edges."""
        for start, stop in _ranges(self.indptr):
            edges = slice(self.indptr[start], self.indptr[stop])
            starts = self.indptr[start : stop + 1] - self.indptr[start]
            rows = sparse.csr_array(
                (
                    self.weights[edges].astype(np.float64),
                    np.asarray(self.indices[edges]),
                    starts.astype(np.int32),
                ),
                shape=(stop - start, len(self)),
            )
            yield slice(start, stop), rows

    @property
    def edges(self) -> int:
        """Stored entries: two for each pair of cells."""
        return len(self.indices)


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """The flows of a graph in three: what embeddings see, a probe learns from, and is tested on."""

    seen: MobilityGraph  # parts 2, 3 and 4 of the pairs of cells: about three fifths
    learned: MobilityGraph  # part 1: hidden from embeddings, shown to the probe
    tested: MobilityGraph  # part 0: shown to nobody
    parents: UInt64[np.ndarray, "cells"]  # H3 parent of each cell
    group: Int64[np.ndarray, "cells"]  # of its parent, 0 ... PARTS - 1

    def parts_of(self, row: int) -> Int64[np.ndarray, "cells"]:
        """Part of the pairs of one cell, given by its row number, with every cell."""
        return (self.group[row] + self.group) % PARTS


def hold_out(graph: MobilityGraph, *, rng: np.random.Generator) -> HeldOut:
    """Hide all flows between some H3 parents, in both directions, from whoever makes embeddings.

    Parents are dealt into five groups. A pair of cells belongs to the part (sum of the groups of
    their parents) mod 5: a Latin square. So each cell is cut off from all parents of one group,
    a fifth of the place, and the flows of many origins into one destination are hidden together,
    which co-visitation needs. A second fifth is hidden for the probe: one that learns from flows
    that the embedding has seen learns to read them off, and fails where there is nothing to read
    (the disjoint supervision edges of link prediction, e.g. `RandomLinkSplit` of PyTorch
    Geometric).

    Parents are two resolutions coarser than the cells: 49 cells, about seven wide. Flows of zones
    are spread over the cells of a zone by area, so neighbouring pairs share one value; with
    parents wider than zones only pairs at their rims have such a twin on the other side. Where
    that leaves fewer than ten parents, they are one resolution coarser.

    The busiest five parents are dealt one to each group, then the next five: the parts are of
    similar weight.

    Raises
    ------
    ConfigError : fewer than ten parents
    """
    parents = _parents(graph.cells)
    names, of_cell = np.unique(parents, return_inverse=True)
    strength = np.bincount(
        of_cell, weights=graph.out_strength.astype(np.float64) + graph.in_strength
    )
    group = np.empty(len(names), np.int64)
    busiest = np.argsort(-strength, kind="stable")
    for start in range(0, len(names), PARTS):
        dealt = busiest[start : start + PARTS]
        group[dealt] = rng.permutation(PARTS)[: len(dealt)]
    of_cell = group[of_cell]
    # One byte per edge: a graph of 30 million edges is cut in three with 60 MB more.
    small = of_cell.astype(np.int8)
    part = (np.repeat(small, np.diff(graph.indptr)) + small[graph.indices]) % PARTS
    tested, learned = part == 0, part == 1
    return HeldOut(
        seen=_some_edges(graph, ~(tested | learned)),
        learned=_some_edges(graph, learned),
        tested=_some_edges(graph, tested),
        parents=parents,
        group=of_cell,
    )


def _parents(cells: UInt64[np.ndarray, "cells"]) -> UInt64[np.ndarray, "cells"]:
    resolution = grid.resolution_of(cells)
    for coarser in (resolution - 2, resolution - 1):
        if coarser >= 0:
            parents = grid.parents(cells, coarser)
            if len(np.unique(parents)) >= 2 * PARTS:
                return parents
    raise ConfigError(
        f"{len(cells)} cells of resolution {resolution} lie in fewer than {2 * PARTS} H3 parents: "
        "too few to hold out the flows between some of them. Take a larger place or finer cells."
    )


def _some_edges(graph: MobilityGraph, keep: np.ndarray) -> MobilityGraph:
    """The same nodes with the edges of a (edges,) mask."""
    indptr = np.concatenate([[0], np.cumsum(keep)])[graph.indptr]
    return MobilityGraph(
        cells=graph.cells,
        indptr=indptr.astype(np.int64),
        indices=graph.indices[keep],
        weights=graph.weights[keep],
        report={**graph.report, "edges": int(keep.sum())},
    )


def _ranges(indptr: np.ndarray) -> Iterator[tuple[int, int]]:
    """Consecutive rows of about `PARTITION` edges, at least one row."""
    start, rows = 0, len(indptr) - 1
    while start < rows:
        fits = int(np.searchsorted(indptr, indptr[start] + PARTITION, side="right")) - 1
        stop = min(max(fits, start + 1), rows)
        yield start, stop
        start = stop


def _inverse(values: np.ndarray) -> np.ndarray:
    values = np.asarray(values, np.float64).ravel()
    return np.divide(1.0, values, out=np.zeros_like(values), where=values > 0)
