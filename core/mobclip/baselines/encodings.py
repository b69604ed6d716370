"""What published position encodings tell without any training: `harmonics`, `wrap` and others."""

from collections.abc import Callable

import numpy as np

from mobclip import grid
from mobclip.baselines.features import Features
from mobclip.embeddings import Embeddings
from mobclip.positions import (
    Components,
    Fourier,
    Grid,
    Harmonics,
    Position,
    SphereCPlus,
    Theory,
    Wrap,
    finest,
)

# Scales reach from the published longest down to two cells; the rest is as published.
ENCODINGS: dict[str, Callable[[Features], Position]] = {
    "wrap": lambda features: Wrap(),
    "harmonics": lambda features: Harmonics(degrees=40),
    "fourier": lambda features: Fourier(seed=features.seed),
    "sphere2vec": lambda features: SphereCPlus(shortest=np.radians(_finest(features))),
    "space2vec-grid": lambda features: Grid(shortest=_finest(features)),
    "space2vec-theory": lambda features: Theory(shortest=_finest(features)),
}
"""Name of the row -> its encoding for a place."""


def encoding(name: str) -> Callable[[Features], Embeddings]:
    """A position encoding of the cells' centres, as its main components over the place."""

    def fit(features: Features) -> Embeddings:
        lonlat = grid.centers(features.place.cells)
        position = ENCODINGS[name](features)
        seen = Components.over(position, lonlat, most=features.dims)
        return features.embeddings(name, seen(lonlat))

    return fit


def _finest(features: Features) -> float:
    return finest(features.place.resolution)
