"""Where files lie, and whether they lie together."""

from collections.abc import Mapping, Sequence

import numpy as np
import shapely

from mobclip import grid
from mobclip.records import FlowRecords, PointRecords, Records, ZoneRecords
from mobclip.uploads.wanted import Wanted

Box = tuple[float, float, float, float]  # west, south, east, north


def positions(one: Records) -> np.ndarray | None:
    """(n, 2) lon, lat of points, or of both ends of flows; None of zone ids and zones."""
    if isinstance(one, PointRecords):
        return np.column_stack([one.lon, one.lat])
    if isinstance(one, FlowRecords) and one.ends == "points":
        return np.concatenate([one.origin, one.destination])
    if isinstance(one, FlowRecords) and one.ends == "cells":
        return grid.centers(np.unique(np.concatenate([one.origin, one.destination])))
    return None


def extent(one: Records) -> Box | None:
    if isinstance(one, ZoneRecords):
        west, south, east, north = shapely.total_bounds(one.geometry)
        return float(west), float(south), float(east), float(north)
    at = positions(one)
    if at is None:
        return None
    low, high = at.min(axis=0), at.max(axis=0)
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])


def box(records: Mapping[str, Records], wanted: Wanted) -> Box | None:
    """The area where there are no zones: around all positions, or nearly all."""
    found = [at for one in records.values() if (at := positions(one)) is not None]
    if not found:
        return None
    at = np.concatenate(found)
    outer = (1, 99) if wanted.trimmed else (0, 100)
    (west, south), (east, north) = np.percentile(at, outer, axis=0)
    edge = grid.edge_km(wanted.resolution) / 111  # degrees of latitude
    wide = edge / max(np.cos(np.radians(min(abs(south + north) / 2, 85))), 0.05)
    return (
        max(round(float(west - wide), 5), -180.0),
        max(round(float(south - edge), 5), -90.0),
        min(round(float(east + wide), 5), 180.0),
        min(round(float(north + edge), 5), 90.0),
    )


def far_apart(records: Mapping[str, Records]) -> list[str]:
    """Files that do not lie in one place; exchanged coordinates; a pole."""
    boxes = {kind: lies for kind, one in records.items() if (lies := extent(one)) is not None}
    found = []
    for kind, (west, south, east, north) in boxes.items():
        if min(abs(south), abs(north)) > 70 and south * north > 0:
            found.append(
                f"{kind.capitalize()}: all of them lie at latitudes {south:.2f} to {north:.2f}, "
                f"longitudes {west:.2f} to {east:.2f}, near a pole. Are longitude and latitude "
                "exchanged? Then choose the columns the other way round."
            )
    names = sorted(boxes, key=lambda kind: kind != "zones")
    for other in names[1:]:
        one, two = boxes[names[0]], boxes[other]
        if not _near(one, two):
            swapped = _near(one, (two[1], two[0], two[3], two[2]))
            hint = (
                "Longitude and latitude look exchanged in one of them."
                if swapped
                else "Do they belong to one place, and are the columns and the CRS right?"
            )
            found.append(
                f"{other.capitalize()} and {names[0]} do not meet: {_spoken(two)}, and "
                f"{_spoken(one)}. {hint}"
            )
    return found


def _near(one: Sequence[float], two: Sequence[float]) -> bool:
    margin = 0.1
    return (
        one[0] - margin <= two[2]
        and two[0] - margin <= one[2]
        and one[1] - margin <= two[3]
        and two[1] - margin <= one[3]
    )


def _spoken(box: Sequence[float]) -> str:
    return f"lon {box[0]:.2f} to {box[2]:.2f}, lat {box[1]:.2f} to {box[3]:.2f}"
