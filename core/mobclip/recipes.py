"""Recipes: every way to make embeddings of a place, training-free or trained, under one name each.

What is trained brings torch with it, and only when it is trained or, mostly, not even when its
embeddings are read off; so this table can be read without it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mobclip.baselines import BASELINES, available
from mobclip.config import FusionConfig, LocationConfig, Settings, TrainConfig
from mobclip.embeddings import Embeddings
from mobclip.errors import ConfigError
from mobclip.place import MOBILITY, Place

if TYPE_CHECKING:
    from mobclip.training import EpochMetrics

PAPER = "mobclip-paper"
MOBCLIP = "mobclip"

OnEpoch = Callable[["EpochMetrics"], None]


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A recipe that is trained, into a folder of its own."""

    about: str  # one plain line: what it knows of a cell
    settings: type[Settings]
    possible: Callable[[Place], bool]
    train: Callable[[Place, Settings, Path, OnEpoch], None]  # goes on where it stopped
    embed: Callable[[Place, Path, str], Embeddings]  # place, folder, name of the run


def _train_paper(place: Place, settings: Settings, folder: Path, on_epoch: OnEpoch) -> None:
    from mobclip import training

    assert isinstance(settings, TrainConfig)
    training.train(place, settings, folder, on_epoch)


def _embed_paper(place: Place, folder: Path, name: str) -> Embeddings:
    from mobclip import training

    return training.embed(place, folder, name=name)


def _train_fusion(place: Place, settings: Settings, folder: Path, on_epoch: OnEpoch) -> None:
    from mobclip import training

    assert isinstance(settings, FusionConfig)
    training.train_fusion([place], settings, folder, on_epoch)


def _embed_fusion(place: Place, folder: Path, name: str) -> Embeddings:
    from mobclip.fusion import embed

    return embed(place, folder, name=name)


def _location(name: str, about: str) -> Trained:
    def train(place: Place, settings: Settings, folder: Path, on_epoch: OnEpoch) -> None:
        from mobclip.training.location import train_location

        assert isinstance(settings, LocationConfig)
        train_location(
            place,
            name,
            folder,
            epochs=settings.epochs,
            seed=settings.seed,
            device=settings.device,
            on_epoch=on_epoch,
        )

    def embed(place: Place, folder: Path, run: str) -> Embeddings:
        from mobclip.training.location import embed_location

        return embed_location(place, folder, name=run)

    return Trained(
        about=about,
        settings=LocationConfig,
        possible=lambda place: any(one in place.modalities for one in ("imagery", "poi")),
        train=train,
        embed=embed,
    )


TRAINED: dict[str, Trained] = {
    "satclip-retrained": _location(
        "satclip-retrained",
        "position alone, taught by imagery or points of interest as SatCLIP is; re-trained on our "
        "data",
    ),
    "csp-retrained": _location(
        "csp-retrained",
        "position alone, taught by imagery or points of interest as CSP is; re-trained on our data",
    ),
    "geoclip-retrained": _location(
        "geoclip-retrained",
        "position alone, taught by imagery or points of interest as GeoCLIP is; re-trained on our "
        "data",
    ),
    PAPER: Trained(
        about="MobCLIP as published, re-trained on our data",
        settings=TrainConfig,
        possible=lambda place: place.graph is not None and bool(place.tables),
        train=_train_paper,
        embed=_embed_paper,
    ),
    MOBCLIP: Trained(
        about="all evidence, each modality filled in and smoothed by its surroundings, fused; "
        "a network stands in for what is missing",
        settings=FusionConfig,
        possible=lambda place: True,
        train=_train_fusion,
        embed=_embed_fusion,
    ),
}
"""Name -> recipe that is trained; `BASELINES` has the others."""


def possible(place: Place) -> list[str]:
    """Every recipe that this place has the evidence for: the training-free ones, then the rest."""
    return [*available(place), *(name for name, one in TRAINED.items() if one.possible(place))]


def check(place: Place, recipe: str) -> None:
    """`ConfigError` unless this place has the evidence for a recipe."""
    if recipe not in possible(place):
        raise ConfigError(
            f"{place.name} has no run {recipe!r}; it can have {', '.join(possible(place))}."
        )


def about(recipe: str) -> str:
    """One plain line: what it knows of a cell."""
    return BASELINES[recipe].about if recipe in BASELINES else TRAINED[recipe].about


def needs(recipe: str) -> tuple[str, ...]:
    """Modalities without which a recipe cannot be; more of them are needed by some."""
    if recipe == PAPER:
        return (MOBILITY,)
    baseline = BASELINES.get(recipe)
    return (baseline.needs,) if baseline and baseline.needs else ()
