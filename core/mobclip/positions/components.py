"""Components: an encoding of the globe, seen from the cells of one place."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64

from mobclip.positions.position import Position

ROWS = 4096  # positions encoded at once: 50 MB of harmonics of 40 degrees
LEAST = 1e-9  # of the first component's variance: below it there is more rounding than position


@dataclass(frozen=True, kw_only=True)
class Components:
    """Principal components of the features over a place; an encoding too.

    Not in the papers, which see the whole globe. A city sees a thousandth of it, over which the
    features of the globe hardly move, and all alike: 1,600 harmonics vary in eight directions or
    so. Those are taken out in float64, before anything becomes float32.
    """

    position: Position
    mean: Float64[np.ndarray, "features"]
    axes: Float64[np.ndarray, "features dims"]

    @classmethod
    def over(
        cls,
        position: Position,
        lonlat: Float[np.ndarray, "n 2"],
        *,
        spread: float | None = None,
        most: int | None = None,
    ) -> "Components":
        """Fitted to positions.

        Parameters
        ----------
        spread : standard deviation that every component is brought to, for networks; default:
            each keeps its own
        most : components, the widest first; default: all that vary
        """
        count = len(lonlat)
        mean = np.zeros(position.dims)
        for part in _parts(position, lonlat):
            mean += part.sum(axis=0) / count
        if count < position.dims:  # few positions: their matrix is smaller than the covariance
            centred = np.vstack(list(_parts(position, lonlat))) - mean
            _, lengths, rows = np.linalg.svd(centred, full_matrices=False)
            variances, axes = lengths[:most] ** 2 / count, rows[:most].T
        else:
            covariance = np.zeros((position.dims, position.dims))
            for part in _parts(position, lonlat):
                covariance += (part - mean).T @ (part - mean) / count
            variances, axes = np.linalg.eigh(covariance)
            variances, axes = variances[::-1][:most], axes[:, ::-1][:, :most]
        varies = variances > LEAST * variances[0]
        variances, axes = variances[varies], axes[:, varies]
        # One sign for one place: the largest entry of each is positive.
        axes = axes * np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])])
        if spread is not None:
            axes = axes * (spread / np.sqrt(variances))
        return cls(position=position, mean=mean, axes=axes)

    @property
    def dims(self) -> int:
        """Number of components."""
        return int(self.axes.shape[1])

    def __call__(self, lonlat: Float[np.ndarray, "n 2"]) -> Float64[np.ndarray, "n dims"]:
        """Components of positions, degrees lon, lat."""
        parts = [(part - self.mean) @ self.axes for part in _parts(self.position, lonlat)]
        return np.vstack([np.empty((0, self.dims)), *parts])


def _parts(
    position: Position, lonlat: Float[np.ndarray, "n 2"]
) -> Iterator[Float64[np.ndarray, "rows features"]]:
    """Features of consecutive positions: those of a whole place may fill the memory."""
    for start in range(0, len(lonlat), ROWS):
        yield position(lonlat[start : start + ROWS])
