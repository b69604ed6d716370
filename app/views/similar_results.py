"""The list of similar places: as a table, or by evidence as stacked bars; and its downloads."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import cache
import numpy as np
import pyarrow as pa
import streamlit as st
from cache import PlaceFiles
from colours import CLASSES

from mobclip import grid
from mobclip.chips import Chips, side_m
from mobclip.export import results_table
from mobclip.image_query import as_chip
from mobclip.place import IMAGERY
from mobclip.session import Selection
from views import downloads, frame, pictures
from views.similar_ask import mark, short

if TYPE_CHECKING:
    from views.similar import Answer

# The same colour for a kind of evidence in every chart.
SHADES = {
    "poi": CLASSES[1],
    "imagery": CLASSES[2],
    "demographics": CLASSES[3],
    "mobility": CLASSES[0],
}
HEIGHT = 262  # of the list, pixels
SMALL = 76  # a picture of it
EXAMPLES = 2  # that have a picture beside those of results
BAR = 17  # of a stacked bar
OFTEN = 0.2  # share of random searches from which on a high score is nothing special


def shade(modality: str) -> str:
    """Colour of a kind of evidence."""
    return SHADES.get(modality, CLASSES[4])


def show(answer: "Answer", selection: Selection, files: PlaceFiles) -> list[str]:
    """The results; returns their cells, best first."""
    found = answer.found
    names = grid.to_strings(found.cells)
    if not names:
        _nothing(answer, selection)
        return names
    # A new search begins with its first result; a filter keeps the one that is looked at.
    if st.session_state.get("result") not in names or (
        st.session_state.get("result_of") != answer.asked
    ):
        st.session_state["result"] = names[0]
    st.session_state["result_of"] = answer.asked
    _heading(answer, selection)
    _calibration(answer)
    chips = pictures.opened(files, say=False)
    forms = ["List"] + ["Evidence"] * bool(answer.agreements) + ["Pictures"] * bool(chips)
    form = "List"
    if len(forms) > 1:
        form = st.segmented_control(
            "Show as",
            forms,
            key="as",
            default="List",
            required=True,
            label_visibility="collapsed",
            help="**List**: a table to sort. **Evidence**: how much each kind of evidence agrees. "
            "**Pictures**: the cells seen from above, where a place keeps pictures.",
        )
    if form == "Evidence":
        _bars(answer, names, files)
    elif form == "Pictures" and chips:
        _pictures(answer, chips, files)
    else:
        _table(answer, names, files)
    _downloads(answer, selection, files)
    return names


def _heading(answer: "Answer", selection: Selection) -> None:
    alone = selection.cell and answer.what == selection.cell
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.markdown(
            f"**Most like** `{answer.what}`" if alone else f"**Most like** {answer.what}",
            width="content",
        )
        chosen = selection.cell and not selection.query and not answer.image
        if chosen and selection.cell not in selection.like:
            st.button(
                "Keep",
                key="keep",
                icon=":material/add:",
                type="tertiary",
                help="Keeps the chosen cell as an example. Further cells that you click then join "
                "it instead of replacing it.",
                on_click=mark,
                args=(selection.cell,),
                kwargs={"like": True},
            )


def near(files: PlaceFiles, names: Sequence[str]) -> list[str]:
    """For each cell the nearest place that has a name; "" where nothing has one."""
    gazetteer = cache.load_gazetteer(files)
    found = [gazetteer.near(one) for one in grid.centers(grid.from_strings(names))]
    return [f"{one[1]:,.0f} km from {one[0]}" if one else "" for one in found]


def often(share: float) -> str:
    """How often, of the random searches."""
    return "–" if np.isnan(share) else f"{100 * share:.1f} %"


def _nothing(answer: "Answer", selection: Selection) -> None:
    ways = []
    if selection.least > -1:
        top = answer.ranked.best(1)
        best = f" (the best is {top.scores[0]:.2f})" if len(top.scores) else ""
        ways.append(f"lower “Score at least”{best}")
    if selection.apart > 0 and answer.ranked.km is not None:
        ways.append("lower “At least km away”")
    if selection.inside:
        ways.append("turn “Only in the area” off")
    st.info(
        f"No cell is like {answer.what} and passes the filters. "
        + (f"Under Filters: {', or '.join(ways)}." if ways else ""),
        icon=":material/filter_alt_off:",
    )


def _calibration(answer: "Answer") -> None:
    """What the scores are worth, in one line."""
    found = answer.found
    listed = f"{len(found.cells)} of {found.passed:,} cells that pass the filters."
    query = answer.ranked.query
    if answer.weighed:
        listed += " Ranked by embedding and evidence as weighed."
    chance = answer.ranked.best_by_chance if query.towards and not query.like else float("nan")
    if np.isfinite(chance):
        kind = "images of other cells" if answer.image else "other words of this place"
        listed += (
            f" Searches for {kind} reach a best score as high in {100 * chance:.0f} % of cases"
        )
        listed += ": its height says little, see Chance." if chance > OFTEN else "."
    st.caption(listed)


def _evidence(answer: "Answer", files: PlaceFiles) -> np.ndarray:
    """(results, modalities) agreement of each result; NaN where there is nothing to compare."""
    rows, _ = grid.locate(cache.load_place(files).cells, answer.found.cells)
    return np.column_stack([one[rows] for one in answer.agreements.values()])


def _table(answer: "Answer", names: list[str], files: PlaceFiles) -> None:
    found = answer.found
    table: dict[str, Any] = {
        "#": range(1, len(names) + 1),
        "Cell": names,
        "Score": found.scores.astype(float),
    }
    if answer.agreements:
        table["Evidence"] = np.nan_to_num(_evidence(answer, files)).round(3).tolist()
    if np.isfinite(found.chance).any():
        table["Chance"] = 100 * found.chance
    if found.km is not None:
        table["km away"] = found.km
    if answer.weighed:
        table["Embedding"] = found.own.astype(float)
    if cache.load_gazetteer(files).places:
        table["Where"] = near(files, names)
    order = ", ".join(frame.modality_name(one).lower() for one in answer.agreements)

    def go() -> None:
        rows = st.session_state["matches"].selection.rows
        if rows:
            st.session_state["result"] = names[rows[0]]
            frame.fly_to(files, names[rows[0]])

    number, text = st.column_config.NumberColumn, st.column_config.TextColumn
    st.dataframe(
        table,
        key="matches",
        hide_index=True,
        height=HEIGHT,
        selection_mode="single-row",
        on_select=go,
        column_config={
            "#": number("#", width=34, help="1 is the most similar."),
            "Cell": text("Cell", width=92, help="H3 index. Mark a row to go there and see why."),
            "Score": number(
                "Score",
                format="%.3f",
                width=54,
                help="Embedding and evidence, mixed as the weights say; at most 1."
                if answer.weighed
                else "Cosine of the embeddings: 1 is the same direction, 0 unrelated.",
            ),
            "Evidence": st.column_config.BarChartColumn(
                "Evidence",
                width=70,
                y_min=0,
                y_max=1,
                help=f"Agreement by kind of evidence, from the left: {order}. A full bar is the "
                "same; none: unlike, or one of the two has no such evidence.",
            ),
            "Chance": number(
                "Chance",
                format="%.1f %%",
                width=58,
                help="How often a random search of the same make-up (as many other cells, or "
                f"words) finds this cell at least as good; of {len(answer.ranked.null.queries)} "
                "searches. A cell that is near to everything is found by chance often.",
            ),
            "km away": number("km away", format="%.1f", width=66, help="To the nearest example."),
            "Embedding": number(
                "Embedding", format="%.3f", width=80, help="The embedding's own score: cosine."
            ),
            "Where": text("Where", help="The nearest place that has a name on the map."),
        },
    )


def _bars(answer: "Answer", names: list[str], files: PlaceFiles) -> None:
    """One stacked bar per result: what each kind of evidence adds to the mean agreement."""
    import altair as alt
    import pandas as pd

    evidence = _evidence(answer, files)
    having = [name for name, one in answer.agreements.items() if np.isfinite(one).any()]
    total = sum(answer.weights[name] for name in having) or 1.0
    label = [f"{i} · {short(one)}" for i, one in enumerate(names, 1)]
    rows = [
        {
            "Result": label[i],
            "Evidence": frame.modality_name(name),
            "Agreement": float(evidence[i, column]),
            "Share": float(evidence[i, column] * answer.weights[name] / total),
        }
        for i in range(len(names))
        for column, name in enumerate(answer.agreements)
        if name in having and np.isfinite(evidence[i, column])
    ]
    shown = [frame.modality_name(name) for name in having]
    chart = (
        alt.Chart(pd.DataFrame(rows, columns=["Result", "Evidence", "Agreement", "Share"]))
        .mark_bar(height=BAR - 5)
        .encode(
            y=alt.Y(
                "Result:N",
                sort=label,
                title=None,
                scale=alt.Scale(domain=label),
                axis=alt.Axis(labelLimit=120, ticks=False, domain=False, labelOverlap=False),
            ),
            x=alt.X("Share:Q", title="mean agreement, by kind of evidence", stack="zero"),
            color=alt.Color(
                "Evidence:N",
                sort=shown,
                scale=alt.Scale(domain=shown, range=[shade(name) for name in having]),
                legend=alt.Legend(orient="top", title=None, columns=2, labelLimit=150),
            ),
            tooltip=["Result", "Evidence", alt.Tooltip("Agreement", format=".2f")],
        )
        .properties(height=BAR * len(names) + 110)
    )
    with st.container(height=HEIGHT, border=False):
        st.altair_chart(chart, key="bars")
    st.caption(
        "The length of a bar is the mean agreement, -1 to 1; kinds that pull to the left are "
        "unlike. What a cell lacks adds nothing."
    )


def _pictures(answer: "Answer", chips: Chips, files: PlaceFiles) -> None:
    """The results seen from above, best first."""
    place = cache.load_place(files)
    found = answer.found
    invented = place.generated
    seen = pictures.of_cells(
        chips,
        found.cells.tolist(),
        [f"<b>{i}</b> · {score:.2f}" for i, score in enumerate(found.scores, 1)],
        invented=invented,
        chosen=int(grid.from_strings([st.session_state["result"]])[0]),
    )
    asked, _ = grid.locate(place.cells, np.array(answer.ranked.query.like, np.uint64))
    pictures.row([*examples(answer, chips, files, asked), *seen], side=SMALL, height=HEIGHT)
    without = sum(one.pixels is None for one in seen)
    st.caption(
        "What you chose, then the results with rank and score. "
        + ("Invented, like the place. " if invented else "")
        + f"{pictures.length(side_m(place.resolution))} of ground each; framed: the result that is "
        "explained below." + (f" No picture covers {without} of them." if without else "")
    )


def examples(
    answer: "Answer", chips: Chips, files: PlaceFiles, asked: np.ndarray
) -> list[pictures.Picture]:
    """What was chosen, as far as it can be seen: the user's image, the first cells of `asked`."""
    place = cache.load_place(files)
    has = asked[place.present[IMAGERY][asked]]
    rows = (has if len(has) else asked)[:EXAMPLES]
    invented = place.generated
    labels = ["chosen"] * len(rows)
    seen = pictures.of_cells(chips, place.cells[rows].tolist(), labels, invented=invented)
    if answer.image:
        drawn = chips.look.drawn(as_chip(answer.image.pixels)[None])[0]
        alt = "Your image, in the colours of the pictures of this place"
        seen.insert(0, pictures.Picture(pixels=drawn, label="your image", alt=alt))
    return seen


def table_of(answer: "Answer", selection: Selection, files: PlaceFiles) -> pa.Table:
    """The results with all that is known of them, and how they were made."""
    place = cache.load_place(files)
    found = answer.found
    columns: dict[str, Any] = {
        "rank": np.arange(1, len(found.cells) + 1),
        "score": found.scores,
        "embedding_score": found.own,
        "rank_percentile": 100 * found.percentiles,
        "chance": found.chance,
    }
    if found.km is not None:
        columns["km_away"] = found.km
    if answer.agreements:
        for name, one in zip(answer.agreements, _evidence(answer, files).T, strict=True):
            columns[f"agreement_{name}"] = one
    if cache.load_gazetteer(files).places:
        columns["where"] = near(files, grid.to_strings(found.cells))
    provenance = dict(answer.ranked.index.embeddings.provenance)
    cell = selection.cell if not selection.query and not answer.image else ""
    weights = {name: value for name, value in answer.weights.items() if value != 1}
    made = {
        "place": selection.place,
        "run": selection.run,
        "query": answer.what,
        "words": selection.query or None,
        "like": list(dict.fromkeys(filter(None, (cell, *selection.like)))) or None,
        "unlike": list(selection.unlike) or None,
        "score at least": selection.least if selection.least > -1 else None,
        "at least km away": selection.apart or None,
        "only in the area drawn": selection.inside or None,
        "weights": weights or None,
        "place key": place.provenance.get("key"),
        "embedding key": provenance.get("key"),
        "licences": provenance.get("licences")
        or {name: one.get("licence") for name, one in place.provenance.get("sources", {}).items()},
        "generated": place.provenance.get("generated"),
    }
    return results_table(found.cells, columns, made)


def _downloads(answer: "Answer", selection: Selection, files: PlaceFiles) -> None:
    def table() -> pa.Table:
        return table_of(answer, selection, files)

    downloads.buttons(
        table,
        table,
        f"similar-{selection.place}-{selection.run}",
        key="similar",
        helps=(
            "The list with positions; the first lines, which begin with #, say how it was made.",
            "The same with the outline of each cell, for QGIS, geopandas or DuckDB; how it was "
            "made stands in the metadata under “mobclip”.",
        ),
    )
