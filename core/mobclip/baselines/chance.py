"""What chance gives: `random`."""

import numpy as np

from mobclip.baselines.features import Features
from mobclip.embeddings import Embeddings


def random(features: Features) -> Embeddings:
    """Independent standard normals, drawn anew for every seed."""
    shape = (len(features.place.cells), features.dims)
    vectors = np.random.default_rng(features.seed).normal(size=shape)
    return features.embeddings("random", vectors)
