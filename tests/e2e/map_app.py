"""A page with nothing but the map, for the tests of the map: the address says what it shows."""

import os

import numpy as np
import streamlit as st
from map_cells import a_place, longitude, trips, waves
from map_component import Area, Legend, MapPlace, area_cells, hex_map

from mobclip import grid

st.set_page_config(layout="wide")


@st.cache_resource
def place(cells: int, lon: float) -> MapPlace:
    """Some cells in an ocean."""
    return MapPlace(cells=a_place(cells, lon), resolution=6)


asked = st.query_params
os.environ["MOBCLIP_BASEMAP"] = asked.get("tiles", "")
os.environ["MOBCLIP_BASEMAP_ATTRIBUTION"] = "Tiles of a test"
here = place(int(asked.get("cells", 2000)), float(asked.get("lon", -25)))
lonlat = grid.centers(here.cells)
seen = st.session_state.setdefault("seen", {"cell": "", "area": None})


def clicked(cell: str) -> None:
    """Keep the cell."""
    seen["cell"] = cell


def drawn(area: Area) -> None:
    """Keep the area."""
    seen["area"] = area


inside = np.ones(len(here.cells), bool)
if area := seen["area"]:
    chosen = area_cells(here.cells, area)
    inside = np.isin(here.cells, chosen)
    st.write(f"tool={area.tool} k={area.k} corners={len(area.ring)} cells={len(chosen)}")
first, second = waves(lonlat), longitude(lonlat)
split = asked.get("split", "")
hex_map(
    here,
    first.colours,
    key="map",
    on_click=clicked,
    on_area=drawn,
    tools=("click", "box", "polygon", "lasso", "brush"),
    label="Map of a test",
    height="500px",
    legend=Legend(title="Many", items=[("#0072b2", f"Class {i} of many") for i in range(14)])
    if "many" in asked
    else first.legend,
    values=first.values,
    tip=first.tip,
    other=second if split else None,
    split=split,
    area=inside if area else None,
    marks={
        f"{here.cells[300]:x}": "like",
        f"{here.cells[900]:x}": "unlike",
        f"{here.cells[1200]:x}": "#009e73",
    }
    if "marks" in asked
    else {},
    results=[f"{cell:x}" for cell in here.cells[1500:1503]] if "marks" in asked else (),
    selected=seen["cell"] or None,
    flows=trips(here.cells) if "flows" in asked else None,
    provenance="Invented for a test, CC0",
)
st.write(f"cell={seen['cell']}")
