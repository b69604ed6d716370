"""LightGCN: a node table smoothed over the mobility graph (He et al. 2020, arXiv 2002.02126).

Where MobCLIP differs from that paper: the layers are **summed**, not averaged
(E_0 + P E_0 + P² E_0). Where we differ from MobCLIP's code: P is the symmetric
D^-1/2 (A + Aᵀ) D^-1/2 in CSR instead of COO, and only the rows of the batch are computed in the
last layer, which changes no number (the operator is linear) and saves half of the products.
"""

from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from mobclip.model.propagation import Propagation


class LightGCN(nn.Module):
    """Trainable node table, propagated `layers` times and summed.

    Parameters
    ----------
    table : (cells, dims) initial node vectors
    propagation : P, on the device of the model; not saved with it
    """

    def __init__(
        self, table: Float[Tensor, "cells dims"], propagation: Propagation, layers: int = 2
    ) -> None:
        super().__init__()
        self.table = nn.Parameter(table.clone())
        self.layers = layers
        self.propagation = propagation

    def forward(self, rows: Int64[Tensor, " batch"]) -> Float[Tensor, "batch dims"]:
        """Rows of E_0 + P E_0 + … + P^k E_0; each row at most once."""
        # Sparse products stay float32 under autocast: they are bound by memory, not arithmetic.
        with torch.autocast(self.table.device.type, enabled=False):
            out: Tensor = _Rows.apply(self.table, self.propagation, rows, self.layers)  # type: ignore[no-untyped-call]
        return out

    @torch.no_grad()
    def all_rows(self) -> Float[Tensor, "cells dims"]:
        """The output for every cell."""
        return _inner(self.table.detach(), self.propagation, self.layers)


def _inner(table: Tensor, propagation: Propagation, times: int) -> Tensor:
    """E + P(E + P(…)), by Horner's rule."""
    inner = table
    for _ in range(times):
        inner = (propagation @ inner).add_(table)
    return inner


class _Rows(torch.autograd.Function):
    """E[rows] + P[rows] H, with H the inner sum over all cells.

    Linear in E, so nothing of the size of the table is kept for the backward pass.
    """

    @staticmethod
    def forward(
        ctx: Any, table: Tensor, propagation: Propagation, rows: Tensor, layers: int
    ) -> Tensor:
        ctx.propagation, ctx.rows, ctx.layers = propagation, rows, layers
        ctx.cut = propagation.cut(rows)
        return ctx.cut.gather(_inner(table, propagation, layers - 1)).add_(table[rows])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        outer = ctx.cut.spread(gradient)
        total = _inner(outer, ctx.propagation, ctx.layers - 1)
        return total.index_add_(0, ctx.rows, gradient), None, None, None
