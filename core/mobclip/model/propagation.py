"""One step of smoothing over the mobility graph, as a linear operator.

P = D^-1/2 (A + Aᵀ) D^-1/2 is symmetric: it is its own transpose, which is what gradients need.
There are two back ends: numba on the CPU, which reads the graph where it lies (memory-mapped, if it
is large) and needs no memory of its own, and torch's CSR, which lies on the device.
"""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float32, Int64
from torch import Tensor

from mobclip.graph import Undirected
from mobclip.model import kernels


@runtime_checkable
class Rows(Protocol):
    """Some rows of P, each at most once, ready for a product and for its transpose."""

    def gather(self, x: Float32[Tensor, "cells dims"]) -> Float32[Tensor, "rows dims"]:
        """P[rows] x."""

    def spread(self, x: Float32[Tensor, "rows dims"]) -> Float32[Tensor, "cells dims"]:
        """P[rows]ᵀ x."""


class Propagation(ABC):
    """P: ``propagation @ x`` for all cells, ``propagation.cut(rows)`` for some of them.

    Products are new tensors without a gradient; `LightGCN` differentiates what it makes of them.
    """

    @staticmethod
    def of(graph: Undirected, device: torch.device | str = "cpu") -> "Propagation":
        """P of a graph, on the device where it is to be used."""
        if torch.device(device).type == "cpu":
            return CompiledPropagation(graph)
        return TensorPropagation(graph, device)

    @abstractmethod
    def __matmul__(self, x: Float32[Tensor, "cells dims"]) -> Float32[Tensor, "cells dims"]:
        """P x."""

    @abstractmethod
    def cut(self, rows: Int64[Tensor, " rows"]) -> Rows:
        """Some rows of P."""


# ---- the CPU -------------------------------------------------------------------------------------

BLOCK = 2_000_000  # edges that a thread takes at a time


class CompiledPropagation(Propagation):
    """On the CPU, by numba (`kernels`), on as many threads as torch has.

    Rows are computed whole, each by one thread, in the order in which they lie: results do not
    depend on the number of threads.
    """

    def __init__(self, graph: Undirected) -> None:
        self.graph = graph

    def __matmul__(self, x: Tensor) -> Tensor:
        return self.cut(torch.arange(len(self.graph))).gather(x)

    def cut(self, rows: Tensor) -> "_CompiledRows":
        """The row numbers: the graph is read where it lies."""
        return _CompiledRows(self.graph, rows.numpy())


class _CompiledRows:
    def __init__(self, graph: Undirected, rows: np.ndarray) -> None:
        self.graph, self.rows = graph, rows
        self.arrays = (graph.indptr, graph.indices, graph.weights, graph.scale)

    def gather(self, x: Tensor) -> Tensor:
        source = x.detach().contiguous().numpy()
        out = np.empty((len(self.rows), source.shape[1]), np.float32)
        edges = self.graph.indptr[self.rows + 1] - self.graph.indptr[self.rows]

        def work(start: int, stop: int) -> None:
            kernels.gather(*self.arrays, source, self.rows[start:stop], out[start:stop])

        _share(work, np.cumsum(edges))
        return torch.from_numpy(out)

    def spread(self, x: Tensor) -> Tensor:
        source = x.detach().contiguous().numpy()
        position = np.full(len(self.graph), -1, np.int32)
        number = np.arange(len(self.rows), dtype=np.int32)
        position[self.rows] = number
        if (position[self.rows] != number).any():
            raise ValueError("a batch has each cell once: its gradient is spread cell by cell.")
        out = np.empty((len(self.graph), source.shape[1]), np.float32)

        def work(start: int, stop: int) -> None:
            kernels.spread(*self.arrays, source, position, start, stop, out)

        _share(work, self.graph.indptr[1:])
        return torch.from_numpy(out)


def _share(work: Callable[[int, int], None], ends: np.ndarray) -> None:
    """Call `work(start, stop)` on ranges of items of like cost, given its running sum."""
    threads = torch.get_num_threads()
    if threads == 1:
        work(0, len(ends))
        return
    blocks = max(threads, int(ends[-1] // BLOCK))
    cuts = np.searchsorted(ends, np.linspace(0, ends[-1], blocks + 1)[1:-1])
    bounds = [0, *cuts.tolist(), len(ends)]
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, bounds[:-1], bounds[1:]))


# ---- devices -------------------------------------------------------------------------------------


class TensorPropagation(Propagation):
    """By torch's CSR (cuSPARSE on a GPU): 8 bytes per edge, on the device.

    The rows of a batch are cut on the device too.
    """

    def __init__(self, graph: Undirected, device: torch.device | str) -> None:
        scale = torch.from_numpy(graph.scale)
        # Below 2³¹ edges int32 is enough: half the memory, and faster.
        index = torch.int32 if graph.edges < 2**31 else torch.int64
        values = torch.from_numpy(np.asarray(graph.weights, np.float32))
        values = values * scale[torch.from_numpy(np.array(graph.indices))]
        values *= torch.repeat_interleave(scale, torch.from_numpy(np.diff(graph.indptr)))
        self.indptr = torch.from_numpy(graph.indptr).to(device, index)
        self.indices = torch.from_numpy(np.array(graph.indices)).to(device, index)
        self.values = values.to(device)
        self.cells = len(graph)
        self.matrix = _csr(self.indptr, self.indices, self.values, (self.cells, self.cells))

    def __matmul__(self, x: Tensor) -> Tensor:
        return self.matrix @ x.detach().contiguous()

    def cut(self, rows: Tensor) -> "_TensorRows":
        """Copy the rows out of the matrix, on the device."""
        first = self.indptr[rows].long()
        per_row = self.indptr[rows + 1].long() - first
        ends = per_row.cumsum(0)
        edges = int(ends[-1])
        row = torch.repeat_interleave(
            torch.arange(len(rows), device=rows.device), per_row, output_size=edges
        )
        # Edge number: where the row starts in P, and how far into the row.
        within = torch.arange(edges, device=rows.device) - (ends - per_row)[row]
        edge = first[row] + within
        return _TensorRows(
            row=row, column=self.indices[edge], value=self.values[edge], ends=ends, cells=self.cells
        )


class _TensorRows:
    def __init__(
        self, *, row: Tensor, column: Tensor, value: Tensor, ends: Tensor, cells: int
    ) -> None:
        self.row, self.column, self.value = row, column, value
        self.ends, self.cells = ends, cells

    def gather(self, x: Tensor) -> Tensor:
        indptr = torch.cat([self.ends.new_zeros(1), self.ends]).to(self.column.dtype)
        shape = (len(self.ends), self.cells)
        return _csr(indptr, self.column, self.value, shape) @ x.contiguous()

    def spread(self, x: Tensor) -> Tensor:
        # The transpose in CSR: edges by column. A scatter would add in an order of its own.
        column, order = torch.sort(self.column, stable=True)
        counts = torch.bincount(column, minlength=self.cells)
        indptr = torch.cat([counts.new_zeros(1), counts.cumsum(0)]).to(column.dtype)
        shape = (self.cells, len(self.ends))
        transpose = _csr(indptr, self.row[order].to(column.dtype), self.value[order], shape)
        return transpose @ x.contiguous()


def _csr(indptr: Tensor, indices: Tensor, values: Tensor, shape: tuple[int, int]) -> Tensor:
    with warnings.catch_warnings():
        # torch calls its CSR support "beta" once per process; products are tested here.
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        return torch.sparse_csr_tensor(
            indptr, indices, values, size=shape, check_invariants=False, device=values.device
        )
