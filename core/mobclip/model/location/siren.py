"""SIREN: a network whose activation is the sine (Sitzmann et al. 2020, arXiv 2006.09661)."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn


class SineLayer(nn.Module):
    r""":math:`\sin(w_0 (W x + b))`.

    W and b are uniform within ±1/n in the first layer and within ±√(6/n)/w0 in the others, n the
    number of inputs: then each layer's sine gets the same normal input, of variance near 1 (their
    theorem 1.8).
    """

    def __init__(self, dims: int, out: int, *, frequency: float, first: bool) -> None:
        super().__init__()
        self.frequency = frequency
        self.linear = _linear(dims, out, 1 / dims if first else math.sqrt(6 / dims) / frequency)

    def forward(self, x: Float[Tensor, "batch dims"]) -> Float[Tensor, "batch out"]:
        return torch.sin(self.frequency * self.linear(x))


class Siren(nn.Sequential):
    """`layers` of sines and a linear one, as in SatCLIP and in Russwurm et al. (2024).

    Where we differ from SatCLIP's code: it drops out half of each layer's input to the sine while
    training, by default and without a word in the paper. We drop out nothing.

    Parameters
    ----------
    first : w0 of the first layer; it is 1 in the others
    """

    def __init__(
        self, dims: int, out: int, *, hidden: int = 256, layers: int = 2, first: float = 30.0
    ) -> None:
        sines = [
            SineLayer(hidden if i else dims, hidden, frequency=1.0 if i else first, first=i == 0)
            for i in range(layers)
        ]
        super().__init__(*sines, _linear(hidden, out, math.sqrt(6 / hidden)))


def _linear(dims: int, out: int, bound: float) -> nn.Linear:
    """A linear layer with weights and biases uniform within ±bound."""
    linear = nn.Linear(dims, out)
    nn.init.uniform_(linear.weight, -bound, bound)
    nn.init.uniform_(linear.bias, -bound, bound)
    return linear
