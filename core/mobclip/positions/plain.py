"""Positions nearly as they are: `Direct`, `Cartesian`, `Wrap`."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64


@dataclass(frozen=True, kw_only=True)
class Direct:
    """Longitude / 180 and latitude / 90."""

    @property
    def dims(self) -> int:
        """Number of features."""
        return 2

    def __call__(self, lonlat: Float[np.ndarray, "n 2"]) -> Float64[np.ndarray, "n 2"]:
        """Features of positions, degrees lon, lat."""
        return np.asarray(lonlat, np.float64) / [180.0, 90.0]


@dataclass(frozen=True, kw_only=True)
class Cartesian:
    """The point on the unit sphere."""

    @property
    def dims(self) -> int:
        """Number of features."""
        return 3

    def __call__(self, lonlat: Float[np.ndarray, "n 2"]) -> Float64[np.ndarray, "n 3"]:
        """Features of positions, degrees lon, lat."""
        lon, lat = np.radians(lonlat).T
        return np.column_stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])


@dataclass(frozen=True, kw_only=True)
class Wrap:
    """Sine and cosine of longitude and of latitude (Mac Aodha, Cole, Perona 2019, 1906.05272).

    Where we differ: the paper scales latitude to [-π, π], which makes one of the two poles. Like
    Russwurm et al. (2024), we keep radians, and the poles apart.
    """

    @property
    def dims(self) -> int:
        """Number of features."""
        return 4

    def __call__(self, lonlat: Float[np.ndarray, "n 2"]) -> Float64[np.ndarray, "n 4"]:
        """Features of positions, degrees lon, lat."""
        lon, lat = np.radians(lonlat).T
        return np.column_stack([np.cos(lon), np.sin(lon), np.cos(lat), np.sin(lat)])
