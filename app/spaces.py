"""What is made of an embedding once, and shared: clusters and their names, a comparison.

The other side of a comparison is written into the address as ``<run>|<what>``:

==========================  ====================================================
``pca``                     another run
``mobclip|without:poi``     the run as if it knew nothing of some modalities
``mobclip|first:16``        only its first numbers
``|target:income``          the same run, coloured by something else
==========================  ====================================================
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import cache
import colours
import numpy as np
import streamlit as st
from cache import PlaceFiles, Stamp

from mobclip import clusters, projection
from mobclip.clusters import Clusters
from mobclip.embeddings import Embeddings
from mobclip.explain.telling import Telling, Trait, Traits
from mobclip.fusion import FUSION_FILE, GONE, Fusion
from mobclip.projection import Projection

K = 20  # neighbours that are compared
ALL = 50_000  # cells of which each is asked for its neighbours; of more, a sample
PAIRS = 500_000_000  # of a cell that is asked and another, in such a sample


@dataclass(frozen=True, kw_only=True)
class Space:
    """An embedding to be looked at: a run, or a part of one."""

    run: str
    without: tuple[str, ...] = ()  # modalities that are taken away before it is made
    first: int = 0  # only so many numbers of it; 0: all

    @property
    def whole(self) -> bool:
        """Whether it is the run as it is on disk."""
        return not self.without and not self.first

    @property
    def title(self) -> str:
        """As people read it."""
        if self.without:
            return f"{self.run} without {', '.join(self.without)}"
        return f"{self.run}, first {self.first} numbers" if self.first else self.run

    def to_text(self) -> str:
        """As in the address."""
        if self.without:
            return f"{self.run}|without:{','.join(self.without)}"
        return f"{self.run}|first:{self.first}" if self.first else self.run


@dataclass(frozen=True, kw_only=True)
class Other:
    """The other side of a comparison: another space, or the same in another colouring."""

    space: Space
    colour: str = ""  # "": as the map is coloured

    @classmethod
    def from_text(cls, text: str, run: str, files: PlaceFiles) -> "Other | None":
        """What the address says; None if it says nothing, or what this place does not have."""
        named, _, what = text.partition("|")
        named = named or run
        if not text or named not in files.runs:
            return None
        kind, _, value = what.partition(":")
        if kind == "without":
            gone = tuple(one for one in value.split(",") if one in known_of(files, named))
            left = len(known_of(files, named)) - len(gone)
            return cls(space=Space(run=named, without=gone)) if gone and left else None
        if kind == "first":
            dims = cache.load_index(files, named).embeddings.dims
            right = value.isdigit() and 0 < int(value) < dims
            return cls(space=Space(run=named, first=int(value))) if right else None
        if not what and named == run:
            return None  # with itself
        return cls(space=Space(run=named), colour=what)


def known_of(files: PlaceFiles, run: str) -> tuple[str, ...]:
    """Modalities that a run can do without; none where its model cannot be asked.

    Those of the place that the model was given: one of several places has fewer.
    """
    path = files.folder / "runs" / run / FUSION_FILE
    if not path.is_file():
        return ()
    there = _given(path, cache.stamp(path))
    return tuple(name for name in cache.load_place(files).modalities if name in there)


@st.cache_resource(max_entries=16, show_spinner=False)
def _given(model: Path, version: Stamp | None) -> tuple[str, ...]:
    return Fusion.load(model).modalities


def embeddings(files: PlaceFiles, space: Space) -> Embeddings:
    """The vectors of a space."""
    whole = cache.load_index(files, space.run).embeddings
    if space.first:
        return replace(whole, vectors=whole.vectors[:, : space.first])
    return _without(*_key(files, space), space.without) if space.without else whole


@st.cache_resource(max_entries=8, show_spinner="Embedding the place without them …")
def _without(
    folder: Path, version: Stamp | None, path: Path, changed: Stamp | None, gone: tuple[str, ...]
) -> Embeddings:
    place = cache.load_place(PlaceFiles(folder=folder))
    model = Fusion.load(path.parent / FUSION_FILE)
    vectors = model.embed(place, states=dict.fromkeys(gone, GONE))
    vectors.setflags(write=False)
    return Embeddings(name=path.parent.name, cells=place.cells, vectors=vectors)


def _key(files: PlaceFiles, space: Space) -> tuple[Path, Stamp | None, Path, Stamp | None]:
    """Everything on disk that a space depends on."""
    path = files.embeddings_file(space.run)
    return files.folder, cache.stamp(files.folder / "place.yaml"), path, cache.stamp(path)


# ---- projections


def projection_of(files: PlaceFiles, space: Space, *, linear: bool = False) -> Projection:
    """Where its cells lie in three dimensions: as on disk, else by PCA.

    linear : by PCA in any case
    """
    if space.whole and not linear:
        return cache.load_projection(files, space.run)
    return _pca(*_key(files, space), space)


@st.cache_resource(max_entries=16, show_spinner=False)
def _pca(
    folder: Path, version: Stamp | None, path: Path, changed: Stamp | None, space: Space
) -> Projection:
    return projection.pca_projection(embeddings(PlaceFiles(folder=folder), space))


def pair(files: PlaceFiles, one: Space, other: Space, *, linear: bool) -> tuple[Projection, ...]:
    """Projections of two spaces by the same method, the other turned to lie on the first."""
    found = [projection_of(files, space, linear=linear) for space in (one, other)]
    if len({each.method for each in found}) > 1:
        found = [projection_of(files, space, linear=True) for space in (one, other)]
    versions = [cache.stamp(files.projection_file(space.run)) for space in (one, other)]
    key = (_key(files, one), _key(files, other), versions, one, other, linear)
    return found[0], _turned(repr(key), found[1], found[0])


@st.cache_resource(max_entries=16, show_spinner=False)
def _turned(key: str, _one: Projection, _to: Projection) -> Projection:
    return projection.aligned(_one, _to)


def rgb(files: PlaceFiles, run: str, *, linear: bool = False) -> np.ndarray:
    """Colours of a projection, by today's rule: those in its file may be of an older one."""
    key = (_key(files, Space(run=run)), cache.stamp(files.projection_file(run)), linear)
    return _rgb(repr(key), projection_of(files, Space(run=run), linear=linear))


@st.cache_resource(max_entries=16, show_spinner=False)
def _rgb(key: str, _one: Projection) -> np.ndarray:
    found = projection.oklab_colours(_one.xyz)
    found.setflags(write=False)
    return found


# ---- clusters


@dataclass(frozen=True, kw_only=True)
class NamedClusters:
    """Clusters with what the page says of them."""

    clusters: Clusters  # of the cells of the embeddings
    labels: np.ndarray  # (cells of the place,); -1: not in the embeddings
    names: list[str]
    told: list[tuple[Telling, ...]]
    stops: list[str]  # colours


def traits(files: PlaceFiles) -> Traits:
    """What can be told of the cells of a place."""
    return _traits(files.folder, cache.stamp(files.folder / "place.yaml"))


@st.cache_resource(max_entries=4, show_spinner="Reading what is known of the cells …")
def _traits(folder: Path, version: Stamp | None) -> Traits:
    return Traits(cache.load_place(PlaceFiles(folder=folder)))


def named_clusters(files: PlaceFiles, space: Space, count: int) -> NamedClusters:
    """Clusters of a space, with names and colours."""
    return _clusters(*_key(files, space), space, count)


@st.cache_resource(max_entries=48, show_spinner="Looking for clusters …")
def _clusters(
    folder: Path,
    version: Stamp | None,
    path: Path,
    changed: Stamp | None,
    space: Space,
    count: int,
) -> NamedClusters:
    files = PlaceFiles(folder=folder)
    cells = cache.load_place(files).cells
    vectors = embeddings(files, space)
    found = clusters.cluster(vectors, count)
    labels = np.full(len(cells), -1)
    labels[np.searchsorted(cells, vectors.cells)] = found.labels
    labels.setflags(write=False)
    size = len(found.centres)
    return NamedClusters(
        clusters=found,
        labels=labels,
        names=traits(files).name(labels, size),
        told=traits(files).tell(labels, size),
        stops=colours.of_clusters(clusters.touching(cells, labels, size)),
    )


def in_colours_of(one: NamedClusters, other: NamedClusters) -> list[str]:
    """Colours for `other`: of the cluster of `one` with which each has most cells in common."""
    pairs = clusters.matched(one.labels, other.labels, len(one.names), len(other.names))
    free = iter([stop for stop in colours.CLUSTERS if stop not in one.stops])
    return [one.stops[i] if i >= 0 else next(free) for i in pairs]


def correlates(files: PlaceFiles, run: str, dim: int) -> list[tuple[Trait, float]]:
    """What goes with one number of an embedding."""
    return _correlates(*_key(files, Space(run=run)), dim)


@st.cache_resource(max_entries=256, show_spinner=False)
def _correlates(
    folder: Path, version: Stamp | None, path: Path, changed: Stamp | None, dim: int
) -> list[tuple[Trait, float]]:
    files = PlaceFiles(folder=folder)
    cells = cache.load_place(files).cells
    vectors = cache.load_index(files, path.parent.name).embeddings
    values = np.full(len(cells), np.nan, np.float32)
    values[np.searchsorted(cells, vectors.cells)] = vectors.vectors[:, dim]
    return traits(files).correlates(values)


# ---- neighbours in two spaces


def overlap(
    files: PlaceFiles, one: Space, other: Space, tell: Callable[[float], None]
) -> np.ndarray:
    """`projection.overlap` of two spaces; `tell` hears how far it is while it is computed."""
    found = _kept(repr((_key(files, one), _key(files, other), one, other)))
    if "shared" not in found:  # two who ask at once both compute it: the same
        first, second = embeddings(files, one), embeddings(files, other)
        cells = len(first.cells)
        queries = None if cells <= ALL else PAIRS // cells
        found["shared"] = projection.overlap(first, second, k=K, queries=queries, progress=tell)
    return found["shared"]


@st.cache_resource(max_entries=16, show_spinner=False)
def _kept(key: str) -> dict[str, np.ndarray]:
    return {}
