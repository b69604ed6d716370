"""Map, "Selection": the cells that were drawn around on the map or in the space."""

from collections.abc import Callable

import cache
import numpy as np
import spaces
import state
import streamlit as st
from cache import PlaceFiles
from colours import shown
from map_component import Area, area_cells

from mobclip import export, grid
from mobclip.clusters import most_central
from mobclip.place import Target
from mobclip.session import Selection
from views import downloads, layers, map_told

LIKE = 20  # examples of a search: the most central cells of the selection
TOOLS = ("click", "box", "polygon", "brush")


def drawn(files: PlaceFiles) -> Callable[[Area], None]:
    """What happens when somebody draws on the map: its cells become the selection."""

    def take(area: Area) -> None:
        place = cache.load_place(files)
        found = area_cells(place.cells, area, cache.load_centres(files))
        select(tuple(grid.to_strings(found)))

    return take


def select(cells: tuple[str, ...]) -> None:
    """Select cells, and show what they are instead of what the colours are."""
    state.set_area(cells)
    if cells and st.session_state.get("panel", "Colour") == "Colour":
        st.session_state["panel"] = "Selection"


def rows(files: PlaceFiles, area: tuple[str, ...]) -> np.ndarray:
    """Rows of an area in the place; cells of another place are left out."""
    if not area:
        return np.empty(0, np.int64)
    found, known = grid.locate(cache.load_place(files).cells, grid.from_strings(area))
    return np.unique(found[known])


def mask(files: PlaceFiles) -> np.ndarray | None:
    """The selection for the map, or None where there is none."""
    chosen = rows(files, state.session().area)
    if not len(chosen):
        return None
    inside = np.zeros(len(cache.load_place(files).cells), bool)
    inside[chosen] = True
    return inside


def card(selection: Selection, files: PlaceFiles) -> None:
    """How much is selected, what is telling about it, and what to do with it."""
    chosen = rows(files, state.session().area)
    if not len(chosen):
        st.info(
            "Nothing is selected. Draw a box, a shape or with the brush on the map (buttons at "
            "its top), or around dots in “Space”.",
            icon=":material/select:",
        )
        place = cache.load_place(files)
        st.markdown(f"**All {len(place.cells):,} cells** as a file")
        _downloads(np.arange(len(place.cells)), selection, files)
        return
    place = cache.load_place(files)
    km2 = float(grid.areas_km2(place.cells[chosen]).sum())
    text, button = st.columns([2.2, 1], vertical_alignment="center")
    text.markdown(
        f"**{len(chosen):,}** cell{'s' if len(chosen) > 1 else ''} · **{shown(km2)}** km² · "
        f"**{100 * len(chosen) / len(place.cells):.2g} %**",
        help="How many cells are selected, their area, and their share of the place's cells.",
    )
    button.button(
        "Clear",
        key="clear",
        icon=":material/deselect:",
        width="stretch",
        help="Takes the selection off. Undo (in the bar on top) brings it back.",
        on_click=lambda: state.set_area(()),
    )
    if len(chosen) < len(place.cells):
        labels = np.full(len(place.cells), -1)
        labels[chosen] = 0
        (told,) = spaces.traits(files).tell(labels, 1)
        map_told.table(told)
    _means(chosen, files)
    st.button(
        "Search like these",
        icon=":material/travel_explore:",
        type="primary",
        width="stretch",
        help=f"Lists the cells most like them. Examples are the {LIKE} most central cells of the "
        "selection, or all where it has fewer.",
        on_click=lambda: _search(chosen, selection, files),
    )
    _downloads(chosen, selection, files)


def _search(chosen: np.ndarray, selection: Selection, files: PlaceFiles) -> None:
    index = cache.load_index(files, selection.run)
    found, known = grid.locate(index.embeddings.cells, cache.load_place(files).cells[chosen])
    examples = most_central(index.embeddings.unit(), found[known], LIKE)
    like = tuple(grid.to_strings(index.embeddings.cells[examples]))
    state.change(view="similar", query="", cell="", like=like, unlike=())


def _means(chosen: np.ndarray, files: PlaceFiles) -> None:
    targets = cache.load_place(files).targets.values()
    if not targets:
        return
    rows = []
    for target in targets:
        values = cache.target_on_cells(files, target.name)
        unit = f" ({target.unit})" if target.unit and target.kind == "number" else ""
        rows.append(
            (f"{target.title}{unit}", summary(target, values[chosen]), summary(target, values))
        )
    map_told.lines(
        {
            "Data": "What was measured: means over cells; of classes the most frequent one",
            "Here": "Of the selected cells",
            "Place": "Of all cells of the place",
        },
        rows,
        height=170,
    )


def summary(target: Target, values: np.ndarray) -> str:
    """Mean of a target over cells; of classes the most frequent, with its share."""
    known = values[np.isfinite(values)]
    if not len(known):
        return "–"
    if target.kind == "number":
        return shown(float(known.mean()))
    if target.kind == "binary":
        return f"{100 * known.mean():.0f} % {layers.NO_YES[1]}"
    sizes = np.bincount(known.astype(int), minlength=len(target.classes))
    return f"{target.classes[sizes.argmax()]} ({100 * sizes.max() / len(known):.0f} %)"


def _downloads(chosen: np.ndarray, selection: Selection, files: PlaceFiles) -> None:
    name = f"mobclip-{selection.place}-{selection.run}-{len(chosen)}-cells"

    def whole(*, vectors: bool) -> "export.pa.Table":
        place = cache.load_place(files)
        columns: dict[str, np.ndarray] = {
            f"present_{one}": mask[chosen] for one, mask in place.present.items()
        }
        for target in place.targets.values():
            values = cache.target_on_cells(files, target.name)[chosen]
            columns[target.name] = values
        if vectors:
            found = cache.load_index(files, selection.run).embeddings
            columns["embedding"] = found.vectors[found.rows(place.cells[chosen])]
        made = dict(cache.load_index(files, selection.run).embeddings.provenance)
        return export.results_table(
            place.cells[chosen],
            columns,
            {
                "place": selection.place,
                "run": selection.run,
                "what": "cells that were selected on the map"
                if len(chosen) < len(place.cells)
                else "all cells of the place",
                "embedding key": made.get("key"),
                "licences": made.get("licences"),
                "generated": place.provenance.get("generated"),
                "classes": {
                    one.name: list(one.classes) for one in place.targets.values() if one.classes
                }
                or None,
            },
        )

    downloads.buttons(
        lambda: whole(vectors=False),
        lambda: whole(vectors=True),
        name,
        key="selection",
        helps=(
            "Cells with positions and data; the first lines, which begin with #, say where they "
            "come from.",
            "The same with the embedding of each cell and points for a GIS; where it comes from "
            "stands in the file.",
        ),
    )
