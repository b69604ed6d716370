"""What the user looks at: one frozen `Selection`, kept in the address for links to share.

Widgets write into the address by `change`; every run begins with `read`, which checks what the
address says against what there is and words what it had to ignore.
"""

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import numpy as np
import streamlit as st
from cache import PlaceFiles, load_place, ranking

from mobclip import grid
from mobclip.errors import CellError

VIEWS = {"map": "Map", "similar": "Similar places", "probe": "Probe"}
UNSCORED = ("propagated", "mobclip-paper", "pca")  # opened in this order while there are no scores
COUNTS = (5, 100)  # fewest and most similar places listed


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Everything that a link to the app carries."""

    view: str = "map"
    place: str = ""
    run: str = ""
    cell: str = ""  # 15 hexadecimal digits, or nothing chosen
    colour: str = "embedding"  # embedding, similarity, evidence, has:<modality>, target:<name>
    query: str = ""  # words to search for; empty: like the chosen cell
    target: str = ""
    part: str = ""  # of a target that is a composition
    layer: str = "predicted"  # what the probe's map shows
    count: int = 20
    apart: float = 0.0  # km


def change(**values: Any) -> None:
    """Write into the address; defaults are left out of it."""
    defaults = asdict(Selection())
    for name, value in values.items():
        if value == defaults[name]:
            st.query_params.pop(name, None)
        else:
            st.query_params[name] = str(value)


def choose_cell(cell: str) -> None:
    """A cell was clicked: it becomes the query too."""
    change(cell=cell, query="")


def read(catalogue: list[PlaceFiles]) -> tuple[Selection, PlaceFiles, list[str]]:
    """The selection of the address, its place, and what of the address was ignored, in words."""
    given = _typed(st.query_params)
    ignored = []
    by_key = {files.key: files for files in catalogue}
    if given.place not in by_key:
        if given.place:
            ignored.append(f"The link names the place “{given.place}”, which is not here.")
            change(place="", run="", cell="")
            given = replace(given, run="", cell="")
        given = replace(given, place=_first(by_key))
    files = by_key[given.place]
    runs = best_first(files)
    if given.run not in runs:
        if given.run:
            ignored.append(f"The link names the embedding “{given.run}”, which this place lacks.")
            change(run="")
        given = replace(given, run=runs[0] if runs else "")
    if given.view not in VIEWS:
        given = replace(given, view="map")
    if given.cell:
        try:
            cell = grid.from_strings([given.cell])
            _, known = grid.locate(load_place(files).cells, cell)
            if not known[0]:
                raise CellError(f"{given.cell} is not one of this place's cells.")
        except CellError:
            ignored.append(f"“{given.cell}” is not a cell of this place.")
            given = replace(given, cell="")
            change(cell="")
    return given, files, ignored


def best_first(files: PlaceFiles) -> list[str]:
    """Runs, the one that is best on spatial blocks first; those without a score last."""
    ranked = list(ranking(files))
    others = [run for run in (*UNSCORED, *files.runs) if run in files.runs and run not in ranked]
    return [*ranked, *dict.fromkeys(others)]


def _first(by_key: Mapping[str, PlaceFiles]) -> str:
    # The place that `mobclip demo` has just made, else one that can be explored at once.
    wanted = os.environ.get("MOBCLIP_PLACE", "")
    if wanted in by_key:
        return wanted
    return next((key for key, files in by_key.items() if files.runs), next(iter(by_key)))


def _typed(address: Mapping[str, str]) -> Selection:
    """Text of the address as typed fields; what cannot be read keeps its default."""
    values: dict[str, Any] = {}
    for field in fields(Selection):
        text = address.get(field.name)
        if text is None:
            continue
        if field.type in (int, float):
            try:
                number = float(text)
            except ValueError:
                continue
            if not np.isfinite(number):
                continue
            values[field.name] = field.type(number)
        else:
            values[field.name] = text
    chosen = Selection(**values)
    fewest, most = COUNTS
    return replace(
        chosen, count=min(max(chosen.count, fewest), most), apart=min(max(chosen.apart, 0.0), 1e4)
    )
