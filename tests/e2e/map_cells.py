"""What the page of map_app.py shows, for the page and for the tests."""

import numpy as np
import shapely
from colours import Colouring, ramp
from map_component import Flow, Flows

from mobclip import grid


def a_place(cells: int, lon: float = -25) -> np.ndarray:
    """About so many cells of resolution 6, a square in an ocean."""
    half = 0.97 * (cells / 1000) ** 0.5
    world = shapely.box(-180, -90, 180, 90)
    found = []
    for turn in (-360, 0, 360):
        west = lon + turn - half
        part = world & shapely.box(west, -20 - half, west + 2 * half, -20 + half)
        if part.area > 0:
            found.append(grid.polygon_to_cells(part, 6))
    return np.unique(np.concatenate(found))


def trips(cells: np.ndarray) -> Flows:
    """Lines from a cell near the middle to two others, and one back."""
    order = np.argsort(np.hypot(*(_round(grid.centers(cells)) - [0, -20]).T))
    names = grid.to_strings(cells[order[[5, len(cells) // 3, len(cells) // 2]]])
    near, far, back = ((0, 1, 40.0, 0), (0, 2, 10.0, 0), (2, 0, 30.0, 1))
    return Flows(
        lines=[
            Flow(start=names[start], end=names[end], amount=amount, kind=kind)
            for start, end, amount, kind in (near, far, back)
        ],
        title="Number of trips",
        kinds=[("#0072b2", "away"), ("#d55e00", "back")],
    )


def _round(lonlat: np.ndarray) -> np.ndarray:
    """Longitudes from that of the place's middle, also across the date line."""
    lon = np.radians(lonlat[:, 0])
    middle = np.arctan2(np.sin(lon).mean(), np.cos(lon).mean())
    away = np.degrees(np.angle(np.exp(1j * (lon - middle))))
    return np.column_stack([away, lonlat[:, 1]])


def waves(lonlat: np.ndarray) -> Colouring:
    """First colouring."""
    return ramp(np.cos(6 * lonlat[:, 0]) + lonlat[:, 1], title="Waves", unit="m")


def longitude(lonlat: np.ndarray) -> Colouring:
    """Second colouring."""
    return ramp(lonlat[:, 0], title="Longitude", unit="°")
