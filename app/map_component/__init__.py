"""The hexagon map: a Streamlit components-v2 component around deck.gl.

Cells (8 bytes each) and the place's context travel once per browser tab, colours (3 or 4 bytes per
cell) at each recolouring. If the page turns out not to have the cells (a dropped message, an
element drawn anew), it asks by the trigger value ``need`` and the next run sends them again.
The bytes depend on the arguments only, so Streamlit recognises an unchanged map and sends nothing.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st

_BUNDLE = Path(__file__).resolve().parent.parent / "static" / "mobclip_map.js"


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
    selected: str | None = None,
    results: Sequence[str] = (),
    fly: Fly | None = None,
) -> bytes:
    """One buffer: u32 header length, JSON header, blobs at multiples of 8 bytes.

    ``colours`` is uint8 (n, 3) or (n, 4), ``values`` (n,) for the tooltip; both in the order of
    ``place.cells``.
    """
    n = len(place.cells)
    if colours.shape not in {(n, 3), (n, 4)} or colours.dtype != np.uint8:
        raise ValueError(
            f"colours must be uint8 ({n}, 3 or 4), not {colours.dtype} {colours.shape}"
        )
    if values is not None and values.shape != (n,):
        raise ValueError(f"values must be ({n},), not {values.shape}")
    blobs: dict[str, bytes] = {"colours": colours.tobytes()}
    if values is not None:
        blobs["values"] = values.astype("<f4").tobytes()
    if with_place:
        blobs["cells"] = place.cells.astype("<u8").tobytes()
        if place.context:
            blobs["context"] = place.context
    header: dict[str, Any] = {
        "place": place.id,
        "resolution": place.resolution,
        "colours": hashlib.blake2b(blobs["colours"], digest_size=8).hexdigest(),
        "label": label,
        "height": height,
        "legend": legend.as_json() if legend else None,
        "tip": {"label": tip.label, "unit": tip.unit, "labels": list(tip.labels)} if tip else None,
        "selected": selected,
        "results": list(results),
        "fly": {"cell": fly.cell, "nonce": fly.nonce, "zoom": fly.zoom} if fly else None,
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


# The bundle is served as a static file: inline script would travel again at every rerun. The
# version keeps the browser from using an old copy.
_VERSION = hashlib.blake2b(_BUNDLE.read_bytes(), digest_size=6).hexdigest()
_LOADER = f"""
export default async function (component) {{
  const address = new URL("app/static/{_BUNDLE.name}?v={_VERSION}", document.baseURI);
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
    **options: Any,
) -> None:
    """Draw the map; ``on_click`` gets the id of a clicked cell before the next run.

    Options are those of `encode`. A click beside the place's cells is no click.
    """
    delivered: set[str] = st.session_state.setdefault("_map_delivered", set())

    def clicked() -> None:
        click = st.session_state[key].get("click")
        if click:
            on_click(click["cell"])

    def needed() -> None:
        delivered.discard(place.id)

    data = encode(place, colours, with_place=place.id not in delivered, **options)
    delivered.add(place.id)
    _component(key=key, data=data, height="content", on_click_change=clicked, on_need_change=needed)
