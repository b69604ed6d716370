"""What position alone explains: `coordinates` and `neighbours`."""

import numpy as np

from mobclip import grid
from mobclip.baselines.features import Features
from mobclip.embeddings import Embeddings


def coordinates(features: Features) -> Embeddings:
    """Longitude and latitude and their squares and product: a trend across the place."""
    lonlat = grid.centers(features.place.cells)
    lon, lat = ((lonlat - lonlat.mean(0)) / lonlat.std(0)).T
    vectors = np.column_stack([lon, lat, lon**2, lat**2, lon * lat])
    return features.embeddings("coordinates", vectors)


def neighbours(features: Features) -> Embeddings:
    """Centres as points on the unit sphere, for a probe that averages the nearest labelled cells.

    Straight distances between such points rank as distances on the ground do, everywhere: no
    date line, no shrinking degrees. In float32 they are good to half a metre.
    """
    lon, lat = np.radians(grid.centers(features.place.cells)).T
    vectors = np.column_stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])
    return features.embeddings("neighbours", vectors)
