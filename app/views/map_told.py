"""What is telling about some cells, as a table; the card of a cluster."""

import html
from collections.abc import Callable, Mapping, Sequence

import cache
import numpy as np
import spaces
import state
import streamlit as st
from cache import PlaceFiles
from colours import shown

from mobclip import grid
from mobclip.explain.telling import Telling
from mobclip.session import Selection
from views import frame


def table(told: Sequence[Telling]) -> None:
    """Traits with what they are here and elsewhere."""
    if not told:
        st.caption(
            "Mixed: nothing that is known of these cells sets them apart from the rest of the "
            "place. The embedding may see what no single number says."
        )
        return
    rows = [
        (one.phrase, _times(one), _value(one, one.here), _value(one, one.elsewhere)) for one in told
    ]
    lines(
        {
            "Telling": "What differs most from the rest of the place, and is no accident of a few "
            "cells: by means in deviations of all cells, of categories also by the odds that a "
            "cell has one",
            "×": "How many times as much as elsewhere",
            "Here": "Mean of these cells: points and trips a cell, people in % or a km²",
            "Elsewhere": "Mean of all other cells",
        },
        rows,
    )


def lines(heads: Mapping[str, str], rows: Sequence[Sequence[str]], *, height: int = 240) -> None:
    """A small table whose long names wrap: heads with what they mean, and text."""
    cell = "padding:3px 6px;border-bottom:1px solid rgba(128,128,128,.25);vertical-align:top"
    first = f"{cell};text-align:left"
    other = f"{cell};text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums"
    styles = [first, *[other] * (len(heads) - 1)]
    top = "".join(
        f"<th style='{style};font-weight:500;opacity:.7' title='{html.escape(what, quote=True)}'>"
        f"{html.escape(head)}</th>"
        for style, (head, what) in zip(styles, heads.items(), strict=True)
    )
    body = "".join(
        "<tr>"
        + "".join(
            f"<td style='{style}'>{html.escape(text)}</td>"
            for style, text in zip(styles, row, strict=True)
        )
        + "</tr>"
        for row in rows
    )
    st.html(
        f"<div style='max-height:{height}px;overflow:auto;font-size:.86rem'>"
        f"<table style='width:100%;border-collapse:collapse'><thead><tr>{top}</tr></thead>"
        f"<tbody>{body}</tbody></table></div>"
    )


def _times(one: Telling) -> str:
    times = one.times
    return "" if times is None else f"{times:,.0f}" if times >= 10 else f"{times:.2g}"


def _value(one: Telling, value: float) -> str:
    if one.trait.kind == "words":
        return ""  # weights that say nothing by themselves
    unit = one.trait.unit
    if unit.startswith("%"):
        return f"{value:.1f} %"
    short = {"per km²": "/km²", "a cell": "", "trips a cell": ""}.get(unit, unit)
    return f"{shown(value)}{short}"


def cluster_card(
    found: spaces.NamedClusters,
    selection: Selection,
    files: PlaceFiles,
    select: Callable[[tuple[str, ...]], None],
) -> None:
    """One cluster: how large, what is telling, where to see it best."""
    count = len(found.names)
    mine = int(found.labels[frame.row_of(files, selection.cell)]) if selection.cell else -1
    seen = st.session_state.get("cluster_of")
    now = (files.key, selection.run, selection.clusters, selection.cell)
    if seen != now or st.session_state.get("cluster", count) >= count:
        st.session_state["cluster_of"] = now  # a cell was clicked: its cluster opens
        st.session_state["cluster"] = max(mine, 0)
    one = st.selectbox(
        "Cluster",
        range(count),
        format_func=lambda i: f"{i + 1} · {found.names[i]}",
        key="cluster",
        help="Click a hexagon to open the card of its cluster. Clusters are numbered by size and "
        "named for their points of interest, people and trips; nothing else goes into a name.",
    )
    sizes = found.clusters.sizes
    vectors = cache.load_index(files, selection.run).embeddings
    central = grid.to_strings(vectors.cells[found.clusters.central[[one]]])[0]
    dot = f"<span style='color:{found.stops[one]}'>⬢</span>"
    st.html(
        f"<div style='font-size:.95rem'>{dot} <b>{sizes[one]:,}</b> cells, "
        f"<b>{100 * sizes[one] / sizes.sum():.0f} %</b> of the place</div>"
    )
    table(found.told[one])

    def go() -> None:
        state.choose_cell(central)
        frame.fly_to(files, central)

    def take() -> None:
        cells = cache.load_place(files).cells[np.flatnonzero(found.labels == one)]
        select(tuple(grid.to_strings(cells)))

    left, right = st.columns(2, gap="small")
    left.button(
        "Fly to its middle",
        icon=":material/near_me:",
        width="stretch",
        help=f"Its most central cell, {central}: the one nearest to the mean of the cluster.",
        on_click=go,
    )
    right.button(
        "Select it",
        icon=":material/select_all:",
        width="stretch",
        help="Its cells become the selection: means of the data, export, search.",
        on_click=take,
    )
