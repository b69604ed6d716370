"""Position: what every encoding is."""

from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Float64


@runtime_checkable
class Position(Protocol):
    """An encoding with its settings."""

    @property
    def dims(self) -> int:
        """Number of features."""
        ...

    def __call__(self, lonlat: Float[np.ndarray, "n 2"]) -> Float64[np.ndarray, "n dims"]:
        """Features of positions, degrees lon, lat."""
        ...
