"""Files of any provider -> records, as the manifest describes them. Nothing here knows a city.

`read` reads one source; `read_place` reads all sources of a place in the order that they need.
Everything comes out in degrees WGS84, and every row left out is counted in `dropped`.
"""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path

from mobclip.errors import RecordError
from mobclip.manifest import PlaceSpec, SourceSpec
from mobclip.records import Records, ZoneRecords
from mobclip.sources.flows import read_flows
from mobclip.sources.points import read_points
from mobclip.sources.positions import check_in_area
from mobclip.sources.rasters import read_raster
from mobclip.sources.tables import READERS
from mobclip.sources.zones import read_zones

__all__ = ["KIND_READERS", "READERS", "read", "read_place"]

_log = logging.getLogger(__name__)

Zones = Mapping[str, ZoneRecords]
KIND_READERS: dict[str, Callable[[SourceSpec, Path, Zones], Records]] = {
    "points": read_points,
    "zones": read_zones,
    "flows": read_flows,
    "rasters": read_raster,
}


def read(spec: SourceSpec, path: Path, place: PlaceSpec, zones: Zones | None = None) -> Records:
    """Records of one source.

    Parameters
    ----------
    spec : the entry of the manifest
    path : the file, as `fetch` returns it
    place : what the source belongs to; its area tells swapped or foreign coordinates
    zones : zones sources read before, by name; `geometry_from` needs its one there

    Raises
    ------
    RecordError : the file is not what the manifest says, or no row of it can be used
    """
    zones = zones or {}
    if spec.geometry_from is not None and spec.geometry_from not in zones:
        raise RecordError(
            f"{spec.name} takes its polygons from {spec.geometry_from!r}, which has not been read: "
            "read it first and pass it in `zones`, or call read_place."
        )
    records = KIND_READERS[spec.kind](spec, path, zones)
    check_in_area(records, spec, place, zones)
    for reason, rows in records.dropped.items():
        _log.info("%s: %s rows left out: %s", spec.name, f"{rows:,}", reason)
    return records


def read_place(place: PlaceSpec, paths: Mapping[str, Path]) -> dict[str, Records]:
    """Records of the sources in `paths` (name -> file), polygons before what borrows them."""
    order = sorted(
        paths,
        key=lambda name: (
            place.sources[name].kind != "zones",
            place.sources[name].geometry_from is not None,
        ),
    )
    records: dict[str, Records] = {}
    zones: dict[str, ZoneRecords] = {}
    for name in order:
        found = read(place.sources[name], paths[name], place, zones)
        records[name] = found
        if isinstance(found, ZoneRecords):
            zones[name] = found
    return {name: records[name] for name in paths}
