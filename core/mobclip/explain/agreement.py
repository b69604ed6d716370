"""How alike cells are in each modality by itself, and a ranking that weighs the modalities."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32

from mobclip import grid
from mobclip.baselines import Features
from mobclip.place import Place
from mobclip.search import AGAINST, Query

Weights = Mapping[str, float]  # modality -> 0 (does not count) to 1


@dataclass(frozen=True, kw_only=True)
class _Part:
    """One modality of all cells."""

    values: Float32[np.ndarray, "cells columns"]  # centred and scaled
    length: Float32[np.ndarray, "cells"]
    present: Bool[np.ndarray, "cells"]


class Agreements:
    """Cosine of cells in each modality's own comparable columns.

    Columns are those of `baselines.Features`: centred and scaled over the cells that have the
    modality, so that 0 is the average cell. Of mobility they are the directions of whom a cell
    sends to and gets from, and how much. Nothing of the embedding is in them: they are what it was
    made from.
    """

    def __init__(self, place: Place, features: Features | None = None) -> None:
        features = features or Features(place)
        self.cells = place.cells
        self._parts = {}
        for name in place.modalities:
            values = features.of(name).values
            length = np.sqrt(np.einsum("ij,ij->i", values, values)).astype(np.float32)
            self._parts[name] = _Part(values=values, length=length, present=place.present[name])

    @property
    def modalities(self) -> tuple[str, ...]:
        """Those of the place, in its order."""
        return tuple(self._parts)

    def of(self, query: Query) -> dict[str, Float32[np.ndarray, "cells"]]:
        """Modality -> agreement of every cell with the examples of a query, -1 to 1.

        Several examples are one vector, as in the search: the mean of the positive unit vectors
        minus half the mean of the negative ones, over those that have the modality. NaN where the
        cell, or every positive example, has no such evidence. Empty for a query without positive
        examples: words have no imagery or flows to be compared with.
        """
        if not query.like:
            return {}
        return {name: self._agreement(part, query) for name, part in self._parts.items()}

    def _agreement(self, part: _Part, query: Query) -> Float32[np.ndarray, "cells"]:
        like, unlike = (self._mean(part, cells) for cells in (query.like, query.unlike))
        if like is None:
            return np.full(len(self.cells), np.nan, np.float32)
        vector = like if unlike is None else like - np.float32(AGAINST) * unlike
        length = part.length * np.float32(np.linalg.norm(vector))
        dots = part.values @ vector
        cosine = np.divide(dots, length, out=np.zeros_like(dots), where=length > 0)
        return np.where(part.present, np.clip(cosine, -1, 1), np.float32(np.nan))

    def _mean(self, part: _Part, cells: tuple[int, ...]) -> Float32[np.ndarray, " columns"] | None:
        """Mean unit vector of the examples that have the modality; None where none does."""
        rows, known = grid.locate(self.cells, np.array(cells, np.uint64))
        rows = rows[known]
        rows = rows[part.present[rows]]
        if not len(rows):
            return None
        length = part.length[rows, None]
        unit = np.divide(
            part.values[rows], length, out=np.zeros_like(part.values[rows]), where=length > 0
        )
        return np.asarray(unit.mean(0), np.float32)


def weighted(
    own: Float32[np.ndarray, "cells"],
    agreements: Mapping[str, Float32[np.ndarray, "cells"]],
    weights: Weights,
) -> Float32[np.ndarray, "cells"]:
    """The embedding's score, mixed with agreement by modality as far as weights differ.

    With w the weights of the modalities that the query has::

        score = (1 - u) · own + u · Σ w · agreement / Σ w,    u = 1 - min w / max w

    While all weights are the same, u is 0 and the ranking is the embedding's own. As soon as one
    modality counts for nothing, u is 1 and the ranking is agreement alone, which the embedding has
    no part in. In between it is both. A modality that a cell lacks adds 0 to the sum: nothing is
    known there that speaks for it, and a cell is not to win by having little evidence.

    Parameters
    ----------
    own : cosine of every cell to the query in the embedding
    agreements : `Agreements.of` the query; modalities that the query lacks (NaN everywhere) do not
        take part
    weights : 0 to 1; a modality that is not named has 1
    """
    having = {name: one for name, one in agreements.items() if np.isfinite(one).any()}
    values = {name: float(weights.get(name, 1.0)) for name in having}
    uneven = unevenness(values)
    if uneven == 0:
        return own
    total = np.zeros(len(own), np.float32)
    for name, one in having.items():
        if values[name] > 0:
            total += np.float32(values[name]) * np.nan_to_num(one)
    mean = total / np.float32(sum(values.values()))
    mixed: np.ndarray = (1 - uneven) * own + uneven * mean
    return mixed.astype(np.float32)


def unevenness(weights: Weights) -> float:
    """1 - smallest / largest weight: 0 where all count alike, or none counts at all."""
    largest = max(weights.values(), default=0.0)
    return 1 - min(weights.values()) / largest if largest > 0 else 0.0
