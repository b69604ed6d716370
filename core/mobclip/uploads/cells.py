"""The cells in which there is something of a file."""

from collections.abc import Mapping

import numpy as np
import shapely
from jaxtyping import UInt64

from mobclip import grid
from mobclip.errors import ConfigError, RecordError
from mobclip.records import FlowRecords, Records, ZoneRecords
from mobclip.uploads.extent import Box, positions

MOST_CELLS = 2_000_000  # of the area; more are not tokenized beside a page

Lost = tuple[str, int, tuple[int, ...]]  # why, how many rows, the first ones (from 1)


def cells_of(
    one: Records,
    resolution: int,
    area: Box | None,
    zones: Mapping[str, ZoneRecords],
    notes: list[str],
    lost: dict[str, Lost],
) -> UInt64[np.ndarray, " cells"]:
    """Cells of the place in which there is something of a file."""
    if isinstance(one, ZoneRecords):
        outline = one.outline()
        _check_size(outline, resolution)
        return grid.polygon_to_cells(outline, resolution)
    if area is not None:
        _check_size(shapely.box(*area), resolution)
    if isinstance(one, FlowRecords) and one.ends == "zones":
        return _matched(one, zones, resolution, lost)
    if isinstance(one, FlowRecords) and one.ends == "cells":
        ends = np.unique(np.concatenate([one.origin, one.destination]))
        given = grid.resolution_of(ends)
        if given < resolution:
            raise ConfigError(
                f"they are between cells of resolution {given}, which are larger than those of "
                f"resolution {resolution}: choose {given} or less."
            )
        found = np.unique(grid.parents(ends, resolution)) if given > resolution else ends
    else:
        at = positions(one)
        assert at is not None
        found = np.unique(grid.points_to_cells(lon=at[:, 0], lat=at[:, 1], resolution=resolution))
    if area is not None:
        west, south, east, north = area
        lon, lat = grid.centers(found).T
        inside = (lon >= west) & (lon <= east) & (lat >= south) & (lat <= north)
        return found[inside]
    outline = next(iter(zones.values())).outline()
    shapely.prepare(outline)
    inside = shapely.contains_xy(outline, *grid.centers(found).T)
    if not inside.all():
        notes.append(f"{(~inside).sum():,} of {len(found):,} cells lie outside the zones.")
    return found[inside]


def _matched(
    one: FlowRecords, zones: Mapping[str, ZoneRecords], resolution: int, lost: dict[str, Lost]
) -> UInt64[np.ndarray, " cells"]:
    """Flows between zone ids: which ids there are, and the cells of those zones."""
    polygons = zones.get("zones")
    if polygons is None:
        raise RecordError("their zones could not be read.")
    ids = polygons.ids.astype(str)
    known = [np.isin(end.astype(str), ids) for end in (one.origin, one.destination)]
    bad = ~(known[0] & known[1])
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        end = (one.origin if not known[0][row] else one.destination)[row]
        like = f"an end in no zone, such as “{end}”; ids of zones look like “{ids[0]}”"
        if bad.all():
            raise RecordError(
                f"all {len(one):,} rows have {like}. Choose other columns, or the zones that "
                "belong to them."
            )
        # Where rows were left out before, those that are left have other numbers.
        first = () if one.dropped else tuple((np.flatnonzero(bad)[:5] + 1).tolist())
        lost["flows"] = (like, int(bad.sum()), first)
    ends = np.unique(np.concatenate([one.origin[~bad], one.destination[~bad]]).astype(str))
    outline = shapely.union_all(polygons.geometry[np.isin(ids, ends)])
    _check_size(outline, resolution)
    return grid.polygon_to_cells(outline, resolution)


def _check_size(shape: shapely.Geometry, resolution: int) -> None:
    """`ConfigError` for an area of too many cells, before they are listed."""
    west, south, east, north = shape.bounds
    at = np.array([[(west + east) / 2, (south + north) / 2]])
    cell = grid.points_to_cells(lon=at[:, 0], lat=at[:, 1], resolution=resolution)
    squeeze = np.cos(np.radians(at[0, 1]))
    km2 = shape.area * 111.195**2 * max(squeeze, 0.01)
    count = km2 / float(grid.areas_km2(cell)[0])
    if count > MOST_CELLS:
        fits = resolution - int(np.ceil(np.log(count / MOST_CELLS) / np.log(7)))
        raise ConfigError(
            f"the area has about {count:,.0f} cells of resolution {resolution} (lon {west:.2f} to "
            f"{east:.2f}, lat {south:.2f} to {north:.2f}); at most {MOST_CELLS:,} are made here. "
            f"Choose resolution {max(fits, 0)} or less, or leave out positions far away."
        )
