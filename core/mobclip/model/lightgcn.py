"""LightGCN: a node table smoothed over the mobility graph (He et al. 2020, arXiv 2002.02126).

Where MobCLIP differs from that paper: the layers are **summed**, not averaged
(E_0 + A E_0 + A² E_0). Where we differ from MobCLIP's code: A is the symmetric
D^-1/2 (A + Aᵀ) D^-1/2 in CSR instead of COO, and only the rows of the batch are computed in the
last layer, which changes no number (the operator is linear) and saves half of the products.
"""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64
from scipy import sparse
from torch import Tensor, nn


def csr_tensor(matrix: sparse.csr_array, device: torch.device | str = "cpu") -> Tensor:
    """A scipy CSR matrix as a torch CSR tensor of float32 on `device`.

    Indices are int32 below 2³¹ edges: half the memory of int64, and faster.
    """
    index = np.int32 if matrix.nnz < 2**31 else np.int64
    with warnings.catch_warnings():
        # torch calls its CSR support "beta" once per process; products are tested here.
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        return torch.sparse_csr_tensor(
            torch.from_numpy(matrix.indptr.astype(index)),
            torch.from_numpy(matrix.indices.astype(index)),
            torch.from_numpy(matrix.data.astype(np.float32)),
            size=matrix.shape,
            device=device,
            check_invariants=False,  # scipy built it
        )


@dataclass(frozen=True, kw_only=True)
class BatchRows:
    """The rows of one batch and their slice of the graph, ready on the device."""

    rows: Int64[Tensor, " batch"]
    forward: Tensor  # CSR (batch, cells): A[rows]
    backward: Tensor  # CSR (cells, batch): its transpose

    @classmethod
    def cut(
        cls, adjacency: sparse.csr_array, rows: Any, device: torch.device | str = "cpu"
    ) -> "BatchRows":
        """Cut `rows` out of A, on the CPU."""
        part = sparse.csr_array(adjacency[rows])
        return cls(
            rows=torch.from_numpy(rows).long().to(device),
            forward=csr_tensor(part, device),
            backward=csr_tensor(sparse.csr_array(part.T), device),
        )


class _Product(torch.autograd.Function):
    """forward @ x, with the transpose at hand for the gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, matrix: Tensor, transpose: Tensor) -> Tensor:
        ctx.transpose = transpose
        return matrix @ x

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return ctx.transpose @ gradient.contiguous(), None, None


def _product(x: Tensor, matrix: Tensor, transpose: Tensor) -> Tensor:
    # Sparse products stay float32 under autocast: they are bound by memory, not by arithmetic.
    with torch.autocast(x.device.type, enabled=False):
        out: Tensor = _Product.apply(x, matrix, transpose)  # type: ignore[no-untyped-call]
    return out


class LightGCN(nn.Module):
    """Trainable node table, propagated `layers` times and summed.

    Parameters
    ----------
    table : (cells, dims) initial node vectors
    adjacency : torch CSR (cells, cells), symmetric and normalised; not saved with the model
    """

    adjacency: Tensor

    def __init__(
        self, table: Float[Tensor, "cells dims"], adjacency: Tensor, layers: int = 2
    ) -> None:
        super().__init__()
        self.table = nn.Parameter(table.clone())
        self.layers = layers
        self.register_buffer("adjacency", adjacency, persistent=False)

    def forward(self, batch: BatchRows) -> Float[Tensor, "batch dims"]:
        """Rows of E_0 + A E_0 + … + A^k E_0.

        By Horner's rule the sum is E_0 + A(E_0 + A(…)); the outermost product is cut to the
        batch: E_0[rows] + A[rows] H, with H the inner sum over all cells.
        """
        inner: Tensor = self.table
        for _ in range(self.layers - 1):
            inner = self.table + _product(inner, self.adjacency, self.adjacency)
        return self.table[batch.rows] + _product(inner, batch.forward, batch.backward)

    @torch.no_grad()
    def all_rows(self) -> Float[Tensor, "cells dims"]:
        """The output for every cell."""
        out = self.table.detach()
        for _ in range(self.layers):
            out = self.table + self.adjacency @ out
        return out.detach()
