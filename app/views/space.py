"""Map, "Space": the cells as dots, where like ones lie together; linked with the map both ways."""

import cache
import numpy as np
import spaces
import state
import streamlit as st
from cache import PlaceFiles
from colours import Colouring
from spaces import Space

from mobclip import grid
from mobclip.projection import inside
from mobclip.session import Selection
from views import frame, map_area

DOTS = 50_000  # more are slow to draw; of more cells a sample is drawn


def show(selection: Selection, files: PlaceFiles, colouring: Colouring, *, linear: bool) -> None:
    """A dot chooses its cell; a lasso or a box selects cells on the map too."""
    import plotly.graph_objects as go  # takes a second: only when asked for

    projection = spaces.projection_of(files, Space(run=selection.run), linear=linear)
    cells = cache.load_place(files).cells
    xy = frame.on_place(files, projection.cells, projection.xy, np.nan)
    key, drawn = _chart(f"{files.key} {selection.run} {projection.method}")
    area = map_area.rows(files, drawn)
    rows = dots(len(cells), area)
    shades = [f"rgb({r},{g},{b})" for r, g, b in colouring.colours[rows, :3].tolist()]
    picked = np.flatnonzero(np.isin(rows, area)).tolist() if len(area) else None
    figure = go.Figure(
        go.Scattergl(
            x=xy[rows, 0],
            y=xy[rows, 1],
            mode="markers",
            marker={"color": shades, "size": 4 if len(rows) > 3000 else 6},
            selectedpoints=picked,
            selected={"marker": {"opacity": 1}},
            unselected={"marker": {"color": "#8a8f94", "opacity": 0.15}},
            hovertext=grid.to_strings(cells[rows]),
            hoverinfo="text",
        )
    )
    if selection.cell:
        x, y = xy[frame.row_of(files, selection.cell)].astype(float)
        ring = {"visible": True, "showarrow": False, "x": x, "y": y, "text": "◯"}
        figure.add_annotation(**ring, font={"size": 20, "color": "#e4572e"})
    hidden = {"visible": False}
    figure.update_layout(
        height=330, margin={"l": 0, "r": 0, "t": 26, "b": 0}, showlegend=False, xaxis=hidden,
        yaxis=hidden, dragmode="lasso",
    )  # fmt: skip

    def chosen() -> None:
        selected = st.session_state[key].selection
        rings = [np.column_stack([one["x"], one["y"]]) for one in selected.lasso]
        rings += [_corners(one) for one in selected.box]
        if rings:
            # By what was drawn, not by the dots in it: of a sample, all cells are taken.
            mask = np.any([inside(xy, np.asarray(ring, float)) for ring in rings], axis=0)
            _take(tuple(grid.to_strings(cells[mask])))
        elif selected.points:
            cell = grid.to_strings(cells[rows[[selected.points[0]["point_index"]]]])[0]
            state.choose_cell(cell)
            frame.fly_to(files, cell)
        else:
            _take(())

    st.plotly_chart(
        figure,
        key=key,
        on_select=chosen,
        selection_mode=("points", "lasso", "box"),
        config={
            "displaylogo": False,
            "displayModeBar": True,
            "modeBarButtonsToRemove": ["autoScale2d", "toImage", "zoomIn2d", "zoomOut2d"],
        },
        alt="Every dot is a cell; dots that lie close together have like embeddings.",
    )
    now = len(map_area.rows(files, state.session().area))
    if now:
        cells_are = "cells are" if now > 1 else "cell is"
        st.caption(f"**{now:,} {cells_are} selected**: “Selection” says what is telling of them.")
    sampled = f" {len(rows):,} of {len(cells):,} cells are drawn." if len(rows) < len(cells) else ""
    st.caption(
        "Every dot is a cell, in the colours of the map; close dots have like embeddings. **Draw "
        "around dots** to select their cells on the map, click one to choose its cell; "
        f"double-click to let go.{sampled}"
    )


def dots(count: int, area: np.ndarray) -> np.ndarray:
    """Rows that are drawn: all, or an even sample with every selected one."""
    if count <= DOTS:
        return np.arange(count)
    even = np.arange(0, count, -(-count // DOTS))
    return np.union1d(even, area)


def _corners(box: dict[str, list[float]]) -> np.ndarray:
    (left, right), (bottom, top) = sorted(box["x"]), sorted(box["y"])
    return np.array([(left, bottom), (right, bottom), (right, top), (left, top)])


def _take(cells: tuple[str, ...]) -> None:
    state.set_area(cells)
    st.session_state["scatter_took"] = cells


def _chart(what: str) -> tuple[str, tuple[str, ...]]:
    """Key of the chart, and the area that it shows as selected.

    What was drawn in the chart the browser shows by itself, and drawing the chart anew would
    only take the lasso away. An area from elsewhere (the map, undo) needs a chart without it.
    """
    area = state.session().area
    number = st.session_state.get("scatter_number", 0)
    key = f"scatter {what} {number}"
    known = key in st.session_state
    if known and area == st.session_state.get("scatter_took", ()):
        return key, st.session_state.get("scatter_shown", ())
    st.session_state["scatter_number"] = number + 1
    st.session_state["scatter_took"] = st.session_state["scatter_shown"] = area
    return f"scatter {what} {number + 1}", area
