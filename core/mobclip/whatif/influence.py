"""Influence: what each modality does to the embeddings, and where two of them disagree."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float32, Int64

from mobclip.baselines import spatial_kernel
from mobclip.errors import ConfigError
from mobclip.fusion import GONE, KNOWN, Fusion
from mobclip.fusion.evidence import Evidence
from mobclip.place import Place

NEIGHBOURS = 20
MOST = 30_000  # cells whose neighbours are looked for; of more a sample
TOGETHER = 16_000_000  # distances at once: 64 MB
ROWS_AT_ONCE = 16_384

OnStep = Callable[[int, int], None]


def influence(
    fusion: Fusion, place: Place, on_step: OnStep | None = None
) -> dict[str, Float32[np.ndarray, "cells"]]:
    """Modality -> how far each cell lies from where it would be without it.

    ``|e - e'| / s``: e the embedding, e' the one with the modality GONE everywhere, s the root
    mean square of the lengths of all e. 0: nothing changes; 1: as far as an embedding is long.

    on_step : told (done, total)
    """
    names = fusion.modalities
    total = 2 * len(names)
    kernel = spatial_kernel(place.cells)
    votes = np.zeros((len(place.cells), len(names), fusion.dims), np.float32)
    states = np.full(len(names), GONE, np.int8)
    for column, name in enumerate(names):
        if name in place.modalities:
            own, present, trust = fusion.read(place, name)
            votes[:, column] = fusion.said(name, Evidence.gather(own, present, kernel, trust))
            states[column] = KNOWN
        if on_step:
            on_step(column + 1, total)
    whole = _combined(fusion, votes, states)
    size = float(np.sqrt(np.mean(np.einsum("ij,ij->i", whole, whole))))
    found = {}
    for column, name in enumerate(names):
        if name in place.modalities:
            others = states.copy()
            others[column] = GONE
            kept = votes[:, column].copy()
            votes[:, column] = 0
            moved = np.linalg.norm(whole - _combined(fusion, votes, others), axis=1)
            votes[:, column] = kept
            found[name] = (moved / max(size, 1e-12)).astype(np.float32)
        if on_step:
            on_step(len(names) + column + 1, total)
    return found


def _combined(
    fusion: Fusion, votes: Float32[np.ndarray, "cells modalities dims"], states: np.ndarray
) -> Float32[np.ndarray, "cells dims"]:
    made = np.empty((len(votes), fusion.dims), np.float32)
    for start in range(0, len(votes), ROWS_AT_ONCE):
        part = slice(start, start + ROWS_AT_ONCE)
        here = np.tile(states, (len(votes[part]), 1))
        made[part] = fusion.combine(votes[part], here)
    return made


def disagreement(
    fusion: Fusion,
    place: Place,
    one: str,
    other: str,
    *,
    k: int = NEIGHBOURS,
    most: int = MOST,
    on_step: OnStep | None = None,
) -> Float32[np.ndarray, "cells"]:
    """How few of a cell's nearest cells by one modality are its nearest by another: 1 - overlap.

    Neighbours are exact, by the distance of tokens as the model reads them, among the cells that
    have both modalities. 0: the same cells; by chance about 1 - k / cells. NaN where a cell lacks
    one of them, or (of more than `most` such cells) is not in the sample, which is seeded.

    Raises
    ------
    ConfigError : the model or the place lacks a modality, or fewer than k + 2 cells have both
    """
    for name in (one, other):
        if name not in fusion.modalities or name not in place.modalities:
            raise ConfigError(
                f"{place.name} has no modality {name!r}; it has {', '.join(place.modalities)}."
            )
    tokens = {name: fusion.read(place, name)[:2] for name in (one, other)}
    both = np.flatnonzero(tokens[one][1] & tokens[other][1])
    if len(both) < k + 2:
        raise ConfigError(
            f"{len(both)} cells of {place.name} have {one} and {other}: {k} neighbours of each "
            f"need {k + 2} or more."
        )
    if len(both) > most:
        both = np.sort(np.random.default_rng(0).choice(both, most, replace=False))
    first, second = (tokens[name][0][both] for name in (one, other))
    overlap = np.empty(len(both), np.float32)
    rows = max(1, TOGETHER // len(both))
    starts = range(0, len(both), rows)
    for done, start in enumerate(starts, 1):
        part = slice(start, start + rows)
        by_one, by_other = (nearest(table, part, k) for table in (first, second))
        member = np.zeros((len(by_one), len(both)), bool)
        np.put_along_axis(member, by_one, True, axis=1)
        overlap[part] = np.take_along_axis(member, by_other, axis=1).mean(axis=1)
        if on_step:
            on_step(done, len(starts))
    found = np.full(len(place.cells), np.nan, np.float32)
    found[both] = 1 - overlap
    return found


def nearest(
    table: Float32[np.ndarray, "n dims"], part: slice, k: int
) -> Int64[np.ndarray, "rows k"]:
    """The k rows nearest to each of some rows, itself left out, in no order."""
    lengths = np.einsum("ij,ij->i", table, table)
    squared = lengths - 2 * (table[part] @ table.T)  # less the row's own length: the same order
    start = part.indices(len(table))[0]
    squared[np.arange(len(squared)), np.arange(start, start + len(squared))] = np.inf
    return np.argpartition(squared, k, axis=1)[:, :k]
