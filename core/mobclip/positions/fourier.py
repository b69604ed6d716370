"""Random Fourier features, as GeoCLIP uses them (Cepeda, Nayak, Shah 2023, arXiv 2309.16020)."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Float64

from mobclip.positions.equal_earth import equal_earth

SCALE = 66.50336 / 180  # GeoCLIP's: brings x of the Equal Earth projection to [-1, 1]


@dataclass(frozen=True, kw_only=True)
class Fourier:
    r"""Cosines and sines of random frequencies on the Equal Earth plane.

    .. math:: \cos(2π B p), \; \sin(2π B p), \quad B_{ij} \sim N(0, σ^2)

    for each bandwidth σ, side by side (Tancik et al. 2020, arXiv 2006.10739). Where
    GeoCLIP writes latitude first, we write longitude first, as everywhere here. The frequencies
    follow from the seed alone; they are fixed, and not trained.
    """

    bandwidths: tuple[float, ...] = (1.0, 16.0, 256.0)
    frequencies: int = 256  # of each bandwidth
    seed: int = 0

    @property
    def dims(self) -> int:
        """Number of features."""
        return 2 * self.frequencies * len(self.bandwidths)

    @cached_property
    def directions(self) -> Float64[np.ndarray, "bandwidths frequencies 2"]:
        """B of every bandwidth."""
        shape = (len(self.bandwidths), self.frequencies, 2)
        normal = np.random.default_rng(self.seed).normal(size=shape)
        return normal * np.asarray(self.bandwidths)[:, None, None]

    def __call__(self, lonlat: Float[np.ndarray, "n 2"]) -> Float64[np.ndarray, "n dims"]:
        """Features of positions, degrees lon, lat."""
        plane = equal_earth(lonlat) * SCALE
        blocks = [2 * np.pi * plane @ directions.T for directions in self.directions]
        return np.hstack([wave(block) for block in blocks for wave in (np.cos, np.sin)])
