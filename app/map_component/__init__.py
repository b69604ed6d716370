"""The hexagon map: a Streamlit components-v2 component around deck.gl.

Cells (8 bytes each) and the place's context travel once per browser tab, colours (1 to 4 bytes per
cell) at each recolouring. If the page turns out not to have the cells (a dropped message, an
element drawn anew), it asks by the trigger value ``need`` and the next run sends them again.
The bytes depend on the arguments only, so Streamlit recognises an unchanged map and sends nothing.
"""

import hashlib
import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import shapely
import streamlit as st

from mobclip import grid
from mobclip.errors import CellError, MobclipError

BUNDLE = Path(__file__).resolve().parent.parent / "static" / "mobclip_map.js"
TOOLS = ("click", "box", "polygon", "lasso", "brush")
MOST_RINGS = 5
_PALETTE_FROM = 4096  # cells from which on looking for a palette is worth it


@dataclass(frozen=True, kw_only=True)
class MapPlace:
    """What the browser needs to know of a place once: its cells and its context.

    Attributes
    ----------
    cells : uint64 (n,), sorted H3 cells of one resolution
    resolution : their H3 resolution
    context : GeoJSON text (may be empty); features carry ``kind`` (land, coast, water, border,
        river, road), points a ``name`` and ``population`` or ``rank``
    """

    cells: np.ndarray
    resolution: int
    context: bytes = b""
    id: str = field(init=False)

    def __post_init__(self) -> None:
        digest = hashlib.blake2b(self.cells.astype("<u8").tobytes(), digest_size=8)
        digest.update(self.context)
        object.__setattr__(self, "id", digest.hexdigest())


@dataclass(frozen=True, kw_only=True)
class Legend:
    """Title with either a colour ramp between two labelled ends or a list of categories."""

    title: str
    ramp: Sequence[str] = ()  # CSS colours from low to high
    low: str = ""
    high: str = ""
    items: Sequence[tuple[str, str]] = ()  # (CSS colour, label)
    note: str = ""

    def as_json(self) -> dict[str, Any]:
        """Only what is set."""
        parts = {
            "ramp": list(self.ramp),
            "low": self.low,
            "high": self.high,
            "items": [{"colour": colour, "label": label} for colour, label in self.items],
            "note": self.note,
        }
        return {"title": self.title} | {name: value for name, value in parts.items() if value}


@dataclass(frozen=True, kw_only=True)
class Tip:
    """How the hovered cell's value is worded; ``labels`` names values 0, 1, 2, ..."""

    label: str
    unit: str = ""
    labels: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Fly:
    """An explicit order to centre on a cell; obeyed once per nonce."""

    cell: str
    nonce: int
    zoom: float


@dataclass(frozen=True, kw_only=True)
class Flow:
    """A line between two cells; ``kind`` is its place in the kinds of `Flows`."""

    start: str
    end: str
    amount: float  # above 0
    kind: int = 0


@dataclass(frozen=True, kw_only=True)
class Flows:
    """Lines over the cells, as wide as the square root of what flows, and what the legend says.

    Attributes
    ----------
    kinds : (CSS colour, label) of each kind of line
    arrows : whether lines have a direction
    """

    lines: Sequence[Flow]
    title: str
    kinds: Sequence[tuple[str, str]]
    unit: str = ""  # where the title does not say it
    arrows: bool = True

    def __post_init__(self) -> None:
        for line in self.lines:
            if not (math.isfinite(line.amount) and line.amount > 0):
                raise ValueError(f"a flow must be a number above 0, not {line.amount}")
            if not 0 <= line.kind < len(self.kinds):
                raise ValueError(f"a flow of kind {line.kind}; there are {len(self.kinds)} kinds")

    def as_json(self) -> dict[str, Any]:
        """Amounts to four digits, those of the legend."""
        return {
            "lines": [
                [one.start, one.end, float(f"{one.amount:.4g}"), one.kind] for one in self.lines
            ],
            "title": self.title,
            "unit": self.unit,
            "kinds": [{"colour": colour, "label": label} for colour, label in self.kinds],
            "arrows": self.arrows,
        }


class Coloured(Protocol):
    """One way of colouring a place: `colours.Colouring`."""

    @property
    def colours(self) -> np.ndarray: ...  # uint8 (n, 3 or 4)
    @property
    def legend(self) -> Legend | None: ...
    @property
    def values(self) -> np.ndarray | None: ...  # float (n,), for the tooltip
    @property
    def tip(self) -> Tip | None: ...


@dataclass(frozen=True, kw_only=True)
class _Side:
    colours: np.ndarray
    legend: Legend | None
    values: np.ndarray | None
    tip: Tip | None


@dataclass(frozen=True, kw_only=True)
class Area:
    """What a hand drew on the map.

    Attributes
    ----------
    tool : ``box``, ``polygon`` (freehand too) or ``brush``
    ring : corners in degrees lon, lat, not closed; longitudes may go beyond 180
    cells : middle cells of the brush along its way, as hexadecimal strings
    k : rings around them that the brush covers, 0 to 5
    """

    tool: Literal["box", "polygon", "brush"]
    ring: tuple[tuple[float, float], ...] = ()
    cells: tuple[str, ...] = ()
    k: int = 0

    @classmethod
    def from_event(cls, event: Mapping[str, Any]) -> "Area":
        """What the browser sent, checked; `MobclipError` if it is not an area."""
        try:
            tool, k = event["tool"], int(event.get("k", 0))
            ring = tuple((float(lon), float(lat)) for lon, lat in event.get("ring", ()))
            cells = tuple(str(cell) for cell in event.get("cells", ()))
        except (KeyError, TypeError, ValueError) as error:
            raise MobclipError(f"the map sent an area that cannot be read: {error}") from None
        drawn = len(ring) > 2 and all(
            math.isfinite(lon) and abs(lon) <= 720 and abs(lat) <= 90 for lon, lat in ring
        )
        brushed = bool(cells) and 0 <= k <= MOST_RINGS
        if not (brushed if tool == "brush" else tool in ("box", "polygon") and drawn):
            raise MobclipError("the map sent an area that cannot be read: draw it once more.")
        return cls(tool=tool, ring=ring, cells=cells, k=k)


def area_cells(cells: np.ndarray, area: Area, centres: np.ndarray | None = None) -> np.ndarray:
    """Those of a place's sorted `cells` that lie in the area, by their centres; uint64, sorted.

    centres : (n, 2) lon, lat of the cells, where they are at hand
    """
    if area.tool == "brush":
        try:
            middles = grid.from_strings(area.cells)
        except CellError as error:
            raise MobclipError(f"the map sent a cell that is none: {error}") from None
        _, covered = grid.disk(middles, area.k)
        rows, known = grid.locate(cells, np.unique(covered))
        return cells[rows[known]]
    lon, lat = (grid.centers(cells) if centres is None else centres).T
    ring = np.asarray(area.ring)
    # Longitudes go on across the date line, as they do on the map, instead of jumping by 360.
    middle = (ring[:, 0].min() + ring[:, 0].max()) / 2
    lon = lon - 360 * np.round((lon - middle) / 360)
    polygon = shapely.make_valid(shapely.Polygon(ring))  # a hand may cross its own line
    shapely.prepare(polygon)
    return cells[shapely.contains_xy(polygon, lon, lat)]


def encode(
    place: MapPlace,
    colours: np.ndarray,
    *,
    with_place: bool,
    label: str,
    height: str,
    legend: Legend | None = None,
    values: np.ndarray | None = None,
    tip: Tip | None = None,
    other: Coloured | None = None,
    split: Literal["", "swipe", "side"] = "",
    area: np.ndarray | None = None,
    marks: Mapping[str, str] | None = None,
    selected: str | None = None,
    results: Sequence[str] = (),
    flows: Flows | None = None,
    fly: Fly | None = None,
    tools: Sequence[str] = ("click",),
    provenance: str = "",
    basemap: Mapping[str, str] | None = None,
) -> bytes:
    """One buffer: u32 header length, JSON header, blobs at multiples of 8 bytes.

    Parameters
    ----------
    colours, values : uint8 (n, 3) or (n, 4) and, for the tooltip, (n,); in the order of
        ``place.cells``
    other, split : a second colouring, under a divider that can be moved (``swipe``) or on a map
        of its own with the same view (``side``)
    area : bool (n,); cells outside it are veiled
    marks : cell -> ``like``, ``unlike`` or a colour ``#rrggbb``
    results : cells to be ringed; the first ten with their numbers
    flows : lines; without `results` the first ten cells at their ends are numbered
    tools : of `TOOLS`, in the order of the tool bar
    provenance : where the map comes from; stands under the picture that the map saves
    basemap : url template and attribution, see `basemap_of_environment`
    """
    n = len(place.cells)
    if split not in ("", "swipe", "side") or bool(split) != (other is not None):
        raise ValueError(
            f"split={split!r} with{'' if other else 'out'} a second colouring: "
            "give `other` and split='swipe' or 'side', or neither"
        )
    if unknown := set(tools) - set(TOOLS):
        raise ValueError(f"no such tool: {', '.join(sorted(unknown))}; there are {TOOLS}")
    if area is not None and (area.shape != (n,) or area.dtype != np.bool_):
        raise ValueError(f"area must be bool ({n},), not {area.dtype} {area.shape}")
    first = _Side(colours=colours, legend=legend, values=values, tip=tip)
    blobs = _side_blobs(first, n)
    if other is not None:
        blobs |= {f"other_{name}": blob for name, blob in _side_blobs(other, n).items()}
    if area is not None:
        blobs["area"] = np.packbits(area, bitorder="little").tobytes()
    if with_place:
        blobs["cells"] = place.cells.astype("<u8").tobytes()
        if place.context:
            blobs["context"] = place.context
    header: dict[str, Any] = {
        "place": place.id,
        "resolution": place.resolution,
        **_side_header(first, blobs),
        "other": _side_header(other, blobs, "other_") if other is not None else None,
        "split": split,
        "area": _digest(blobs["area"]) if area is not None else None,
        "label": label,
        "height": height,
        "selected": selected,
        "results": list(results),
        "marks": dict(marks or {}),
        "flows": flows.as_json() if flows else None,
        "fly": {"cell": fly.cell, "nonce": fly.nonce, "zoom": fly.zoom} if fly else None,
        "tools": list(tools),
        "provenance": provenance,
        "basemap": dict(basemap) if basemap else None,
    }
    # Offsets depend on the header's length and stand in the header: reserve fixed-width numbers.
    spans = {name: [0, len(blob)] for name, blob in blobs.items()}
    width = len(_json(header | {"blobs": spans})) + 16 * len(blobs)
    start = offset = (4 + width + 7) // 8 * 8
    for name, blob in blobs.items():
        spans[name][0] = offset
        offset += (len(blob) + 7) // 8 * 8
    text = _json(header | {"blobs": spans}).ljust(start - 4)
    parts = [len(text).to_bytes(4, "little"), text]
    for blob in blobs.values():
        parts += [blob, bytes(-len(blob) % 8)]
    return b"".join(parts)


def _json(header: dict[str, Any]) -> bytes:
    return json.dumps(header, sort_keys=True, separators=(",", ":")).encode()


def _digest(*parts: bytes) -> str:
    return hashlib.blake2b(b"".join(parts), digest_size=8).hexdigest()


def _side_header(side: Coloured, blobs: Mapping[str, bytes], prefix: str = "") -> dict[str, Any]:
    tip = side.tip
    return {
        "colours": _digest(blobs[f"{prefix}colours"], blobs.get(f"{prefix}palette", b"")),
        "legend": side.legend.as_json() if side.legend else None,
        "tip": {"label": tip.label, "unit": tip.unit, "labels": list(tip.labels)} if tip else None,
    }


def _side_blobs(side: Coloured, n: int) -> dict[str, bytes]:
    """Colours, as an index into a palette where that is smaller, and values."""
    colours, values = side.colours, side.values
    if colours.shape not in {(n, 3), (n, 4)} or colours.dtype != np.uint8:
        raise ValueError(
            f"colours must be uint8 ({n}, 3 or 4), not {colours.dtype} {colours.shape}"
        )
    if values is not None and values.shape != (n,):
        raise ValueError(f"values must be ({n},), not {values.shape}")
    blobs = _palette(colours) or {"colours": colours.tobytes()}
    if values is not None:
        # Single precision without its last 8 bits: exact to 2^-16, the four digits of the tooltip.
        bits = values.astype("<f4").view("<u4")
        rounded = np.where(np.isnan(values), 0x7FC00000, bits + np.uint32(0x80)).astype("<u4")
        blobs["values"] = rounded.view(np.uint8).reshape(n, 4)[:, 1:].tobytes()
    return blobs


def _palette(colours: np.ndarray) -> dict[str, bytes] | None:
    if len(colours) < _PALETTE_FROM:
        return None
    rgba = np.full((len(colours), 4), 255, np.uint8)
    rgba[:, : colours.shape[1]] = colours
    words = rgba.view("<u4")[:, 0]
    if len(np.unique(words[:: len(words) // 1024])) > 256:
        return None
    palette, codes = np.unique(words, return_inverse=True)
    if len(palette) > 256:
        return None
    return {"colours": codes.astype(np.uint8).tobytes(), "palette": palette.tobytes()}


def basemap_of_environment() -> dict[str, str] | None:
    """The tile server named in MOBCLIP_BASEMAP, or None: then the map asks nobody for anything."""
    url = os.environ.get("MOBCLIP_BASEMAP", "")
    if not url:
        return None
    if not url.startswith(("http://", "https://")) or not all(p in url for p in _TILE):
        raise MobclipError(
            f"MOBCLIP_BASEMAP is {url!r}: give the address of map tiles with {' '.join(_TILE)} "
            "in it, such as http://localhost:8080/{z}/{x}/{y}.png, or leave it empty."
        )
    return {"url": url, "attribution": os.environ.get("MOBCLIP_BASEMAP_ATTRIBUTION", "")}


_TILE = ("{z}", "{x}", "{y}")

# The bundle is served as a static file: inline script would travel again at every rerun. The
# version keeps the browser from using an old copy.
_VERSION = hashlib.blake2b(BUNDLE.read_bytes(), digest_size=6).hexdigest()
_LOADER = f"""
export default async function (component) {{
  const address = new URL("app/static/{BUNDLE.name}?v={_VERSION}", document.baseURI);
  const root = component.parentElement.querySelector(".mobclip-map");
  try {{
    const map = await import(address);
    return map.default(component);
  }} catch (error) {{
    console.error(error);
    root.style.height = "auto";
    root.textContent = "The map's program could not be loaded. " +
      "Start the app with “mobclip app”, which serves it.";
  }}
}}
"""
_component = st.components.v2.component(
    "mobclip_map", html='<div class="mobclip-map" style="height: 420px"></div>', js=_LOADER
)


def hex_map(
    place: MapPlace,
    colours: np.ndarray,
    *,
    key: str,
    on_click: Callable[[str], None],
    on_area: Callable[[Area], None] | None = None,
    tools: Sequence[str] = ("click",),
    **options: Any,
) -> None:
    """Draw the map; callbacks run before the next run of the page.

    Parameters
    ----------
    on_click : gets the id of a clicked cell; a click beside the place's cells is no click
    on_area : gets what was drawn with the other `tools`; see `area_cells`
    options : those of `encode`
    """
    delivered: set[str] = st.session_state.setdefault("_map_delivered", set())

    def clicked() -> None:
        click = st.session_state[key].get("click")
        if click:
            on_click(click["cell"])

    def drawn() -> None:
        event = st.session_state[key].get("area")
        if event and on_area:
            on_area(Area.from_event(event))

    def needed() -> None:
        delivered.discard(place.id)

    data = encode(
        place,
        colours,
        with_place=place.id not in delivered,
        tools=tools if on_area else ("click",),
        basemap=basemap_of_environment(),
        **options,
    )
    delivered.add(place.id)
    _component(
        key=key,
        data=data,
        height="content",
        on_click_change=clicked,
        on_area_change=drawn,
        on_need_change=needed,
    )
