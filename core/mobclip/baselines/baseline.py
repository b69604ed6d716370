"""Baseline: one row of the ladder, and Fitted: what it gives."""

from collections.abc import Callable
from dataclasses import dataclass

from mobclip.baselines.features import Features
from mobclip.embeddings import Embeddings
from mobclip.textmap import TextMap


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """What a baseline gives."""

    embeddings: Embeddings
    text_map: TextMap | None = None  # for baselines that contain the POI text


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """One row of the ladder: a way to get vectors without training."""

    fit: Callable[[Features], Fitted]
    about: str  # one plain line: what it knows of a cell
    needs: str | None = None  # the modality without which it cannot be
    probe: str = "ridge"  # what its vectors are made for; a name in `mobclip.probes.PROBES`
