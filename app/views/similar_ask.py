"""What is looked for: the search box, an image, and the examples as chips."""

import re

import brought
import cache
import numpy as np
import state
import streamlit as st
from brought import Image
from cache import PlaceFiles

from mobclip import grid
from mobclip.errors import CellError, MobclipError
from mobclip.session import Selection
from views import frame

CELL = re.compile(r"^(0x)?[0-9a-fA-F]{15,16}$")
POSITION = re.compile(r"^\s*(-?\d+(?:\.\d+)?)\s*°?\s*[,;\s]\s*(-?\d+(?:\.\d+)?)\s*°?\s*$")

CHIPS = 8  # examples that have a button


def ask(selection: Selection, files: PlaceFiles) -> Image | None:
    """The search box with what was marked; returns the image that is asked for, if any."""
    box, upload = st.columns([6, 1], vertical_alignment="bottom", gap="small")
    with box:
        _box(selection, files)
    with upload:
        _upload(selection, files)
    problem = st.session_state.pop("ask_problem", None)
    if problem:
        st.warning(problem, icon=":material/search_off:")
    image = _image(selection, files)
    _chips(selection, image)
    return image


def worded(selection: Selection, image: Image | None) -> str:
    """What is asked for, in words."""
    parts = [f"“{selection.query}”"] if selection.query else []
    parts += [f"the image {image.name}"] if image else []
    if not parts and selection.cell:
        parts.append(selection.cell)
    marked = [one for one in selection.like if one != selection.cell or selection.query or image]
    if len(marked) == 1 and not parts:
        parts = marked
    elif marked:
        parts.append(f"{len(marked)} marked cell{'s' if len(marked) > 1 else ''}")
    text = " and ".join(parts)
    return f"{text}, unlike {len(selection.unlike)}" if selection.unlike else text


# ---- words, names, positions, cells


def _box(selection: Selection, files: PlaceFiles) -> None:
    words = cache.text_query(files, selection.run).available
    names = cache.load_gazetteer(files).places
    forms = ["a cell id", "a position as latitude, longitude"]
    forms += [f"a name on the map such as “{names[0].name}”"] if names else []
    forms += ["words such as “cafe market”; words behind a minus are taken off"] if words else []
    st.session_state["ask"] = selection.query or selection.cell

    def asked() -> None:
        text = st.session_state["ask"].strip()
        st.session_state.pop("ask_problem", None)
        named = cache.load_gazetteer(files).find(text)
        if not text:
            state.change(query="", cell="")
        elif CELL.match(text) or POSITION.match(text) or named:
            try:
                cell = _cell_of(text, files)
            except MobclipError as error:
                st.session_state["ask_problem"] = str(error)
                return
            state.choose_cell(cell)
            frame.fly_to(files, cell)
        else:
            state.change(query=text)

    st.text_input(
        "Like what?",
        key="ask",
        placeholder="name, position, cell id" + (", or words" if words else ""),
        help="Click the map, or type " + ", ".join(forms) + ". "
        + ("" if words else "This place has no texts, so it cannot be searched by words."),
        on_change=asked,
    )  # fmt: skip


def _cell_of(text: str, files: PlaceFiles) -> str:
    """The place's cell that a text names; `MobclipError` in words if there is none."""
    place = cache.load_place(files)
    position = POSITION.match(text)
    try:
        if CELL.match(text):
            cell = grid.from_strings([text.lower().removeprefix("0x")])
        elif position:
            lat, lon = float(position[1]), float(position[2])
            cell = grid.points_to_cells(
                lon=np.array([lon]), lat=np.array([lat]), resolution=place.resolution
            )
        else:
            return _named_cell(text, files)
    except CellError as error:
        raise CellError(
            f"“{text}” is no position on Earth. Write the latitude (-90 to 90) first, then "
            "the longitude, in degrees."
            if position
            else f"“{text}” is not an H3 cell. A cell is written as 15 hexadecimal digits, "
            f"such as {grid.to_strings(place.cells[:1])[0]}."
        ) from error
    if not grid.locate(place.cells, cell)[1][0]:
        raise CellError(f"{text} is not in {place.title}: this place has no cell there.")
    return grid.to_strings(cell)[0]


def _named_cell(text: str, files: PlaceFiles) -> str:
    """The cell nearest to a place of this name."""
    place = cache.load_place(files)
    named = cache.load_gazetteer(files).find(text)
    assert named is not None
    away = grid.distances_km(cache.load_centres(files), np.array([[named.lon, named.lat]]))
    nearest = int(away.argmin())
    if away[nearest] > 5 * grid.edge_km(place.resolution):
        raise MobclipError(
            f"{named.name} lies {away[nearest]:,.0f} km from the nearest cell of {place.title}: "
            "nothing is known there."
        )
    return grid.to_strings(place.cells[[nearest]])[0]


# ---- images


def _upload(selection: Selection, files: PlaceFiles) -> None:
    problem = cache.image_problem(files, selection.run)
    nonce = st.session_state.setdefault("image_nonce", 0)
    key = f"image-{nonce}"

    def given() -> None:
        from mobclip.sources.chips import read_chip  # brings rasterio: only for an image

        file = st.session_state[key]
        brought.set_image(None)
        if file is None:
            return
        data = file.getvalue()
        try:
            pixels = read_chip(data, file.name)
        except MobclipError as error:
            st.session_state["ask_problem"] = str(error)
            return
        brought.set_image(Image.of(file.name, pixels, files.key))
        # As with words: what is looked for is the image, and a click starts anew.
        state.change(cell="", query="")

    with st.popover(
        "", icon=":material/add_photo_alternate:", help="Search by an image.", key="by_image"
    ):
        st.markdown("**Search by an image**")
        if problem:
            st.caption(f"Not here: {problem}")
            return
        edge = grid.edge_km(cache.load_place(files).resolution)
        st.file_uploader(
            "A square of ground seen from above",
            type=["png", "tif", "tiff"],
            max_upload_size=4,
            key=key,
            on_change=given,
            help="PNG or GeoTIFF, at most 4 MB and 1024 × 1024 pixels. It is read on this machine, "
            "kept for this visit, and in a session that you save; it is not part of a link.",
        )
        st.caption(
            f"It should show as much ground as the place's own images of a cell do, about "
            f"{2 * edge:.2g} × {2 * edge:.2g} km, in the same bands and brightness. The middle "
            "square is used."
        )


def _image(selection: Selection, files: PlaceFiles) -> Image | None:
    """The image that is asked for; said and left out where it cannot be."""
    image = brought.image(selection, files)
    if image is None:
        if "image" in st.session_state:
            _drop_image()
        return None
    if problem := cache.image_problem(files, selection.run):
        st.warning(f"The image is not searched for: {problem}", icon=":material/image:")
        return None
    try:
        query = cache.image_direction(files, selection.run, image.pixels, image.digest)
    except MobclipError as error:
        st.warning(f"{image.name}: {error}", icon=":material/image:")
        _drop_image()
        return None
    if query.as_far == 0:
        st.warning(
            f"{image.name} is farther from the average image than that of any cell here. Are the "
            "bands, the brightness and the size of a pixel those of the place's imagery? What is "
            "found may mean nothing.",
            icon=":material/image:",
        )
    return image


def _drop_image() -> None:
    brought.set_image(None)
    st.session_state["image_nonce"] = st.session_state.get("image_nonce", 0) + 1


# ---- examples


def mark(cell: str, *, like: bool) -> None:
    """Take a cell as an example of what is looked for, or of what is not."""
    now = state.session().selection
    others_like = tuple(one for one in now.like if one != cell)
    others_unlike = tuple(one for one in now.unlike if one != cell)
    if like:
        state.change(like=(*others_like, cell), unlike=others_unlike)
    else:
        state.change(
            like=others_like,
            unlike=(*others_unlike, cell),
            cell="" if now.cell == cell else now.cell,
        )


def unmark(cell: str) -> None:
    """Take an example off."""
    now = state.session().selection
    state.change(
        like=tuple(one for one in now.like if one != cell),
        unlike=tuple(one for one in now.unlike if one != cell),
    )


def short(cell: str) -> str:
    """A cell's id without the digits that are the same for all cells of a resolution."""
    return cell.rstrip("f")


def _chips(selection: Selection, image: Image | None) -> None:
    """What is asked for beside the box, each with a button that takes it off."""
    examples = [(one, True) for one in selection.like] + [(one, False) for one in selection.unlike]
    if not (examples or image):
        return
    with st.container(horizontal=True, gap="small", key="chips"):
        if image:
            st.button(
                image.name if len(image.name) <= 18 else f"{image.name[:15]}…",
                key="drop:image",
                icon=":material/image:",
                help=f"{image.name}. Click to take the image off.",
                on_click=_drop_image,
            )
        for cell, like in examples[:CHIPS]:
            st.button(
                short(cell),
                key=f"drop:{cell}",
                icon=":material/add:" if like else ":material/remove:",
                help=f"{'More' if like else 'Less'} like {cell}. Click to take it off.",
                on_click=unmark,
                args=(cell,),
            )
        if len(examples) > CHIPS:
            st.caption(f"and {len(examples) - CHIPS} more")
        if len(examples) > 1:
            st.button(
                "Clear",
                key="clear_examples",
                type="tertiary",
                help="Takes all examples off.",
                on_click=state.change,
                kwargs={"like": (), "unlike": ()},
            )
