"""`mobclip`: the network that stands in for what is hidden, trained on one or more places."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int8
from safetensors.torch import load_file
from torch import Tensor

from mobclip.config import FusionConfig
from mobclip.embeddings import unit_rows
from mobclip.errors import ConfigError
from mobclip.fusion import ALONE, FUSION_FILE, GONE, HIDDEN, KNOWN, STATES, WORDS, Fusion, Network
from mobclip.fusion.fusion import doubt, network_inputs
from mobclip.model.fusion import FusionNetwork
from mobclip.model.gather import processes, share
from mobclip.model.losses import info_nce
from mobclip.place import Place
from mobclip.splits import block_folds
from mobclip.training.device import choose_device
from mobclip.training.distributed import first
from mobclip.training.loop import EpochMetrics, fit
from mobclip.training.schedule import Schedule

RECALL_AT, CANDIDATES = 10, 1000


def train_fusion(
    places: Sequence[Place],
    config: FusionConfig,
    folder: Path | str,
    on_epoch: Callable[[EpochMetrics], None] = lambda metrics: None,
) -> Fusion:
    """Fit the linear part, train the network, and leave both in `folder`.

    Goes on from the last checkpoint in `folder` if it is of the same settings and places; see
    `loop.fit`. Of several places the columns that mean the same in all are used.
    """
    folder = Path(folder)
    if not places:
        raise ConfigError("no place to train on: name one or more.")
    task = FusionTask(places, config)
    settings = {"places": [place.provenance.get("key") for place in places], **config.to_dict()}
    fit(task, task.schedule, folder, settings, on_epoch)
    weights = load_file(folder / "model.safetensors")
    fusion = replace(task.fusion, network=_exported(weights))
    if first():
        fusion.save(folder / FUSION_FILE)
    return fusion


class FusionTask:
    """Evidence is hidden at random; what is left has to give the embedding of all of it.

    The loss is the squared error, over the variance of the embeddings, and `contrast` times the
    symmetric InfoNCE between the two (CLIP), which sees to it that each cell is nearer to itself
    than to others. The target is fixed, the linear part of the model: the pull goes one way, as
    from a teacher, and cannot collapse.
    """

    def __init__(self, places: Sequence[Place], config: FusionConfig) -> None:
        self.config = config
        self.device = choose_device(config.device)
        self.fusion = Fusion.fit(places, config)
        self.votes = [self.fusion.votes(place) for place in places]
        self.starts = np.cumsum([0, *(len(place.cells) for place in places)])
        targets = []
        for place, votes in zip(places, self.votes, strict=True):
            rows = np.arange(len(place.cells))
            states = np.zeros((len(rows), len(self.fusion.modalities)), np.int8)
            targets.append(votes.chosen(rows, states).sum(1))
        self.target = np.concatenate(targets)
        self.variance = float(((self.target - self.target.mean(0)) ** 2).sum(1).mean())
        self.present = np.column_stack(
            [
                np.concatenate([one.present[name] for one in self.votes])
                for name in self.fusion.modalities
            ]
        )
        self.words = np.array(
            [name in self.votes[0].of_state[WORDS] for name in self.fusion.modalities], bool
        )
        # Whole blocks are held out: a neighbour's surroundings are nearly the cell's own.
        rng = np.random.default_rng([config.seed, 3])
        folds = max(2, round(1 / config.validation_share))
        held_out = np.concatenate(
            [block_folds(place.cells, folds=folds, rng=rng) == 0 for place in places]
        )
        self.validation_rows, self.train_rows = np.flatnonzero(held_out), np.flatnonzero(~held_out)
        torch.manual_seed(config.seed)
        inputs = len(self.fusion.modalities) * (self.fusion.dims + STATES)
        self.model = FusionNetwork(inputs, config.hidden_units, self.fusion.dims).to(self.device)
        self.schedule = Schedule(
            batch_size=min(config.batch_size, max(256, len(self.target) // 8)),
            epochs=config.epochs,
            patience=config.patience,
            learning_rate=config.learning_rate,
            weight_decay=config.weight_decay,
            warmup=0.05,
            decay="cosine",
            checkpoint_every=config.checkpoint_every,
            seed=config.seed,
        )

    def loss(self, rows: np.ndarray, rng: np.random.Generator) -> dict[str, Tensor]:
        """Squared error and contrast of the rows, with evidence hidden at random."""
        states = self.hidden(rows, rng)  # of the whole batch: the same in all processes
        own = share(len(rows))
        made, target, told = self._made(rows[own], states[own])
        each = len(rows) / processes()  # the mean over the processes is that over the batch
        error = ((made - target) ** 2).sum() / each / self.variance
        terms = {"error": error}
        if self.config.contrast:
            # Of nothing no direction is asked: where all votes are 0 the network starts at 0 too,
            # and the gradient of a cosine there is without bounds.
            told_or_target = torch.where(told[:, None], made, target)
            contrast = info_nce(told_or_target, target, self.model.temperature, shared=True)
            terms["contrast"] = self.config.contrast * contrast
        return terms

    def hidden(
        self, rows: np.ndarray, rng: np.random.Generator
    ) -> Int8[np.ndarray, "rows modalities"]:
        """States of the modalities at some cells, at random: three situations, equally often.

        Some modalities are hidden here, with or without their surroundings; one alone is known,
        with its surroundings or without, as of a picture or a text that was brought along.
        """
        n, m = len(rows), len(self.fusion.modalities)
        some = np.where(rng.random((n, m)) < 0.5, HIDDEN, GONE)
        some = np.where(rng.random((n, m)) < 0.6, KNOWN, some)
        # One that the cell has, where it has any.
        chosen = np.argmax(rng.random((n, m)) + self.present[rows], axis=1)
        only = np.arange(m) == chosen[:, None]
        with_surroundings = np.where(only, KNOWN, GONE)
        brought = np.where(only & self.words & (rng.random((n, 1)) < 0.5), WORDS, ALONE)
        brought = np.where(only, brought, GONE)
        situation = rng.integers(0, 3, (n, 1))
        return np.choose(situation, [some, with_surroundings, brought]).astype(np.int8)

    def report(self) -> dict[str, Any]:
        """How near held-out cells come to their own embedding, and whether they find it.

        `closeness`: mean cosine with one modality hidden, modality by modality; `recall`: share of
        cells that are among the ten nearest of the candidates to what is made of the one modality
        alone.
        """
        rows = self.validation_rows
        if len(rows) > CANDIDATES:
            rows = np.random.default_rng(self.config.seed).choice(rows, CANDIDATES, replace=False)
        target = unit_rows(self.target[rows])
        closeness, recall = {}, {}
        for column, name in enumerate(self.fusion.modalities):
            here = self.present[rows, column]
            if here.sum() < 2:
                continue
            states = np.zeros((len(rows), len(self.fusion.modalities)), np.int8)
            states[:, column] = HIDDEN
            made = unit_rows(self._made(rows, states)[0].cpu().numpy())
            closeness[name] = float((made * target).sum(1)[here].mean())
            states[:] = GONE
            states[:, column] = ALONE
            cosine = unit_rows(self._made(rows, states)[0].cpu().numpy())[here] @ target.T
            better = (cosine > cosine[np.arange(len(cosine)), np.flatnonzero(here)][:, None]).sum(1)
            recall[name] = float((better < RECALL_AT).mean())
        return {
            "closeness": closeness,
            "recall": recall,
            "candidates": len(rows),
            "temperature": float(self.model.temperature.detach()),
        }

    def _made(self, rows: np.ndarray, states: np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
        """Embeddings from what is left, those from all, and (rows,) bool: is any vote not 0."""
        votes = np.empty((len(rows), len(self.fusion.modalities), self.fusion.dims), np.float32)
        of_place = np.searchsorted(self.starts, rows, side="right") - 1
        for i, start in enumerate(self.starts[:-1]):
            here = of_place == i
            votes[here] = self.votes[i].chosen(rows[here] - start, states[here])
        inputs = torch.from_numpy(network_inputs(votes, states)).to(self.device)
        share = torch.from_numpy(doubt(states)).to(self.device)
        total = torch.from_numpy(votes.sum(1)).to(self.device)
        made = total + self.model(inputs) * share[:, None]
        target = torch.from_numpy(self.target[rows]).to(self.device)
        return made, target, (total != 0).any(1)


def _exported(weights: dict[str, Tensor]) -> Network:
    return Network(
        inner=weights["inner.weight"].numpy().T.copy(),
        inner_bias=weights["inner.bias"].numpy(),
        outer=weights["outer.weight"].numpy().T.copy(),
        outer_bias=weights["outer.bias"].numpy(),
    )
