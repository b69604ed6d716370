"""Modalities: the model ready to be tried, and its maps; made once and shared by all sessions."""

from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import Any

import cache
import numpy as np
import streamlit as st
from cache import PlaceFiles, Stamp

from mobclip.fusion import FUSION_FILE, Fusion
from mobclip.whatif import Bench, Plane, Points, disagreement, influence

DOTS = 2500  # of the picture of the space
OnStep = Callable[[int, int], None]


def bench(files: PlaceFiles, run: str) -> Bench:
    """The place and the model, ready for edits; with a bar while that takes its seconds."""
    place, index = cache.load_place(files), cache.load_index(files, run)
    found: Bench = _made(
        _shelf(*_key(files, run)),
        "bench",
        "Reading what the model sees …",
        lambda step: Bench(_fusion(files, run), place, index.embeddings, step),
    )
    return found


def points(files: PlaceFiles) -> Points:
    """The categories of a place's points of interest; no model is asked."""
    return _points(files.folder, cache.stamp(files.folder / "place.yaml"))


@st.cache_resource(max_entries=4, show_spinner=False)
def _points(folder: Path, version: Stamp | None) -> Points:
    return Points(cache.load_place(PlaceFiles(folder=folder)))


def influences(files: PlaceFiles, run: str) -> dict[str, np.ndarray]:
    """Modality -> how far every cell moves without it."""
    place = cache.load_place(files)
    found: dict[str, np.ndarray] = _made(
        _shelf(*_key(files, run)),
        "influence",
        "Leaving each modality out everywhere …",
        lambda step: influence(_fusion(files, run), place, step),
    )
    return found


def disagreements(files: PlaceFiles, run: str, one: str, other: str) -> np.ndarray:
    """How little the nearest cells by two modalities overlap, for every cell."""
    place = cache.load_place(files)
    found: np.ndarray = _made(
        _shelf(*_key(files, run)),
        f"disagree {one} {other}",
        "Looking for the nearest cells by either …",
        lambda step: disagreement(_fusion(files, run), place, one, other, on_step=step),
    )
    return found


def plane(files: PlaceFiles, run: str) -> tuple[Plane, np.ndarray, np.ndarray]:
    """The space from its widest side, rows of the dots that are drawn, and where they lie."""
    path = cache.stamp(files.embeddings_file(run))
    return _plane(files.embeddings_file(run), path, cache.load_index(files, run).embeddings.vectors)


@st.cache_resource(max_entries=4, show_spinner=False)
def _plane(
    path: Path, version: Stamp | None, _vectors: np.ndarray
) -> tuple[Plane, np.ndarray, np.ndarray]:
    found = Plane.of(_vectors)
    rows = np.linspace(0, len(_vectors) - 1, min(len(_vectors), DOTS)).astype(int)
    return found, rows, found(_vectors[rows])


def _fusion_file(files: PlaceFiles, run: str) -> Path:
    return files.folder / "runs" / run / FUSION_FILE


def _fusion(files: PlaceFiles, run: str) -> Fusion:
    return Fusion.load(_fusion_file(files, run))


def _key(files: PlaceFiles, run: str) -> tuple[Path, Stamp | None, Stamp | None, Stamp | None]:
    model = _fusion_file(files, run)
    place, vectors = files.folder / "place.yaml", files.embeddings_file(run)
    return model, cache.stamp(model), cache.stamp(place), cache.stamp(vectors)


@st.cache_resource(max_entries=2, show_spinner=False)
def _shelf(
    model: Path, version: Stamp | None, place: Stamp | None, vectors: Stamp | None
) -> dict[str, Any]:
    # A cached function may draw no bar, so what is slow is put here by `_made`.
    return {"lock": Lock()}


def _made(shelf: dict[str, Any], name: str, text: str, make: Callable[[OnStep], Any]) -> Any:
    """From the shelf; else made, by one session at a time, with a bar."""
    if name not in shelf:
        bar = st.progress(0.0, text=text)
        with shelf["lock"]:
            if name not in shelf:
                shelf[name] = make(lambda done, total: bar.progress(done / total, text=text))
        bar.empty()
    return shelf[name]
