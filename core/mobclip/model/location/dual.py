"""DualEncoder: a location encoder beside the token of one modality of the same cell."""

import math

import torch
from jaxtyping import Float, Float64
from torch import Tensor, nn

from mobclip.model.encoders import Linear, Standardise
from mobclip.model.losses import FLOOR

START = 0.07  # temperature, as in CLIP


class Seen(nn.Module):
    """What `mobclip.positions.Components` has found, to be saved with the weights."""

    mean: Tensor
    axes: Tensor

    def __init__(
        self, mean: Float64[Tensor, " features"], axes: Float64[Tensor, "features components"]
    ) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("axes", axes)


class DualEncoder(nn.Module):
    """Two towers and a learnable temperature.

    Where we differ: CLIP lets the temperature fall to 1/100, we to 1/60 (see `info_nce`).

    Parameters
    ----------
    seen : how features become components, where the network is on these
    location : the network on those features
    standardise : of the tokens
    """

    def __init__(
        self, seen: Seen | None, location: nn.Module, standardise: Standardise, *, dims: int
    ) -> None:
        super().__init__()
        self.seen = seen
        self.location = location
        self.token = nn.Sequential(standardise, Linear(len(standardise.mean), dims))
        self.log_temperature = nn.Parameter(torch.tensor(math.log(START)))

    @property
    def temperature(self) -> Float[Tensor, ""]:
        """What the cosines are divided by."""
        return self.log_temperature.exp().clamp(min=FLOOR)
