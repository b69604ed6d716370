"""Map: the place by its embedding and by what is known; its space, a comparison, a selection."""

import cache
import hints
import state
import streamlit as st
from cache import PlaceFiles
from spaces import Other

from mobclip.session import Selection
from views import frame, layers, map_area, map_colours, map_compare, space

HINT = (
    "**New here?**\n"
    "- **Click a hexagon** to see what is known of it.\n"
    "- **Colour by** “clusters with names” for a first overview.\n"
    "- **Draw** on the map (buttons at its top), or around dots in **Space**: **Selection** says "
    "what is special there.\n"
    "- **Compare** puts two embeddings side by side.\n"
    "- With the keyboard: arrow keys move the map, + and − zoom, Enter chooses the cell in the "
    "middle."
)
TABS = ("Colour", "Space", "Compare", "Selection")


def show(selection: Selection, files: PlaceFiles) -> None:
    """The view."""
    left, right = frame.map_and_panel()
    chosen = map_colours.known(selection.colour, files, selection)
    other = Other.from_text(selection.other, selection.run, files)
    with right:
        # Only the tab that is open runs.
        tabs = dict(zip(TABS, st.tabs(TABS, key="panel", on_change="rerun"), strict=True))
        with tabs["Colour"]:
            if tabs["Colour"].open:
                map_colours.panel(chosen, selection, files)
        colouring, second = map_compare.sides(chosen, selection, files, other)
        with tabs["Colour"]:
            if tabs["Colour"].open:
                _cell(chosen, selection, files)
        with tabs["Space"]:
            if tabs["Space"].open:
                space.show(selection, files, colouring, linear=chosen == "pca")
        with tabs["Compare"]:
            if tabs["Compare"].open:
                map_compare.panel(chosen, selection, files, other)
        with tabs["Selection"]:
            if tabs["Selection"].open:
                map_area.card(selection, files)
    frame.draw(
        left,
        selection,
        files,
        colouring,
        other=second,
        split=map_compare.split_of(selection) if second is not None else "",
        area=map_area.mask(files),
        tools=map_area.TOOLS,
        on_area=map_area.drawn(files),
    )


def _cell(chosen: str, selection: Selection, files: PlaceFiles) -> None:
    if not selection.cell:
        if chosen in ("embedding", "pca"):
            hints.hint("map", HINT)
        return
    if chosen == "clusters":  # the card of its cluster comes first
        with st.expander("The chosen cell"):
            _card(selection, files)
    else:
        _card(selection, files)


def _card(selection: Selection, files: PlaceFiles) -> None:
    frame.cell_card(selection, files)
    _target_values(selection, files)
    st.button(
        "Find similar places",
        icon=":material/travel_explore:",
        type="primary",
        width="stretch",
        help="Lists the cells whose embedding is most like this one.",
        on_click=state.change,
        kwargs={"view": "similar", "query": ""},
    )


def _target_values(selection: Selection, files: PlaceFiles) -> None:
    place = cache.load_place(files)
    row = frame.row_of(files, selection.cell)
    lines = [
        {
            "Measured": target.title,
            "Value": layers.worded(target, cache.target_on_cells(files, target.name)[row]),
            "Unit": target.unit,
        }
        for target in place.targets.values()
    ]
    if lines:
        st.dataframe(
            lines,
            hide_index=True,
            height=min(38 + 35 * len(lines), 215),
            column_config={
                "Measured": st.column_config.TextColumn(width=170),
                "Value": st.column_config.TextColumn(width=70, alignment="right"),
            },
        )
