"""Map: the place coloured by its embedding, by what is to be predicted, or by what is known."""

import cache
import colours
import numpy as np
import state
import streamlit as st
from cache import PlaceFiles
from colours import Colouring

from mobclip import grid
from mobclip.session import Selection
from views import frame, layers

SPACE_SAMPLE = 20_000  # dots in the scatter of the embedding space; more cannot be told apart


def show(selection: Selection, files: PlaceFiles) -> None:
    """The view."""
    left, right = frame.map_and_panel()
    place = cache.load_place(files)
    options = ["embedding", "similarity", "evidence"]
    options += [f"has:{name}" for name in place.modalities]
    options += [f"target:{name}" for name in place.targets]
    names = {"embedding": "Embedding", "similarity": "Similarity to the chosen cell"}
    names |= {"evidence": "Evidence: how many kinds"}
    names |= {f"has:{m}": f"Evidence: {frame.modality_name(m).lower()}" for m in place.modalities}
    names |= {f"target:{name}": f"Data: {t.title}" for name, t in place.targets.items()}
    chosen = selection.colour if selection.colour in options else "embedding"
    with right:
        st.session_state["colour"] = chosen
        st.selectbox(
            "Colour by",
            options,
            format_func=names.__getitem__,
            key="colour",
            help="**Embedding**: cells that the model finds alike get like colours. **Data**: "
            "what was measured; the embedding was not given it. **Evidence**: which kinds of "
            "input each cell has.",
            on_change=lambda: state.change(colour=st.session_state["colour"]),
        )
        colouring = _colouring(chosen, selection, files)
        if chosen == "embedding":
            _await_umap(files, selection.run)
        if selection.cell:
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
        else:
            st.caption(
                "Click a hexagon to see what is known about it. With the keyboard: arrow keys "
                "move the map, + and − zoom, Enter chooses the cell in the middle."
            )
        _space(selection, files, colouring)
    frame.draw(left, selection, files, colouring)


def _colouring(chosen: str, selection: Selection, files: PlaceFiles) -> Colouring:
    place = cache.load_place(files)
    if chosen == "similarity" and selection.cell:
        return similarity(selection, files)
    if chosen == "similarity":
        st.info("Click a hexagon: the others are then coloured by their similarity to it.")
    if chosen == "evidence":
        count = np.sum(list(place.present.values()), axis=0)
        most = len(place.modalities)
        stops = [colours.ABSENT, *colours.SEQUENTIAL[2:]]
        picked = [stops[round(i * (len(stops) - 1) / most)] for i in range(most + 1)]
        labels = [f"{i} of {most}" for i in range(most + 1)]
        return colours.categories(count, labels, picked, "Kinds of evidence")
    if chosen.startswith("has:"):
        name = chosen.removeprefix("has:")
        title = frame.modality_name(name)
        mask = place.present[name].astype(int)
        share = f"{mask.mean():.0%} of cells"
        return colours.categories(
            mask, ["none", f"present ({share})"], [colours.ABSENT, colours.PRESENT], title
        )
    if chosen.startswith("target:"):
        return layers.measured(files, place.targets[chosen.removeprefix("target:")])
    return _embedding(selection, files)


def similarity(selection: Selection, files: PlaceFiles) -> Colouring:
    """Every cell by its similarity to the chosen one."""
    index = cache.load_index(files, selection.run)
    vector = index.vector_of(grid.from_strings([selection.cell]))
    scores = frame.on_place(files, index.embeddings.cells, index.scores(vector), np.nan)
    return colours.ramp(scores, title="Similarity to the chosen cell", note="cosine, at most 1")


def _embedding(selection: Selection, files: PlaceFiles) -> Colouring:
    projection = cache.load_projection(files, selection.run)
    rgb = frame.on_place(files, projection.cells, projection.rgb, 160)
    method = {"pca": "PCA", "umap": "UMAP"}[projection.method]
    return Colouring(
        colours=rgb,
        legend=colours.Legend(
            title=f"Embedding “{selection.run}”", note=f"like colours, like places · {method}"
        ),
    )


def _await_umap(files: PlaceFiles, run: str) -> None:
    """While colours are by PCA: say so, and look for UMAP now and then."""
    projection = cache.load_projection(files, run)
    if projection.method == "umap":
        return
    before = cache.stamp(files.projection_file(run))

    @st.fragment(run_every="5s")
    def look() -> None:
        if cache.stamp(files.projection_file(run)) != before:
            st.rerun()
        st.caption(
            ":material/hourglass_top: Colours are by PCA for now. UMAP, which tells places apart "
            "better, appears here by itself once it is computed: `mobclip demo` does that in the "
            f"background, `mobclip project {cache.load_place(files).name}` at any time."
        )

    look()


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


def _space(selection: Selection, files: PlaceFiles, colouring: Colouring) -> None:
    """The embedding space as a scatter, in the colours of the map; a click chooses a cell."""
    projection = cache.load_projection(files, selection.run)
    if not st.toggle(
        "Show the embedding space",
        key="space",
        help="Every dot is a cell in the colours of the map; dots that lie close together have "
        "like embeddings. Click a dot to choose its cell.",
    ):
        return
    import plotly.graph_objects as go  # takes a second: only when asked for

    cells = cache.load_place(files).cells
    xy = frame.on_place(files, projection.cells, projection.xy, np.nan)
    step = -(-len(cells) // SPACE_SAMPLE)
    rows = np.arange(0, len(cells), step)
    shades = [f"rgb({r},{g},{b})" for r, g, b in colouring.colours[rows, :3].tolist()]
    dots = go.Scattergl(
        x=xy[rows, 0],
        y=xy[rows, 1],
        mode="markers",
        marker={"color": shades, "size": 4},
        hovertext=grid.to_strings(cells[rows]),
        hoverinfo="text",
    )
    chosen = frame.row_of(files, selection.cell) if selection.cell else None
    ring = go.Scattergl(
        x=xy[[chosen], 0] if chosen is not None else [],
        y=xy[[chosen], 1] if chosen is not None else [],
        mode="markers",
        marker={"color": "rgba(0,0,0,0)", "size": 14, "line": {"width": 2.5, "color": "#e4572e"}},
        hoverinfo="skip",
    )
    figure = go.Figure([dots, ring])
    hidden = {"visible": False}
    figure.update_layout(
        height=300, margin={"l": 0, "r": 0, "t": 0, "b": 0}, showlegend=False, xaxis=hidden,
        yaxis=hidden, dragmode="pan",
    )  # fmt: skip

    def picked() -> None:
        points = st.session_state["scatter"].selection.points
        dot = next((p for p in points if p["curve_number"] == 0), None)
        if dot:
            cell = grid.to_strings(cells[rows[[dot["point_index"]]]])[0]
            state.choose_cell(cell)
            frame.fly_to(files, cell)

    st.plotly_chart(figure, key="scatter", on_select=picked, selection_mode="points")
    if step > 1:
        st.caption(f"Every {step}th cell is drawn.")
