"""What chance gives: `random`."""

import numpy as np

from mobclip.baselines.baseline import Fitted
from mobclip.baselines.features import Features


def random(features: Features) -> Fitted:
    """Independent standard normals, drawn anew for every seed."""
    shape = (len(features.place.cells), features.dims)
    vectors = np.random.default_rng(features.seed).normal(size=shape)
    return Fitted(embeddings=features.embeddings("random", vectors))
