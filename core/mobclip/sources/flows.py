"""Flows: origin, destination, weight; the ends are points, zone ids or cells."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from mobclip.manifest import SourceSpec
from mobclip.records import FlowRecords, ZoneRecords
from mobclip.sources.points import cell_ids
from mobclip.sources.positions import position_columns, usable, wrapped
from mobclip.sources.rows import Dropped, filtered, ids, number
from mobclip.sources.tables import open_table

_ENDS = ("origin", "destination")


def read_flows(spec: SourceSpec, path: Path, _zones: Mapping[str, ZoneRecords]) -> FlowRecords:
    """Flows of one file; rows that lack an end are left out and counted.

    Zone ids that no zone has stay in: the mobility graph counts them as unmatched.
    """
    roles = ("origin", "destination", "origin_cell", "destination_cell")
    texts = [column for role in roles for column in spec.columns.get(role, ())]
    table = open_table(spec, path, texts=texts, geometry=False)
    dropped = Dropped(spec, len(table.frame))
    frame = table.frame.iloc[filtered(table.frame, spec, dropped)]
    if (column := spec.column("weight")) is not None:
        good = dropped.keep(~np.isnan(number(frame, column, spec)), "no weight")
        frame = frame[good]
    ends: list[np.ndarray] = []
    for end in _ENDS:
        values, good = _end(frame, spec, end, dropped)
        ends = [other[good] for other in ends] + [values[good]]
        frame = frame[good]
    return FlowRecords(
        source=spec.name,
        origin=ends[0],
        destination=ends[1],
        weight=np.ones(len(frame)) if column is None else number(frame, column, spec),
        zones=spec.zones,
        dropped=dropped.counts,
        first_dropped=dropped.first,
    )


def _end(
    frame: pd.DataFrame, spec: SourceSpec, end: str, dropped: Dropped
) -> tuple[np.ndarray, np.ndarray]:
    """Values of one end of all rows, and the mask of the rows that have one."""
    if (zone := spec.column(end)) is not None:
        values = ids(frame[zone], spec.id_width)
        return values, dropped.keep(values != None, f"no {end}")  # noqa: E711 - elementwise
    if (cell := spec.column(f"{end}_cell")) is not None:
        values = cell_ids(frame[cell], spec)
        return values, dropped.keep(values > 0, f"no {end}")
    lon, lat = spec.columns[f"{end}_lon"][0], spec.columns[f"{end}_lat"][0]
    x, y = position_columns(frame, spec, lon, lat)
    good = usable(x, y, dropped, end)
    return np.column_stack([wrapped(x), y]), good
