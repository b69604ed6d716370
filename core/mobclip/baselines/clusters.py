"""Kinds of surroundings by their POIs: `poi-clusters`."""

import numpy as np
from jaxtyping import Float32
from scipy.cluster.vq import kmeans
from scipy.spatial.distance import cdist

from mobclip.baselines.features import Features
from mobclip.baselines.propagation import spatial_kernel
from mobclip.embeddings import Embeddings

TOTAL = "log_total"
TOLERANCE = 1e-3  # k-means ends when the mean distance to the nearest prototype moves less


def poi_clusters(features: Features) -> Embeddings:
    """How much a cell's surroundings are like each of 127 typical ones, and its POI total.

    After PlaceFM (Hashemi, Amiri, Züfle 2025, arXiv 2507.02921), which encodes POIs, smooths them
    over a graph of POIs, condenses them by bisecting k-means and sums up by region. Not their
    system: ours starts from the tokens of cells (text vector and counts by category), smooths them
    over the two rings around a cell, takes plain k-means, and gives soft memberships.

    A cell with no POI in its surroundings has the mean memberships. With the total, the vectors
    are as long as those of the other rows.
    """
    columns = features.of("poi")
    rest = np.array([name != TOTAL for name in columns.names], bool)
    present = features.place.present["poi"].astype(np.float32)
    kernel = spatial_kernel(features.place.cells)
    heard = kernel @ present  # share of the surroundings that has POIs
    near = heard > 0
    smooth = (kernel @ columns.values[:, rest])[near] / heard[near, None]
    members = np.zeros((len(near), 0), np.float32)
    if rest.any():
        found, _ = memberships(
            smooth, max(features.dims - 1, 1), np.random.default_rng(features.seed)
        )
        members = np.tile(found.mean(0), (len(near), 1))
        members[near] = found
    vectors = np.hstack([members, columns.values[:, ~rest]])
    return features.embeddings("poi-clusters", vectors)


def memberships(
    rows: Float32[np.ndarray, "n columns"], count: int, rng: np.random.Generator
) -> tuple[Float32[np.ndarray, "n prototypes"], Float32[np.ndarray, "prototypes columns"]]:
    """Memberships and prototypes: softmax of -d²/s over at most `count` k-means prototypes.

    s is the mean squared distance of a row to its nearest prototype, so that nothing is set by
    hand: a row at its prototype belongs to it, one between two to both.
    """
    chosen = rng.choice(len(rows), size=min(count, len(rows)), replace=False)
    prototypes, _ = kmeans(rows, np.unique(rows[chosen], axis=0), thresh=TOLERANCE)
    squared = cdist(rows, prototypes, "sqeuclidean")
    nearest = squared.min(axis=1, keepdims=True)
    weights = np.exp((nearest - squared) / max(float(nearest.mean()), 1e-9))
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32), prototypes
