"""Training-free embeddings: the ladder that a trained model has to climb.

Each takes a place and gives one vector per cell by linear algebra alone, in seconds. A trained
model that does not beat them on spatial blocks has earned nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Float32, Float64
from scipy import sparse

from mobclip import grid
from mobclip.embeddings import Embeddings
from mobclip.errors import ConfigError
from mobclip.place import MOBILITY, Place
from mobclip.spectral import flow_vectors
from mobclip.textmap import TEXT_PREFIX, TextMap

DIMS = 128
FLOW_DIMS = 64  # singular vectors of each of the two flow matrices
NEAR, FAR = 1, 8  # steps of the spatial kernel: about 1 and 3 cells wide


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """What a baseline gives."""

    embeddings: Embeddings
    text_map: TextMap | None = None  # for baselines that contain the POI text


@dataclass(frozen=True, kw_only=True)
class _Columns:
    """Evidence of one modality as comparable columns; a cell without it stands at the mean, 0."""

    values: Float32[np.ndarray, "cells columns"]
    text: np.ndarray  # (columns,) bool: columns that hold the text vector
    mean: np.ndarray  # (columns,) what was taken off
    scale: np.ndarray  # (columns,) by what it was divided

    def weighted(self, weight: np.float32) -> "_Columns":
        """The same columns, multiplied by `weight`."""
        return replace(self, values=self.values * weight, scale=self.scale / weight)


class Features:
    """What the baselines are made of: the evidence of a place as comparable columns.

    Each part is computed when it is first asked for, and once.
    """

    def __init__(self, place: Place, *, seed: int = 0) -> None:
        self.place = place
        self.seed = seed  # of the factorisation of the flows; nothing else is random
        self._parts: dict[str, _Columns] = {}

    def of(self, name: str) -> "_Columns":
        """One modality, centred and scaled."""
        if name not in self._parts:
            self._parts[name] = _modality_columns(self.place, name, self.seed)
        return self._parts[name]

    @cached_property
    def together(self) -> "_Columns":
        """All modalities side by side, each divided by its first singular value.

        That is multiple factor analysis (Escofier & Pagès 1990): no modality dominates because it
        has more columns. The value is taken over the cells that have the modality, so that one
        which few cells have does not grow loud.
        """
        parts = []
        for name in self.place.modalities:
            part = self.of(name)
            here = part.values[self.place.present[name]]
            leading = np.sqrt(np.linalg.eigvalsh(_covariance(here))[-1])
            parts.append(part.weighted(np.float32(1 / leading if leading > 0 else 1)))
        return _Columns(
            values=np.hstack([part.values for part in parts]),
            text=np.concatenate([part.text for part in parts]),
            mean=np.concatenate([part.mean for part in parts]),
            scale=np.concatenate([part.scale for part in parts]),
        )

    @cached_property
    def axes(self) -> Float32[np.ndarray, "columns dims"]:
        """Principal axes of all modalities together."""
        return _principal_axes(self.together.values, DIMS)


def coordinates(features: Features) -> Fitted:
    """Longitude and latitude and their squares and product: what position alone explains."""
    lonlat = grid.centers(features.place.cells)
    lon, lat = ((lonlat - lonlat.mean(0)) / lonlat.std(0)).T
    vectors = np.column_stack([lon, lat, lon**2, lat**2, lon * lat])
    return Fitted(embeddings=_embeddings(features.place, "coordinates", vectors))


def modality(name: str) -> Callable[[Features], Fitted]:
    """The evidence of one modality alone, PCA to 128 dimensions where it is wider."""

    def fit(features: Features) -> Fitted:
        columns = features.of(name)
        axes = _principal_axes(columns.values, DIMS)
        return Fitted(
            embeddings=_embeddings(features.place, name, columns.values @ axes),
            text_map=_text_map(columns, axes),
        )

    return fit


def pca(features: Features) -> Fitted:
    """PCA to 128 dimensions of the features of all modalities, side by side."""
    columns = features.together
    return Fitted(
        embeddings=_embeddings(features.place, "pca", columns.values @ features.axes),
        text_map=_text_map(columns, features.axes),
    )


def propagated(features: Features) -> Fitted:
    """Features smoothed over flows and over space, PCA to 128 dimensions; no training.

    With Z the PCA of all features: Z itself, one and two steps along the symmetric flows, one
    step to destinations and one to origins (direction), and a near and a far spatial mean, side
    by side as they are: a mean varies less than what it is the mean of, and so weighs less. Flow
    and POI totals are among the features (magnitude).
    """
    place = features.place
    z = features.together.values @ features.axes
    blocks = [z]
    if place.graph is not None:
        symmetric = place.graph.normalised("symmetric")
        once = symmetric @ z
        blocks += [once, symmetric @ once]
        blocks += [place.graph.normalised("out") @ z, place.graph.normalised("in") @ z]
    kernel = spatial_kernel(place.cells)
    smooth = z
    for step in range(1, FAR + 1):
        smooth = kernel @ smooth
        if step in (NEAR, FAR):
            blocks.append(smooth)
    stacked = np.hstack([_centred(block) for block in blocks])
    basis = _principal_axes(stacked, DIMS)
    # A text stands for a cell whose surroundings and partners are average: only the first block.
    return Fitted(
        embeddings=_embeddings(place, "propagated", stacked @ basis),
        text_map=_text_map(features.together, features.axes @ basis[: z.shape[1]]),
    )


ALONE: dict[str, Callable[[Features], Fitted]] = {
    "poi": modality("poi"),
    "imagery": modality("imagery"),
    "demographics": modality("demographics"),
    "mobility": modality(MOBILITY),
}
"""Modality name -> its evidence alone, for places that have the modality."""

BASELINES: dict[str, Callable[[Features], Fitted]] = {
    "coordinates": coordinates,
    **ALONE,
    "pca": pca,
    "propagated": propagated,
}
"""Baseline name -> fit(features). Those named after a modality need the place to have it."""


def available(place: Place) -> list[str]:
    """Names of the baselines that this place has the evidence for."""
    return [name for name in BASELINES if name not in ALONE or name in place.modalities]


def spatial_kernel(cells: np.ndarray) -> sparse.csr_array:
    """(n, n) Gaussian mean over the two rings around each cell, rows sum to 1.

    σ is the distance between neighbouring centres; only cells of the place take part.
    """
    ring_1 = grid.adjacency(cells, 1)
    ring_2 = grid.adjacency(cells, 2) - ring_1
    kernel = sparse.eye_array(len(cells)) + np.exp(-1 / 2) * ring_1 + np.exp(-4 / 2) * ring_2
    kernel = sparse.csr_array(kernel)
    return sparse.csr_array(sparse.diags_array(1 / kernel.sum(axis=1)) @ kernel).astype(np.float32)


def _modality_columns(place: Place, name: str, seed: int) -> _Columns:
    if name not in place.modalities:
        raise ConfigError(f"{place.name} has no {name}; it has {', '.join(place.modalities)}.")
    if name == MOBILITY:
        assert place.graph is not None
        flows = flow_vectors(place.graph, FLOW_DIMS, seed=seed)
        # One scale for the columns of an SVD: their variances are what it found.
        groups = [
            "" if key == "magnitude" else key for key, block in flows.items() for _ in block.T
        ]
        return _scaled(np.hstack(list(flows.values())), place.graph.present, np.array(groups))
    table = place.tables[name]
    values, present = table.aligned(place.cells)
    groups = ["text" if column.startswith(TEXT_PREFIX) else "" for column in table.columns]
    return _scaled(values, present, np.array(groups))


def _scaled(values: np.ndarray, present: np.ndarray, groups: np.ndarray) -> _Columns:
    """Centre and scale by the cells that have evidence; columns of one group share a scale."""
    mean = values[present].mean(0, dtype=np.float64)
    variance = values[present].var(0, dtype=np.float64)
    for group in set(groups.tolist()) - {""}:
        variance[groups == group] = variance[groups == group].mean()
    scale = np.sqrt(variance)
    scale[scale < 1e-9] = 1.0
    scaled = np.where(present[:, None], (values - mean) / scale, 0)
    return _Columns(values=scaled.astype(np.float32), text=groups == "text", mean=mean, scale=scale)


def _covariance(values: np.ndarray) -> Float64[np.ndarray, "columns columns"]:
    centred = _centred(values)
    return (centred.T @ centred).astype(np.float64) / len(values)


def _principal_axes(values: np.ndarray, dims: int) -> Float32[np.ndarray, "columns dims"]:
    """Leading eigenvectors of the covariance, signs fixed by each one's largest entry."""
    variances, axes = np.linalg.eigh(_covariance(values))
    axes = axes[:, ::-1][:, :dims]
    axes = axes[:, variances[::-1][: axes.shape[1]] > 1e-9 * max(variances[-1], 1e-30)]
    sign = np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])])
    return (axes * sign).astype(np.float32)


def _centred(values: np.ndarray) -> Float32[np.ndarray, "cells columns"]:
    return (values - values.mean(0, dtype=np.float64)).astype(np.float32)


def _text_map(columns: _Columns, axes: np.ndarray) -> TextMap | None:
    text = columns.text
    if not text.any():
        return None
    return TextMap.from_standardised(
        axes[text], np.zeros(axes.shape[1]), mean=columns.mean[text], scale=columns.scale[text]
    )


def _embeddings(place: Place, name: str, vectors: np.ndarray) -> Embeddings:
    return Embeddings(
        name=name,
        cells=place.cells,
        vectors=np.ascontiguousarray(vectors, np.float32),
        present=place.present,
        provenance={"recipe": f"{name}, training-free", "modalities": list(place.modalities)},
    )
