"""FcNet: residual layers (Mac Aodha, Cole, Perona 2019, arXiv 1906.05272)."""

from jaxtyping import Float
from torch import Tensor, nn

RESIDUALS = 4


class Residual(nn.Module):
    """x + two layers of x, with dropout between them."""

    def __init__(self, dims: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(dims, dims), nn.ReLU(), nn.Dropout(dropout), nn.Linear(dims, dims), nn.ReLU()
        )

    def forward(self, x: Float[Tensor, "batch dims"]) -> Float[Tensor, "batch dims"]:
        return x + self.layers(x)


class FcNet(nn.Sequential):
    """A layer, four residual ones, and a linear one without bias."""

    def __init__(self, dims: int, out: int, *, hidden: int = 256, dropout: float = 0.5) -> None:
        super().__init__(
            nn.Linear(dims, hidden),
            nn.ReLU(),
            *(Residual(hidden, dropout) for _ in range(RESIDUALS)),
            nn.Linear(hidden, out, bias=False),
        )
