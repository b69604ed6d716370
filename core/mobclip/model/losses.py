"""Contrastive losses that never hold a batch × batch matrix."""

import math
from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, distributed

from mobclip.model.gather import gather, processes

TILE = 768  # rows and columns of logits held at once: 2.3 MB, within the cache
GPU_TILE = 8192  # 256 MB: few launches
FLOOR = 1 / 60  # of temperatures: exp(1 / t) stays finite in float32
LOG2_E = math.log2(math.e)


def info_nce(
    anchor: Float[Tensor, "batch dims"],
    other: Float[Tensor, "batch dims"],
    temperature: float | Float[Tensor, ""],
    *,
    shared: bool = False,
) -> Float[Tensor, ""]:
    r"""Symmetric InfoNCE between two modalities of the same cells (CLIP, Radford et al. 2021).

    .. math:: L = \tfrac12 \mathrm{mean}_i(\log\sum_j e^{s_{ij}} + \log\sum_j e^{s_{ji}})
              - \mathrm{mean}_i\, s_{ii}, \quad s = \hat a \hat o^\top / \tau

    Equal to the mean of the two cross-entropies over the full logit matrix, to rounding, and so
    are its gradients; memory is O(batch × dims). Logits are computed tile by tile, and again
    in the backward pass: four matrix products in all, which is where the time goes. One
    exponential serves both directions, and no running maximum is needed: cosines bound the logits
    by 1 / temperature. Under autocast the products are of the autocast dtype (bf16 on a GPU),
    while exponentials and sums stay float32 and float64.

    Parameters
    ----------
    anchor, other : row i of both is the same cell; L2-normalised here
    temperature : divides the cosine; `FLOOR` or above, so that exponentials stay finite in
        float32. A tensor gets its gradient; one on a GPU is not checked, which would wait for it
    shared : the rows are this process's share of a batch (`model.gather`). Negatives are those of
        all processes; the mean of what they return is the loss of the whole batch, and the mean of
        their gradients is its gradient, provided that each weighs the loss alike
    """
    if isinstance(temperature, Tensor):
        checked = temperature.item() if temperature.device.type == "cpu" else FLOOR
    else:
        checked = temperature
    if checked < FLOOR:
        raise ValueError(
            f"temperature {checked} is below 1/60: exp(1/t) would overflow. "
            "Raise it, or clamp a learned one at `FLOOR`."
        )
    device = anchor.device.type
    low = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else torch.float32
    with torch.autocast(device, enabled=False):
        anchor = torch.nn.functional.normalize(anchor.float(), dim=-1) / temperature
        other = torch.nn.functional.normalize(other.float(), dim=-1)
        everyone = gather(other) if shared else other
        count = processes() if shared else 1
        partition: Tensor = _TiledLogPartition.apply(anchor, everyone, low, count)  # type: ignore[no-untyped-call]
        return partition - (anchor * other).sum(-1).sum() / (len(everyone) / count)


class _TiledLogPartition(torch.autograd.Function):
    """½ mean_i(log Σ_j exp s_ij) + ½ mean_j(log Σ_i exp s_ij) with s = anchor otherᵀ, by tiles.

    With `count` processes, `anchor` has some rows of s and `other` all its columns.
    """

    @staticmethod
    def forward(ctx: Any, anchor: Tensor, other: Tensor, low: torch.dtype, count: int) -> Tensor:
        # exp(s) as 2^(s log2 e): exp2 of a vector costs a third of exp, and s comes scaled for it.
        scaled = (anchor * LOG2_E).to(low)
        other = other.to(low)
        rows = anchor.new_zeros(len(anchor), dtype=torch.float64)
        columns = anchor.new_zeros(len(other), dtype=torch.float64)
        buffer = _buffer(scaled, other)
        for part, a in _tiles(scaled):
            for other_part, o in _tiles(other):
                of_rows, of_columns = _sums(_logits(a, o, buffer))
                rows[part] += of_rows
                columns[other_part] += of_columns
        if count > 1:
            distributed.all_reduce(columns)
        ctx.save_for_backward(scaled, other, rows, columns)
        ctx.dtype, ctx.count = anchor.dtype, count
        mean_row = rows.log().sum() / (len(other) / count)
        return (0.5 * (mean_row + columns.log().mean())).to(anchor.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None, None]:
        scaled, other, rows, columns = ctx.saved_tensors
        # dL/ds_ij = ½ exp(s_ij) (1/rows_i + 1/columns_j) / batch. The weights are taken times the
        # batch, so that they are near 1 and keep their digits in a low precision.
        row_weight = (len(other) / rows).to(ctx.dtype)
        column_weight = (len(other) / columns).to(ctx.dtype)
        grad_anchor = torch.zeros_like(scaled, dtype=ctx.dtype)
        # Lying: its product is then of two matrices as they lie in memory, a fifth faster.
        grad_other = torch.zeros_like(other.T, dtype=ctx.dtype)
        buffer, weights = _buffer(scaled, other), _buffer(row_weight, other)
        for part, a in _tiles(scaled):
            lying = a.T.contiguous()
            for other_part, o in _tiles(other):
                pull = _pull(
                    _logits(a, o, buffer),
                    row_weight[part, None],
                    column_weight[None, other_part],
                    _shaped(weights, a, o),
                ).to(scaled.dtype)
                grad_anchor[part] += pull @ o
                grad_other[:, other_part] += lying @ pull
        scale = gradient * (0.5 * ctx.count / len(other) ** 2)
        return grad_anchor * scale, grad_other.T * (scale / LOG2_E), None, None


def _tiles(vectors: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Consecutive rows, as many at a time as the cache of a CPU, or a launch on a GPU, likes."""
    size = _tile(vectors)
    for start in range(0, len(vectors), size):
        part = slice(start, min(start + size, len(vectors)))
        yield part, vectors[part]


def _tile(like: Tensor) -> int:
    return GPU_TILE if like.is_cuda else TILE


def _buffer(like: Tensor, other: Tensor) -> Tensor:
    """Room for one tile, used by all: a fresh one each time would cost the kernel's zeroing."""
    size = _tile(like)
    return like.new_empty(min(len(like), size) * min(len(other), size))


def _shaped(buffer: Tensor, a: Tensor, o: Tensor) -> Tensor:
    return buffer[: len(a) * len(o)].view(len(a), len(o))


def _logits(a: Tensor, o: Tensor, buffer: Tensor) -> Tensor:
    """a oᵀ of one tile, in `buffer`."""
    return torch.mm(a, o.T, out=_shaped(buffer, a, o))


# What is done to each logit, in float32 and in place where that is what they are.


def _sums(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Σ_j 2^l_ij and Σ_i 2^l_ij of a tile."""
    exp = logits.float().exp2_()
    return exp.sum(1), exp.sum(0)


def _pull(logits: Tensor, row_weight: Tensor, column_weight: Tensor, buffer: Tensor) -> Tensor:
    """2^l_ij (row_weight_i + column_weight_j) of a tile; the sum is put into `buffer`."""
    return logits.float().exp2_().mul_(torch.add(row_weight, column_weight, out=buffer))
