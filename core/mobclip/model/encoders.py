"""Encoders (towers): the token of one modality -> the shared space."""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

ROWS_AT_ONCE = 65_536  # of tokens, when their statistics are taken


class Standardise(nn.Module):
    """Columns to mean 0 and variance 1, with statistics that are saved with the model."""

    mean: Tensor
    scale: Tensor

    def __init__(self, mean: Float[Tensor, " dims"], scale: Float[Tensor, " dims"]) -> None:
        super().__init__()
        self.register_buffer("mean", mean.clone())
        self.register_buffer("scale", scale.clone())

    def forward(self, tokens: Float[Tensor, "batch dims"]) -> Float[Tensor, "batch dims"]:
        return (tokens - self.mean).div_(self.scale)  # one copy of a batch, not two


class Linear(nn.Linear):
    """One linear map, as MobCLIP uses for POI text and imagery.

    Kaiming-uniform weights and biases within ±1/√fan_in, as in the released code (§1.3).
    """

    def reset_parameters(self) -> None:
        nn.init.kaiming_uniform_(self.weight)
        bound = 1 / self.in_features**0.5
        nn.init.uniform_(self.bias, -bound, bound)


class TableEncoder(nn.Sequential):
    """dims -> 64 -> ReLU -> out, as MobCLIP uses for demographic histograms."""

    def __init__(self, dims: int, out: int, hidden: int = 64) -> None:
        super().__init__(Linear(dims, hidden), nn.ReLU(), Linear(hidden, out))


ENCODERS: dict[str, type[nn.Module]] = {
    "poi": Linear,
    "imagery": Linear,
    "demographics": TableEncoder,
}
"""Encoder of each modality; a modality that is not named gets `Linear`."""


def standardise(
    tokens: Float[Tensor, "cells dims"] | Float[np.ndarray, "cells dims"],
) -> Standardise:
    """A `Standardise` fitted on the tokens of the cells that have them.

    An array may be memory-mapped: some rows are read at a time.
    """

    def mean_of(function: Callable[[Tensor], Tensor]) -> Tensor:
        total = torch.zeros(tokens.shape[1], dtype=torch.float64)
        for start in range(0, len(tokens), ROWS_AT_ONCE):
            part = tokens[start : start + ROWS_AT_ONCE]
            total += function(torch.asarray(part, copy=True).double().cpu()).sum(0)
        return total / len(tokens)

    mean = mean_of(lambda part: part)
    scale = mean_of(lambda part: (part - mean).square_()).sqrt().float()
    return Standardise(mean.float(), torch.where(scale > 1e-6, scale, torch.ones_like(scale)))
