"""Map, "Colour": what the hexagons can be coloured by, and what goes with each choice."""

import cache
import colours
import numpy as np
import spaces
import state
import streamlit as st
from cache import PlaceFiles
from colours import Colouring
from spaces import Space

from mobclip import grid
from mobclip.place import Place
from mobclip.projection import Projection
from mobclip.session import Selection
from views import frame, layers, map_area, map_told

METHODS = {"pca": "PCA", "umap": "UMAP"}
SIDES = {"target": "Measured", "predicted": "Predicted"}


def options(files: PlaceFiles, selection: Selection) -> dict[str, str]:
    """What the map can be coloured by -> as people read it, what belongs together side by side."""
    place = cache.load_place(files)
    method = cache.load_projection(files, selection.run).method
    found = {"embedding": f"Embedding: like colours, like places ({METHODS[method]})"}
    if method != "pca":
        found["pca"] = "Embedding: like colours, by PCA"
    found |= {
        "clusters": "Embedding: clusters with names",
        "dim": "Embedding: one of its numbers",
        "similarity": "Embedding: similarity to the chosen cell",
        "overlap": "Embedding: neighbours that another one keeps",
    }
    found |= {f"target:{name}": f"Data: {one.title}" for name, one in place.targets.items()}
    found["evidence"] = "Evidence: how many kinds"
    found |= {f"has:{m}": f"Evidence: {frame.modality_name(m).lower()}" for m in place.modalities}
    return found


def known(colour: str, files: PlaceFiles, selection: Selection) -> str:
    """The colouring that the address asks for, if this place has it; else the embedding."""
    kind, _, rest = colour.partition(":")
    if kind == "dim":
        dims = cache.load_index(files, selection.run).embeddings.dims
        return f"dim:{min(int(rest), dims - 1) if rest.isdigit() else 0}"
    entry = f"target:{rest}" if kind == "predicted" else colour
    if entry == "pca":
        return "pca" if cache.load_projection(files, selection.run).method != "pca" else "embedding"
    return colour if entry in options(files, selection) else "embedding"


def panel(chosen: str, selection: Selection, files: PlaceFiles) -> None:
    """The choice, and the controls that belong to it."""
    entries = options(files, selection)
    kind, _, rest = chosen.partition(":")
    entry = {"dim": "dim", "predicted": f"target:{rest}"}.get(kind, chosen)
    st.session_state["colour"] = entry

    def changed() -> None:
        taken = st.session_state["colour"]
        state.change(colour="dim:0" if taken == "dim" else taken)

    st.selectbox(
        "Colour by",
        list(entries),
        format_func=entries.__getitem__,
        key="colour",
        help="**Embedding**: what the model makes of the cells. **Data**: what was measured; the "
        "embedding was not given it; it can be compared with what is predicted from the "
        "embedding. **Evidence**: which kinds of input each cell has. Type to search the list.",
        on_change=changed,
    )
    if kind in SIDES:
        _sides(kind, rest)
    elif kind == "dim":
        _dimension(int(rest), selection, files)
    elif kind == "clusters":
        _clusters(selection, files)
    elif kind == "embedding":
        _await_umap(files, selection.run)


def colouring(
    chosen: str, selection: Selection, files: PlaceFiles, space: Space | None = None
) -> Colouring:
    """Every cell by what was chosen.

    space : of another embedding than the chosen one, in a comparison
    """
    space = space or Space(run=selection.run)
    place = cache.load_place(files)
    kind, _, rest = chosen.partition(":")
    if kind == "similarity" and selection.cell:
        return similarity(selection, files, space)
    if kind == "similarity":
        st.info("Click a hexagon: the others are then coloured by their similarity to it.")
    if kind == "dim":
        return _of_dimension(int(rest), files, space)
    if kind == "clusters":
        mine = spaces.named_clusters(files, Space(run=selection.run), selection.clusters)
        found = spaces.named_clusters(files, space, selection.clusters)
        return colours.clusters(found.labels, found.names, spaces.in_colours_of(mine, found))
    if kind == "evidence":
        return evidence(place)
    if kind == "has":
        return presence(place.present[rest], frame.modality_name(rest))
    if kind == "target":
        return layers.measured(files, place.targets[rest])
    if kind == "predicted" and space.whole:
        return layers.predicted(files, space.run, place.targets[rest], _part(files, rest))
    linear = chosen == "pca"
    projection = spaces.projection_of(files, space, linear=linear)
    rgb = spaces.rgb(files, space.run, linear=linear) if space.whole else projection.rgb
    return of_projection(files, projection, rgb, space)


def of_projection(
    files: PlaceFiles, projection: Projection, rgb: np.ndarray, space: Space, note: str = ""
) -> Colouring:
    """Like colours, like places."""
    notes = ["like colours, like places", METHODS[projection.method], note]
    return Colouring(
        colours=frame.on_place(files, projection.cells, rgb, 160),
        legend=colours.Legend(
            title=f"Embedding “{space.title}”", note=" · ".join(filter(None, notes))
        ),
    )


def embedding_or_evidence(selection: Selection, files: PlaceFiles) -> Colouring:
    """The chosen embedding in its colours; without one how many kinds of evidence there are."""
    if not selection.run:
        return evidence(cache.load_place(files))
    return colouring("embedding", selection, files)


def evidence(place: Place) -> Colouring:
    """How many kinds of evidence each cell has."""
    count = np.sum(list(place.present.values()), axis=0)
    most = len(place.modalities)
    stops = [colours.ABSENT, *colours.SEQUENTIAL[2:]]
    picked = [stops[round(i * (len(stops) - 1) / most)] for i in range(most + 1)]
    labels = [f"{i} of {most}" for i in range(most + 1)]
    return colours.categories(count, labels, picked, "Kinds of evidence")


def presence(mask: np.ndarray, title: str) -> Colouring:
    """Which cells have something."""
    share = f"{mask.mean():.0%} of cells"
    return colours.categories(
        mask.astype(int),
        ["none", f"present ({share})"],
        [colours.ABSENT, colours.PRESENT],
        title,
    )


def similarity(selection: Selection, files: PlaceFiles, space: Space | None = None) -> Colouring:
    """Every cell by its similarity to the chosen one."""
    space = space or Space(run=selection.run)
    found = spaces.embeddings(files, space)
    if space.whole:
        index = cache.load_index(files, space.run)
        scores = index.scores(index.vector_of(grid.from_strings([selection.cell])))
    else:
        unit = found.unit()
        scores = unit @ unit[found.rows(grid.from_strings([selection.cell]))[0]]
    return colours.ramp(
        frame.on_place(files, found.cells, scores, np.nan),
        title="Similarity to the chosen cell",
        note="cosine, at most 1" if space.run == selection.run else f"cosine in “{space.title}”",
    )


def _part(files: PlaceFiles, name: str) -> str:
    """Of a composition one part is predicted at a time: on the map, that which is largest."""
    target = cache.load_place(files).targets[name]
    if target.kind != "composition":
        return ""
    return target.classes[int(target.values.mean(axis=0).argmax())]


def _sides(kind: str, name: str) -> None:
    st.session_state["side"] = kind
    st.segmented_control(
        "Shown",
        list(SIDES),
        format_func=SIDES.__getitem__,
        key="side",
        required=True,
        label_visibility="collapsed",
        help="**Measured**: the data. **Predicted**: by a probe from the embedding alone, for "
        "cells in blocks of the map that it did not learn from.",
        on_change=lambda: state.change(colour=f"{st.session_state['side']}:{name}"),
    )


def _dimension(dim: int, selection: Selection, files: PlaceFiles) -> None:
    dims = cache.load_index(files, selection.run).embeddings.dims
    if dims > 1:
        st.session_state["dim"] = dim
        st.slider(
            "Number of the embedding",
            0,
            dims - 1,
            key="dim",
            help=f"An embedding is a list of {dims} numbers; here one of them is shown. A single "
            "one rarely means one thing: compare with what goes with it, below.",
            on_change=lambda: state.change(colour=f"dim:{st.session_state['dim']}"),
        )
    found = spaces.correlates(files, selection.run, dim)
    if found:
        st.markdown("**Goes with**")
        st.dataframe(
            {
                "What": [trait.label for trait, _ in found],
                "r": [round(r, 2) for _, r in found],
            },
            hide_index=True,
            height=38 + 35 * len(found),
            column_config={
                "r": st.column_config.NumberColumn(
                    "r",
                    width=60,
                    format="%.2f",
                    help="Pearson's correlation over the cells (of counts: of their logarithm): "
                    "1 goes up together, −1 one goes up as the other goes down, 0 unrelated.",
                )
            },
        )
    else:
        st.caption("Nothing that is known of the cells goes with it.")


def _of_dimension(dim: int, files: PlaceFiles, space: Space) -> Colouring:
    found = spaces.embeddings(files, space)
    if dim >= found.dims:
        return Colouring(
            colours=np.full((len(cache.load_place(files).cells), 3), 160, np.uint8),
            legend=colours.Legend(
                title=f"“{space.title}” has {found.dims} numbers", note=f"no number {dim}"
            ),
        )
    values = found.vectors[:, dim]
    return colours.ramp(
        frame.on_place(files, found.cells, values - values.mean(), np.nan),
        title=f"Number {dim} of “{space.title}”",
        note="from its mean; which sign is which means nothing",
        stops=colours.DIVERGING,
        centred=True,
    )


def _clusters(selection: Selection, files: PlaceFiles) -> None:
    st.session_state["clusters"] = selection.clusters
    st.slider(
        "Clusters",
        2,
        20,
        key="clusters",
        help="Cells whose embeddings point the same way are put together (k-means on vectors of "
        "length 1). There is no right number: choose how fine a map you want.",
        on_change=lambda: state.change(clusters=st.session_state["clusters"]),
    )
    map_told.cluster_card(
        spaces.named_clusters(files, Space(run=selection.run), selection.clusters),
        selection,
        files,
        map_area.select,
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
            f"background, `mobclip project {cache.load_place(files).arguments}` at any time."
        )

    look()
