"""What the page of map_app.py shows, for the page and for the tests."""

import numpy as np
import shapely
from colours import Colouring, ramp

from mobclip import grid


def a_place(cells: int) -> np.ndarray:
    """About so many cells of resolution 6, a square in the Atlantic."""
    half = 0.97 * (cells / 1000) ** 0.5
    box = shapely.box(-25 - half, -20 - half, -25 + half, -20 + half)
    return grid.polygon_to_cells(box, 6)


def waves(lonlat: np.ndarray) -> Colouring:
    """First colouring."""
    return ramp(np.cos(6 * lonlat[:, 0]) + lonlat[:, 1], title="Waves", unit="m")


def longitude(lonlat: np.ndarray) -> Colouring:
    """Second colouring."""
    return ramp(lonlat[:, 0], title="Longitude", unit="°")
