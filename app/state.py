"""What the user looks at: a `Session`, its `Selection` kept in the address for links to share.

Widgets write by `change` and the other verbs here; every run begins with `read`, which checks
what the address says against what there is and words what it had to ignore.
"""

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import streamlit as st
from cache import PlaceFiles, load_place, ranking

from mobclip import grid
from mobclip.errors import CellError
from mobclip.session import Selection, Session

VIEWS = {
    "map": "Map",
    "similar": "Similar places",
    "probe": "Probe",
    "modalities": "Modalities",
    "train": "Train",
    "data": "Data",
}
UNSCORED = ("mobclip", "propagated", "mobclip-paper", "pca")  # opened so while there are no scores


def session() -> Session:
    """What this browser session looks at, has drawn and has painted."""
    kept: Session = st.session_state.get("session") or Session()
    return replace(kept, selection=Selection.from_text(st.query_params.to_dict()))


def keep(changed: Session) -> None:
    """Remember a session, and write its selection into the address."""
    st.session_state["session"] = changed
    text = changed.selection.to_text()
    if text != st.query_params.to_dict():
        st.query_params.from_dict(text)


def change(**values: Any) -> None:
    """Other values of some fields of the selection."""
    keep(session().changed(**values))


def choose_cell(cell: str) -> None:
    """A cell was clicked: it becomes the query too."""
    change(cell=cell, query="")


def set_area(cells: tuple[str, ...]) -> None:
    """Cells were boxed, lassoed or brushed; none takes the area off."""
    keep(session().drawn(cells))


def paint(cells: tuple[str, ...], label: str) -> None:
    """Label cells; an empty label takes it off them."""
    keep(session().painted(cells, label))


def forget() -> None:
    """As when the page was opened, but for the place, the embedding and the lesson."""
    now = session().selection
    keep(
        Session(selection=Selection(view=now.view, place=now.place, run=now.run, lesson=now.lesson))
    )


def whole(selection: Selection) -> Session:
    """The session with the place and the embedding that are open, also where nobody chose them."""
    return replace(session(), selection=selection)


def undo() -> None:
    """Take the last choice, area or label back."""
    keep(session().undone())


def read(catalogue: list[PlaceFiles]) -> tuple[Selection, PlaceFiles, list[str]]:
    """The selection of the address, its place, and what of the address was ignored, in words."""
    given = session().selection
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
    given, lost = _known(given, files)
    if lost:
        ignored.append(f"“{', '.join(lost)}” is not a cell of this place.")
        change(cell=given.cell, like=given.like, unlike=given.unlike)
    return given, files, ignored


def _known(given: Selection, files: PlaceFiles) -> tuple[Selection, list[str]]:
    """The selection without cells that this place does not have, and those."""
    cells = [one for one in (given.cell, *given.like, *given.unlike) if one]
    if not cells:
        return given, []
    lost = []
    for one in dict.fromkeys(cells):
        try:
            there = grid.locate(load_place(files).cells, grid.from_strings([one]))[1][0]
        except CellError:
            there = False
        if not there:
            lost.append(one)
    return replace(
        given,
        cell="" if given.cell in lost else given.cell,
        like=tuple(one for one in given.like if one not in lost),
        unlike=tuple(one for one in given.unlike if one not in lost),
    ), lost


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
