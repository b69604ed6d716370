"""Training-free embeddings: the ladder that a trained model has to climb.

Each takes a place and gives one vector per cell by linear algebra alone, in seconds. A trained
model that does not beat them on spatial blocks has earned nothing.

===============  ============================================================================
`features`       the evidence of a place as comparable columns, and what may be left out of it
`baseline`       a row of the ladder
`chance`         random
`position`       coordinates, neighbours
`encodings`      wrap, harmonics, fourier, sphere2vec, space2vec-grid, space2vec-theory
`evidence`       one modality alone, poi-counts, pca
`nodes`          line, lightgcn
`clusters`       poi-clusters
`propagation`    propagated
`shared`         not a row: one space for several places
===============  ============================================================================
"""

from mobclip.baselines.baseline import Baseline
from mobclip.baselines.chance import random
from mobclip.baselines.clusters import poi_clusters
from mobclip.baselines.encodings import ENCODINGS, encoding
from mobclip.baselines.evidence import modality, pca, poi_counts
from mobclip.baselines.features import DIMS, Features
from mobclip.baselines.nodes import lightgcn, line
from mobclip.baselines.position import coordinates, neighbours
from mobclip.baselines.propagation import propagated, spatial_kernel
from mobclip.baselines.shared import shared, shared_columns
from mobclip.place import MOBILITY, Place

__all__ = [
    "BASELINES",
    "DIMS",
    "ENCODINGS",
    "Baseline",
    "Features",
    "available",
    "shared",
    "shared_columns",
    "spatial_kernel",
]

BASELINES: dict[str, Baseline] = {
    "random": Baseline(
        fit=random,
        about="random numbers: what a probe finds by chance",
    ),
    "coordinates": Baseline(
        fit=coordinates,
        about="longitude and latitude only: what position alone explains",
    ),
    "wrap": Baseline(
        fit=encoding("wrap"),
        about="position as sine and cosine of longitude and latitude",
    ),
    "harmonics": Baseline(
        fit=encoding("harmonics"),
        about="position as spherical harmonics of 40 degrees: smooth over 500 km and more",
    ),
    "fourier": Baseline(
        fit=encoding("fourier"),
        about="position as random waves on a map true in area, as GeoCLIP starts from",
    ),
    "sphere2vec": Baseline(
        fit=encoding("sphere2vec"),
        about="position as waves on the sphere at 32 scales, down to two cells",
    ),
    "space2vec-grid": Baseline(
        fit=encoding("space2vec-grid"),
        about="position as waves along each axis at 32 scales, down to two cells",
    ),
    "space2vec-theory": Baseline(
        fit=encoding("space2vec-theory"),
        about="position as waves along three directions at 32 scales, down to two cells",
    ),
    "neighbours": Baseline(
        fit=neighbours,
        about="the mean of the nearest places that were measured: no evidence of the cell itself",
        probe="neighbours",
    ),
    "poi-counts": Baseline(
        fit=poi_counts,
        about="how many points of interest of each category",
        needs="poi",
    ),
    "poi": Baseline(
        fit=modality("poi"),
        about="points of interest alone: their words, categories and number",
        needs="poi",
    ),
    "imagery": Baseline(
        fit=modality("imagery"),
        about="imagery alone",
        needs="imagery",
    ),
    "demographics": Baseline(
        fit=modality("demographics"),
        about="the census alone: who lives there",
        needs="demographics",
    ),
    "mobility": Baseline(
        fit=modality(MOBILITY),
        about="flows alone: who is connected to whom, and how strongly",
        needs=MOBILITY,
    ),
    "line": Baseline(
        fit=line,
        about="flows alone, as a graph embedding (LINE): connections without their size",
        needs=MOBILITY,
    ),
    "lightgcn": Baseline(
        fit=lightgcn,
        about="the graph embedding averaged over partners: MobCLIP before any training",
        needs=MOBILITY,
    ),
    "poi-clusters": Baseline(
        fit=poi_clusters,
        about="how much the surroundings are like each of 127 typical mixes of points of interest",
        needs="poi",
    ),
    "pca": Baseline(
        fit=pca,
        about="all evidence side by side, cut to its main directions (PCA)",
    ),
    "propagated": Baseline(
        fit=propagated,
        about="all evidence, smoothed over neighbours and flows, then PCA",
    ),
}
"""Name -> row of the ladder, from what knows least to what knows most."""


def available(place: Place) -> list[str]:
    """Names of the baselines that this place has the evidence for."""
    return [
        name
        for name, baseline in BASELINES.items()
        if baseline.needs is None or baseline.needs in place.modalities
    ]
