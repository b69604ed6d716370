"""What the loop trains: a model, and the loss of a set of rows."""

from typing import Any, Protocol, runtime_checkable

import numpy as np
from torch import Tensor, nn


@runtime_checkable
class Task(Protocol):
    """A model and its loss, as `loop.fit` needs them.

    Rows are numbers that mean something to the task alone: cells of a place, say. Between steps
    the task keeps what it learns in the parameters and buffers of `model`, which checkpoints hold;
    anything else would be lost by an interruption.

    Where several processes train together (`training.distributed`), each has the same task and is
    given the same rows and `rng`. What counts is the mean over the processes of the losses they
    return: all may return the whole loss, or each that of its share (`model.gather`), but with
    terms of the same names and with the same collective calls.
    """

    @property
    def model(self) -> nn.Module:
        """On its device already. Parameters of two and more dimensions are decayed."""

    @property
    def train_rows(self) -> np.ndarray:
        """(n,) int64: what is dealt into batches."""

    @property
    def validation_rows(self) -> np.ndarray:
        """(m,) int64, at least one: what early stopping looks at."""

    def loss(self, rows: np.ndarray, rng: np.random.Generator) -> dict[str, Tensor]:
        """Terms by name, each a scalar, already weighted: their sum is minimised.

        `rng` (masks, negatives, noise) and torch's own generators follow from (seed, epoch, step)
        alone, so that a resumed run draws what it would have drawn. `model.training` tells a
        training step from a validation step, which must change nothing.
        """

    def report(self) -> dict[str, Any]:
        """Further figures for metrics.jsonl after an epoch (recall, temperatures); may be empty.

        Called in evaluation mode and without gradients.
        """
