"""What all views share: the bar on top, the map beside a panel, empty states, card of a cell."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cache
import numpy as np
import state
import streamlit as st
from cache import PlaceFiles
from colours import Colouring, shown
from map_component import Fly, hex_map
from streamlit.delta_generator import DeltaGenerator

from mobclip import grid, recipes
from mobclip.baselines import BASELINES
from mobclip.session import Selection
from views import classroom, session_menu

MODALITIES = {
    "poi": "Points of interest",
    "imagery": "Imagery",
    "demographics": "Demographics",
    "mobility": "Mobility",
}


def style() -> None:
    """Less empty space than Streamlit leaves: the map comes first."""
    st.html(
        "<style>.block-container{padding:1.1rem 1.6rem 1rem;max-width:none}"
        "header[data-testid=stHeader]{background:transparent;height:2.2rem}"
        "[data-testid=stMetricValue]{font-size:1.6rem}"
        # The map stays in sight while a long panel is scrolled.
        ".st-key-hexagons{position:sticky;top:2.4rem}"
        "[data-testid=stSidebarHeader]{height:1.2rem;margin-bottom:0}</style>"
    )


def modality_name(name: str) -> str:
    """As people say it."""
    return MODALITIES.get(name, name.replace("_", " ").capitalize())


def run_name(run: str, ranking: dict[str, float]) -> str:
    """Name of a run with its score on spatial blocks."""
    return f"{run} · R² {ranking[run]:.2f}" if run in ranking else run


def _about_run(run: str) -> str:
    known = run in BASELINES or run in recipes.TRAINED
    return recipes.about(run) if known else "a run of your own"


def nothing_yet(data: Path) -> None:
    """No place in the data folder."""
    st.title("MobCLIP")
    st.markdown("There is no place to show yet. Make one on this machine, then reload this page:")
    st.code("mobclip demo          # a small invented country, a few minutes", language="bash")
    st.code("mobclip demo --place chicago", language="bash")
    st.caption(
        f"The app looks for places in `{data.resolve() / 'places'}`. "
        "Set `MOBCLIP_DATA_DIR` to look elsewhere."
    )


def no_embeddings(files: PlaceFiles) -> None:
    """A place without any run."""
    place = cache.load_place(files)
    st.info(
        f"**{place.title}** is tokenized, but nothing has been embedded yet. "
        "Make its embeddings, then reload this page:",
        icon=":material/hourglass_empty:",
    )
    st.code(f"mobclip embed {place.arguments}", language="bash")


def top_bar(catalogue: Sequence[PlaceFiles], selection: Selection, files: PlaceFiles) -> None:
    """View, place, embedding, and where the data come from."""
    ranking = cache.ranking(files)
    runs = state.best_first(files)
    by_key = {one.key: one for one in catalogue}

    def titled(key: str) -> str:
        place = cache.load_place(by_key[key])
        return f"{place.title} · res. {place.resolution} · {len(place.cells):,} cells"

    views, places, embeddings, lessons, session, about = st.columns(
        [5.2, 2.7, 2.5, 0.55, 0.75, 0.75], vertical_alignment="bottom", gap="small"
    )
    st.session_state["view"] = selection.view
    st.session_state["place"] = selection.place
    with views:
        st.segmented_control(
            "View",
            list(state.VIEWS),
            format_func=state.VIEWS.__getitem__,
            key="view",
            required=True,
            wrap=True,
            help="**Map**: what the embedding and the data look like. **Similar places**: which "
            "cells are most like one you choose. **Probe**: how well the embedding predicts "
            "things it was not given. **Modalities**: what each kind of evidence says of one cell, "
            "and what if it were otherwise. **Train**: make a model of this place and watch it "
            "learn. **Data**: what is known of its cells, licences, and places of your own files.",
            on_change=lambda: state.change(view=st.session_state["view"]),
        )
    with places:
        st.selectbox(
            "Place",
            list(by_key),
            format_func=titled,
            key="place",
            help="Every place made on this machine. The resolution is the size of its H3 cells: "
            "one step up makes cells seven times smaller.",
            on_change=lambda: state.change(
                place=st.session_state["place"], run="", cell="", query="", target="",
                colour="embedding",
            ),
        )  # fmt: skip
    with embeddings:
        if runs:
            st.session_state["run"] = selection.run
            st.selectbox(
                "Embedding",
                runs,
                format_func=lambda run: run_name(run, ranking),
                key="run",
                help="Which vectors describe the cells. R² is how well they predict the place's "
                "targets in parts of the map that the probe has not seen (1 is perfect, 0 is no "
                "better than the average); the best comes first.\n\n"
                + "\n".join(f"- **{run}**: {_about_run(run)}" for run in runs),
                on_change=lambda: state.change(run=st.session_state["run"]),
            )
    with lessons:
        classroom.switch(selection, files)
    with session:
        session_menu.show(selection, files)
    with about:
        _about(files)


def _about(files: PlaceFiles) -> None:
    place = cache.load_place(files)
    with st.popover(
        "", icon=":material/info:", width="stretch", help="**About**: where the data come from."
    ):
        st.markdown(f"**{place.title}**")
        if place.generated:
            st.markdown("This place is invented. Nothing in it is about a real country.")
        edge = grid.edge_km(place.resolution)
        st.markdown(
            f"{len(place.cells):,} cells of H3 resolution {place.resolution} "
            f"(edges of about {shown(edge)} km); "
            f"evidence: {', '.join(modality_name(m).lower() for m in place.modalities)}."
        )
        for name, source in place.provenance.get("sources", {}).items():
            parts = [source.get("provider"), source.get("date"), source.get("licence")]
            st.caption(f"**{name}**: " + " · ".join(str(part) for part in parts if part))


def map_and_panel() -> list[DeltaGenerator]:
    """Map on the left, controls on the right."""
    return st.columns([2.25, 1], gap="medium")


def draw(
    left: DeltaGenerator,
    selection: Selection,
    files: PlaceFiles,
    colouring: Colouring,
    *,
    results: Sequence[str] = (),
    height: str = "max(420px, calc(100vh - 8.4rem))",
    on_click: Callable[[str], None] = state.choose_cell,
    **options: Any,
) -> None:
    """The map, the same element in every view: it keeps its zoom and the browser its cells.

    on_click : gets the id of a clicked cell
    options : more of those of `hex_map`: a second colouring, tools, an area
    """
    order = st.session_state.get("fly")
    # For who takes the map away as a file.
    st.session_state["drawn"].update(colouring=colouring, flows=options.get("flows"))
    with left:
        hex_map(
            cache.load_map_place(files),
            colouring.colours,
            key="hexagons",
            on_click=on_click,
            label=f"Map of {cache.load_place(files).title}",
            height=height,
            legend=colouring.legend,
            values=colouring.values,
            tip=colouring.tip,
            selected=selection.cell or None,
            results=results,
            fly=order[1] if order and order[0] == files.key else None,
            provenance=session_menu.made_with(selection, files),
            **options,
        )


def fly_to(files: PlaceFiles, cell: str) -> None:
    """Centre the map on a cell in the next run."""
    nonce = st.session_state.get("fly_nonce", 0) + 1
    st.session_state["fly_nonce"] = nonce
    zoom = 12.5 - (9 - cache.load_place(files).resolution) * 1.4
    st.session_state["fly"] = (files.key, Fly(cell=cell, nonce=nonce, zoom=zoom))


def cell_card(selection: Selection, files: PlaceFiles) -> None:
    """What is known of the chosen cell."""
    place = cache.load_place(files)
    row = row_of(files, selection.cell)
    lon, lat = cache.load_centres(files)[row]
    st.markdown(f"**Cell** `{selection.cell}`")
    st.caption(f"{position(lat, lon)} · {shown(grid.areas_km2(place.cells[[row]])[0])} km²")
    marks = [
        f":green-badge[:material/check: {modality_name(name)}]"
        if mask[row]
        else f":gray-badge[{modality_name(name)}: none]"
        for name, mask in place.present.items()
    ]
    st.markdown(" ".join(marks))


def position(lat: float, lon: float) -> str:
    """Latitude and longitude in words."""
    return f"{abs(lat):.4f}° {'N' if lat >= 0 else 'S'}, {abs(lon):.4f}° {'E' if lon >= 0 else 'W'}"


def row_of(files: PlaceFiles, cell: str) -> int:
    """Row of a cell that is known to be in the place."""
    rows, _ = grid.locate(cache.load_place(files).cells, grid.from_strings([cell]))
    return int(rows[0])


def on_place(files: PlaceFiles, cells: np.ndarray, values: np.ndarray, empty: float) -> np.ndarray:
    """Values given for `cells`, in the order of the place's cells; `empty` where there is none."""
    wanted = cache.load_place(files).cells
    if len(cells) == len(wanted) and np.array_equal(cells, wanted):
        return values
    rows, known = grid.locate(cells, wanted)
    found = np.full((len(wanted), *values.shape[1:]), empty, values.dtype)
    found[known] = values[rows[known]]
    return found
