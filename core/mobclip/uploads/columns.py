"""Which column is what, by its name and by what it holds: a proposal."""

import re
from collections.abc import Mapping, Sequence

from mobclip.sources.preview import ColumnPreview, Preview
from mobclip.uploads.sheet import Sheet

# Words that names of columns are made of, by what they mean; the first that fits counts.
WORDS: dict[str, tuple[str, ...]] = {
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
PEOPLE = {"population", "pop", "totpop", "residents", "people", "inhabitants"}
AVERAGES = {"median", "mean", "avg", "average", "rate", "share", "percent", "pct", "ratio"}
NO_VALUES = {"area", "aland", "awater", "shape", "length", "perimeter", "objectid", "fips", "year"}


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
    for word in WORDS[role]:
        for name in names:
            if word in _parts(name):
                return name
    return None


def _parts(name: str) -> list[str]:
    spaced = re.sub(r"([a-z])([A-Z])", r"\1 \2", name)
    return [name.lower(), *re.split(r"[^a-z0-9]+", spaced.lower())]


def _pair(numbers: Sequence[str], end: str) -> dict[str, str]:
    """Columns of longitude and latitude, of one end of a flow where `end` says which."""
    own = [one for one in numbers if not end or set(WORDS[end]) & set(_parts(one))]
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
    if parts & NO_VALUES or parts & {*WORDS["id"], *WORDS["lon"], *WORDS["lat"]}:
        return ""
    if parts & PEOPLE and "population" not in others.values():
        return "population"
    return "average" if parts & AVERAGES or column.kind == "number" else "count"
