"""Distilling a run: a network of longitude and latitude learns its embeddings by heart.

The paper ships such a network in place of its embeddings. How it was trained is not published;
ours learns the standardised vectors by mean squared error. What it knows of cells that it did not
see is measured first, on a network that is then thrown away, and reported as it is.
"""

import hashlib
from collections.abc import Callable
from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32
from safetensors.torch import load_file
from torch import Tensor, nn

from mobclip import grid
from mobclip.distilled import DEGREES, HIDDEN, Distilled
from mobclip.embeddings import Embeddings
from mobclip.model.encoders import Linear
from mobclip.positions import Components, Harmonics
from mobclip.splits import block_folds
from mobclip.storage import write_json
from mobclip.training.device import choose_device
from mobclip.training.loop import EpochMetrics, fit
from mobclip.training.schedule import Schedule

FOLDS = 5  # one of them is the held-out blocks
RANDOM_SHARE = 0.1  # of the other cells
EPOCHS, SHOWN = 30, 256_000  # at least: passes, and vectors shown in all
WATCHED = 1000  # cells whose loss is told after each epoch; they are learned too


def distil(
    embeddings: Embeddings,
    folder: Path | str,
    *,
    seed: int = 0,
    epochs: int | None = None,
    device: str = "auto",
    on_epoch: Callable[[EpochMetrics], None] = lambda metrics: None,
) -> dict[str, Any]:
    """Fit a `Distilled` to embeddings and leave it in `folder`, with report.json.

    Two networks are trained, `epochs` each: one without a fifth of the cells in spatial blocks and
    without a tenth of the rest at random, and one with all, which is kept. Both go on where they
    were interrupted.

    Parameters
    ----------
    epochs : of each training; default: 30, and more where cells are few (`SHOWN`)
    on_epoch : told of both trainings, epochs counted through

    Returns
    -------
    the report: mean squared error on standardised vectors, and R² pooled over their dimensions,
    of cells that were learned (`fit`), left out at random (`random`) and in blocks (`blocks`)
    """
    folder = Path(folder)
    epochs = epochs or epochs_for(len(embeddings.cells))
    rng = np.random.default_rng([seed, 0])
    blocks = block_folds(embeddings.cells, folds=FOLDS, rng=rng) == 0
    others = rng.permutation(np.flatnonzero(~blocks))
    left_out = others[: max(1, round(RANDOM_SHARE * len(others)))]
    learned = others[len(left_out) :]

    teacher = _Teacher(embeddings, seed=seed, epochs=epochs, device=choose_device(device))
    trial = teacher.fit(learned, folder / "trial", on_epoch)
    tested = {"random": left_out, "blocks": np.flatnonzero(blocks)}
    scores = {name: _score(trial, embeddings, rows) for name, rows in tested.items()}
    kept = teacher.fit(
        np.arange(len(embeddings.cells)),
        folder / "all",
        lambda metrics: on_epoch(replace(metrics, epoch=metrics.epoch + epochs)),
    )
    scores["fit"] = _score(kept, embeddings, np.arange(len(embeddings.cells)))
    report = {
        "run": embeddings.name,
        "parameters": kept.parameters,
        "epochs": epochs,
        "seed": seed,
        "cells": {"fit": len(embeddings.cells)} | {name: len(r) for name, r in tested.items()},
        "loss": {name: score[0] for name, score in scores.items()},
        "r2": {name: score[1] for name, score in scores.items()},
    }
    replace(kept, report=report).save(folder)
    write_json(folder / "report.json", report)
    return report


def epochs_for(cells: int) -> int:
    """Epochs of each of the two trainings, unless others are asked for."""
    return max(EPOCHS, -(-SHOWN // cells))


class _Teacher:
    """Embeddings, and how they are taught."""

    def __init__(
        self, embeddings: Embeddings, *, seed: int, epochs: int, device: torch.device
    ) -> None:
        self.embeddings = embeddings
        self.device = device
        self.lonlat = grid.centers(embeddings.cells)
        self.schedule = Schedule(
            batch_size=256,
            epochs=epochs,
            patience=epochs,
            learning_rate=1e-3,
            warmup=0.05,
            decay="cosine",
            checkpoint_every=500,
            seed=seed,
        )

    def fit(
        self, rows: np.ndarray, folder: Path, on_epoch: Callable[[EpochMetrics], None]
    ) -> Distilled:
        """Teach the vectors of these cells."""
        task = DistilTask(
            self.lonlat[rows],
            self.embeddings.vectors[rows],
            seed=self.schedule.seed,
            device=self.device,
        )
        settings = {
            "vectors": hashlib.sha256(task.vectors.tobytes()).hexdigest(),
            **asdict(self.schedule),
        }
        fit(task, self.schedule, folder, settings, on_epoch)
        task.model.load_state_dict(load_file(folder / "model.safetensors"))
        return task.distilled()


class DistilTask:
    """Mean squared error of standardised vectors of positions.

    The network learns on the components of the harmonics over the place, uncorrelated and of
    variance 1: as they come, 1,024 harmonics differ so little within a city that in the same time
    nothing is learned. `distilled` puts the components into the first layer, which then takes the
    harmonics: the network is the paper's.
    """

    def __init__(
        self,
        lonlat: np.ndarray,
        vectors: Float32[np.ndarray, "n dims"],
        *,
        seed: int,
        device: torch.device,
    ) -> None:
        self.device = device
        self.vectors = vectors
        self.mean = vectors.mean(axis=0, dtype=np.float64).astype(np.float32)
        scale = vectors.std(axis=0, dtype=np.float64)
        self.scale = np.where(scale > 1e-9, scale, 1).astype(np.float32)
        self.components = Components.over(Harmonics(degrees=DEGREES), lonlat, spread=1.0)
        features = self.components(lonlat).astype(np.float32)
        self.features = torch.from_numpy(features).to(device)
        self.targets = torch.from_numpy((vectors - self.mean) / self.scale).to(device)
        torch.manual_seed(seed)
        widths = [self.components.dims, *HIDDEN]
        layers: list[nn.Module] = []
        for dims, out in pairwise(widths):
            layers += [Linear(dims, out), nn.ReLU()]
        self.model = nn.Sequential(*layers, Linear(widths[-1], vectors.shape[1])).to(device)
        self.train_rows = np.arange(len(vectors))
        watched = np.random.default_rng([seed, 1]).permutation(len(vectors))[:WATCHED]
        self.validation_rows = np.sort(watched)

    def loss(self, rows: np.ndarray, rng: np.random.Generator) -> dict[str, Tensor]:
        """One term, in float32: what tells two positions apart is lost in bf16."""
        with torch.autocast(self.device.type, enabled=False):
            error = self.model(self.features[rows]) - self.targets[rows]
        return {"squared": (error**2).mean()}

    def report(self) -> dict[str, Any]:
        """Nothing further."""
        return {}

    def distilled(self) -> Distilled:
        """The network as it stands, on harmonics instead of their components."""
        layers = [
            (one.weight.detach().cpu().numpy().T, one.bias.detach().cpu().numpy())
            for one in self.model
            if isinstance(one, Linear)
        ]
        weight = self.components.axes @ layers[0][0].astype(np.float64)
        return Distilled(
            first=(weight, layers[0][1].astype(np.float64) - self.components.mean @ weight),
            others=tuple(layers[1:]),
            mean=self.mean,
            scale=self.scale,
        )


def _score(distilled: Distilled, embeddings: Embeddings, rows: np.ndarray) -> tuple[float, float]:
    """Mean squared error on standardised vectors, and R² pooled over the dimensions."""
    actual = (embeddings.vectors[rows] - distilled.mean) / distilled.scale
    predicted = (distilled.at(grid.centers(embeddings.cells[rows])) - distilled.mean) / (
        distilled.scale
    )
    error = float(((actual - predicted) ** 2).mean())
    return error, 1 - error / float(actual.var(axis=0).mean())
