"""Space2Vec (Mai et al., ICLR 2020, arXiv 2003.00824): sines of a position at many scales.

Where we differ: the position is in degrees, as in CSP (Mai et al. 2023), not in metres of a
projection. A scale r divides: sin(x / r), so that the wavelength is 2π r.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64

from mobclip import grid

KM_PER_DEGREE = 111.195  # of latitude


@dataclass(frozen=True, kw_only=True)
class Grid:
    r"""``grid``: each axis for itself.

    .. math:: \sin(x / r_s), \cos(x / r_s), \sin(y / r_s), \cos(y / r_s), \quad
              r_s = r_{min} (r_{max} / r_{min})^{s / (S - 1)}, \; s = 0 \dots S - 1

    Settings are those of CSP.
    """

    scales: int = 32
    shortest: float = 0.1  # degrees
    longest: float = 360.0  # degrees

    @property
    def dims(self) -> int:
        """Number of features."""
        return 4 * self.scales

    def __call__(self, lonlat: Float[np.ndarray, "n 2"]) -> Float64[np.ndarray, "n dims"]:
        """Features of positions, degrees lon, lat."""
        lon, lat = np.asarray(lonlat, np.float64).T[:, :, None] / geometric(
            self.shortest, self.longest, self.scales
        )
        return np.hstack([np.sin(lon), np.cos(lon), np.sin(lat), np.cos(lat)])


@dataclass(frozen=True, kw_only=True)
class Theory:
    r"""``theory``: along three directions 120° apart, like grid cells of mammals.

    .. math:: \sin(\langle x, a_j \rangle / r_s), \cos(\langle x, a_j \rangle / r_s), \quad
              a_1 = (1, 0), \; a_{2,3} = (-\tfrac12, \pm\tfrac{\sqrt3}2)
    """

    scales: int = 32
    shortest: float = 0.1  # degrees
    longest: float = 360.0  # degrees

    @property
    def dims(self) -> int:
        """Number of features."""
        return 6 * self.scales

    def __call__(self, lonlat: Float[np.ndarray, "n 2"]) -> Float64[np.ndarray, "n dims"]:
        """Features of positions, degrees lon, lat."""
        directions = np.array([[1.0, 0.0], [-0.5, np.sqrt(0.75)], [-0.5, -np.sqrt(0.75)]])
        along = np.asarray(lonlat, np.float64) @ directions.T
        scaled = along[:, :, None] / geometric(self.shortest, self.longest, self.scales)
        flat = scaled.reshape(len(along), -1)
        return np.hstack([np.sin(flat), np.cos(flat)])


def geometric(shortest: float, longest: float, count: int) -> Float64[np.ndarray, " count"]:
    """Scales in geometric progression, both ends among them."""
    return np.geomspace(shortest, longest, count)


def finest(resolution: int) -> float:
    """The scale whose wavelength is two cells of a resolution, degrees: all that cells can tell.

    The papers choose their shortest scale by a search on the target; we search nothing.
    """
    return 2 * np.sqrt(3) * grid.edge_km(resolution) / KM_PER_DEGREE / (2 * np.pi)
