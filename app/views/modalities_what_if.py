"""Modalities, "What if": edits of the chosen cell, and what comes of them."""

from collections.abc import Mapping

import cache
import state
import streamlit as st
from cache import PlaceFiles
from colours import shown

from mobclip import grid
from mobclip.fusion import GONE, HIDDEN
from mobclip.place import MOBILITY
from mobclip.session import Selection
from mobclip.whatif import Bench, Beyond, Edits, Off, Predicted, WhatIf, bin_name, people_seen
from views import frame
from views import modalities_bench as shared
from views.layers import NO_YES

POI, DEMOGRAPHICS = "poi", "demographics"
KINDS = {
    "points": ("Points", POI),
    "people": ("People", DEMOGRAPHICS),
    "trips": ("Trips", MOBILITY),
}
FLOWS = (0.0, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 10.0)
MOST_POINTS = 1000
DOT, BEFORE, AFTER = "#9db4bf", "#2a9db5", "#e4572e"


def show(selection: Selection, files: PlaceFiles, run: str) -> list[str]:
    """Controls and what comes of them; returns cells to be ringed: the nearest ones after."""
    bench = shared.bench(files, run)
    edits = _possible(Edits.from_text(selection.edits), bench)
    _controls(edits, selection, files, bench)
    _said(edits)
    found = bench.what_if(int(grid.from_strings([selection.cell])[0]), edits)
    _moved(found, files, run)
    _predictions(found)
    _around(found)
    return grid.to_strings(found.nearest_after.cells) if edits else []


def _possible(edits: Edits, bench: Bench) -> Edits:
    """Without what a link asks for and this place does not have."""
    choices = bench.points.choices if bench.points is not None and POI in bench.editable else ()
    columns = bench.share_columns if DEMOGRAPHICS in bench.editable else ()
    trips = MOBILITY in bench.editable
    return Edits(
        points={name: n for name, n in edits.points.items() if name in choices},
        shares={name: one for name, one in edits.shares.items() if name in columns},
        flows=min(FLOWS, key=lambda one: abs(one - edits.flows)) if trips else 1.0,
        states={name: one for name, one in edits.states.items() if name in bench.modalities},
    )


def _said(edits: Edits) -> None:
    """What is edited, in words, and a way back."""
    if not edits:
        st.caption(
            "The cell is as it is. Change something: the model embeds it again at once, with its "
            "neighbours as they are."
        )
        return
    said = [
        f"{'+' if n > 0 else '−'}{abs(n):g} {name.replace('_', ' ')}"
        for name, n in edits.points.items()
    ]
    said += [f"{_bin(name)} {100 * share:.0f} %" for name, share in edits.shares.items()]
    said += [f"trips ×{edits.flows:g}"] if edits.flows != 1 else []
    said += [
        f"without {frame.modality_name(name).lower()}" + (" here and around" * (one == GONE))
        for name, one in edits.states.items()
    ]
    words, back = st.columns([1.9, 1], gap="small", vertical_alignment="center")
    words.markdown(f"**{'; '.join(said)}**")
    back.button(
        "As it is",
        key="what_if_reset",
        icon=":material/restart_alt:",
        width="stretch",
        help="Takes all edits back.",
        on_click=lambda: state.change(edits=()),
    )


def _bin(column: str) -> str:
    return column.removeprefix("hist_").replace("_", " ")


# ---- controls


def _controls(edits: Edits, selection: Selection, files: PlaceFiles, bench: Bench) -> None:
    """One kind of edit at a time, so that what comes of it stays in sight."""
    kinds = {"out": "Leave out"}
    kinds |= {kind: name for kind, (name, of) in KINDS.items() if of in bench.editable}
    if st.session_state.get("what_if_kind") not in kinds:
        # A link opens on what it edits; another place may have other kinds.
        edited = {"out": edits.states, "points": edits.points, "people": edits.shares}
        edited |= {"trips": edits.flows != 1}
        st.session_state["what_if_kind"] = next(
            (kind for kind, there in edited.items() if there and kind in kinds), "out"
        )
    with st.container(border=True):
        kind = st.segmented_control(
            "Change",
            list(kinds),
            format_func=kinds.__getitem__,
            key="what_if_kind",
            required=True,
            width="stretch",
            help="What is to be otherwise at this cell. Changes of several kinds add up.",
        )
        if kind == "points":
            _points(edits, bench)
        elif kind == "people":
            _shares(edits, selection, files, bench)
        elif kind == "trips":
            _flows(edits)
        else:
            place = cache.load_place(files)
            _left_out(edits, [name for name in place.modalities if name in bench.modalities])


def _with(
    edits: Edits,
    *,
    points: Mapping[str, float] | None = None,
    shares: Mapping[str, float] | None = None,
    flows: float | None = None,
    states: Mapping[str, int] | None = None,
) -> None:
    """Remember other edits; the rest stay."""
    changed = Edits(
        points=edits.points if points is None else points,
        shares=edits.shares if shares is None else shares,
        flows=edits.flows if flows is None else flows,
        states=edits.states if states is None else states,
    )
    state.change(edits=changed.to_text())


def _left_out(edits: Edits, modalities: list[str]) -> None:
    st.session_state["left_out"] = [name for name in modalities if name in edits.states]
    # The toggle stays as it was left while nothing is left out.
    kept = st.session_state.get("left_out_around_kept", False)
    st.session_state["left_out_around"] = GONE in edits.states.values() if edits.states else kept

    def changed() -> None:
        around = st.session_state["left_out_around"]
        st.session_state["left_out_around_kept"] = around
        taken = st.session_state["left_out"]
        _with(edits, states=dict.fromkeys(taken, GONE if around else HIDDEN))

    st.pills(
        "Leave out",
        modalities,
        selection_mode="multi",
        format_func=frame.modality_name,
        key="left_out",
        help="The model embeds the cell without this kind of evidence and fills the gap from the "
        "rest.",
        on_change=changed,
    )
    st.toggle(
        "Also of the cells around",
        key="left_out_around",
        help="Off: what the neighbours have of it still speaks for the cell. On: nothing of this "
        "kind is known, neither here nor around.",
        on_change=changed,
    )


def _points(edits: Edits, bench: Bench) -> None:
    assert bench.points is not None
    choices = list(bench.points.choices)
    named = bool(bench.points.categories)
    there = edits.points
    first = next(iter(there), st.session_state.get("points_of_kept"))
    st.session_state["points_of"] = first if first in choices else choices[0]
    st.session_state["points_more"] = int(there.get(st.session_state["points_of"], 0))

    def changed() -> None:
        kind, many = st.session_state["points_of"], st.session_state["points_more"]
        st.session_state["points_of_kept"] = kind
        _with(edits, points={kind: float(many)} if many else {})

    kind, many = st.columns([1.5, 1], gap="small")
    kind.selectbox(
        "Points of interest" if named else "Points with the word",
        choices,
        format_func=lambda one: one.replace("_", " "),
        key="points_of",
        help="Which category is added or taken away. Type to search the list."
        if named
        else "Categories of this place are codes, so points are added by a word of their name.",
        on_change=changed,
    )
    many.number_input(
        "How many more",
        -MOST_POINTS,
        MOST_POINTS,
        step=5,
        key="points_more",
        help="Added to those that are there; below 0: taken away, down to none.",
        on_change=changed,
    )


def _shares(edits: Edits, selection: Selection, files: PlaceFiles, bench: Bench) -> None:
    place = cache.load_place(files)
    columns = place.tables["demographics"].columns
    labels = {
        columns[i]: f"{variable.replace('_', ' ').capitalize()}: {bin_name(columns[i], variable)}"
        for variable, at in bench.bins.items()
        for i in at
    }
    seen = people_seen(place, frame.row_of(files, selection.cell))
    if seen is None:
        st.caption("The cell has no demographics, so there are no shares to move.")
        return
    now = {
        name: one.here
        for histogram in seen.histograms
        for name, one in zip(histogram.columns, histogram.bins, strict=True)
    }
    first = next(iter(edits.shares), st.session_state.get("share_of_kept"))
    chosen = first if first in labels else next(iter(labels))
    st.session_state["share_of"] = chosen
    slider = f"share of {selection.cell} {chosen}"
    st.session_state[slider] = round(100 * edits.shares.get(chosen, now[chosen]))

    def other() -> None:
        st.session_state["share_of_kept"] = st.session_state["share_of"]
        _with(edits, shares={})

    def changed() -> None:
        st.session_state["share_of_kept"] = chosen
        _with(edits, shares={chosen: st.session_state[slider] / 100})

    bin_, share = st.columns([1.2, 1], gap="small")
    bin_.selectbox(
        "Share of people",
        list(labels),
        format_func=labels.__getitem__,
        key="share_of",
        help="Which bin of the census is moved. Type to search the list.",
        on_change=other,
    )
    share.slider(
        f"%, now {100 * now[chosen]:.0f}",
        0,
        100,
        key=slider,
        help="The other bins of the same table keep their proportions.",
        on_change=changed,
    )


def _flows(edits: Edits) -> None:
    st.session_state["flows_times"] = edits.flows
    st.select_slider(
        "Trips, times",
        FLOWS,
        format_func=lambda one: f"×{one:g}",
        key="flows_times",
        help="Multiplies all trips to and from the cell; their mix stays. The cells at the other "
        "end stay as they are.",
        on_change=lambda: _with(edits, flows=st.session_state["flows_times"]),
    )


# ---- what comes of them


def _moved(found: WhatIf, files: PlaceFiles, run: str) -> None:
    if found.edits:
        kept = len(set(found.nearest_before.cells) & set(found.nearest_after.cells))
        cosine, nearest = st.columns(2, gap="small")
        cosine.metric(
            "Cosine to before",
            f"{found.cosine:.3f}" if found.cosine < 0.9995 else f"{found.cosine:.5f}",
            help="1: the embedding has not moved; 0: it has nothing in common with before.",
        )
        nearest.metric(
            "Most alike, kept",
            f"{kept} of {len(found.nearest_after.cells)}",
            help="How many of the ten cells most like it are the same as before. Those after are "
            "ringed on the map.",
        )
    if warned := [*(_far(one) for one in found.unusual), *map(_too_much, found.beyond[:3])]:
        st.warning(
            "The model has seen nothing like this; what it and the probes say of it is a guess.\n"
            + "\n".join(f"- {one}" for one in warned),
            icon=":material/explore_off:",
        )
    already = [one for one in found.off if one.before > 99 and one not in found.unusual]
    if found.edits and already:
        st.caption("The cell was unlike all others before the edit, too.")
    _picture(found, files, run)
    for note in found.notes:
        st.caption(f":material/info: {note}")


def _far(off: Off) -> str:
    what = off.what if off.what == "embedding" else frame.modality_name(off.what).lower()
    return (
        f"Its {what} is farther from every real one than {min(off.percentile, 99.9):.1f} % of real "
        "ones are from theirs."
    )


def _too_much(far: Beyond) -> str:
    if far.modality == "demographics":
        what = f"{_bin(far.column)} {100 * far.value:.0f} %"
        return f"{what}: the most that any cell of this place has is {100 * far.most:.0f} %."
    if far.modality == MOBILITY:
        what = "trips leave" if far.column == "log_outflow" else "trips arrive"
    elif far.column == "log_total":
        what = "points of interest"
    else:
        what = far.column.removeprefix("count_").replace("_", " ")
    return f"{shown(far.value)} {what}: the most at any cell of this place is {shown(far.most)}."


def _picture(found: WhatIf, files: PlaceFiles, run: str) -> None:
    """The space from its widest side, with the cell before and after."""
    import altair as alt
    import numpy as np
    import pandas as pd

    plane, _, dots = shared.plane(files, run)
    ends = plane(np.stack([found.before, found.after]))
    low, high = dots.min(0), dots.max(0)
    low, high = np.minimum(low, ends.min(0)), np.maximum(high, ends.max(0))
    x, y = (
        alt.Scale(domain=[float(low[i]), float(high[i])], nice=False, zero=False, padding=6)
        for i in (0, 1)
    )
    hidden = {"axis": None}
    cloud = (
        alt.Chart(pd.DataFrame({"x": dots[:, 0], "y": dots[:, 1]}))
        .mark_circle(size=7, color=DOT, opacity=0.45)
        .encode(x=alt.X("x:Q", scale=x, **hidden), y=alt.Y("y:Q", scale=y, **hidden))
    )
    layers = [cloud]
    when = ["before", "after"] if found.edits else ["this cell"]
    cell = pd.DataFrame({"x": ends[: len(when), 0], "y": ends[: len(when), 1], "When": when})
    if found.edits:
        way = pd.DataFrame(
            {"x": ends[:1, 0], "y": ends[:1, 1], "x2": ends[1:, 0], "y2": ends[1:, 1]}
        )
        layers.append(
            alt.Chart(way).mark_rule(color=AFTER, strokeWidth=2).encode(
                x="x:Q", y="y:Q", x2="x2:Q", y2="y2:Q"
            )
        )  # fmt: skip
    layers.append(
        alt.Chart(cell)
        .mark_point(size=110, filled=True, stroke="white", strokeWidth=1.5, opacity=1)
        .encode(
            x="x:Q",
            y="y:Q",
            color=alt.Color(
                "When:N",
                scale=alt.Scale(domain=when, range=[BEFORE, AFTER][: len(when)]),
                legend=alt.Legend(orient="top", title=None),
            ),
            tooltip=["When"],
        )
    )
    st.altair_chart(
        alt.layer(*layers).properties(height=190).configure_view(strokeWidth=0), key="moved"
    )
    st.caption(
        f"All cells by the two widest axes of the space (PCA), which show {plane.share:.0%} of it: "
        "a cell may move far and little of it show here."
    )


def _predictions(found: WhatIf) -> None:
    if not found.predictions:
        return
    st.markdown("**What a probe would say**")
    order = sorted(found.predictions, key=lambda one: -one.moved)
    rows = [_row(one) for one in order]
    columns = ["Target", "Now", "Then"] if found.edits else ["Target", "Now"]
    with st.container(height=min(60 + 44 * len(rows), 320)):
        st.table(
            {name: [row[name] for row in rows] for name in columns},
            border="horizontal",
            hide_index=True,
        )
    st.caption(
        "By a ridge regression that has not seen the cell, nor its block of the map. What is known "
        "by zones is read as if the whole zone were like the cell."
        + (" What changes most, against how much it varies, comes first." if found.edits else "")
    )


def _row(one: Predicted) -> dict[str, str]:
    target = one.target
    if target.kind == "number":
        values = [shown(float(value[0])) for value in (one.before, one.after)]
        unit = target.unit
    elif target.kind == "binary":
        values = [f"{100 * value[1]:.0f} %" for value in (one.before, one.after)]
        unit = f"chance of {NO_YES[1]}"
    else:
        values = [
            f"{target.classes[int(value.argmax())]} · {100 * value.max():.0f} %"
            for value in (one.before, one.after)
        ]
        unit = "largest part" if target.kind == "composition" else "most likely class"
    return {"Target": _plain(f"{target.title}, {unit}"), "Now": values[0], "Then": values[1]}


def _plain(text: str) -> str:
    """Text whose signs are no markup."""
    return "".join(f"\\{one}" if one in "\\`*_|$[]:~#" else one for one in text)


def _around(found: WhatIf) -> None:
    if found.edits.edited and len(found.around.cells):
        least = float(found.around.scores.min())
        far = f"to a cosine of {least:.4f} at most" if least < 0.99995 else "hardly (cosine 1.000)"
        st.caption(
            f"The {len(found.around.cells)} cells around move with it, as what is around them is "
            f"part of their evidence: {far}."
        )
