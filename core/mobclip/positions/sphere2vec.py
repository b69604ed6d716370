r"""Sphere2Vec (Mai et al., ISPRS 2023, arXiv 2306.17624): a multi-scale encoding of a sphere.

With longitude λ and latitude φ in radians and S scales r_s in geometric progression up to 1,
λ_s = λ / r_s and φ_s = φ / r_s. At r = 1 the terms are the point on the unit sphere, which no
date line cuts; at a finer scale the sine of λ / r is another number on the other side of the line
unless 1 / r is whole. The paper has that seam too.

Where we differ: r_s comes from a shortest scale, not from a search on the target. Formulas as in
the first version of the paper (arXiv 2201.10489, equations 4 and 10 for C and C+).
"""

from dataclasses import dataclass
from itertools import product

import numpy as np
from jaxtyping import Float, Float64

from mobclip.positions.space2vec import geometric


@dataclass(frozen=True, kw_only=True)
class _Sphere2Vec:
    """What the family shares."""

    scales: int = 32
    shortest: float = 0.01  # of r; the longest is 1

    def _angles(
        self, lonlat: Float[np.ndarray, "n 2"]
    ) -> tuple[Float64[np.ndarray, "n 1"], Float64[np.ndarray, "n 1"], np.ndarray, np.ndarray]:
        """λ, φ, and both at every scale (n, scales)."""
        lon, lat = np.radians(lonlat).T[:, :, None]
        scales = geometric(self.shortest, 1.0, self.scales)
        return lon, lat, lon / scales, lat / scales


@dataclass(frozen=True, kw_only=True)
class SphereC(_Sphere2Vec):
    r"""Three terms a scale: :math:`\sin φ_s, \cos φ_s \cos λ_s, \cos φ_s \sin λ_s`."""

    @property
    def dims(self) -> int:
        """Number of features."""
        return 3 * self.scales

    def __call__(self, lonlat: Float[np.ndarray, "n 2"]) -> Float64[np.ndarray, "n dims"]:
        """Features of positions, degrees lon, lat."""
        _, _, lon, lat = self._angles(lonlat)
        return np.hstack([np.sin(lat), np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon)])


@dataclass(frozen=True, kw_only=True)
class SphereCPlus(_Sphere2Vec):
    r"""`SphereC` and the terms of each axis alone: :math:`\cos φ_s, \cos λ_s, \sin λ_s`."""

    @property
    def dims(self) -> int:
        """Number of features."""
        return 6 * self.scales

    def __call__(self, lonlat: Float[np.ndarray, "n 2"]) -> Float64[np.ndarray, "n dims"]:
        """Features of positions, degrees lon, lat."""
        _, _, lon, lat = self._angles(lonlat)
        crossed = [np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon)]
        return np.hstack([np.sin(lat), np.cos(lat), np.sin(lon), np.cos(lon), *crossed])


@dataclass(frozen=True, kw_only=True)
class SphereM(_Sphere2Vec):
    r"""Five terms a scale: one angle is scaled while the other stays.

    .. math:: \sin φ_s, \; \{\cos φ_s\} \times \{\cos λ, \sin λ\}, \;
              \{\cos φ\} \times \{\cos λ_s, \sin λ_s\}
    """

    @property
    def dims(self) -> int:
        """Number of features."""
        return 5 * self.scales

    def __call__(self, lonlat: Float[np.ndarray, "n 2"]) -> Float64[np.ndarray, "n dims"]:
        """Features of positions, degrees lon, lat."""
        lon, lat, lon_s, lat_s = self._angles(lonlat)
        return np.hstack([np.sin(lat_s), *_mixed(lon, lat, lon_s, lat_s)])


@dataclass(frozen=True, kw_only=True)
class SphereMPlus(_Sphere2Vec):
    r"""`SphereM` and the terms of each axis alone: :math:`\cos φ_s, \cos λ_s, \sin λ_s`."""

    @property
    def dims(self) -> int:
        """Number of features."""
        return 8 * self.scales

    def __call__(self, lonlat: Float[np.ndarray, "n 2"]) -> Float64[np.ndarray, "n dims"]:
        """Features of positions, degrees lon, lat."""
        lon, lat, lon_s, lat_s = self._angles(lonlat)
        alone = [np.sin(lat_s), np.cos(lat_s), np.sin(lon_s), np.cos(lon_s)]
        return np.hstack([*alone, *_mixed(lon, lat, lon_s, lat_s)])


def _mixed(
    lon: np.ndarray, lat: np.ndarray, lon_s: np.ndarray, lat_s: np.ndarray
) -> list[np.ndarray]:
    pairs = [(lat_s, lon), (lat, lon_s)]
    return [np.cos(up) * around(east) for (up, east), around in product(pairs, (np.cos, np.sin))]
