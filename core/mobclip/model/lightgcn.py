"""LightGCN: a node table smoothed over the mobility graph (He et al. 2020, arXiv 2002.02126).

Where MobCLIP differs from that paper: the layers are **summed**, not averaged
(E_0 + P E_0 + P² E_0). Where we differ from MobCLIP's code: P is the symmetric
D^-1/2 (A + Aᵀ) D^-1/2 in CSR instead of COO, and only the rows of the batch are computed in the
last layer, which changes no number (the operator is linear) and saves half of the products.
"""

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
        """Rows of E_0 + P E_0 + … + P^k E_0; each row at most once.

        By Horner's rule the sum is E_0 + P(E_0 + P(…)); the outermost product is cut to the
        batch: E_0[rows] + P[rows] H, with H the inner sum over all cells.
        """
        inner: Tensor = self.table
        for _ in range(self.layers - 1):
            inner = self.table + self.propagation @ inner
        return self.table[rows] + self.propagation.rows(rows, inner)

    @torch.no_grad()
    def all_rows(self) -> Float[Tensor, "cells dims"]:
        """The output for every cell."""
        out = self.table.detach()
        for _ in range(self.layers):
            out = self.table + self.propagation @ out
        return out.detach()
