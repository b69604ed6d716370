"""Modalities: what the model sees of one cell, and what if the cell were otherwise."""

from itertools import combinations

import cache
import colours
import numpy as np
import spaces
import state
import streamlit as st
from cache import PlaceFiles
from colours import Colouring

from mobclip import grid
from mobclip.session import Selection
from mobclip.whatif import model_of, telling_cell
from views import frame, map_colours, modalities_seen, modalities_what_if
from views import modalities_bench as shared

SEES, WHAT_IF = "What the model sees", "What if"


def show(selection: Selection, files: PlaceFiles) -> None:
    """The view."""
    left, right = frame.map_and_panel()
    run = model_of(cache.load_place(files), selection.run)
    results: list[str] = []
    flows = None
    with right:
        chosen = _colour_choice(selection, files, run)
        if not selection.cell:
            _no_cell(files)
        elif run is None:
            flows = modalities_seen.show(selection, files, None)
        else:
            if run != selection.run:
                st.caption(f"Shown for “{run}”: “{selection.run}” has no model to be tried.")
            # A link with edits opens where they are.
            st.session_state.setdefault("modalities_mode", WHAT_IF if selection.edits else SEES)
            mode = st.segmented_control(
                "About this cell",
                [SEES, WHAT_IF],
                key="modalities_mode",
                required=True,
                label_visibility="collapsed",
                width="stretch",
            )
            if mode == WHAT_IF:
                results = modalities_what_if.show(selection, files, run)
            else:
                flows = modalities_seen.show(selection, files, run)
        if run is None:
            _no_model(files)
        colouring = _colouring(chosen, selection, files, run)
    frame.draw(left, selection, files, colouring, results=results, flows=flows)


def _no_model(files: PlaceFiles) -> None:
    place = cache.load_place(files)
    st.info(
        f"**{place.title}** has no run of the model `mobclip`, which is the one that can be asked "
        "what each kind of evidence does, and what if there were more of it. Train it in the view "
        "“Train”, or by a command, and reload this page:",
        icon=":material/model_training:",
    )
    st.code(f"mobclip train {place.arguments}", language="bash")


def _no_cell(files: PlaceFiles) -> None:
    st.info(
        "Click a hexagon: here stands what is known of it, kind by kind, and what would change if "
        "it were otherwise.",
        icon=":material/ads_click:",
    )

    def telling() -> None:
        place = cache.load_place(files)
        cell = grid.to_strings(place.cells[[telling_cell(place)]])[0]
        state.choose_cell(cell)
        frame.fly_to(files, cell)

    st.button(
        "Show me a telling cell",
        key="telling_cell",
        icon=":material/lightbulb:",
        type="primary",
        width="stretch",
        help="A busy cell with every kind of evidence.",
        on_click=telling,
    )


# ---- colours


def _choices(files: PlaceFiles, run: str | None) -> dict[str, str]:
    place = cache.load_place(files)
    called = {name: frame.modality_name(name) for name in place.modalities}
    found = {"evidence": "Evidence: how many kinds"}
    found |= {f"has:{name}": f"Evidence: {called[name].lower()}" for name in called}
    if run is not None:
        given = spaces.known_of(files, run)
        found |= {f"influence:{name}": f"Influence: {called[name].lower()}" for name in given}
        found |= {
            f"disagree:{one}:{other}": f"Disagreement: {called[one].lower()} and "
            f"{called[other].lower()}"
            for one, other in combinations(given, 2)
        }
    return found


def _colour_choice(selection: Selection, files: PlaceFiles, run: str | None) -> str:
    choices = _choices(files, run)
    kind, *names = selection.colour.split(":")
    either = (selection.colour, ":".join([kind, *reversed(names)]))
    chosen = next((one for one in either if one in choices), "evidence")
    st.session_state["modalities_colour"] = chosen
    st.selectbox(
        "Colour by",
        list(choices),
        format_func=choices.__getitem__,
        key="modalities_colour",
        help="**Evidence**: which kinds of input each cell has. **Influence**: how far a cell's "
        "embedding moves when one kind is left out everywhere; where does it change the story? "
        "**Disagreement**: where the cells most alike by one kind are others than by another.",
        on_change=lambda: state.change(colour=st.session_state["modalities_colour"]),
    )
    return chosen


def _colouring(chosen: str, selection: Selection, files: PlaceFiles, run: str | None) -> Colouring:
    kind, _, rest = chosen.partition(":")
    if run is None or kind in ("evidence", "has"):
        return map_colours.colouring(chosen, selection, files)
    if kind == "influence":
        values = shared.influences(files, run)[rest]
        return colours.ramp(
            100 * values,
            title=f"Influence of {frame.modality_name(rest).lower()}",
            unit="%",
            note="how far the embedding moves without it, of the usual length of an embedding",
        )
    one, other = rest.split(":")
    values = shared.disagreements(files, run, one, other)
    both = np.isfinite(values).sum()
    return colours.ramp(
        100 * values,
        title=f"{frame.modality_name(one)} and {frame.modality_name(other).lower()} disagree",
        unit="%",
        note=f"of the 20 cells most alike by the one, how many are not by the other; {both:,} "
        "cells compared",
    )
