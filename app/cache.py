"""Artefacts read once and shared by all sessions.

Every loader is keyed by the path and by the file's time and size, so that a file written anew (UMAP
replacing PCA, a second training) is read anew. Shared arrays are read-only.
"""

import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st
from map_component import MapPlace

from mobclip import explain, grid
from mobclip.baselines import BASELINES, Features
from mobclip.chips import Chips
from mobclip.embeddings import Embeddings
from mobclip.explain import Agreements, Gazetteer, neighbours_kept
from mobclip.image_query import image_query, why_not
from mobclip.place import Place
from mobclip.probes import ProbeResult, ladder, probe, shown_on_cells
from mobclip.projection import Projection, pca_projection
from mobclip.search import ImageQuery, Query, Ranked, SimilarityIndex, TextQuery
from mobclip.session import Selection
from mobclip.storage import read_json

Stamp = tuple[int, int]  # modification time in ns, size
ProbeKey = tuple[Path, Stamp | None, Path, Stamp | None, str]  # place, embeddings, target


@dataclass(frozen=True, kw_only=True)
class PlaceFiles:
    """A place of the data folder and what has been made of it so far."""

    folder: Path

    @property
    def key(self) -> str:
        """Name and resolution, as in a link: ``chicago-r8``."""
        return self.folder.name

    @property
    def runs(self) -> list[str]:
        """Runs that have embeddings of the place as it is now."""
        return load_place(self).runs()

    def embeddings_file(self, run: str) -> Path:
        """Embeddings of a run."""
        return self.folder / "runs" / run / "embeddings.parquet"

    def projection_file(self, run: str) -> Path:
        """Colours and coordinates of a run; may not exist yet."""
        return self.folder / "runs" / run / "projection.parquet"


def data_dir() -> Path:
    """Where places lie: MOBCLIP_DATA_DIR, else ./data."""
    return Path(os.environ.get("MOBCLIP_DATA_DIR") or "data")


def places() -> list[PlaceFiles]:
    """Every place that has a place.yaml."""
    return [PlaceFiles(folder=p.parent) for p in sorted(data_dir().glob("places/*/place.yaml"))]


def stamp(path: Path) -> Stamp | None:
    """Changes when the file does; None where there is none."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_mtime_ns, status.st_size


def load_place(files: PlaceFiles) -> Place:
    """The tokenized place."""
    return _place(files.folder, stamp(files.folder / "place.yaml"))


@st.cache_resource(max_entries=4, show_spinner="Reading the place …")
def _place(folder: Path, version: Stamp | None) -> Place:
    place = Place.load(folder)
    place.cells.setflags(write=False)
    return place


def load_map_place(files: PlaceFiles) -> MapPlace:
    """What the browser gets of a place: cells and context."""
    return _map_place(files.folder, stamp(files.folder / "place.yaml"))


@st.cache_resource(max_entries=4, show_spinner=False)
def _map_place(folder: Path, version: Stamp | None) -> MapPlace:
    place = _place(folder, version)
    context = place.context
    text = json.dumps(context, separators=(",", ":"), sort_keys=True).encode() if context else b""
    return MapPlace(cells=place.cells, resolution=place.resolution, context=text)


def load_index(files: PlaceFiles, run: str) -> SimilarityIndex:
    """Similarity search over the embeddings of a run (and, inside it, the embeddings)."""
    path = files.embeddings_file(run)
    return _index(path, stamp(path))


@st.cache_resource(max_entries=8, show_spinner="Reading the embeddings …")
def _index(path: Path, version: Stamp | None) -> SimilarityIndex:
    embeddings = Embeddings.load(path)
    vectors = np.array(embeddings.vectors)
    vectors.setflags(write=False)
    return SimilarityIndex(replace(embeddings, vectors=vectors))


def load_projection(files: PlaceFiles, run: str) -> Projection:
    """Colours of a run: those on disk, else by PCA, which is instant."""
    path = files.projection_file(run)
    version = stamp(path)
    if version is None:
        return _pca(files.embeddings_file(run), stamp(files.embeddings_file(run)))
    return _projection(path, version)


@st.cache_resource(max_entries=8, show_spinner=False)
def _pca(path: Path, version: Stamp | None) -> Projection:
    return pca_projection(Embeddings.load(path))


@st.cache_resource(max_entries=8, show_spinner=False)
def _projection(path: Path, version: Stamp | None) -> Projection:
    return Projection.load(path)


def load_probes(files: PlaceFiles) -> dict[str, Any] | None:
    """The probe table of all runs, or None while there is none."""
    path = files.folder / "probes.json"
    version = stamp(path)
    table = _json(path, version) if version else None
    # Before mobclip had several metrics, rows did not name theirs: `mobclip probe` makes them anew.
    return table if table and all("metric" in row for row in table["rows"]) else None


def load_evaluation(files: PlaceFiles) -> dict[str, Any] | None:
    """What `mobclip evaluate` found, or None where it has not been run."""
    path = files.folder / "evaluation" / "results.json"
    version = stamp(path)
    return _json(path, version) if version else None


def report_file(files: PlaceFiles) -> Path | None:
    """The report of `mobclip evaluate`, or None."""
    path = files.folder / "evaluation" / "report.html"
    return path if path.is_file() else None


@st.cache_resource(max_entries=16, show_spinner=False)
def _json(path: Path, version: Stamp | None) -> dict[str, Any]:
    value: dict[str, Any] = read_json(path)
    return value


def ranking(files: PlaceFiles) -> dict[str, float]:
    """Run -> R² on spatial blocks, mean over targets; best first. Empty without probes."""
    table = load_probes(files)
    if not table or not table["rows"]:
        return {}
    there = set(files.runs)
    return {line["run"]: line["blocks"] for line in ladder(table["rows"]) if line["run"] in there}


def text_query(files: PlaceFiles, run: str) -> TextQuery:
    """Search by words; its ``available`` says whether this run can."""
    return TextQuery(
        run=files.folder / "runs" / run, featurizer=files.folder / "featurizers" / "poi"
    )


def load_probe(files: PlaceFiles, run: str, target: str) -> ProbeResult:
    """Held-out predictions of one target from one run."""
    return _probe(*probe_key(files, run, target))


def probe_key(
    files: PlaceFiles, run: str, target: str
) -> tuple[Path, Stamp | None, Path, Stamp | None, str]:
    """What the scores of a probe depend on; changes with the files."""
    path = files.embeddings_file(run)
    return files.folder, stamp(files.folder / "place.yaml"), path, stamp(path), target


@st.cache_resource(max_entries=64, show_spinner="Predicting held-out places …")
def _probe(
    folder: Path, place_version: Stamp | None, path: Path, version: Stamp | None, target: str
) -> ProbeResult:
    place = _place(folder, place_version)
    recipe = BASELINES.get(path.parent.name)
    return probe(
        _index(path, version).embeddings,
        place.targets[target],
        seeds=(0,),
        probe=recipe.probe if recipe else "ridge",
    )


@st.cache_resource(max_entries=32, show_spinner=False)
def _centres(folder: Path, version: Stamp | None) -> np.ndarray:
    centres = grid.centers(_place(folder, version).cells)
    centres.setflags(write=False)
    return centres


def load_centres(files: PlaceFiles) -> np.ndarray:
    """(n, 2) lon, lat of the place's cells."""
    return _centres(files.folder, stamp(files.folder / "place.yaml"))


def target_on_cells(files: PlaceFiles, target: str, part: str = "") -> np.ndarray:
    """(n,) measured value of every cell, NaN without; of classes and compositions: see `Target`.

    part : share of this part of a composition, instead of which part is the largest
    """
    return _target_on_cells(files.folder, stamp(files.folder / "place.yaml"), target, part)


@st.cache_resource(max_entries=64, show_spinner=False)
def _target_on_cells(folder: Path, version: Stamp | None, name: str, part: str) -> np.ndarray:
    target = _place(folder, version).targets[name]
    values = target.on_cells(target.values[:, target.classes.index(part)] if part else None)
    values.setflags(write=False)
    return values


def predicted_on_cells(
    files: PlaceFiles, run: str, target: str, part: str = "", *, error: bool
) -> np.ndarray:
    """(n,) held-out prediction of every cell, NaN without.

    A number in the target's unit, the probability of a binary target, the index of the most
    probable class, the share of a part.

    error : instead of it, predicted minus measured (numbers: on the scale on which the target is
        predicted), or the probability given to the class that was measured
    """
    return _predicted_on_cells(*probe_key(files, run, target), part, error)


@st.cache_resource(max_entries=64, show_spinner=False)
def _predicted_on_cells(
    folder: Path,
    place_version: Stamp | None,
    path: Path,
    version: Stamp | None,
    name: str,
    part: str,
    error: bool,
) -> np.ndarray:
    result = _probe(folder, place_version, path, version, name)
    target = _place(folder, place_version).targets[name]
    shown = shown_on_cells(target, result.actual, result.predicted, part, error=error)
    shown.setflags(write=False)
    return shown


# ---- similar places


def load_gazetteer(files: PlaceFiles) -> Gazetteer:
    """Names of the place's context layer."""
    return _gazetteer(files.folder, stamp(files.folder / "place.yaml"))


@st.cache_resource(max_entries=4, show_spinner=False)
def _gazetteer(folder: Path, version: Stamp | None) -> Gazetteer:
    return Gazetteer(_place(folder, version).context)


def load_features(files: PlaceFiles) -> Features:
    """The evidence of the place as comparable columns."""
    return _features(files.folder, stamp(files.folder / "place.yaml"))


@st.cache_resource(max_entries=2, show_spinner="Reading the evidence of the cells …")
def _features(folder: Path, version: Stamp | None) -> Features:
    features = Features(_place(folder, version))
    for name in features.place.modalities:
        features.of(name).values.setflags(write=False)
    return features


@st.cache_resource(max_entries=2, show_spinner=False)
def _agreements(folder: Path, version: Stamp | None) -> Agreements:
    return Agreements(_place(folder, version), _features(folder, version))


def agreements(files: PlaceFiles, query: Query) -> dict[str, np.ndarray]:
    """Modality -> agreement of every cell of the place with the examples of a query."""
    version = stamp(files.folder / "place.yaml")
    return _agreement(files.folder, version, query.like, query.unlike)


@st.cache_resource(max_entries=16, show_spinner=False)
def _agreement(
    folder: Path, version: Stamp | None, like: tuple[int, ...], unlike: tuple[int, ...]
) -> dict[str, np.ndarray]:
    found = _agreements(folder, version).of(Query(like=like, unlike=unlike))
    for one in found.values():
        one.setflags(write=False)
    return found


def ranked(
    files: PlaceFiles, selection: Selection, image: ImageQuery | None = None, digest: str = ""
) -> Ranked | None:
    """All cells in the order of what a selection asks for; None where it asks for nothing.

    image, digest : an image that is asked for too, and what tells it from others
    """
    run = files.embeddings_file(selection.run)
    words = stamp(run.with_name("text.safetensors"))
    # Of a selection only what is searched for: filters and sliders read the answer again.
    about = (selection.cell, selection.like, selection.unlike, selection.query)
    return _ranked(files, selection.run, stamp(run), words, about, digest, image)


@st.cache_resource(
    max_entries=16,
    show_spinner="Searching …",
    hash_funcs={PlaceFiles: lambda files: str(files.folder)},
)
def _ranked(
    files: PlaceFiles,
    run: str,
    version: Stamp | None,
    words_version: Stamp | None,
    about: tuple[str, tuple[str, ...], tuple[str, ...], str],
    digest: str,
    _image: ImageQuery | None,
) -> Ranked | None:
    cell, like, unlike, text = about
    selection = Selection(cell=cell, like=like, unlike=unlike, query=text)
    return explain.ranked(load_index(files, run), text_query(files, run), selection, _image)


def image_problem(files: PlaceFiles, run: str) -> str:
    """Why a run cannot be searched by an image; "" where it can."""
    version = stamp(files.folder / "place.yaml"), stamp(files.embeddings_file(run))
    return _image_problem(files.folder, run, version)


@st.cache_resource(max_entries=32, show_spinner=False)
def _image_problem(folder: Path, run: str, version: tuple[Stamp | None, Stamp | None]) -> str:
    return why_not(_place(folder, version[0]), run)


def image_direction(files: PlaceFiles, run: str, pixels: np.ndarray, digest: str) -> ImageQuery:
    """Where an image lies in the space of a run."""
    version = stamp(files.folder / "place.yaml"), stamp(files.embeddings_file(run))
    return _image_direction(files.folder, run, version, digest, pixels)


@st.cache_resource(max_entries=8, show_spinner="Reading the image …")
def _image_direction(
    folder: Path,
    run: str,
    version: tuple[Stamp | None, Stamp | None],
    digest: str,
    _pixels: np.ndarray,
) -> ImageQuery:
    return image_query(_place(folder, version[0]), run, _pixels)


def kept_under(files: PlaceFiles, run: str, other: str, cell: int) -> tuple[int, int] | None:
    """How many of a cell's nearest cells are the same in another run, and of how many."""
    paths = files.embeddings_file(run), files.embeddings_file(other)
    return _kept(*paths, stamp(paths[0]), stamp(paths[1]), cell)


@st.cache_resource(max_entries=512, show_spinner=False)
def _kept(
    path: Path, other: Path, version: Stamp | None, other_version: Stamp | None, cell: int
) -> tuple[int, int] | None:
    return neighbours_kept(_index(path, version), _index(other, other_version), cell)


def people_in_words(files: PlaceFiles) -> dict[str, str]:
    """Column of the demographics -> what it counts, in words."""
    return _people_in_words(files.folder, stamp(files.folder / "place.yaml"))


@st.cache_resource(max_entries=4, show_spinner=False)
def _people_in_words(folder: Path, version: Stamp | None) -> dict[str, str]:
    from mobclip.explain import telling  # brings what reads words: only when a result is explained

    return telling.people_in_words(_place(folder, version))


def load_chips(files: PlaceFiles) -> Chips | None:
    """Pictures of the imagery, or None; `ArtefactError` where they are damaged."""
    look = stamp(files.folder / "chips" / "look.json")  # `mobclip tokenize` can add them any time
    return _chips(files.folder, stamp(files.folder / "place.yaml"), look)


@st.cache_resource(max_entries=4, show_spinner=False)
def _chips(folder: Path, version: Stamp | None, look: Stamp | None) -> Chips | None:
    return _place(folder, version).chips
