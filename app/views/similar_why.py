"""Why a result is alike: agreement by evidence, what both have much of, whom both are tied to."""

from typing import TYPE_CHECKING, Any

import cache
import numpy as np
import state
import streamlit as st
from cache import PlaceFiles
from colours import CLASSES, shown
from map_component import Flow, Flows

from mobclip import grid
from mobclip.explain import Bin, bins, categories, nearest_examples, partners
from mobclip.place import IMAGERY
from mobclip.session import Selection
from views import frame, pictures, similar_ask
from views.similar_results import EXAMPLES, examples, near, often, shade

if TYPE_CHECKING:
    from views.similar import Answer

PAIR, TRIPLE = 164, 108  # width of a picture on the screen, of two and of three
# With whom neighbours are compared, unless the link names another run.
SECOND_OPINIONS = ("propagated", "mobclip", "mobclip-paper", "pca")


def show(
    answer: "Answer", selection: Selection, files: PlaceFiles, names: list[str]
) -> Flows | None:
    """The chosen result, or the first: what speaks for it, and what can be done with it.

    Returns lines for the map: to the cells that the result and what was asked for are tied to.
    """
    place = cache.load_place(files)

    def go() -> None:
        frame.fly_to(files, st.session_state["result"])

    chosen = st.selectbox(
        "Why?",
        names,
        format_func=lambda one: f"{names.index(one) + 1} · {one}",
        key="result",
        help="Choose a result, here or by its row in the list.",
        on_change=go,
    )
    at = names.index(chosen)
    found = answer.found
    _buttons(chosen)
    (where,) = near(files, [chosen])
    lines = [
        f"score {found.scores[at]:.3f}",
        f"before {_percent(found.percentiles[at])} of the other cells",
    ]
    if np.isfinite(found.chance[at]):
        lines.append(f"chance does as well in {often(found.chance[at])} of searches")
    if found.km is not None:
        lines.append(f"{shown(found.km[at])} km away")
    st.caption(" · ".join([*lines, *([where] if where else [])]))
    _trust(selection, files, chosen)
    asked, _ = grid.locate(place.cells, np.array(answer.ranked.query.like, np.uint64))
    row = frame.row_of(files, chosen)
    if answer.agreements:
        _agreement(answer, row)
    elif answer.ranked.query.like:
        st.caption(
            "How much each kind of evidence agrees is not compared yet in so large a place: turn "
            "that on under “Weigh the evidence”."
        )
    else:
        st.caption(
            "Words and images are compared with the embedding alone. What follows is what this "
            "cell has much of."
        )
    _pictures(answer, files, asked, row)
    _categories(files, asked, row)
    _bins(files, asked, row, comparing=answer.comparing)
    return _partners(files, asked, row, f"from result {at + 1}")


def _percent(share: float) -> str:
    """A rank percentile; never rounded up to all."""
    return f"{np.floor(share * 1000) / 10:.1f} %" if share < 1 else "100 %"


def _buttons(cell: str) -> None:
    more, less, from_here = st.columns(3)
    for column, label, like in ((more, "More", True), (less, "Less", False)):
        with column:
            st.button(
                f"{label} like this",
                key="more" if like else "less",
                width="stretch",
                help="Adds this cell to what the answers should be "
                f"{'like' if like else 'unlike'}.",
                on_click=similar_ask.mark,
                args=(cell,),
                kwargs={"like": like},
            )
    with from_here:
        st.button(
            "Start here",
            key="from_here",
            width="stretch",
            help="Searches for what is like this cell instead.",
            on_click=_start,
            args=(cell,),
        )


def _start(cell: str) -> None:
    state.change(cell=cell, query="", like=(), unlike=())


def second_opinion(selection: Selection, files: PlaceFiles) -> str:
    """The run with which neighbours are compared; "" where there is no other."""
    there = [one for one in files.runs if one != selection.run]
    wanted = [one for one in (selection.other, *SECOND_OPINIONS) if one in there]
    return wanted[0] if wanted else ""


def _trust(selection: Selection, files: PlaceFiles, cell: str) -> None:
    other = second_opinion(selection, files)
    if not other:
        return
    kept = cache.kept_under(files, selection.run, other, int(grid.from_strings([cell])[0]))
    if kept is None or not kept[1]:
        return
    same, of = kept
    cells = len(cache.load_place(files).cells)
    colour = "green" if same >= 0.5 * of else "orange" if same >= 0.2 * of else "red"
    st.badge(
        f"{same} of {of} neighbours are the same under {other}",
        color=colour,
        icon=":material/handshake:",
        help=f"The {of} cells most like this one in {selection.run} and in {other}: how many both "
        f"name. By chance it would be {shown(of * of / cells)}. Few: that they are alike is what "
        "this model says, more than what the evidence does.",
    )


def _agreement(answer: "Answer", row: int) -> None:
    """A bar for each kind of evidence."""
    import altair as alt
    import pandas as pd

    table, missing = [], []
    for name, one in answer.agreements.items():
        if np.isfinite(one[row]):
            table.append(
                {
                    "Evidence": frame.modality_name(name),
                    "Agreement": float(one[row]),
                    "shade": shade(name),
                    "label": f"{one[row]:.2f}",
                }
            )
        else:
            why = "not known here" if np.isfinite(one).any() else "not known of what you chose"
            missing.append(f"{frame.modality_name(name)}: {why}")
    if table:
        order = [one["Evidence"] for one in table]
        base = alt.Chart(pd.DataFrame(table)).encode(
            y=alt.Y(
                "Evidence:N",
                sort=order,
                title=None,
                axis=alt.Axis(labelLimit=130, ticks=False, domain=False, labelOverlap=False),
            )
        )
        bars = base.mark_bar(height=13).encode(
            x=alt.X(
                "Agreement:Q",
                scale=alt.Scale(domain=[-1, 1]),
                title="1: the same · 0: unrelated",
                axis=alt.Axis(values=[-1, -0.5, 0, 0.5, 1]),
            ),
            color=alt.Color("shade:N", scale=None),
            tooltip=["Evidence", alt.Tooltip("Agreement", format=".3f")],
        )
        st.altair_chart(bars.properties(height=24 * len(table) + 84), key="agreement")
    if missing:
        st.caption(" · ".join(missing))


def _pictures(answer: "Answer", files: PlaceFiles, asked: np.ndarray, row: int) -> None:
    """What was chosen and the result, seen from above."""
    place = cache.load_place(files)
    if IMAGERY not in place.modalities:
        return
    has = place.present[IMAGERY]
    chosen = asked[has[asked]]
    if not (has[row] or len(chosen) or answer.image):
        return  # the bars say that nothing is known
    chips = pictures.opened(files)
    if chips is None:
        return
    if len(chosen) > EXAMPLES and answer.comparing and has[row]:
        asked = nearest_examples(cache.load_features(files), IMAGERY, chosen, row)
    invented = place.generated
    cell = [int(place.cells[row])]
    seen = examples(answer, chips, files, asked)
    seen += pictures.of_cells(chips, cell, ["the result"], invented=invented)
    st.markdown("**Seen from above**")
    pictures.row(seen, side=PAIR if len(seen) < 3 else TRIPLE)
    said = pictures.about(chips, place.resolution, seen, invented=invented)
    if len(chosen) > EXAMPLES:
        which = "look most like the result" if answer.comparing else "you chose first"
        said = f"Of {len(chosen)} examples the {EXAMPLES} that {which}. {said}"
    st.caption(said)


def _categories(files: PlaceFiles, asked: np.ndarray, row: int) -> None:
    place = cache.load_place(files)
    if "poi" not in place.tables:
        return
    found = categories(place, asked, row)
    both = len(asked) > 0
    st.markdown(f"**Points of interest {'both have' if both else 'it has'} more of than usual**")
    if not found:
        st.caption("None stands out." if place.present["poi"][row] else "None are known here.")
        return
    lines = []
    for one in found:
        line = {
            "Category": f"unnamed ({one.name})" if one.is_code else one.name.replace("_", " "),
            "Here": one.lift,
            "Asked": one.lift_asked,
            "Points": round(one.points),
        }
        lines.append(line if both else {key: line[key] for key in ("Category", "Here", "Points")})
    times = "times the usual share of all points"
    number = st.column_config.NumberColumn
    st.dataframe(
        lines,
        hide_index=True,
        key="categories",
        column_config={
            "Category": st.column_config.TextColumn(width=150),
            "Here": number(format="%.1f ×", width=60, help=f"In the result: {times}."),
            "Asked": number(format="%.1f ×", width=60, help=f"In what you chose: {times}."),
            "Points": number(format="%d", width=55, help="Number of them in the result."),
        },
    )


def _bins(files: PlaceFiles, asked: np.ndarray, row: int, *, comparing: bool) -> None:
    place = cache.load_place(files)
    if "demographics" not in place.tables:
        return
    if not comparing:
        return
    found = bins(cache.load_features(files), asked, row)
    has = place.present["demographics"]
    both = bool(has[asked].any())
    st.markdown(f"**People: {'both are' if both else 'it is'} high in**")
    if not found:
        st.caption("Nothing stands out." if has[row] else "Nothing is known of the people here.")
        return
    said = cache.people_in_words(files)
    lines = []
    for one in found:
        name = said.get(one.column, one.column)
        line = {
            "What": f"{name} per km²" if one.kind == "density" else name,
            "Here": valued(one, one.value),
            "Asked": valued(one, one.asked) if one.asked is not None else "–",
            "Usual": valued(one, one.usual),
        }
        lines.append(line if both else {key: line[key] for key in ("What", "Here", "Usual")})
    text = st.column_config.TextColumn
    st.dataframe(
        lines,
        hide_index=True,
        key="bins",
        column_config={
            "What": text(width=150),
            "Here": text(width=58, alignment="right", help="In the result."),
            "Asked": text(width=58, alignment="right", help="In what you chose."),
            "Usual": text(width=58, alignment="right", help="Mean over the cells of the place."),
        },
    )


def valued(one: Bin, value: float) -> str:
    """A share in percent, anything else as a number."""
    return f"{100 * value:.1f} %" if one.kind == "share" else shown(value)


def _partners(files: PlaceFiles, asked: np.ndarray, row: int, result: str) -> Flows | None:
    place = cache.load_place(files)
    if place.graph is None:
        return None
    found = partners(place.graph, asked, row)
    both = len(asked) > 0
    st.markdown(
        f"**Cells {'both are' if both else 'it is'} tied to by people going there or coming**"
    )
    if not found:
        here = place.present["mobility"][row]
        st.caption("They share none." if both and here else "No flows are known here.")
        return None
    cells = grid.to_strings(place.cells[[one.row for one in found]])
    table: dict[str, Any] = {"Cell": cells, "Here": [100 * one.share for one in found]}
    if both:
        table["Asked"] = [100 * (one.asked or 0) for one in found]
    if cache.load_gazetteer(files).places:
        table["Where"] = near(files, cells)
    number = st.column_config.NumberColumn
    st.dataframe(
        table,
        hide_index=True,
        key="partners",
        column_config={
            "Cell": st.column_config.TextColumn(width=130),
            "Here": number(
                format="%.1f %%", width=62, help="Share of all flows of the result, in and out."
            ),
            "Asked": number(
                format="%.1f %%", width=62, help="Share of all flows of what you chose."
            ),
        },
    )
    if not both:
        return None
    ours, *theirs = grid.to_strings(place.cells[[row, *asked]])
    sides = [(ours, "Here", CLASSES[5], result)]
    if len(theirs) == 1:  # shares of several examples are of all of them together
        sides.append((theirs[0], "Asked", CLASSES[0], "from what you chose"))
    st.caption(f"Lines on the map lead to them from {'both' if len(sides) == 2 else 'the result'}.")
    return Flows(
        lines=[
            Flow(start=start, end=end, amount=share, kind=kind)
            for kind, (start, column, *_) in enumerate(sides)
            for end, share in zip(cells, table[column], strict=True)
        ],
        title="Share of all trips, both ways",
        unit="%",
        kinds=[(colour, label) for *_, colour, label in sides],
        arrows=False,
    )
