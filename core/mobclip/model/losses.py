"""Contrastive losses that never hold a batch × batch matrix."""

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

TILE = 1024  # rows and columns of logits held at once: 4 MB, within the cache


def info_nce(
    anchor: Float[Tensor, "batch dims"],
    other: Float[Tensor, "batch dims"],
    temperature: float,
) -> Float[Tensor, ""]:
    r"""Symmetric InfoNCE between two modalities of the same cells (CLIP, Radford et al. 2021).

    .. math:: L = \tfrac12 \mathrm{mean}_i(\log\sum_j e^{s_{ij}} + \log\sum_j e^{s_{ji}})
              - \mathrm{mean}_i\, s_{ii}, \quad s = \hat a \hat o^\top / \tau

    Equal to the mean of the two cross-entropies over the full logit matrix, to rounding, and so
    are its gradients; memory is O(batch × dims). Logits are computed tile by tile, and again
    in the backward pass. One exponential serves both directions, and no running maximum is
    needed: cosines bound the logits by 1 / temperature.

    Parameters
    ----------
    anchor, other : row i of both is the same cell; L2-normalised here
    temperature : divides the cosine; above 1/60, so that exponentials stay finite in float32
    """
    if temperature < 1 / 60:
        raise ValueError(f"temperature {temperature} is below 1/60: exp(1/t) would overflow.")
    anchor = torch.nn.functional.normalize(anchor.float(), dim=-1)
    other = torch.nn.functional.normalize(other.float(), dim=-1)
    partition: Tensor = _TiledLogPartition.apply(anchor, other, temperature)  # type: ignore[no-untyped-call]
    return partition - (anchor * other).sum(-1).mean() / temperature


class _TiledLogPartition(torch.autograd.Function):
    """½ mean_i(log Σ_j exp s_ij) + ½ mean_j(log Σ_i exp s_ij), by tiles."""

    @staticmethod
    def forward(ctx: Any, anchor: Tensor, other: Tensor, temperature: float) -> Tensor:
        rows = anchor.new_zeros(len(anchor), dtype=torch.float64)
        columns = rows.clone()
        for i, a in enumerate(torch.split(anchor, TILE)):
            for j, o in enumerate(torch.split(other, TILE)):
                exp = torch.mm(a, o.T).div_(temperature).exp_()
                rows[i * TILE : i * TILE + len(a)] += exp.sum(1)
                columns[j * TILE : j * TILE + len(o)] += exp.sum(0)
        ctx.save_for_backward(anchor, other, rows, columns)
        ctx.temperature = temperature
        return (0.5 * (rows.log().mean() + columns.log().mean())).to(anchor.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        anchor, other, rows, columns = ctx.saved_tensors
        # dL/ds_ij = ½ exp(s_ij) (1/rows_i + 1/columns_j) / batch
        row_weight = (1 / rows).to(anchor.dtype)
        column_weight = (1 / columns).to(anchor.dtype)
        grad_anchor = torch.zeros_like(anchor)
        grad_other = torch.zeros_like(other)
        for i, a in enumerate(torch.split(anchor, TILE)):
            in_rows = slice(i * TILE, i * TILE + len(a))
            for j, o in enumerate(torch.split(other, TILE)):
                in_columns = slice(j * TILE, j * TILE + len(o))
                pull = torch.mm(a, o.T).div_(ctx.temperature).exp_()
                pull *= row_weight[in_rows, None] + column_weight[None, in_columns]
                grad_anchor[in_rows].addmm_(pull, o)
                grad_other[in_columns].addmm_(pull.T, a)
        scale = gradient * (0.5 / (len(anchor) * ctx.temperature))
        return grad_anchor * scale, grad_other * scale, None


def info_nce_floor(batch: int, temperature: float) -> float:
    """Loss when each positive has cosine 1 and each negative cosine 0: what a good run nears."""
    return math.log(math.exp(1 / temperature) + batch - 1) - 1 / temperature
