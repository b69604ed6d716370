"""Features: the evidence of a place as comparable columns, of which baselines are made."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Float64

from mobclip.embeddings import Embeddings
from mobclip.errors import ConfigError
from mobclip.place import MOBILITY, Place
from mobclip.spectral import flow_vectors
from mobclip.textmap import TEXT_PREFIX

DIMS = 128
AT_ONCE = 65_536  # rows
FLOW_DIMS = 64  # singular vectors of each of the two flow matrices
MAGNITUDES = ("log_outflow", "log_inflow")  # mobility columns that are no singular vectors


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Evidence as comparable columns; a cell without it stands at the mean, 0."""

    values: Float32[np.ndarray, "cells columns"]
    names: tuple[str, ...]  # as in the cell table; of mobility `volume_...`, `affinity_...`
    mean: np.ndarray  # (columns,) what was taken off
    scale: np.ndarray  # (columns,) by what it was divided

    def weighted(self, weight: np.float32) -> "Columns":
        """The same columns, multiplied by `weight`."""
        return replace(self, values=self.values * weight, scale=self.scale / weight)


@dataclass(frozen=True, kw_only=True)
class _Raw:
    """One modality before it is scaled."""

    values: Float32[np.ndarray, "cells columns"]
    present: Bool[np.ndarray, "cells"]
    names: tuple[str, ...]
    groups: np.ndarray  # (columns,) str: columns of one group share a scale; "": a scale alone


class Features:
    """What the baselines are made of: the evidence of a place as comparable columns.

    Each part is computed when it is first asked for, and once.

    Parameters
    ----------
    seed : of the factorisation of the flows, of random vectors and of first guesses
    dims : of the embeddings, for the rows that choose their width. A narrower PCA is the first
        columns of a wider one
    known : modalities whose evidence is shown at inference: axes are fitted on all, then the
        columns of the others stand at their mean, 0. For `pca` and `propagated` alone
    without : (modality, column) pairs that are left out of everything

    Raises
    ------
    ConfigError : a modality or a column that the place does not have; dims below 1
    """

    def __init__(
        self,
        place: Place,
        *,
        seed: int = 0,
        dims: int = DIMS,
        known: frozenset[str] | None = None,
        without: frozenset[tuple[str, str]] = frozenset(),
    ) -> None:
        if dims < 1:
            raise ConfigError(f"dims={dims}: an embedding has 1 or more; 16 to 256 are usual.")
        for name in sorted({*(known or ()), *(modality for modality, _ in without)}):
            _check_modality(place, name)
        self.place = place
        self.seed = seed
        self.dims = dims
        self.known = known
        self.without = without
        self._raw: dict[str, _Raw] = {}  # of mobility alone: the rest is quick to read again
        self._parts: dict[str, Columns] = {}

    def varied(
        self,
        *,
        dims: int = DIMS,
        known: frozenset[str] | None = None,
        without: frozenset[tuple[str, str]] = frozenset(),
    ) -> "Features":
        """The same evidence with other options; what is computed already is not computed again."""
        other = Features(self.place, seed=self.seed, dims=dims, known=known, without=without)
        other._raw = self._raw
        other._parts = {
            name: part
            for name, part in self._parts.items()
            if other._dropped(name) == self._dropped(name)
        }
        if without == self.without:
            ready = {"together": True, "axes": max(dims, DIMS) == max(self.dims, DIMS)}
            for part, same in ready.items():
                if same and part in self.__dict__:
                    other.__dict__[part] = self.__dict__[part]
        return other

    @property
    def options(self) -> dict[str, Any]:
        """Those that are not the default, JSON-able: for provenance and for keys of runs."""
        options: dict[str, Any] = {}
        if self.dims != DIMS:
            options["dims"] = self.dims
        if self.known is not None:
            options["known"] = sorted(self.known)
        if self.without:
            options["without"] = [list(pair) for pair in sorted(self.without)]
        return options

    def of(self, name: str) -> Columns:
        """One modality, centred and scaled."""
        if name not in self._parts:
            self._parts[name] = self._scaled(name)
        return self._parts[name]

    @cached_property
    def together(self) -> Columns:
        """All modalities side by side, weighed evenly (see `side_by_side`)."""
        return side_by_side(
            [(self.of(name), self.place.present[name]) for name in self.place.modalities]
        )

    @property
    def shown(self) -> Columns:
        """`together`, with the modalities that are not known at their mean, 0."""
        if self.known is None:
            return self.together
        keep = np.concatenate(
            [
                np.full(len(self.of(name).names), name in self.known)
                for name in self.place.modalities
            ]
        )
        return replace(self.together, values=np.where(keep, self.together.values, np.float32(0)))

    @cached_property
    def axes(self) -> Float32[np.ndarray, "columns axes"]:
        """Principal axes of all modalities together, 128 or more, the first ones first."""
        return principal_axes(self.together.values, max(self.dims, DIMS))

    def embeddings(self, name: str, vectors: np.ndarray, *, hides: bool = False) -> Embeddings:
        """Vectors of this place's cells under the name of a baseline.

        hides : whether the baseline heeds `known`
        """
        place = self.place
        if self.known is not None and not hides:
            raise ConfigError(
                f"{name} cannot hide modalities at inference: known={sorted(self.known)} is for "
                "pca and propagated."
            )
        known = place.modalities if self.known is None else self.known
        return Embeddings(
            name=name,
            cells=place.cells,
            vectors=np.ascontiguousarray(vectors, np.float32),
            present={one: mask & (one in known) for one, mask in place.present.items()},
            provenance={
                "recipe": f"{name}, training-free",
                "modalities": list(place.modalities),
                **self.options,
            },
        )

    def _dropped(self, name: str) -> frozenset[str]:
        return frozenset(column for modality, column in self.without if modality == name)

    def _scaled(self, name: str) -> Columns:
        raw = self._read(name)
        dropped = self._dropped(name)
        if unknown := sorted(dropped - set(raw.names)):
            raise ConfigError(
                f"{name} of {self.place.name} has no column {unknown[0]!r}; "
                f"it has {', '.join(raw.names)}."
            )
        keep = np.array([column not in dropped for column in raw.names], bool)
        names = tuple(column for column in raw.names if column not in dropped)
        values = raw.values if keep.all() else raw.values[:, keep]
        return scaled(values, raw.present, names, raw.groups[keep])

    def _read(self, name: str) -> _Raw:
        place = self.place
        _check_modality(place, name)
        if name == MOBILITY:
            if name not in self._raw:
                assert place.graph is not None
                flows = flow_vectors(place.graph, FLOW_DIMS, seed=self.seed)
                names: list[str] = []
                groups: list[str] = []
                for key, block in flows.items():
                    if key == "magnitude":
                        names += MAGNITUDES
                        groups += [""] * len(MAGNITUDES)
                    else:
                        # One scale for the columns of an SVD: their variances are what it found.
                        names += [f"{key}_{i:03d}" for i in range(block.shape[1])]
                        groups += [key] * block.shape[1]
                self._raw[name] = _Raw(
                    values=np.hstack(list(flows.values())),
                    present=place.graph.present,
                    names=tuple(names),
                    groups=np.array(groups),
                )
            return self._raw[name]
        table = place.tables[name]
        values, present = table.aligned(place.cells)
        groups = ["text" if column.startswith(TEXT_PREFIX) else "" for column in table.columns]
        return _Raw(values=values, present=present, names=table.columns, groups=np.array(groups))


def scaled(
    values: np.ndarray, present: np.ndarray, names: Iterable[str], groups: np.ndarray
) -> Columns:
    """Centre and scale by the cells that have evidence; columns of one group share a scale."""
    mean = values[present].mean(0, dtype=np.float64)
    variance = values[present].var(0, dtype=np.float64)
    for group in set(groups.tolist()) - {""}:
        variance[groups == group] = variance[groups == group].mean()
    scale = np.sqrt(variance)
    scale[scale < 1e-9] = 1.0
    moved = np.where(present[:, None], (values - mean) / scale, 0)
    return Columns(
        values=moved.astype(np.float32),
        names=tuple(names),
        mean=mean,
        scale=scale,
    )


def side_by_side(parts: Sequence[tuple[Columns, np.ndarray]]) -> Columns:
    """Modalities side by side, each divided by its first singular value.

    That is multiple factor analysis (Escofier & Pagès 1990): no modality dominates because it has
    more columns. The value is taken over the cells that have the modality, so that one which few
    cells have does not grow loud.

    parts : the columns of each modality, and (cells,) bool which cells have it
    """
    even = []
    for part, present in parts:
        variances = np.linalg.eigvalsh(_covariance(part.values[present])) if part.names else [0]
        leading = np.sqrt(max(variances[-1], 0))
        even.append(part.weighted(np.float32(1 / leading if leading > 0 else 1)))
    return Columns(
        values=np.hstack([part.values for part in even]),
        names=tuple(name for part in even for name in part.names),
        mean=np.concatenate([part.mean for part in even]),
        scale=np.concatenate([part.scale for part in even]),
    )


def principal_axes(values: np.ndarray, dims: int) -> Float32[np.ndarray, "columns axes"]:
    """Leading eigenvectors of the covariance, signs fixed by each one's largest entry."""
    variances, axes = np.linalg.eigh(_covariance(values))
    axes = axes[:, ::-1][:, :dims]
    axes = axes[:, variances[::-1][: axes.shape[1]] > 1e-9 * max(variances[-1], 1e-30)]
    sign = np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])])
    return (axes * sign).astype(np.float32)


def centred(values: np.ndarray) -> Float32[np.ndarray, "cells columns"]:
    """Values less the mean of each column."""
    even = np.empty(values.shape, np.float32)
    for part, rows in _centred_parts(values):
        even[part] = rows
    return even


def _covariance(values: np.ndarray) -> Float64[np.ndarray, "columns columns"]:
    total = np.zeros((values.shape[1], values.shape[1]))
    for _, rows in _centred_parts(values):
        total += rows.T @ rows
    return total / len(values)


def _centred_parts(values: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """`centred`, some rows at a time: double precision is never held of all rows of a nation."""
    mean = values.mean(0, dtype=np.float64)
    for start in range(0, len(values), AT_ONCE):
        part = slice(start, start + AT_ONCE)
        yield part, (values[part] - mean).astype(np.float32)


def _check_modality(place: Place, name: str) -> None:
    if name not in place.modalities:
        raise ConfigError(f"{place.name} has no {name}; it has {', '.join(place.modalities)}.")
