"""Contrastive losses that never hold a batch × batch matrix."""

from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

TILE = 1024  # rows and columns of logits held at once: 4 MB, within the cache
GPU_TILE = 8192  # 256 MB: few launches


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
    needed: cosines bound the logits by 1 / temperature. Under autocast the products are of the
    autocast dtype (bf16 on a GPU), while exponentials and sums stay float32 and float64.

    Parameters
    ----------
    anchor, other : row i of both is the same cell; L2-normalised here
    temperature : divides the cosine; above 1/60, so that exponentials stay finite in float32
    """
    if temperature < 1 / 60:
        raise ValueError(f"temperature {temperature} is below 1/60: exp(1/t) would overflow.")
    device = anchor.device.type
    low = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else torch.float32
    with torch.autocast(device, enabled=False):
        return _info_nce(anchor.float(), other.float(), temperature, low)


def _info_nce(anchor: Tensor, other: Tensor, temperature: float, low: torch.dtype) -> Tensor:
    anchor = torch.nn.functional.normalize(anchor, dim=-1)
    other = torch.nn.functional.normalize(other, dim=-1)
    partition: Tensor = _TiledLogPartition.apply(anchor, other, temperature, low)  # type: ignore[no-untyped-call]
    return partition - (anchor * other).sum(-1).mean() / temperature


class _TiledLogPartition(torch.autograd.Function):
    """½ mean_i(log Σ_j exp s_ij) + ½ mean_j(log Σ_i exp s_ij), by tiles."""

    @staticmethod
    def forward(
        ctx: Any, anchor: Tensor, other: Tensor, temperature: float, low: torch.dtype
    ) -> Tensor:
        rows = anchor.new_zeros(len(anchor), dtype=torch.float64)
        columns = rows.clone()
        for part, a in _tiles(anchor):
            for other_part, o in _tiles(other):
                exp = _exponentials(a, o, temperature, low)
                rows[part] += exp.sum(1)
                columns[other_part] += exp.sum(0)
        ctx.save_for_backward(anchor, other, rows, columns)
        ctx.temperature, ctx.low = temperature, low
        return (0.5 * (rows.log().mean() + columns.log().mean())).to(anchor.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None, None]:
        anchor, other, rows, columns = ctx.saved_tensors
        # dL/ds_ij = ½ exp(s_ij) (1/rows_i + 1/columns_j) / batch. The weights are taken times the
        # batch, so that they are near 1 and keep their digits in a low precision.
        row_weight = (len(anchor) / rows).to(anchor.dtype)
        column_weight = (len(anchor) / columns).to(anchor.dtype)
        grad_anchor = torch.zeros_like(anchor)
        grad_other = torch.zeros_like(other)
        for part, a in _tiles(anchor):
            for other_part, o in _tiles(other):
                pull = _exponentials(a, o, ctx.temperature, ctx.low)
                pull *= row_weight[part, None] + column_weight[None, other_part]
                pull = pull.to(ctx.low)
                grad_anchor[part] += pull @ o.to(ctx.low)
                grad_other[other_part] += pull.T @ a.to(ctx.low)
        scale = gradient * (0.5 / (len(anchor) ** 2 * ctx.temperature))
        return grad_anchor * scale, grad_other * scale, None, None


def _tiles(vectors: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Consecutive rows, as many at a time as the cache of a CPU, or a launch on a GPU, likes."""
    size = GPU_TILE if vectors.is_cuda else TILE
    for start in range(0, len(vectors), size):
        part = slice(start, min(start + size, len(vectors)))
        yield part, vectors[part]


def _exponentials(a: Tensor, o: Tensor, temperature: float, low: torch.dtype) -> Tensor:
    """exp(a oᵀ / temperature) of one tile, float32; the product itself in `low`."""
    return torch.mm(a.to(low), o.to(low).T).float().div_(temperature).exp_()
