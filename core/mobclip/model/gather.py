"""Several processes, one batch: each works on a share of the rows, and gradients stay exact.

Without a process group (torch.distributed) there is one process, whose share is everything. With
one, the loss that is minimised is the mean over the processes: `training.distributed` averages
their gradients.
"""

from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor, distributed
from torch.func import functional_call

from mobclip.model.lightgcn import LightGCN


def processes() -> int:
    """How many train together."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def rank() -> int:
    """Number of this one, from 0."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def share(size: int, of: int | None = None) -> slice:
    """Of `size` rows (or columns) in order, those of process `of`: this one by default."""
    number, count = rank() if of is None else of, processes()
    return slice(number * size // count, (number + 1) * size // count)


def total(value: int, device: torch.device) -> int:
    """Sum of a count over the processes."""
    return sum(_each(value, device))


def gather(rows: Float[Tensor, "share dims"]) -> Float[Tensor, "batch dims"]:
    """Rows of all processes, in the order of their ranks; they may have different numbers of them.

    The gradient of a row is the sum of what all processes make of it.
    """
    if processes() == 1:
        return rows
    gathered: Tensor = _Gather.apply(rows, _each(len(rows), rows.device))  # type: ignore[no-untyped-call]
    return gathered


def propagate(anchor: LightGCN, rows: Int64[Tensor, " batch"]) -> Float[Tensor, "share dims"]:
    """Output of LightGCN for this process's share of the batch.

    Propagation does not mix columns: each process propagates its own columns of the table for the
    whole batch, and what comes out is exchanged for whole rows.
    """
    count = processes()
    if count == 1:
        return anchor(rows)
    dims = anchor.table.shape[1]
    mine = functional_call(anchor, {"table": anchor.table[:, share(dims)]}, (rows,))
    heights = [_length(share(len(rows), of)) for of in range(count)]
    widths = [_length(share(dims, of)) for of in range(count)]
    sent = [height * widths[rank()] for height in heights]
    received = [heights[rank()] * width for width in widths]
    flat: Tensor = _Exchange.apply(mine.flatten(), sent, received)  # type: ignore[no-untyped-call]
    parts = zip(torch.split(flat, received), widths, strict=True)
    return torch.cat([part.view(heights[rank()], width) for part, width in parts], dim=1)


class _Gather(torch.autograd.Function):
    """All rows on every process; backward: gradients summed, and each takes those of its rows."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, sizes: list[int]) -> Tensor:
        start = sum(sizes[: rank()])
        ctx.own = slice(start, start + len(rows))
        # Collectives want equal sizes, so the shorter ones are padded.
        padded = rows.new_zeros(max(sizes), *rows.shape[1:])
        padded[: len(rows)] = rows
        parts = [torch.empty_like(padded) for _ in sizes]
        distributed.all_gather(parts, padded)
        return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        summed = gradient.contiguous().clone()
        distributed.all_reduce(summed)
        return summed[ctx.own], None


class _Exchange(torch.autograd.Function):
    """Numbers sent to, and received from, every process; backward: sent back."""

    @staticmethod
    def forward(ctx: Any, numbers: Tensor, sent: list[int], received: list[int]) -> Tensor:
        ctx.sent, ctx.received = sent, received
        out = numbers.new_empty(sum(received))
        distributed.all_to_all_single(out, numbers.contiguous(), received, sent)
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        out = gradient.new_empty(sum(ctx.sent))
        distributed.all_to_all_single(out, gradient.contiguous(), ctx.sent, ctx.received)
        return out, None, None


def _each(value: int, device: torch.device) -> list[int]:
    """The number that each process has, in the order of their ranks."""
    if processes() == 1:
        return [value]
    values = torch.zeros(processes(), dtype=torch.long, device=device)
    values[rank()] = value
    distributed.all_reduce(values)
    return values.tolist()


def _length(part: slice) -> int:
    return int(part.stop - part.start)
