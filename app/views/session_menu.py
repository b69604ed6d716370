"""Session: take a step back, save what one looks at, open it again."""

import json
from typing import Any

import brought
import cache
import state
import streamlit as st
from brought import Image
from cache import PlaceFiles, load_map_place, load_place
from html_map import html_map

from mobclip import __version__
from mobclip.errors import MobclipError
from mobclip.image_query import image_query, why_not
from mobclip.place import Target
from mobclip.replay import replay
from mobclip.session import LARGEST, Selection, Session


def show(selection: Selection, files: PlaceFiles) -> None:
    """A menu in the bar."""
    # Files are made in a thread that knows no session: what they need is taken along.
    session = state.whole(selection)
    own, image = dict(brought.targets(files)), brought.image(selection, files)
    drawn = st.session_state.setdefault("drawn", {})
    with st.popover(
        "",
        icon=":material/history:",
        key="session_menu",
        width="stretch",
        help="**Session**: undo, save, open, share.",
    ):
        st.button(
            "Undo",
            key="undo",
            icon=":material/undo:",
            width="stretch",
            disabled=not session.before,
            help="Takes back the last cell, search, area or label.",
            on_click=state.undo,
        )
        st.download_button(
            "Save this session",
            lambda: _file(session, files, own, image),
            file_name=f"mobclip-{files.key}.session.json",
            mime="application/json",
            icon=":material/download:",
            width="stretch",
            on_click="ignore",
            help="Everything that is chosen, drawn, painted and brought along, as a file. Open it "
            "below, or run `mobclip replay` on it: it gives the same numbers without a page.",
        )
        st.download_button(
            "Map as one HTML file",
            lambda: _page(drawn, selection, files),
            file_name=f"mobclip-{files.key}.html",
            mime="text/html",
            icon=":material/public:",
            width="stretch",
            on_click="ignore",
            help="The map as it is coloured now, in one file that opens without a network and can "
            "be moved and hovered over. A picture of it: the camera on the map.",
        )
        number = st.session_state.get("opened", 0)  # a new widget after each file

        def opened() -> None:
            file = st.session_state[f"open {number}"]
            if file is None:
                return
            st.session_state["opened"] = number + 1
            try:
                if file.size > LARGEST:
                    raise MobclipError(f"{file.name} has {file.size:,} bytes: no session has.")
                text = file.getvalue().decode("utf-8", errors="replace")
                _open(text, file.name)
            except MobclipError as error:
                st.session_state["session_problem"] = str(error)

        st.file_uploader(
            "Open a saved session",
            type="json",
            key=f"open {number}",
            max_upload_size=LARGEST // 1_000_000,
            on_change=opened,
        )
        st.caption(
            "The address of this page is a link to what you see, but for areas, labels, images "
            "and data of your own."
        )
    if problem := st.session_state.pop("session_problem", None):
        st.warning(problem, icon=":material/error:")


def _open(text: str, name: str) -> None:
    """Take a session from a file, with what it brings along; all of it or nothing."""
    session = Session.from_json(text, name)
    files = next((one for one in cache.places() if one.key == session.selection.place), None)
    if files is not None:
        brought.take(json.loads(text), files)
    state.keep(session)


def made_with(selection: Selection, files: PlaceFiles) -> str:
    """Where a map is from, in a line."""
    place = load_place(files)
    sources = place.provenance.get("sources", {}).values()
    who = dict.fromkeys(str(one["provider"]) for one in sources if one.get("provider"))
    return (
        f"{place.title}, H3 resolution {place.resolution}; {selection.run}; mobclip {__version__}; "
        f"data: {', '.join(who) or 'not said'}"
    )


def _page(drawn: dict[str, Any], selection: Selection, files: PlaceFiles) -> bytes:
    """The map as it was last drawn."""
    return html_map(
        load_map_place(files),
        drawn["colouring"],
        title=f"{load_place(files).title}: {selection.run}",
        provenance=made_with(selection, files),
        selected=selection.cell or None,
        flows=drawn["flows"],
    )


def _file(session: Session, files: PlaceFiles, own: dict[str, Target], image: Image | None) -> str:
    """The session with the numbers that it shows, what made them, and what was brought along."""
    place = load_place(files)
    about = {"mobclip": __version__, "place": place.name, "key": place.provenance.get("key")}
    try:
        run = session.selection.run
        # Where the run cannot be searched by an image, the page says so and leaves it out.
        query = None
        if image is not None and not why_not(place, run):
            query = image_query(place, run, image.pixels)
        said = replay(place, session, own=own, image=query)
    except MobclipError as error:  # the rest is kept
        said = {"problem": str(error)}
    more = brought.as_json(files, own, image)
    return session.to_json(made_with=about, said=said, **more)
