"""Plain layers, and GeoCLIP's capsules of them."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn


class Perceptron(nn.Sequential):
    """Layers of the given widths, then a linear one.

    Parameters
    ----------
    hidden : widths of the hidden layers
    slope : of the activation below zero: 0 is ReLU
    dropout : after each activation
    norm : layer normalisation after each hidden layer
    """

    def __init__(
        self,
        dims: int,
        out: int,
        *,
        hidden: Sequence[int],
        slope: float = 0.0,
        dropout: float = 0.0,
        norm: bool = False,
    ) -> None:
        layers: list[nn.Module] = []
        for width in hidden:
            layers += [nn.Linear(dims, width), nn.LeakyReLU(slope) if slope else nn.ReLU()]
            if dropout:
                layers.append(nn.Dropout(dropout))
            if norm:
                layers.append(nn.LayerNorm(width))
            dims = width
        super().__init__(*layers, nn.Linear(dims, out))


class Capsules(nn.Module):
    """A `Perceptron` for each block of features, outputs summed (GeoCLIP, arXiv 2309.16020).

    Parameters
    ----------
    count : blocks of equal width, side by side: one for each bandwidth of the Fourier features
    """

    def __init__(self, dims: int, out: int, *, count: int, hidden: Sequence[int]) -> None:
        super().__init__()
        self.capsules = nn.ModuleList(
            Perceptron(dims // count, out, hidden=hidden) for _ in range(count)
        )

    def forward(self, x: Float[Tensor, "batch dims"]) -> Float[Tensor, "batch out"]:
        blocks = x.chunk(len(self.capsules), dim=1)
        parts = [one(block) for one, block in zip(self.capsules, blocks, strict=True)]
        return torch.stack(parts).sum(dim=0)
