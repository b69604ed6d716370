"""Modalities, "What the model sees": a card for each kind of evidence of the chosen cell."""

from collections.abc import Sequence

import cache
import numpy as np
import state
import streamlit as st
from cache import PlaceFiles
from colours import CLASSES, shown
from map_component import Flow, Flows

from mobclip import grid
from mobclip.chips import Chips
from mobclip.place import IMAGERY, MOBILITY
from mobclip.session import Selection
from mobclip.whatif import (
    Amount,
    Bench,
    people_seen,
    points_seen,
    trips_seen,
)
from views import frame, pictures
from views import modalities_bench as shared

LARGE, SMALL = 224, 54  # width of a picture on the screen: the cell, what is like it
PARTNERS = 30  # lines of the map of flows, and rows of its table
HERE, USUAL = "#2a9db5", "#d0661f"  # bars of the cell; ticks of the mean cell
ICONS = {
    "poi": ":material/storefront:",
    "imagery": ":material/satellite_alt:",
    "demographics": ":material/groups:",
    "mobility": ":material/commute:",
}
NONE_HERE = {  # and what a model does then
    "poi": (
        "No point of interest is known here.",
        "The model knows that, and expects what is usual around.",
    ),
    "imagery": (
        "No picture covers this cell.",
        "The model goes by the cells around that have one.",
    ),
    "demographics": (
        "Nobody is counted here, or no census reaches the cell.",
        "The model goes by the cells around.",
    ),
    "mobility": (
        "No trip starts or ends here.",
        "The model knows that, and goes by the cells around.",
    ),
}


def show(selection: Selection, files: PlaceFiles, run: str | None) -> Flows | None:
    """The cards; returns the lines for the map: trips to and from its partners.

    run : whose model is asked what is alike; None: none is
    """
    place = cache.load_place(files)
    bench = shared.bench(files, run) if run else None
    row = frame.row_of(files, selection.cell)
    frame.cell_card(selection, files)
    flows = None
    for name in place.modalities:
        with st.container(border=True):
            st.markdown(f"{ICONS.get(name, ':material/category:')} **{frame.modality_name(name)}**")
            if not place.present[name][row]:
                fact, then = NONE_HERE.get(name, ("Nothing of this kind is known here.", ""))
                st.caption(f"{fact} {then}" if run else fact)
            elif name == MOBILITY:
                flows = _trips(files, row)
            elif name == "poi":
                _points(files, row)
            elif name == "demographics":
                _people(files, row)
            else:
                chips = _seen_from_above(selection, files) if name == IMAGERY else None
                if bench is None:
                    continue
                if name in bench.modalities:
                    _alike(name, selection, files, bench, chips)
                else:
                    st.caption("This model was not given it: it knows what several places share.")
    return flows


def _points(files: PlaceFiles, row: int) -> None:
    seen = points_seen(cache.load_place(files), row, shared.points(files))
    if seen is None:
        return
    st.markdown(_compared(seen.total, "cells that have any"))
    if seen.categories:
        bars(seen.categories, "Points", key="points_seen")
        if seen.others >= 1:
            st.caption(f"And {shown(seen.others)} of other categories.")
    else:
        st.caption("Categories of this place are codes without names; the words speak instead.")
    if seen.words:
        st.markdown("Words: " + " · ".join(seen.words))


def _people(files: PlaceFiles, row: int) -> None:
    seen = people_seen(cache.load_place(files), row)
    if seen is None:
        return
    for number in seen.numbers:
        if number.name == "people per km²":
            st.markdown(_compared(number, "cells with people"))
    if seen.histograms:
        by_name = {one.variable: one for one in seen.histograms}
        chosen = st.selectbox(
            "Shares by",
            list(by_name),
            format_func=str.capitalize,
            key="people_seen_variable",
            help="Each census table of this place; the bars of one sum to 100 %.",
        )
        shares = [
            Amount(name=one.name, here=100 * one.here, usual=100 * one.usual)
            for one in by_name[chosen].bins
        ]
        bars(shares, "Share, %", key="people_seen")
    others = [one for one in seen.numbers if one.name != "people per km²"]
    if others:
        st.caption(
            " · ".join(f"{one.name} {shown(one.here)} (mean {shown(one.usual)})" for one in others)
        )


def _trips(files: PlaceFiles, row: int) -> Flows | None:
    place = cache.load_place(files)
    assert place.graph is not None
    seen = trips_seen(place.graph, row, most=PARTNERS)
    if seen is None:
        return None
    st.markdown(
        f"**{shown(seen.out.here)}** trips leave and **{shown(seen.into.here)}** arrive; the mean "
        f"cell has {shown(seen.out.usual)} of each. More than at {100 * seen.all.below:.0f} % of "
        "the cells that have any."
    )
    rows = np.array([one.row for one in seen.partners])
    names = grid.to_strings(place.cells[rows])
    centres = cache.load_centres(files)

    def go() -> None:
        marked = st.session_state["partners"].selection.rows
        if marked:
            frame.fly_to(files, names[marked[0]])

    st.dataframe(
        {
            "#": range(1, len(names) + 1),
            "Partner": [one.rstrip("f") for one in names],
            "km": grid.distances_km(centres[rows], centres[[row]]),
            "To": [one.to for one in seen.partners],
            "From": [one.come for one in seen.partners],
        },
        key="partners",
        hide_index=True,
        height=min(38 + 35 * len(names), 215),
        selection_mode="single-row",
        on_select=go,
        column_config={
            "#": st.column_config.NumberColumn(width=28),
            "Partner": st.column_config.TextColumn(
                width=84,
                help="Cells with most trips to or from here, by their ids without the f at the "
                "end. Mark a row to go there.",
            ),
            "km": st.column_config.NumberColumn("km", format="%.0f", width=46),
            "To": st.column_config.NumberColumn(
                "To", format="%.4g", width=60, help="Trips from here to there."
            ),
            "From": st.column_config.NumberColumn(
                "From", format="%.4g", width=60, help="Trips from there to here."
            ),
        },
    )
    carried = sum(one.to + one.come for one in seen.partners) / seen.all.here
    many = len(names) < seen.tied
    st.caption(
        f"Lines on the map, the first ten numbered: the {len(names)} cells with most trips, of "
        f"{seen.tied:,} that have any. They carry {100 * carried:.0f} % of the trips of this cell."
        if many
        else "Lines on the map, the first ten numbered: every cell with trips to or from here."
    )
    here = grid.to_strings(place.cells[[row]])[0]
    lines = [
        Flow(start=start, end=end, amount=amount, kind=kind)
        for name, one in zip(names, seen.partners, strict=True)
        for kind, (start, end, amount) in enumerate([(here, name, one.to), (name, here, one.come)])
        if amount > 0
    ]
    kinds = [(CLASSES[0], "from here"), (CLASSES[5], "to here")]
    return Flows(lines=lines, title="Number of trips", kinds=kinds)


def _seen_from_above(selection: Selection, files: PlaceFiles) -> Chips | None:
    place = cache.load_place(files)
    chips = pictures.opened(files)
    if chips:
        invented = place.generated
        seen = pictures.of_cells(chips, [int(selection.cell, 16)], [""], invented=invented)
        pictures.row(seen, side=LARGE)
        st.caption(pictures.about(chips, place.resolution, seen, invented=invented))
    return chips


def _alike(
    name: str, selection: Selection, files: PlaceFiles, bench: Bench, chips: Chips | None
) -> None:
    place = cache.load_place(files)
    columns = len(place.tables[name].columns)
    what = "the image" if name == IMAGERY else "this"
    st.caption(
        f"The model is given {columns} numbers read off {what}"
        + (
            ", which may have more bands than the picture"
            if chips and len(chips.look.bands) > 1
            else ""
        )
        + ". They show in what they find alike."
    )
    found = bench.alike(name, int(place.cells[frame.row_of(files, selection.cell)]), 5)
    names = grid.to_strings(found)
    centres = cache.load_centres(files)
    rows, _ = grid.locate(place.cells, found)
    here = centres[[frame.row_of(files, selection.cell)]]
    away = dict(zip(names, grid.distances_km(centres[rows], here), strict=True))

    def go() -> None:
        cell = st.session_state.get(f"alike {name}")
        if cell:
            state.choose_cell(cell)
            frame.fly_to(files, cell)

    st.session_state[f"alike {name}"] = None
    st.pills(
        f"Most alike by {what} alone",
        names,
        format_func=lambda one: f"…{one.rstrip('f')[-5:]} · {away[one]:.0f} km",
        key=f"alike {name}",
        help="The five cells whose numbers are nearest, by the end of their id and how far away "
        "they are. Choose one to go there.",
        on_change=go,
    )
    if chips:
        invented = place.generated
        labels = [f"…{one.rstrip('f')[-5:]}" for one in names]
        alike = pictures.of_cells(chips, found.tolist(), labels, invented=invented)
        pictures.row(alike, side=SMALL)


def _compared(amount: Amount, among: str) -> str:
    return (
        f"**{shown(amount.here)}** {amount.name}; the mean cell has {shown(amount.usual)}. More "
        f"than in {100 * amount.below:.0f} % of the {among}."
    )


def bars(amounts: Sequence[Amount], title: str, *, key: str) -> None:
    """Bars of what is here, ticks of what is usual."""
    import altair as alt
    import pandas as pd

    order = [one.name for one in amounts]
    table = pd.DataFrame(
        {
            "What": order,
            "Here": [one.here for one in amounts],
            "Usual": [one.usual for one in amounts],
        }
    )
    base = alt.Chart(table).encode(
        y=alt.Y(
            "What:N", sort=order, title=None, axis=alt.Axis(labelLimit=130, labelOverlap=False)
        ),
        tooltip=[
            "What",
            alt.Tooltip("Here", format=",.3g"),
            alt.Tooltip("Usual", format=",.3g"),
        ],
    )
    here = base.mark_bar(color=HERE, height={"band": 0.7}).encode(
        x=alt.X("Here:Q", title=title, axis=alt.Axis(tickCount=4, grid=False))
    )
    usual = base.mark_tick(color=USUAL, opacity=1, thickness=3, height={"band": 0.9}).encode(
        x="Usual:Q"
    )
    st.altair_chart((here + usual).properties(height=22 * len(order) + 74), key=key)
    st.caption("Bars: this cell. Orange marks: the mean cell that has such evidence.")
