"""Reader: the tokens of one modality as a few comparable dimensions, the same in every place."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32

from mobclip.baselines.features import principal_axes, scaled
from mobclip.errors import ConfigError

AMOUNTS = ("log_total", "log_outflow", "log_inflow")  # columns that say of how much a token is made
MOST = 160  # dimensions of a modality: what is beyond does not reach 128 shared ones


@dataclass(frozen=True, kw_only=True)
class Reader:
    """Columns of a modality -> its main directions, the first one of variance 1.

    Centred and scaled by the cells that have the modality, rotated to principal axes, and divided
    by the first singular value, so that no modality is loud because it has more columns (multiple
    factor analysis, Escofier & Pagès 1990).
    """

    columns: tuple[str, ...]  # names, in order
    mean: Float32[np.ndarray, " columns"]
    axes: Float32[np.ndarray, "columns dims"]  # scaling folded in
    usual: Float32[
        np.ndarray, "1"
    ]  # amount of what the middle one of the tokens is made; 0: unsaid

    @classmethod
    def fit(
        cls,
        values: Float32[np.ndarray, "cells columns"],
        present: Bool[np.ndarray, "cells"],
        columns: Sequence[str],
        groups: np.ndarray,
    ) -> "Reader":
        """From the cells of one or more places; columns of one group share a scale ("": alone).

        What no cell has, or what is the same in all, is read as nothing: 0 dims.
        """
        if not present.any() or not len(columns):
            return cls(
                columns=tuple(columns),
                mean=np.zeros(len(columns), np.float32),
                axes=np.zeros((len(columns), 0), np.float32),
                usual=np.zeros(1, np.float32),
            )
        even = scaled(values, present, columns, groups)
        here = even.values[present]
        axes = principal_axes(here, MOST)
        leading = float(np.sqrt(np.var(here @ axes[:, :1]))) if axes.shape[1] else 1.0
        return cls(
            columns=tuple(columns),
            mean=even.mean.astype(np.float32),
            axes=(axes / (even.scale[:, None] * max(leading, 1e-9))).astype(np.float32),
            usual=np.array([np.median(_amount(values[present], columns))], np.float32),
        )

    def trust(
        self, values: Float32[np.ndarray, "cells columns"], columns: Sequence[str], *, thin: float
    ) -> Float32[np.ndarray, " cells"]:
        """How much of each token is no accident: c / (c + thin), c its amount over the usual one.

        That is how far a mean of c observations is drawn to what was expected before, where the
        expectation is worth `thin` of them (empirical Bayes).
        """
        amount = _amount(values, columns) / max(float(self.usual[0]), 1e-9)
        if self.usual[0] <= 0 or thin == 0:
            return np.ones(len(values), np.float32)
        return (amount / (amount + thin)).astype(np.float32)

    def __call__(
        self,
        values: Float32[np.ndarray, "cells columns"],
        present: Bool[np.ndarray, "cells"],
        columns: Sequence[str],
        *,
        what: str,
    ) -> Float32[np.ndarray, "cells dims"]:
        """Read a table that has the columns, in any order and beside others; 0 where absent."""
        if tuple(columns) != self.columns:
            place = {name: i for i, name in enumerate(columns)}
            if missing := [name for name in self.columns if name not in place]:
                raise ConfigError(
                    f"{what} lacks the column {missing[0]!r} ({len(missing)} of "
                    f"{len(self.columns)}) that the model was trained with. Tokenize it with the "
                    "same sources and featurizers, or train a model on both places together."
                )
            values = values[:, [place[name] for name in self.columns]]
        read = (values - self.mean) @ self.axes
        return np.where(present[:, None], read, 0).astype(np.float32)

    @property
    def dims(self) -> int:
        """How many directions are read."""
        return int(self.axes.shape[1])


def _amount(values: np.ndarray, columns: Sequence[str]) -> np.ndarray:
    """How many points or trips each token is made of; 0 where no column says so."""
    found = [i for i, name in enumerate(columns) if name in AMOUNTS]
    return np.expm1(np.maximum(values[:, found], 0).astype(np.float64)).sum(1)
