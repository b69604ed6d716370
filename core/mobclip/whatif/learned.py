"""Learned: ridge regressions of every target, each of which has not seen a part of the map."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64, Int64, UInt64

from mobclip import grid
from mobclip.embeddings import Embeddings
from mobclip.errors import ConfigError
from mobclip.place import Target
from mobclip.probes import FOLDS, LiveRidge, folds_of, least_units
from mobclip.probes.ridge import DOUBT, RidgeFit, as_probabilities
from mobclip.splits import Folds, block_of


@dataclass(frozen=True, kw_only=True)
class Predicted:
    """One target at one cell, predicted from two vectors by one model that has not seen the cell.

    Of a number in its unit; of the other kinds the probability or the share of each class.
    """

    target: Target
    before: Float64[np.ndarray, " outputs"]
    after: Float64[np.ndarray, " outputs"]
    moved: float  # how far, in standard deviations of what was measured; of classes the farthest


@dataclass(frozen=True, kw_only=True)
class _Model:
    target: Target
    fit: RidgeFit
    spread: Float64[np.ndarray, " outputs"]  # of what was measured, as it is learned
    usual: Float64[np.ndarray, "folds outputs"]  # mean of what each fold's model learned from
    fold: Int64[np.ndarray, "cells"]  # whose model has seen neither the cell nor its block


class Learned:
    """Models of all targets that have units enough. The folds are those of the probe view.

    on_step : told (done, total) after each target
    """

    def __init__(
        self,
        embeddings: Embeddings,
        targets: Mapping[str, Target],
        on_step: Callable[[int, int], None] | None = None,
    ) -> None:
        self._models: list[_Model] = []
        live: dict[bytes, tuple[LiveRidge, Folds, np.ndarray]] = {}
        for done, target in enumerate(targets.values(), 1):
            model = self._learn(embeddings, target, live)
            if model:
                self._models.append(model)
            if on_step:
                on_step(done, len(targets))

    def _learn(
        self,
        embeddings: Embeddings,
        target: Target,
        live: dict[bytes, tuple[LiveRidge, Folds, np.ndarray]],
    ) -> _Model | None:
        actual = target.actual
        if len(actual) < least_units() or np.ptp(actual, axis=0).max() == 0:
            return None
        weights = target.weights
        # Targets of the same units share all that costs.
        key = b"".join(one.tobytes() for one in (weights.indptr, weights.indices, weights.data))
        if key not in live:
            cells = target.cell_of_unit(embeddings.cells)
            try:
                folds = Folds(of_unit=folds_of(cells, protocol="blocks", seed=0))
            except ConfigError:  # all in fewer blocks than folds
                return None
            features = target.units_of(embeddings.vectors.astype(np.float64))
            of_cell = _fold_of_cells(target, embeddings.cells, cells, folds.of_unit)
            live[key] = LiveRidge(features, folds), folds, of_cell
        ridge, folds, of_cell = live[key]
        return _Model(
            target=target,
            fit=ridge.fit(actual, together=target.kind != "number"),
            spread=np.maximum(actual.std(0), 1e-12),
            usual=np.stack([actual[folds.training(i)].mean(0) for i in range(folds.count)]),
            fold=of_cell,
        )

    def predict(
        self, row: int, before: Float32[np.ndarray, " dims"], after: Float32[np.ndarray, " dims"]
    ) -> tuple[Predicted, ...]:
        """What each target would be at a cell, from its vector before and after.

        A target of zones is read as if the whole zone were like the cell.
        """
        vectors = np.stack([before, after]).astype(np.float64)
        found = []
        for one in self._models:
            fold = int(one.fold[row])
            line = vectors @ one.fit.weights[fold] + one.fit.intercepts[fold]
            line = np.clip(line, one.fit.lowest[fold], one.fit.highest[fold])
            moved = float((np.abs(line[1] - line[0]) / one.spread).max())
            if one.target.kind == "number":
                line = one.target.untransformed(line[:, 0])[:, None]
            else:
                line = (1 - DOUBT) * as_probabilities(line) + DOUBT * one.usual[fold]
            found.append(Predicted(target=one.target, before=line[0], after=line[1], moved=moved))
        return tuple(found)


def _fold_of_cells(
    target: Target,
    cells: UInt64[np.ndarray, "cells"],
    of_units: UInt64[np.ndarray, " units"],
    of_unit: Int64[np.ndarray, " units"],
) -> Int64[np.ndarray, "cells"]:
    """Fold of each cell: of the unit that it lies in, else of its block; 0 where neither learned.

    cells : of the place; of_units : the cell that places each unit
    """
    shown = target.on_cells(of_unit.astype(np.float64))
    here = np.isfinite(shown)
    fold = np.where(here, shown, 0).astype(np.int64)
    # Blocks are as wide as the units' own: of both together they can be of another width.
    blocks, first = np.unique(block_of(of_units, folds=FOLDS), return_index=True)
    parents = grid.parents(cells, grid.resolution_of(blocks))
    at, known = grid.locate(blocks, parents)
    fold[~here & known] = of_unit[first[at[~here & known]]]
    return fold
