"""Smooth random fields on the plane, from random Fourier features."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True, kw_only=True)
class Field:
    """A sum of plane waves; it can be evaluated anywhere, so cells and pixels see one field.

    Of one length scale it is the random-Fourier approximation of a Gaussian process with a
    squared-exponential covariance (Rahimi and Recht 2007); of several octaves, a fractal surface.
    """

    waves: Float[np.ndarray, "features 2"]  # radians per km
    phases: Float[np.ndarray, " features"]
    amplitudes: Float[np.ndarray, " features"]  # mean 0 and variance 1 together

    def __call__(self, xy: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, " n"]:
        """Values at points in km."""
        x = np.ascontiguousarray(xy[:, 0])
        y = np.ascontiguousarray(xy[:, 1])
        # A loop over a few dozen waves, not a matrix product: little memory, and the same bits
        # whatever the number of BLAS threads.
        total = np.zeros(len(x))
        for (kx, ky), phase, amplitude in zip(
            self.waves, self.phases, self.amplitudes, strict=True
        ):
            total += amplitude * np.cos(kx * x + ky * y + phase)
        return total


def smooth_field(rng: np.random.Generator, *, length_km: float, features: int = 64) -> Field:
    """Field of one length scale (the distance at which correlation falls to 0.61)."""
    return Field(
        waves=rng.normal(size=(features, 2)) / length_km,
        phases=rng.uniform(0, 2 * np.pi, features),
        amplitudes=np.full(features, np.sqrt(2 / features)),
    )


def fractal_field(
    rng: np.random.Generator,
    *,
    length_km: float,
    finest_km: float,
    gain: float = 0.5,
    features: int = 16,
) -> Field:
    """Field of several octaves, from `length_km` down to `finest_km`, each `gain` times weaker."""
    octaves = max(1, int(np.ceil(np.log2(max(length_km / finest_km, 1)))) + 1)
    parts = [
        smooth_field(rng, length_km=length_km / 2**octave, features=features)
        for octave in range(octaves)
    ]
    strength = gain ** np.arange(octaves)
    strength /= np.sqrt((strength**2).sum())
    return Field(
        waves=np.concatenate([part.waves for part in parts]),
        phases=np.concatenate([part.phases for part in parts]),
        amplitudes=np.concatenate(
            [part.amplitudes * s for part, s in zip(parts, strength, strict=True)]
        ),
    )


def standardised(values: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """Mean 0 and variance 1 over all elements; zeros where there is no variance."""
    spread = float(np.std(values))
    centred = values - np.mean(values)
    return centred / spread if spread > 1e-12 else np.zeros_like(centred)


def sigmoid(values: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """1 / (1 + exp(-values))."""
    return 1 / (1 + np.exp(-values))
