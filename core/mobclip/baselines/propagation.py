"""All evidence, smoothed over flows and over space: `propagated`."""

import numpy as np
from scipy import sparse

from mobclip import grid
from mobclip.baselines.features import Features, principal_axes
from mobclip.embeddings import Embeddings
from mobclip.place import MOBILITY, Place

NEAR, FAR = 1, 8  # steps of the spatial kernel: about 1 and 3 cells wide
ALONG_FLOWS = ("one step", "two steps", "destinations", "origins")


def propagated(features: Features) -> Embeddings:
    """Features smoothed over flows and over space, then PCA; no training.

    With Z the PCA of all features (128 dimensions or more): Z itself, one and two steps along the
    symmetric flows, one step to destinations and one to origins (direction), and a near and a far
    spatial mean, side by side as they are: a mean varies less than what it is the mean of, and so
    weighs less. Flow and POI totals are among the features (magnitude).

    Where mobility is not `known`, what came along the flows stands at its mean too.
    """
    place = features.place
    blocks = _surroundings(place, features.together.values @ features.axes)
    means = {name: block.mean(0, dtype=np.float64) for name, block in blocks.items()}
    stacked = np.hstack(
        [(block - means[name]).astype(np.float32) for name, block in blocks.items()]
    )
    basis = principal_axes(stacked, features.dims)
    if features.known is not None:
        seen = _surroundings(place, features.shown.values @ features.axes)
        if MOBILITY not in features.known:
            seen |= {name: means[name][None] for name in ALONG_FLOWS if name in seen}
        n = len(place.cells)
        stacked = np.hstack(
            [
                np.broadcast_to((block - means[name]).astype(np.float32), (n, len(means[name])))
                for name, block in seen.items()
            ]
        )
    return features.embeddings("propagated", stacked @ basis, hides=True)


def spatial_kernel(cells: np.ndarray) -> sparse.csr_array:
    """(n, n) Gaussian mean over the two rings around each cell, rows sum to 1.

    σ is the distance between neighbouring centres; only cells of the place take part.
    """
    ring_1 = grid.adjacency(cells, 1)
    ring_2 = grid.adjacency(cells, 2) - ring_1
    kernel = sparse.eye_array(len(cells)) + np.exp(-1 / 2) * ring_1 + np.exp(-4 / 2) * ring_2
    kernel = sparse.csr_array(kernel)
    return sparse.csr_array(sparse.diags_array(1 / kernel.sum(axis=1)) @ kernel).astype(np.float32)


def _surroundings(place: Place, z: np.ndarray) -> dict[str, np.ndarray]:
    """Each cell's own vector and the means of those it is tied to."""
    blocks = {"own": z}
    if place.graph is not None:
        symmetric = place.graph.normalised("symmetric")
        once = symmetric @ z
        steps = (
            once,
            symmetric @ once,
            place.graph.normalised("out") @ z,
            place.graph.normalised("in") @ z,
        )
        blocks |= dict(zip(ALONG_FLOWS, steps, strict=True))
    kernel = spatial_kernel(place.cells)
    smooth = z
    for step in range(1, FAR + 1):
        smooth = kernel @ smooth
        if step in (NEAR, FAR):
            blocks["near" if step == NEAR else "far"] = smooth
    return blocks
