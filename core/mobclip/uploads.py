"""A place of files that people bring: looked through first, then written as a manifest entry.

Nothing is written before the report says what each column is read as, which rows cannot be used
and why, and how many cells there will be. What is written then is what the command line takes:
the files and a `data_manifest.yaml`, read by the same readers as every other place.
"""

import datetime
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import shapely
import yaml
from jaxtyping import UInt64

from mobclip import grid, sources
from mobclip.errors import ConfigError, MobclipError, RecordError
from mobclip.manifest import PlaceSpec, load_manifest
from mobclip.records import FlowRecords, PointRecords, RasterRecords, Records, ZoneRecords
from mobclip.sources.preview import FORMATS, STRAYS, ColumnPreview, Preview, preview, strays
from mobclip.storage import atomic_path, file_sha256

__all__ = ["FORMATS", "KINDS", "Check", "Place", "Sheet", "check", "guess", "preview", "save"]

KINDS = ("points", "flows", "zones")
MOST_CELLS = 2_000_000  # of the area; more are not tokenized beside a page
NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
USES = ("", "population", "count", "average", "target")  # of a column of zones; "": not used

# Words that names of columns are made of, by what they mean; the first that fits counts.
_WORDS: dict[str, tuple[str, ...]] = {
    "lon": ("lon", "lng", "long", "longitude", "x"),
    "lat": ("lat", "latitude", "y"),
    "cell": ("h3", "cell", "hex", "hexagon"),
    "category": ("category", "categories", "type", "kind", "class", "fclass", "amenity", "cat"),
    "text": ("name", "title", "description", "label", "text"),
    "weight": ("weight", "count", "trips", "flow", "flows", "volume", "n", "total", "jobs"),
    "origin": ("origin", "from", "start", "source", "home", "pickup", "o", "orig"),
    "destination": ("destination", "dest", "to", "end", "target", "work", "dropoff", "d"),
    "id": ("id", "geoid", "code", "zone", "gid", "fid", "key", "nr", "number"),
}


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """An uploaded file, and what its columns are read as."""

    kind: str  # one of KINDS
    preview: Preview
    columns: Mapping[str, str]  # role of the manifest -> column
    uses: Mapping[str, str] = field(default_factory=dict)  # of zones: column -> one of USES
    units: Mapping[str, str] = field(default_factory=dict)  # of targets: column -> unit
    crs: str = ""  # where the file does not say

    @property
    def path(self) -> Path:
        """Of the file."""
        return self.preview.path

    @property
    def file_name(self) -> str:
        """Under which it is kept."""
        return f"{self.kind}{self.path.suffix.lower()}"


@dataclass(frozen=True, kw_only=True)
class Place:
    """What the place is to be."""

    name: str
    title: str
    resolution: int
    licence: str
    provider: str = ""
    citation: str = ""
    trimmed: bool = False  # without the outermost hundredth of the positions, on each side


_Lost = tuple[str, int, tuple[int, ...]]  # why, how many rows, the first ones (from 1)


@dataclass(frozen=True, kw_only=True)
class Read:
    """One file, read whole."""

    kind: str
    rows: int
    used: int
    dropped: tuple[_Lost, ...]
    extent: tuple[float, float, float, float] | None  # west, south, east, north
    cells: int  # with something of this file
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Check:
    """What would come of it."""

    files: tuple[Read, ...]
    cells: int  # of the place
    area: tuple[float, float, float, float] | None  # its box; None: that of the zones
    problems: tuple[str, ...]  # each of them has to be solved first
    missing: Mapping[str, Mapping[str, tuple[Any, ...]]]  # kind -> column -> words for “not known”
    limits: Mapping[str, Mapping[str, Any]]  # kind -> `where` of the manifest

    @property
    def good(self) -> bool:
        """Whether the place can be made."""
        return not self.problems


# ---- which column is what ----------------------------------------------------------------------


def guess(kind: str, seen: Preview) -> Sheet:
    """What the columns are, by their names and contents; a proposal."""
    numbers = seen.of_kind("number", "whole number")
    cells = seen.of_kind("H3 cell")
    texts = seen.of_kind("text", "whole number", "yes or no", "H3 cell")
    columns: dict[str, str] = {}
    uses: dict[str, str] = {}
    if kind == "points":
        if not seen.geometry:
            columns |= _pair(numbers, "") or ({"cell": cells[0]} if cells else {})
        for role in ("category", "text"):
            free = [one for one in seen.of_kind("text") if one not in columns.values()]
            named = _named(free, role)
            if named:
                columns[role] = named
        free = [one for one in seen.of_kind("text") if one not in columns.values()]
        if not {"category", "text"} & set(columns) and free:
            columns["category"] = free[0]
    elif kind == "flows":
        columns |= _ends(seen, numbers, cells, texts)
        free = [one for one in numbers if one not in columns.values()]
        if weight := _named(free, "weight"):
            columns["weight"] = weight
    else:
        unique = [one.name for one in seen.columns if one.unique and one.name in texts]
        chosen = _named(unique, "id") or next(iter([*unique, *texts]), "")
        if chosen:
            columns["id"] = chosen
        for one in seen.columns:
            if one.kind in ("number", "whole number") and one.name != chosen:
                uses[one.name] = _use(one, uses)
    return Sheet(kind=kind, preview=seen, columns=columns, uses=uses)


def _named(names: Sequence[str], role: str) -> str | None:
    """The column whose name says that it plays a role."""
    for word in _WORDS[role]:
        for name in names:
            if word in _parts(name):
                return name
    return None


def _parts(name: str) -> list[str]:
    spaced = re.sub(r"([a-z])([A-Z])", r"\1 \2", name)
    return [name.lower(), *re.split(r"[^a-z0-9]+", spaced.lower())]


def _pair(numbers: Sequence[str], end: str) -> dict[str, str]:
    """Columns of longitude and latitude, of one end of a flow where `end` says which."""
    own = [one for one in numbers if not end or set(_WORDS[end]) & set(_parts(one))]
    lon, lat = _named(own, "lon"), _named(own, "lat")
    prefix = f"{end}_" if end else ""
    return {f"{prefix}lon": lon, f"{prefix}lat": lat} if lon and lat else {}


def _ends(
    seen: Preview, numbers: Sequence[str], cells: Sequence[str], texts: Sequence[str]
) -> dict[str, str]:
    points = {**_pair(numbers, "origin"), **_pair(numbers, "destination")}
    if len(points) == 4:
        return points
    for names, suffix in ((cells, "_cell"), (texts, "")):
        origin = _named(names, "origin")
        destination = _named([one for one in names if one != origin], "destination")
        if origin and destination:
            return {f"origin{suffix}": origin, f"destination{suffix}": destination}
    if len(cells) == 2:
        return {"origin_cell": cells[0], "destination_cell": cells[1]}
    return {}


def _use(column: ColumnPreview, others: Mapping[str, str]) -> str:
    parts = set(_parts(column.name))
    if parts & _NO_VALUES or parts & {*_WORDS["id"], *_WORDS["lon"], *_WORDS["lat"]}:
        return ""
    if parts & _PEOPLE and "population" not in others.values():
        return "population"
    return "average" if parts & _AVERAGES or column.kind == "number" else "count"


_PEOPLE = {"population", "pop", "totpop", "residents", "people", "inhabitants"}
_AVERAGES = {"median", "mean", "avg", "average", "rate", "share", "percent", "pct", "ratio"}
_NO_VALUES = {"area", "aland", "awater", "shape", "length", "perimeter", "objectid", "fips", "year"}


# ---- the report --------------------------------------------------------------------------------


def check(sheets: Sequence[Sheet], place: Place) -> Check:
    """Read every file whole, as the manifest would have it read, and say what would come of it.

    Nothing is written but a manifest in a temporary folder.
    """
    problems = list(_problems(sheets))
    missing: dict[str, dict[str, tuple[Any, ...]]] = {}
    limits: dict[str, dict[str, Any]] = {}
    files: list[Read] = []
    records: dict[str, Records] = {}
    if problems:
        return _checked(files, 0, None, problems, missing, limits)
    order = sorted(sheets, key=lambda one: one.kind != "zones")
    zones: dict[str, ZoneRecords] = {}
    notes: dict[str, list[str]] = {one.kind: [] for one in sheets}
    for sheet in order:
        if sheet.kind == "flows" and "origin" in sheet.columns and "zones" not in zones:
            continue  # without zones nothing can be said of flows between them
        try:
            spec = _spec(sheets, place, None, missing, limits)
            found = _stray(sheet, spec, notes[sheet.kind])
            missing[sheet.kind], limits[sheet.kind] = found
            spec = _spec(sheets, place, None, missing, limits)
            read = sources.read(spec.sources[sheet.kind], sheet.path, spec, zones)
        except MobclipError as error:
            problems.append(f"{sheet.kind.capitalize()}: {_plain(error, sheet)}")
            continue
        records[sheet.kind] = read
        if isinstance(read, ZoneRecords):
            zones[sheet.kind] = read
    area = None if "zones" in {one.kind for one in sheets} else _box(records, place)
    problems += _far_apart(records)
    cells: list[np.ndarray] = []
    lost: dict[str, _Lost] = {}
    for sheet in order:
        if sheet.kind not in records or (area is None and not zones):
            continue  # without its area nothing can be said of the place
        own = np.empty(0, np.uint64)
        try:
            own = _cells(
                records[sheet.kind], place.resolution, area, zones, notes[sheet.kind], lost
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
    return _checked(files, total, area, problems, missing, limits)


def _checked(
    files: Sequence[Read],
    cells: int,
    area: tuple[float, float, float, float] | None,
    problems: Sequence[str],
    missing: Mapping[str, Mapping[str, tuple[Any, ...]]],
    limits: Mapping[str, Mapping[str, Any]],
) -> Check:
    return Check(
        files=tuple(files),
        cells=cells,
        area=area,
        problems=tuple(problems),
        missing=missing,
        limits=limits,
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
    if sheets and not _modalities(sheets):
        found.append(
            "Nothing here says what a cell is like: add points or flows, or say of a column of the "
            "zones that it is a count or an average."
        )
    return found


def _stray(
    sheet: Sheet, spec: PlaceSpec, notes: list[str]
) -> tuple[dict[str, tuple[Any, ...]], dict[str, Any]]:
    """Words for “not known” among numbers, and limits; problems are raised."""
    positions = ("lon", "lat", "origin_lon", "origin_lat", "destination_lon", "destination_lat")
    numeric = [sheet.columns[role] for role in (*positions, "weight") if role in sheet.columns]
    numeric += [name for name, use in sheet.uses.items() if use]
    if not numeric:
        return {}, {}
    missing: dict[str, tuple[Any, ...]] = {}
    limits: dict[str, Any] = {}
    for column, found in strays(spec.sources[sheet.kind], sheet.path, numeric).items():
        if len(found.words) > STRAYS or found.rows > 0.5 * sheet.preview.rows:
            shown = ", ".join(repr(one) for one in found.words[:3])
            raise RecordError(
                f"the column “{column}” is to hold numbers, but holds {shown} and more "
                f"({found.rows:,} rows): choose another column."
            )
        codes: tuple[Any, ...] = found.words
        if found.words:
            shown = ", ".join(repr(one) for one in found.words[:5])
            notes.append(f"“{column}”: {shown} is taken as not known ({found.rows:,} rows).")
        counted = sheet.uses.get(column) in ("population", "count")
        if found.negative and counted:
            if len(found.negative) > 5:
                raise RecordError(
                    f"the column “{column}” has negative numbers ({found.negative[0]:g} and more): "
                    "no count. Take it as an average, or leave it out."
                )
            codes += found.negative
            shown = ", ".join(f"{one:g}" for one in found.negative)
            notes.append(f"“{column}”: {shown} is taken as not known; a count is 0 or more.")
        if codes:
            missing[column] = codes
        if found.negative and column == sheet.columns.get("weight"):
            if found.words:
                raise RecordError(
                    f"the weights in “{column}” hold both words and negative numbers: correct the "
                    "file, or choose another column."
                )
            limits[column] = {"min": 0}
            notes.append(f"“{column}”: rows with a negative weight are left out.")
    return missing, limits


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


def _far_apart(records: Mapping[str, Records]) -> list[str]:
    """Files that do not lie in one place; exchanged coordinates; a pole."""
    boxes = {kind: box for kind, one in records.items() if (box := _extent(one)) is not None}
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


def _positions(one: Records) -> np.ndarray | None:
    """(n, 2) lon, lat of points, or of both ends of flows; None of zone ids and zones."""
    if isinstance(one, PointRecords):
        return np.column_stack([one.lon, one.lat])
    if isinstance(one, FlowRecords) and one.ends == "points":
        return np.concatenate([one.origin, one.destination])
    if isinstance(one, FlowRecords) and one.ends == "cells":
        return grid.centers(np.unique(np.concatenate([one.origin, one.destination])))
    return None


def _extent(one: Records) -> tuple[float, float, float, float] | None:
    if isinstance(one, ZoneRecords):
        west, south, east, north = shapely.total_bounds(one.geometry)
        return float(west), float(south), float(east), float(north)
    at = _positions(one)
    if at is None:
        return None
    low, high = at.min(axis=0), at.max(axis=0)
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])


def _box(records: Mapping[str, Records], place: Place) -> tuple[float, float, float, float] | None:
    """The area where there are no zones: around all positions, or nearly all."""
    found = [at for one in records.values() if (at := _positions(one)) is not None]
    if not found:
        return None
    at = np.concatenate(found)
    outer = (1, 99) if place.trimmed else (0, 100)
    (west, south), (east, north) = np.percentile(at, outer, axis=0)
    edge = grid.edge_km(place.resolution) / 111  # degrees of latitude
    wide = edge / max(np.cos(np.radians(min(abs(south + north) / 2, 85))), 0.05)
    return (
        max(round(float(west - wide), 5), -180.0),
        max(round(float(south - edge), 5), -90.0),
        min(round(float(east + wide), 5), 180.0),
        min(round(float(north + edge), 5), 90.0),
    )


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


def _cells(
    one: Records,
    resolution: int,
    area: tuple[float, float, float, float] | None,
    zones: Mapping[str, ZoneRecords],
    notes: list[str],
    lost: dict[str, _Lost],
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
        at = _positions(one)
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
    one: FlowRecords, zones: Mapping[str, ZoneRecords], resolution: int, lost: dict[str, _Lost]
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


def _read(sheet: Sheet, one: Records, cells: int, notes: Sequence[str], lost: _Lost | None) -> Read:
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
        extent=_extent(one),
        cells=cells,
        notes=tuple(notes),
    )


# ---- the manifest ------------------------------------------------------------------------------


def _modalities(sheets: Sequence[Sheet]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for sheet in sheets:
        if sheet.kind == "points":
            found["poi"] = {"sources": ["points"]}
        elif sheet.kind == "flows":
            found["mobility"] = {"sources": ["flows"]}
        elif set(sheet.uses.values()) & {"population", "count", "average"}:
            found["demographics"] = {"sources": ["zones"]}
    return found


def _source(
    sheet: Sheet,
    place: Place,
    missing: Mapping[str, tuple[Any, ...]],
    limits: Mapping[str, Any],
    *,
    sha256: str,
    size: int,
) -> dict[str, Any]:
    """One file as an entry of the manifest."""
    today = datetime.date.today().isoformat()
    body: dict[str, Any] = {
        "kind": sheet.kind,
        "path": sheet.file_name,
        "provider": place.provider or "not stated by whoever uploaded it",
        "licence": place.licence,
        "citation": place.citation or f"{sheet.path.name}, uploaded {today}",
        "date": f"uploaded {today}",
        "sha256": sha256,
        "bytes": size,
        "origin": f"uploaded in the app as {sheet.path.name}",
        "columns": dict(sheet.columns),
    }
    if sheet.kind == "points" and not sheet.columns:
        del body["columns"]
    if sheet.crs:
        body["crs"] = sheet.crs
    if missing:
        body["missing"] = {
            column: [int(one) if isinstance(one, float) and one.is_integer() else one
                     for one in codes]
            for column, codes in missing.items()
        }  # fmt: skip
    if limits:
        body["where"] = dict(limits)
    if sheet.kind == "flows" and "origin" in sheet.columns:
        body["zones"] = "zones"
    if sheet.kind == "zones":
        used = {name: use for name, use in sheet.uses.items() if use}
        keys = _keys(list(used))
        counts = {keys[name]: name for name, use in used.items() if use == "count"}
        people = next((name for name, use in used.items() if use == "population"), None)
        if people is not None:
            counts = {"population": people, **counts}
        averages = {keys[name]: name for name, use in used.items() if use == "average"}
        targets = {
            keys[name]: {"title": name, "unit": sheet.units.get(name) or "unit not stated",
                         "column": name}
            for name, use in used.items()
            if use == "target"
        }  # fmt: skip
        roles = {"counts": counts, "intensive": averages, "targets": targets}
        body |= {key: value for key, value in roles.items() if value}
    return body


def _keys(columns: Sequence[str]) -> dict[str, str]:
    """Column -> its name in the manifest, each another one."""
    found: dict[str, str] = {}
    taken = {"population"}
    for column in columns:
        plain = re.sub(r"[^a-z0-9]+", "_", column.lower()).strip("_") or "value"
        key = next(
            name
            for name in (plain, *(f"{plain}_{i}" for i in range(2, len(columns) + 3)))
            if name not in taken
        )
        taken.add(key)
        found[column] = key
    return found


def _document(
    sheets: Sequence[Sheet],
    place: Place,
    area: tuple[float, float, float, float] | None,
    missing: Mapping[str, Mapping[str, tuple[Any, ...]]],
    limits: Mapping[str, Mapping[str, Any]],
    hashes: Mapping[str, str],
) -> dict[str, Any]:
    kinds = [one.kind for one in sheets]
    world = [-180.0, -90.0, 180.0, 90.0]
    entry = {
        "title": place.title,
        "resolution": place.resolution,
        "area": {"source": "zones"} if "zones" in kinds else {"bbox": list(area or world)},
        "sources": {
            one.kind: _source(
                one,
                place,
                missing.get(one.kind, {}),
                limits.get(one.kind, {}),
                sha256=hashes.get(one.kind, "0" * 64),
                size=max(one.path.stat().st_size, 1),
            )
            for one in sheets
        },
        "modalities": _modalities(sheets),
        "note": "Made in the app from uploaded files.",
    }
    return {"places": {place.name: entry}}


def _spec(
    sheets: Sequence[Sheet],
    place: Place,
    area: tuple[float, float, float, float] | None,
    missing: Mapping[str, Mapping[str, tuple[Any, ...]]],
    limits: Mapping[str, Mapping[str, Any]],
) -> PlaceSpec:
    """As the manifest's own parser reads it."""
    named = Place(
        name="upload", title=place.title or "the place", resolution=place.resolution, licence="-"
    )
    document = _document(sheets, named, area, missing, limits, {})
    path = sheets[0].path.parent / "data_manifest.yaml"  # beside the uploads: temporary
    path.write_text(yaml.safe_dump(document, sort_keys=False, allow_unicode=True), "utf-8")
    return load_manifest(path).place("upload")


def place_problems(place: Place, taken: Sequence[str]) -> list[str]:
    """Why a place cannot be called or made so, in words.

    taken : names of the places that there are, here and in the manifest
    """
    found = []
    if not NAME.fullmatch(place.name):
        found.append(
            f"The name “{place.name}” cannot be: use small letters, digits and “-”, 40 at most."
        )
    elif place.name in taken:
        found.append(f"There is a place called “{place.name}” already: choose another name.")
    if not place.title.strip():
        found.append("Give the place a title.")
    if not place.licence.strip():
        found.append(
            "Say under which licence the files are (or “own data”): it stands beside everything "
            "that is made of them."
        )
    return found


def save(data: Path, sheets: Sequence[Sheet], place: Place, checked: Check) -> Path:
    """Copy the files and write their manifest to `<data>/uploads/<name>/`; all of it or nothing.

    `mobclip --manifest FOLDER/data_manifest.yaml --mirror FOLDER tokenize NAME` takes it.
    """
    if not checked.good:
        raise ConfigError("this cannot be made yet: " + " ".join(checked.problems))
    folder = data / "uploads" / place.name
    if folder.exists():
        raise ConfigError(f"{folder} is there already: choose another name.")
    with atomic_path(folder) as temporary:
        temporary.mkdir()
        hashes = {}
        for sheet in sheets:
            shutil.copyfile(sheet.path, temporary / sheet.file_name)
            hashes[sheet.kind] = file_sha256(temporary / sheet.file_name)
        document = _document(sheets, place, checked.area, checked.missing, checked.limits, hashes)
        path = temporary / "data_manifest.yaml"
        head = "# Made by the app; the reference of all keys: python -m pydoc mobclip.manifest\n"
        text = yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=90)
        path.write_text(head + text, "utf-8")
        load_manifest(path)
    return folder
