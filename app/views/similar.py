"""Similar places: a click, a cell id, a position or words -> the cells most like them."""

import csv
import io
import json
import re
from dataclasses import dataclass, replace

import cache
import colours
import numpy as np
import state
import streamlit as st
from cache import PlaceFiles
from colours import Colouring

from mobclip import grid
from mobclip.errors import MobclipError
from mobclip.search import Matches
from mobclip.session import COUNTS, Selection
from views import frame

CELL = re.compile(r"^(0x)?[0-9a-fA-F]{15,16}$")
POSITION = re.compile(r"^\s*(-?\d+(?:\.\d+)?)\s*°?\s*[,;\s]\s*(-?\d+(?:\.\d+)?)\s*°?\s*$")

DISTANCES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0)  # km


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What was asked and what came out."""

    what: str  # in words
    matches: Matches
    scores: np.ndarray  # (cells of the embeddings,)
    distances: np.ndarray | None  # (k,) km from the query cell; None for words


def show(selection: Selection, files: PlaceFiles) -> None:
    """The view."""
    left, right = frame.map_and_panel()
    with right:
        _ask(selection, files)
        selection = _limits(selection, files)
        try:
            answer = _answer(selection, files)
        except MobclipError as error:
            st.warning(str(error), icon=":material/search_off:")
            answer = None
        names = _list(answer, selection, files) if answer else []
        if not answer and not selection.query:
            st.info(
                "Click a hexagon on the map, or search above. The cells most like it are listed "
                "here, and the map is coloured by how alike every cell is.",
                icon=":material/ads_click:",
            )
    frame.draw(left, selection, files, _colouring(answer, selection, files), results=names)


def _ask(selection: Selection, files: PlaceFiles) -> None:
    words = cache.text_query(files, selection.run).available
    forms = ["a cell id", "a position as latitude, longitude"]
    forms += ["words such as “cafe market”"] if words else []
    st.session_state["ask"] = selection.query or selection.cell

    def asked() -> None:
        text = st.session_state["ask"].strip()
        place = cache.load_place(files)
        position = POSITION.match(text)
        st.session_state.pop("ask_problem", None)
        try:
            if CELL.match(text):
                cell = grid.from_strings([text.lower().removeprefix("0x")])
            elif position:
                lat, lon = float(position[1]), float(position[2])
                cell = grid.points_to_cells(
                    lon=np.array([lon]), lat=np.array([lat]), resolution=place.resolution
                )
            else:
                state.change(query=text, **({} if text else {"cell": ""}))
                return
            if not grid.locate(place.cells, cell)[1][0]:
                st.session_state["ask_problem"] = (
                    f"{text} is not in {place.title}: this place has no cell there."
                )
                return
        except MobclipError:
            st.session_state["ask_problem"] = (
                f"“{text}” is no position on Earth. Write the latitude (-90 to 90) first, then "
                "the longitude, in degrees."
                if position
                else f"“{text}” is not an H3 cell. A cell is written as 15 hexadecimal digits, "
                f"such as {grid.to_strings(place.cells[:1])[0]}."
            )
            return
        state.choose_cell(grid.to_strings(cell)[0])
        frame.fly_to(files, grid.to_strings(cell)[0])

    st.text_input(
        "Like what?",
        key="ask",
        placeholder="cell id, position" + (", or words" if words else ""),
        help="Click the map, or type " + ", ".join(forms) + ". "
        + ("" if words else "This place has no texts, so it cannot be searched by words."),
        on_change=asked,
    )  # fmt: skip
    problem = st.session_state.pop("ask_problem", None)
    if problem:
        st.warning(problem, icon=":material/search_off:")


def _limits(selection: Selection, files: PlaceFiles) -> Selection:
    st.session_state["count"] = selection.count
    fewest, most = COUNTS
    many, far = st.columns(2)
    with many:
        st.slider(
            "How many",
            fewest,
            most,
            step=5,
            key="count",
            help="Number of places in the list.",
            on_change=lambda: state.change(count=st.session_state["count"]),
        )
    edge = grid.edge_km(cache.load_place(files).resolution)
    steps = [0.0, *(km for km in DISTANCES if 2 * edge <= km <= 200 * edge)]
    nearest = min(steps, key=lambda step: abs(step - selection.apart))
    st.session_state["apart"] = nearest
    with far:
        st.select_slider(
            "At least km away",
            steps,
            format_func=lambda km: f"{km:g}",
            key="apart",
            disabled=bool(selection.query),
            help="Leaves out cells closer than this to the chosen one. Neighbours are often "
            "alike only because they are neighbours.",
            on_change=lambda: state.change(apart=st.session_state["apart"]),
        )
    return replace(selection, apart=nearest)


def _answer(selection: Selection, files: PlaceFiles) -> Answer | None:
    index = cache.load_index(files, selection.run)
    if selection.query:
        query = cache.text_query(files, selection.run)
        if not query.available:
            st.warning(
                f"{cache.load_place(files).title} has no texts, so it cannot be searched by words. "
                "Search by a cell or a position.",
                icon=":material/search_off:",
            )
            return None
        vector = query(selection.query)
        return Answer(
            what=f"“{selection.query}”",
            matches=index.like_vector(vector, selection.count),
            scores=index.scores(vector),
            distances=None,
        )
    if not selection.cell:
        return None
    cell = grid.from_strings([selection.cell])
    matches = index.like_cell(cell[0], selection.count, exclude_within_km=selection.apart)
    return Answer(
        what=selection.cell,
        matches=matches,
        scores=index.scores(index.vector_of(cell)),
        distances=grid.distances_km(grid.centers(matches.cells), grid.centers(cell)),
    )


def _list(answer: Answer, selection: Selection, files: PlaceFiles) -> list[str]:
    names = grid.to_strings(answer.matches.cells)
    if not names:
        st.info("No cell is that far away. Lower “At least km away”.", icon=":material/info:")
        return names
    table: dict[str, object] = {
        "Rank": range(1, len(names) + 1),
        "Cell": names,
        "Similarity": answer.matches.scores.astype(float),
    }
    if answer.distances is not None:
        table["km away"] = answer.distances

    def go() -> None:
        rows = st.session_state["matches"].selection.rows
        if rows:
            frame.fly_to(files, names[rows[0]])

    st.markdown(f"**Most like** {answer.what if selection.query else f'`{answer.what}`'}")
    st.dataframe(
        table,
        key="matches",
        hide_index=True,
        height=295,
        selection_mode="single-row",
        on_select=go,
        column_config={
            "Rank": st.column_config.NumberColumn("#", width=42, help="1 is the most similar."),
            "Cell": st.column_config.TextColumn("Cell", help="H3 index. Mark a row to go there."),
            "Similarity": st.column_config.NumberColumn(
                "Similarity",
                format="%.3f",
                width=84,
                help="Cosine of the two embeddings: 1 is the same direction, 0 unrelated.",
            ),
            "km away": st.column_config.NumberColumn("km away", format="%.1f", width=76),
        },
    )
    st.download_button(
        "Download as CSV",
        _as_csv(answer, selection, files),
        file_name=f"similar-{selection.place}-{selection.run}.csv",
        mime="text/csv",
        icon=":material/download:",
        width="stretch",
        help="The list with positions; the first lines, which begin with #, say how it was made.",
        on_click="ignore",
    )
    return names


def _as_csv(answer: Answer, selection: Selection, files: PlaceFiles) -> str:
    """The list as CSV; lines with # hold place, run, query and the licences of the sources."""
    place = cache.load_place(files)
    provenance = dict(cache.load_index(files, selection.run).embeddings.provenance)
    made = {
        "place": selection.place,
        "run": selection.run,
        "query": answer.what,
        "at least km away": selection.apart if answer.distances is not None else None,
        "embedding key": provenance.get("key"),
        "mobclip": provenance.get("mobclip"),
        "licences": provenance.get("licences"),
        "generated": place.provenance.get("generated"),
    }
    out = io.StringIO()
    for name, value in made.items():
        if value is not None:
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            out.write(f"# {name}: {' '.join(text.split())}\n")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["rank", "h3", "lon", "lat", "similarity", "km_away"])
    cells = answer.matches.cells
    far = answer.distances if answer.distances is not None else [None] * len(cells)
    rows = zip(grid.to_strings(cells), grid.centers(cells), answer.matches.scores, far, strict=True)
    for rank, (name, (lon, lat), score, km) in enumerate(rows, start=1):
        away = "" if km is None else f"{km:.3f}"
        writer.writerow([rank, name, f"{lon:.6f}", f"{lat:.6f}", f"{score:.6f}", away])
    return out.getvalue()


def _colouring(answer: Answer | None, selection: Selection, files: PlaceFiles) -> Colouring:
    if answer is None:
        count = len(cache.load_place(files).cells)
        return Colouring(
            colours=np.full((count, 3), (176, 186, 194), np.uint8),
            legend=colours.Legend(title="Nothing chosen yet", note="click a hexagon"),
        )
    cells = cache.load_index(files, selection.run).embeddings.cells
    scores = frame.on_place(files, cells, answer.scores, np.nan)
    return colours.ramp(scores, title=f"Similarity to {answer.what}", note="cosine, at most 1")
