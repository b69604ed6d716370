"""The report: every file read whole, as the manifest would have it read."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from mobclip import sources
from mobclip.errors import MobclipError
from mobclip.records import RasterRecords, Records, ZoneRecords
from mobclip.uploads import entry
from mobclip.uploads.cells import Lost, cells_of
from mobclip.uploads.extent import Box, box, extent, far_apart
from mobclip.uploads.repair import Repair, repaired
from mobclip.uploads.sheet import KINDS, Sheet
from mobclip.uploads.wanted import Wanted


@dataclass(frozen=True, kw_only=True)
class Read:
    """One file, read whole."""

    kind: str
    rows: int
    used: int
    dropped: tuple[Lost, ...]
    extent: Box | None  # west, south, east, north
    cells: int  # with something of this file
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Check:
    """What would come of it."""

    files: tuple[Read, ...]
    cells: int  # of the place
    area: Box | None  # its box; None: that of the zones
    problems: tuple[str, ...]  # each of them has to be solved first
    repairs: Mapping[str, Repair] = field(default_factory=dict)  # kind -> of its file

    @property
    def good(self) -> bool:
        """Whether the place can be made."""
        return not self.problems


def check(sheets: Sequence[Sheet], wanted: Wanted) -> Check:
    """Read every file whole, as the manifest would have it read, and say what would come of it.

    Nothing is written but a manifest in a temporary folder.
    """
    problems = list(_problems(sheets))
    if problems:
        return Check(files=(), cells=0, area=None, problems=tuple(problems))
    repairs: dict[str, Repair] = {}
    files: list[Read] = []
    records: dict[str, Records] = {}
    order = sorted(sheets, key=lambda one: one.kind != "zones")
    zones: dict[str, ZoneRecords] = {}
    notes: dict[str, list[str]] = {one.kind: [] for one in sheets}
    for sheet in order:
        if sheet.kind == "flows" and "origin" in sheet.columns and "zones" not in zones:
            continue  # without zones nothing can be said of flows between them
        try:
            spec = entry.spec(sheets, wanted, repairs)
            repairs[sheet.kind] = repaired(sheet, spec, notes[sheet.kind])
            spec = entry.spec(sheets, wanted, repairs)
            read = sources.read(spec.sources[sheet.kind], sheet.path, spec, zones)
        except MobclipError as error:
            problems.append(f"{sheet.kind.capitalize()}: {_plain(error, sheet)}")
            continue
        records[sheet.kind] = read
        if isinstance(read, ZoneRecords):
            zones[sheet.kind] = read
    area = None if "zones" in {one.kind for one in sheets} else box(records, wanted)
    problems += far_apart(records)
    cells: list[np.ndarray] = []
    lost: dict[str, Lost] = {}
    for sheet in order:
        if sheet.kind not in records or (area is None and not zones):
            continue  # without its area nothing can be said of the place
        own = np.empty(0, np.uint64)
        try:
            own = cells_of(
                records[sheet.kind], wanted.resolution, area, zones, notes[sheet.kind], lost
            )
        except MobclipError as error:
            problems.append(f"{sheet.kind.capitalize()}: {error}")
        cells.append(own)
        gone = lost.get(sheet.kind)
        files.append(_read(sheet, records[sheet.kind], len(own), notes[sheet.kind], gone))
    total = len(np.unique(np.concatenate(cells))) if cells else 0
    if not problems and total == 0:
        problems.append("No cell of the place has anything in it: look at the extents above.")
    files.sort(key=lambda one: KINDS.index(one.kind))
    return Check(
        files=tuple(files), cells=total, area=area, problems=tuple(problems), repairs=repairs
    )


def _problems(sheets: Sequence[Sheet]) -> list[str]:
    """What no reading is needed for."""
    found = []
    kinds = {one.kind for one in sheets}
    if not sheets:
        found.append("Choose at least one file: points, flows or zones.")
    for sheet in sheets:
        roles = set(sheet.columns)
        twice = [
            one for one in sheet.columns.values() if list(sheet.columns.values()).count(one) > 1
        ]
        if twice and sheet.kind != "points":
            found.append(f"{sheet.kind.capitalize()}: “{twice[0]}” is chosen twice.")
        if sheet.kind == "points":
            if not ({"lon", "lat"} <= roles or "cell" in roles or sheet.preview.geometry):
                found.append(
                    "Points: say which columns are longitude and latitude, or which is the H3 cell."
                )
            if not {"category", "text"} & roles:
                found.append("Points: say which column is the category, or which is the name.")
            if sheet.columns.get("lon", 1) == sheet.columns.get("lat", 2):
                found.append("Points: longitude and latitude are the same column.")
        elif sheet.kind == "flows":
            ways = (
                {"origin_lon", "origin_lat", "destination_lon", "destination_lat"},
                {"origin", "destination"},
                {"origin_cell", "destination_cell"},
            )
            if not any(way <= roles for way in ways):
                found.append("Flows: say which columns are the origin and the destination.")
            if "origin" in roles and "zones" not in kinds:
                found.append(
                    "Flows: their ends are zone ids, so the zones are needed too: choose their "
                    "file, or flows between cells or positions."
                )
        else:
            if "id" not in roles:
                found.append("Zones: say which column is their id.")
            if sheet.preview.geometry != "polygons":
                found.append(
                    f"Zones: {sheet.path.name} has "
                    f"{sheet.preview.geometry or 'no'} geometry; zones are polygons. Save it as "
                    "GeoJSON or GeoParquet with polygons."
                )
            if list(sheet.uses.values()).count("population") > 1:
                found.append("Zones: one column is the population, not several.")
    if sheets and not entry.modalities(sheets):
        found.append(
            "Nothing here says what a cell is like: add points or flows, or say of a column of the "
            "zones that it is a count or an average."
        )
    return found


def _plain(error: MobclipError, sheet: Sheet) -> str:
    """Of a reader: without the names that only a manifest has."""
    text = str(error).replace(f"{sheet.kind}: ", "", 1)
    text = text.replace(str(sheet.path), sheet.path.name)
    text = text.replace(f"uploads/{sheet.file_name}", sheet.path.name)
    text = text.replace(sheet.file_name, sheet.path.name)
    text = re.sub(
        r" Correct the name in the manifest\.| or correct `path` in the manifest|"
        r", or set `repeated_ids: merge` for zones without values",
        "",
        text,
    )
    text = text.replace(": delete it and run `mobclip fetch` again,.", ": save it again.")
    text = text.replace(" in the manifest", "")
    if re.search(r"rows, first \d|\(row \d", text):
        text += " (Rows are counted from 0 here, below the header.)"
    return text


def _read(sheet: Sheet, one: Records, cells: int, notes: Sequence[str], lost: Lost | None) -> Read:
    assert not isinstance(one, RasterRecords)  # no image is uploaded
    dropped = tuple(
        (why, rows, tuple(row + 1 for row in one.first_dropped.get(why, ())))
        for why, rows in one.dropped.items()
    )
    return Read(
        kind=sheet.kind,
        rows=len(one) + sum(one.dropped.values()),
        used=len(one) - (lost[1] if lost else 0),
        dropped=(*dropped, lost) if lost else dropped,
        extent=extent(one),
        cells=cells,
        notes=tuple(notes),
    )
