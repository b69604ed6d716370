"""`mobclip-paper`: MobCLIP as published, trained on a place."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from safetensors.torch import load_file
from torch import Tensor

from mobclip.config import TrainConfig
from mobclip.embeddings import Embeddings
from mobclip.errors import ArtefactError, ConfigError
from mobclip.model import LightGCN, MobCLIP, Propagation
from mobclip.model.encoders import standardise
from mobclip.model.gather import share
from mobclip.place import MOBILITY, Place
from mobclip.spectral import line_vectors
from mobclip.training.batches import Tokens, steps_per_epoch
from mobclip.training.device import choose_device
from mobclip.training.distributed import first_alone
from mobclip.training.loop import EpochMetrics, fit
from mobclip.training.schedule import Schedule

RECALL_AT, RECALL_CANDIDATES = 10, 1000


def train(
    place: Place,
    config: TrainConfig,
    folder: Path | str,
    on_epoch: Callable[[EpochMetrics], None] = lambda metrics: None,
) -> None:
    """Train MobCLIP on a place and leave the best model in `folder`.

    Goes on from the last checkpoint in `folder` if it is of the same settings and place; see
    `loop.fit`.
    """
    task = PaperTask(place, config)
    settings = {"place": place.provenance.get("key"), **config.to_dict()}
    fit(task, task.schedule, folder, settings, on_epoch)


class PaperTask:
    """Symmetric InfoNCE of every modality with mobility, over the cells of a place."""

    def __init__(self, place: Place, config: TrainConfig) -> None:
        if place.graph is None:
            raise ConfigError(
                f"{place.name} has no mobility, which is the anchor of mobclip-paper. Add flows to "
                "its manifest entry, or use a training-free run such as `propagated`."
            )
        if not place.tables:
            raise ConfigError(
                f"{place.name} has mobility alone: there is nothing to align with it."
            )
        if unknown := [name for name in place.tables if name not in config.temperatures]:
            raise ConfigError(
                f"no temperature for modality {unknown[0]!r}; "
                f"temperatures are set for {', '.join(config.temperatures)}."
            )
        self.device = choose_device(config.device)
        torch.manual_seed(config.seed)
        with first_alone():  # a large graph is made symmetric on disk, once
            graph = place.graph.undirected()
        table = line_vectors(place.graph, config.dims, seed=config.seed)
        standardisers = {name: standardise(tokens.values) for name, tokens in place.tables.items()}
        anchor = LightGCN(
            torch.from_numpy(table), Propagation.of(graph, self.device), config.layers
        )
        self.model = MobCLIP(anchor, standardisers, config.temperatures).to(self.device)
        self.tokens = Tokens(place.tables, place.cells, self.device)

        shuffled = np.random.default_rng([config.seed, 0]).permutation(len(place.cells))
        held_out = max(1, round(config.validation_share * len(shuffled)))
        self.validation_rows = np.sort(shuffled[:held_out])
        self.train_rows = shuffled[held_out:]
        self.candidates = np.sort(shuffled[: min(held_out, RECALL_CANDIDATES)])
        # A small place still gets several steps per epoch, and negatives enough.
        batch_size = min(config.batch_size, max(256, len(place.cells) // 16))
        per_epoch = steps_per_epoch(len(self.train_rows), batch_size)
        self.schedule = Schedule(
            batch_size=batch_size,
            epochs=config.epochs,
            patience=config.patience,
            learning_rate=config.learning_rate,
            weight_decay=config.weight_decay,
            checkpoint_every=config.checkpoint_every * per_epoch,
            seed=config.seed,
        )

    def loss(self, rows: np.ndarray, rng: np.random.Generator) -> dict[str, Tensor]:
        """Modality -> its loss, over the number of modalities: equal weights."""
        losses = self.model.losses(*self._batch(rows, rows[share(len(rows))]))
        if not losses:  # no modality has two cells here
            return {"nothing": self.model.anchor.table.sum() * 0}
        return {name: loss / len(losses) for name, loss in losses.items()}

    def report(self) -> dict[str, Any]:
        """Recall@10 from mobility, modality by modality, and among how many held-out cells."""
        recall = self.model.recall(*self._batch(self.candidates, self.candidates), k=RECALL_AT)
        return {"recall": recall, "candidates": len(self.candidates)}

    def _batch(
        self, rows: np.ndarray, own: np.ndarray
    ) -> tuple[Tensor, dict[str, Tensor], dict[str, Tensor]]:
        """Row numbers on the device; tokens and presence of `own`, some of them."""
        return (torch.from_numpy(rows).to(self.device), *self.tokens.of(own))


def embed(place: Place, folder: Path | str, *, name: str) -> Embeddings:
    """Embeddings of a trained run: one vector per cell of the place."""
    folder = Path(folder)
    weights = folder / "model.safetensors"
    if not weights.is_file() or place.graph is None:
        raise ArtefactError(f"{weights} is missing: run `mobclip train {place.arguments}` first.")
    settings = yaml.safe_load((folder / "config.yaml").read_text("utf-8"))
    table = load_file(weights)["anchor.table"]
    if len(table) != len(place.cells) or settings["place"] != place.provenance.get("key"):
        raise ArtefactError(
            f"{folder} was trained on another version of {place.name} "
            f"({len(table)} cells, now {len(place.cells)}). Run `mobclip train` again."
        )
    smooth = Propagation.of(place.graph.undirected())
    vectors = LightGCN(table, smooth, settings["layers"]).all_rows().numpy()
    return Embeddings(
        name=name,
        cells=place.cells,
        vectors=np.ascontiguousarray(vectors, np.float32),
        present=place.present,
        provenance={
            "recipe": "MobCLIP as published (arXiv 2506.01297), re-trained on our data",
            "modalities": [MOBILITY, *place.tables],
            "settings": settings,
        },
    )
