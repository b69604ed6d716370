"""Plane: the space of an embedding from its widest side, where a new vector has a place too."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from mobclip.embeddings import unit_rows


@dataclass(frozen=True, kw_only=True)
class Plane:
    """The first two principal axes of unit vectors. Unlike UMAP it is linear: it takes any vector.

    share : of the variance of all vectors that the two axes show
    """

    mean: Float32[np.ndarray, " dims"]
    axes: Float32[np.ndarray, "dims 2"]
    share: float

    @classmethod
    def of(cls, vectors: Float32[np.ndarray, "cells dims"]) -> "Plane":
        """Of the vectors of a place, of any length."""
        unit = unit_rows(vectors)
        mean = unit.mean(0, dtype=np.float64)
        covariance = (unit.T @ unit).astype(np.float64) / len(unit) - np.outer(mean, mean)
        values, axes = np.linalg.eigh(covariance)
        two = np.zeros((unit.shape[1], 2))
        kept = axes[:, ::-1][:, :2]
        two[:, : kept.shape[1]] = kept * np.sign(
            kept[np.abs(kept).argmax(0), np.arange(kept.shape[1])]
        )
        total = float(np.maximum(values, 0).sum())
        return cls(
            mean=mean.astype(np.float32),
            axes=two.astype(np.float32),
            share=float(values[::-1][:2].sum()) / total if total > 0 else 0.0,
        )

    def __call__(self, vectors: Float32[np.ndarray, "n dims"]) -> Float32[np.ndarray, "n 2"]:
        """Where vectors lie."""
        return np.asarray((unit_rows(vectors) - self.mean) @ self.axes, np.float32)
