"""Baseline: one row of the ladder."""

from collections.abc import Callable
from dataclasses import dataclass

from mobclip.baselines.features import Features
from mobclip.embeddings import Embeddings


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """One row of the ladder: a way to get vectors without training."""

    fit: Callable[[Features], Embeddings]
    about: str  # one plain line: what it knows of a cell
    needs: str | None = None  # the modality without which it cannot be
    probe: str = "ridge"  # what its vectors are made for; a name in `mobclip.probes.PROBES`
