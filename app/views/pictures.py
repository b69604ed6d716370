"""Pictures of the imagery of cells: one, or several side by side."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import cache
import numpy as np
import streamlit as st
from cache import PlaceFiles
from colours import shown

from mobclip import grid
from mobclip.chips import EMPTY, Chips, outline, side_m
from mobclip.errors import ArtefactError
from mobclip.place import IMAGERY

# Where a picture has no data its ground shows, light or dark.
CHECKED = "repeating-conic-gradient(#8f959b 0 25%,#c3c8cd 0 50%) 0 0/10px 10px"
CHOSEN = "#d55e00"
LINED = 100  # pixels of the screen from which on the outline of a cell is drawn


@dataclass(frozen=True, kw_only=True)
class Picture:
    """One picture with what stands under it."""

    pixels: np.ndarray | None  # (pixels, pixels, 3); None: there is none, and a frame says so
    label: str
    alt: str  # for who cannot see it, and under the mouse
    cell: int | None = None  # its outline is drawn, if the picture is large
    chosen: bool = False


def opened(files: PlaceFiles, *, say: bool = True) -> Chips | None:
    """The pictures of a place; None where it keeps none.

    say : where they could be there and are not, tell how they get there
    """
    place = cache.load_place(files)
    try:
        chips = cache.load_chips(files)
    except ArtefactError as error:
        if say:
            st.caption(str(error))
        return None
    if chips is None and say and IMAGERY in place.modalities:
        st.caption(
            "This place keeps no pictures of its imagery yet: `mobclip tokenize "
            f"{place.arguments}` adds them and leaves all else as it is."
        )
    return chips


def of_cells(
    chips: Chips,
    cells: Sequence[int],
    labels: Sequence[str],
    *,
    invented: bool,
    chosen: int | None = None,
) -> list[Picture]:
    """Pictures of some cells, with a frame in the place of one that has none.

    chosen : the cell that is marked
    """
    pixels, known = chips.of(np.array(cells, np.uint64))
    names = grid.to_strings(np.array(cells, np.uint64))
    kind = "Invented imagery" if invented else "Imagery"
    return [
        Picture(
            pixels=one if there else None,
            label=label,
            alt=f"{kind} of cell {name}, seen from above"
            if there
            else f"No picture covers cell {name}",
            cell=cell,
            chosen=cell == chosen,
        )
        for cell, one, there, name, label in zip(cells, pixels, known, names, labels, strict=True)
    ]


def row(pictures: Sequence[Picture], *, side: int, height: int | None = None) -> None:
    """Pictures side by side, each `side` pixels of the screen wide; they wrap.

    height : of the box that they scroll in
    """
    box = f"max-height:{height}px;overflow:auto;" if height else ""
    st.html(
        f"<div style='display:flex;flex-wrap:wrap;gap:.5rem;{box}'>"
        + "".join(_figure(one, side) for one in pictures)
        + "</div>"
    )


def about(chips: Chips, resolution: int, pictures: Sequence[Picture], *, invented: bool) -> str:
    """What pictures show, in words."""
    side, pixels = side_m(resolution), chips.pixels.shape[1]
    bands = chips.look.bands
    if len(bands) == 1:
        colours = "Grey: one band of the image."
    elif chips.look.named:
        colours = "In the image's own red, green and blue."
    else:
        colours = (
            f"Bands {', '.join(map(str, bands))} as red, green and blue: the file does not say "
            "which they are."
        )
    holes = any(
        one.pixels is not None and (one.pixels == EMPTY).all(axis=2).any() for one in pictures
    )
    return (
        ("Invented, like the place. " if invented else "")
        + f"{length(side)} of ground from side to side, north up, in {pixels} × {pixels} pixels of "
        f"{length(side / pixels)}; the line is the cell. {colours} Shades are stretched alike in "
        "the whole place." + (" Chequered: no data." if holes else "")
    )


def length(metres: float) -> str:
    """In metres or kilometres, two digits."""
    rounded = float(f"{metres:.2g}")
    return f"{shown(rounded / 1000)} km" if rounded >= 1000 else f"{shown(rounded)} m"


def _figure(one: Picture, side: int) -> str:
    frame = f"2px solid {CHOSEN}" if one.chosen else "2px solid transparent"
    if one.pixels is None:
        inside = (
            f"<div role='img' aria-label='{one.alt}' title='{one.alt}' style='width:{side}px;"
            "aspect-ratio:1;box-sizing:border-box;border:1px dashed #8a8f94;display:flex;"
            "align-items:center;justify-content:center;text-align:center;font-size:.75rem;"
            "opacity:.8'>no picture</div>"
        )
    else:
        inside = (
            f"<img alt='{one.alt}' title='{one.alt}' src='{_png(one.pixels)}' "
            f"style='display:block;width:{side}px;aspect-ratio:1;image-rendering:pixelated;"
            f"background:{CHECKED}'>"
        )
        if one.cell is not None and side >= LINED:
            inside += (
                f"<img alt='' src='{_line(one.cell)}' style='position:absolute;inset:0;"
                f"width:{side}px;aspect-ratio:1;pointer-events:none'>"
            )
    return (
        f"<figure style='margin:0;width:{side + 4}px'>"
        f"<div style='position:relative;border:{frame}'>{inside}</div>"
        "<figcaption style='padding-left:2px;font-size:.78rem;line-height:1.25;"
        f"overflow-wrap:anywhere'>{one.label}</figcaption></figure>"
    )


def _png(pixels: np.ndarray) -> str:
    """As the address of an image; see-through where there are no data."""
    from PIL import Image  # comes with Streamlit

    seen = (pixels != EMPTY).any(axis=2, keepdims=True)
    file = io.BytesIO()
    Image.fromarray(np.dstack([pixels, np.where(seen, 255, 0).astype(np.uint8)])).save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def _line(cell: int) -> str:
    """The outline of a cell: dark on light, so that it is seen on any ground."""
    corners = " ".join(f"{100 * x:.1f},{100 * y:.1f}" for x, y in outline(cell))
    drawn = (
        "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 100 100'>"
        "<g fill='none' vector-effect='non-scaling-stroke'>"
        f"<polygon points='{corners}' stroke='#fff' stroke-opacity='.75' stroke-width='2.2'/>"
        f"<polygon points='{corners}' stroke='#111' stroke-width='.9'/></g></svg>"
    )
    return f"data:image/svg+xml;base64,{base64.b64encode(drawn.encode()).decode()}"
