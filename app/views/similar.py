"""Similar places: what is asked for, the filters and weights, the list, and why each is there."""

from dataclasses import dataclass, replace

import cache
import colours
import hints
import numpy as np
import state
import streamlit as st
from brought import Image
from cache import PlaceFiles
from colours import Colouring

from mobclip import grid
from mobclip.errors import MobclipError
from mobclip.explain import weighted
from mobclip.search import Found, Ranked
from mobclip.session import COUNTS, Selection
from views import frame, map_area, similar_ask, similar_results, similar_why

LARGE = 100_000  # cells of a place from which on its evidence is compared when that is asked for
DISTANCES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0)  # km


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What was asked and what came out."""

    asked: tuple[object, ...]  # what tells one search from another
    what: str  # in words
    ranked: Ranked  # by the embedding, or by the evidence as it is weighed
    found: Found
    agreements: dict[str, np.ndarray]  # modality -> (cells of the place,); {} without examples
    weights: dict[str, float]  # of the modalities of the place
    comparing: bool  # whether evidence is read at all
    image: Image | None

    @property
    def weighed(self) -> bool:
        """Whether the evidence has a say beside the embedding."""
        return self.ranked.scores is not self.ranked.own


def show(selection: Selection, files: PlaceFiles) -> None:
    """The view."""
    left, right = frame.map_and_panel()
    answer, names, flows = None, [], None
    with right, st.container(gap="xsmall", key="similar"):
        image = similar_ask.ask(selection, files)
        selection = _filters(selection, files)
        weights = _weights(selection, files)
        try:
            answer = answered(selection, files, weights, image)
        except MobclipError as error:
            said = str(error)
            st.warning(said[:1].upper() + said[1:], icon=":material/search_off:")
        else:
            if answer is None:
                hints.hint("similar", _ways(files))
        if answer:
            names = similar_results.show(answer, selection, files)
            if names:
                flows = similar_why.show(answer, selection, files, names)
    marks = dict.fromkeys(selection.like, "like") | dict.fromkeys(selection.unlike, "unlike")
    frame.draw(
        left,
        selection,
        files,
        _colouring(answer, files),
        results=names,
        flows=flows,
        marks=marks,
        area=map_area.mask(files),
        tools=map_area.TOOLS,
        on_area=map_area.drawn(files),
    )


def answered(
    selection: Selection,
    files: PlaceFiles,
    weights: dict[str, float],
    image: Image | None = None,
) -> Answer | None:
    """What a selection asks for; None where it asks for nothing."""
    direction = None
    if image:
        direction = cache.image_direction(files, selection.run, image.pixels, image.digest)
    ranked = cache.ranked(files, selection, direction, image.digest if image else "")
    if ranked is None:
        return None
    agreements = {}
    if ranked.query.like and comparing(files):
        agreements = cache.agreements(files, ranked.query)
        cells = ranked.index.embeddings.cells
        on_cells = {name: _of_cells(files, cells, one) for name, one in agreements.items()}
        scores = weighted(ranked.own, on_cells, weights)
        if scores is not ranked.own:
            ranked = ranked.by(scores)
    area = map_area.mask(files) if selection.inside else None
    inside = None
    if area is not None:
        inside = _of_cells(files, ranked.index.embeddings.cells, area)
    found = ranked.best(
        selection.count, least=selection.least, inside=inside, apart_km=selection.apart
    )
    return Answer(
        asked=(
            files.key,
            selection.run,
            ranked.query.like,
            ranked.query.unlike,
            selection.query,
            image.digest if image else "",
        ),
        what=similar_ask.worded(selection, image),
        ranked=ranked,
        found=found,
        agreements=agreements,
        weights=weights,
        comparing=comparing(files),
        image=image,
    )


def comparing(files: PlaceFiles) -> bool:
    """Whether the evidence is compared: always, but for a place so large that it takes minutes."""
    return len(cache.load_place(files).cells) <= LARGE or st.session_state.get("compare", False)


def _of_cells(files: PlaceFiles, cells: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Values on the place's cells, in the order of the cells of a run."""
    rows, _ = grid.locate(cache.load_place(files).cells, cells)
    return values if len(rows) == len(values) else values[rows]


def _ways(files: PlaceFiles) -> str:
    """To ask, in words."""
    place = cache.load_place(files)
    words = "poi" in place.modalities
    ways = ["**Click a hexagon** on the map: the cells most like it are listed here."]
    if words:
        ways.append("**Type words**, such as “cafe market”. A minus takes off: “cafe -market”.")
    if cache.load_gazetteer(files).places:
        name = cache.load_gazetteer(files).places[0].name
        ways.append(f"**Type a name**, such as “{name}”, a position, or a cell id.")
    ways.append("Mark results as **more** or **less like this**: the search follows.")
    return "\n".join(["**Ways to ask**", *(f"- {one}" for one in ways)])


def _filters(selection: Selection, files: PlaceFiles) -> Selection:
    edge = grid.edge_km(cache.load_place(files).resolution)
    steps = [0.0, *(km for km in DISTANCES if 2 * edge <= km <= 200 * edge)]
    nearest = min(steps, key=lambda step: abs(step - selection.apart))
    inside = map_area.mask(files)
    st.session_state["count"] = selection.count
    st.session_state["least"] = round(selection.least, 2)
    st.session_state["apart"] = nearest
    st.session_state["inside"] = selection.inside
    fewest, most = COUNTS
    on = [f"{selection.count} places"]
    on += [f"score ≥ {selection.least:g}"] if selection.least > -1 else []
    on += [f"> {nearest:g} km"] if nearest else []
    on += ["in the area"] if selection.inside and inside is not None else []
    with st.expander(f"Filters: {', '.join(on)}", icon=":material/tune:", key="filters"):
        many, score = st.columns(2)
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
        with score:
            st.slider(
                "Score at least",
                -1.0,
                1.0,
                step=0.05,
                key="least",
                help="Leaves out places with a lower score. -1 leaves out none. Filters read the "
                "scores that are there: nothing is searched again.",
                on_change=lambda: state.change(least=st.session_state["least"]),
            )
        far, where = st.columns(2, vertical_alignment="center")
        with far:
            st.select_slider(
                "At least km away",
                steps,
                format_func=lambda km: f"{km:g}",
                key="apart",
                help="Leaves out cells closer than this to what you chose. Neighbours are often "
                "alike only because they are neighbours. Words and images have no position.",
                on_change=lambda: state.change(apart=st.session_state["apart"]),
            )
        with where:
            st.toggle(
                "Only in the area",
                key="inside",
                disabled=inside is None,
                help=f"Only the {inside.sum():,} cells of the area drawn on the map."
                if inside is not None
                else "Draw an area on the map first, with the box, the polygon or the brush.",
                on_change=lambda: state.change(inside=st.session_state["inside"]),
            )
    return replace(selection, apart=nearest)


def _weights(selection: Selection, files: PlaceFiles) -> dict[str, float]:
    """Sliders of the modalities; all at 1 leave the ranking to the embedding."""
    place = cache.load_place(files)
    weights = {name: selection.weight(name) for name in place.modalities}
    if len(weights) < 2:
        return weights
    for name, value in weights.items():
        st.session_state[f"weight:{name}"] = value

    def moved() -> None:
        chosen = {name: round(st.session_state[f"weight:{name}"], 2) for name in weights}
        state.change(weights=tuple(f"{n}:{v:g}" for n, v in chosen.items() if v != 1))

    uneven = [f"{frame.modality_name(n).lower()} {v:g}" for n, v in weights.items() if v != 1]
    title = f"Weights: {', '.join(uneven)}" if uneven else "Weigh the evidence"
    by_example = bool(selection.like or (selection.cell and not selection.query))
    with st.expander(title, icon=":material/balance:", key="weights"):
        if not by_example:
            st.caption(
                "Weights are for a search by cells: words and images have no evidence of every "
                "kind to be compared. Click a cell, or mark a result as “more like this”."
            )
        if len(place.cells) > LARGE:
            st.toggle(
                "Compare the evidence",
                key="compare",
                help=f"This place has {len(place.cells):,} cells: reading the evidence of all of "
                "them takes minutes the first time, and gigabytes of memory.",
            )
        columns = st.columns(2)
        for i, name in enumerate(weights):
            with columns[i % 2]:
                st.slider(
                    frame.modality_name(name),
                    0.0,
                    1.0,
                    step=0.1,
                    key=f"weight:{name}",
                    disabled=not (by_example and comparing(files)),
                    help=f"How much it counts that {frame.modality_name(name).lower()} is alike. "
                    "While all weights are the same, the list is the embedding's own. As they "
                    "differ, the score becomes (1 - u) × embedding + u × evidence, with u = 1 - "
                    "smallest ÷ largest weight. Evidence is the mean agreement of the kinds, each "
                    "by its weight; agreement is the cosine of the two cells in what is known of "
                    "that kind, and 0 where a cell has none.",
                    on_change=moved,
                )
        if uneven:
            st.button("All at 1 again", key="even", on_click=state.change, kwargs={"weights": ()})
    return weights


def _colouring(answer: Answer | None, files: PlaceFiles) -> Colouring:
    if answer is None:
        count = len(cache.load_place(files).cells)
        return Colouring(
            colours=np.full((count, 3), (176, 186, 194), np.uint8),
            legend=colours.Legend(title="Nothing chosen yet", note="click a hexagon"),
        )
    cells = answer.ranked.index.embeddings.cells
    scores = frame.on_place(files, cells, answer.ranked.scores, np.nan)
    note = "embedding and evidence, weighed" if answer.weighed else "cosine, at most 1"
    return colours.ramp(scores, title=f"Similarity to {answer.what}", note=note)
