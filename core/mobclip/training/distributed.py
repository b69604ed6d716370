"""Several processes that train one model, started by `torchrun`. Alone, all of this does nothing.

Every process is given the same batches. The loss that is minimised is the mean over the processes
and DistributedDataParallel averages its gradients, so that weights stay equal everywhere.
`model.gather` is for tasks that divide the work of a batch; those that do not are right as well,
only not faster.
"""

import atexit
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from mobclip.model.gather import processes, rank
from mobclip.training.task import Task


def join() -> None:
    """Join the processes that `torchrun` started together with this one, if it did."""
    if distributed.is_torchelastic_launched() and not distributed.is_initialized():
        distributed.init_process_group(
            "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        )
        atexit.register(distributed.destroy_process_group)


def first() -> bool:
    """Whether this is the process that writes: rank 0, or the only one."""
    return rank() == 0


def wait() -> None:
    """Until every process is here."""
    if processes() > 1:
        distributed.barrier()


@contextmanager
def first_alone() -> Iterator[None]:
    """Rank 0 does the block while the others wait; then they do it, and find it done."""
    join()
    if not first():
        wait()
    yield
    if first():
        wait()


def mean(values: Mapping[str, float], device: torch.device) -> dict[str, float]:
    """Mean of each value over the processes."""
    if processes() == 1:
        return dict(values)
    numbers = torch.tensor(list(values.values()), dtype=torch.float64, device=device)
    distributed.all_reduce(numbers)
    return dict(zip(values, (numbers / processes()).tolist(), strict=True))


class TaskLoss(nn.Module):
    """`Task.loss` as the forward pass of a module, which is what DistributedDataParallel takes."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.model = task.model
        self.task = task

    def forward(self, rows: np.ndarray, rng: np.random.Generator) -> dict[str, Tensor]:
        return self.task.loss(rows, rng)


def averaging(task: Task) -> nn.Module:
    """The loss of a task as a module; its backward pass averages gradients over the processes."""
    loss = TaskLoss(task)
    if processes() == 1:
        return loss
    with warnings.catch_warnings():
        # What torch 2.13 offers instead is unknown to 2.6, and would broadcast the sparse graph.
        warnings.filterwarnings("ignore", message="`broadcast_buffers` is deprecated")
        return DistributedDataParallel(
            loss,
            broadcast_buffers=False,  # every process has made the same
            find_unused_parameters=True,  # a modality may be missing from a batch
            gradient_as_bucket_view=True,
        )
