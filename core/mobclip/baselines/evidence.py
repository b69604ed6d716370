"""The evidence as it is, rotated: one modality alone, POI counts alone, all side by side."""

from collections.abc import Callable

import numpy as np

from mobclip.baselines.features import Features, principal_axes
from mobclip.embeddings import Embeddings
from mobclip.errors import ConfigError


def modality(name: str) -> Callable[[Features], Embeddings]:
    """The evidence of one modality alone, PCA where it is wider than the embedding."""

    def fit(features: Features) -> Embeddings:
        columns = features.of(name)
        if not columns.names:
            raise ConfigError(f"no column of {name} is left: leave fewer out, or do without it.")
        axes = principal_axes(columns.values, features.dims)
        return features.embeddings(name, columns.values @ axes)

    return fit


def poi_counts(features: Features) -> Embeddings:
    """How many points of each category, and how many in all; logs, scaled, not rotated."""
    columns = features.of("poi")
    counts = [name.startswith("count_") or name == "log_total" for name in columns.names]
    vectors = columns.values[:, np.array(counts, bool)]
    return features.embeddings("poi-counts", vectors)


def pca(features: Features) -> Embeddings:
    """PCA of the evidence of all modalities, side by side and weighed evenly."""
    axes = features.axes[:, : features.dims]
    return features.embeddings("pca", features.shown.values @ axes, hides=True)
