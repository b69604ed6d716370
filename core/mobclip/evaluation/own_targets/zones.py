"""Units of a place that a row can be about: its zones, and cells as fine as its own or coarser."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt64
from scipy import sparse

from mobclip import grid
from mobclip.place import Place


@dataclass(frozen=True, kw_only=True)
class Zones:
    """Zones that a place knows, from its targets."""

    ids: np.ndarray  # (zones,) object str
    members: sparse.csr_array  # (zones, cells of the place), rows sum to 1


def zones_of(place: Place) -> dict[str, Zones]:
    """Level -> the zones of it that any target of the place is about."""
    ids: dict[str, list[str]] = {}
    blocks: dict[str, list[sparse.csr_array]] = {}
    for target in place.targets.values():
        if target.level in ("cell", "point"):
            continue
        known = set(ids.setdefault(target.level, []))
        new = [row for row, one in enumerate(target.unit_ids) if str(one) not in known]
        ids[target.level] += [str(target.unit_ids[row]) for row in new]
        blocks.setdefault(target.level, []).append(sparse.csr_array(target.weights[new]))
    return {
        level: Zones(
            ids=np.array(ids[level], object), members=sparse.csr_array(sparse.vstack(parts))
        )
        for level, parts in blocks.items()
    }


def members_of(
    names: UInt64[np.ndarray, " m"], place: Place
) -> tuple[UInt64[np.ndarray, " units"], sparse.csr_array]:
    """Those of some cells (ours or coarser) that hold cells of the place, and which."""
    level = (names >> np.uint64(52)) & np.uint64(15)
    kept: list[np.ndarray] = []
    rows: list[np.ndarray] = []
    columns: list[np.ndarray] = []
    for resolution in np.unique(level).tolist():
        here = names[level == resolution]
        row, there = grid.locate(here, grid.parents(place.cells, int(resolution)))
        used, row = np.unique(row[there], return_inverse=True)
        rows.append(row + sum(len(one) for one in kept))
        columns.append(np.flatnonzero(there))
        kept.append(here[used])
    if not kept:
        return np.empty(0, np.uint64), sparse.csr_array((0, len(place.cells)))
    units = np.concatenate(kept)
    row, column = np.concatenate(rows), np.concatenate(columns)
    weight = 1 / np.bincount(row, minlength=len(units))[row]
    order = np.argsort(units)  # `grid.locate` wants them sorted
    rank = np.empty(len(units), np.int64)
    rank[order] = np.arange(len(units))
    return units[order], sparse.csr_array(
        (weight, (rank[row], column)), shape=(len(units), len(place.cells))
    )
