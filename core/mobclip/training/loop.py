"""The training loop of `mobclip-paper`: place + settings -> a run folder."""

import json
import logging
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from safetensors.torch import load_file, save_file
from scipy import sparse

from mobclip.config import TrainConfig
from mobclip.embeddings import Embeddings
from mobclip.errors import ArtefactError, ConfigError
from mobclip.model import LightGCN, MobCLIP
from mobclip.model.encoders import standardise
from mobclip.model.lightgcn import csr_tensor
from mobclip.place import MOBILITY, Place
from mobclip.spectral import line_vectors
from mobclip.storage import atomic_path
from mobclip.training.batches import Batches
from mobclip.training.checkpoint import Progress, load_checkpoint, save_checkpoint

log = logging.getLogger(__name__)

RECALL_AT, RECALL_CANDIDATES = 10, 1000
VALIDATION_EPOCH = 2**31  # a batch order of its own, the same at every epoch


@dataclass(frozen=True, kw_only=True)
class EpochMetrics:
    """One line of metrics.jsonl."""

    epoch: int  # counted from 1
    loss: float  # mean over the steps of the epoch, nats
    validation: float  # loss of the held-out cells, nats
    seconds: float  # of this epoch
    best: bool  # whether this is the lowest validation loss so far
    recall: dict[str, float]  # modality -> recall@10 from mobility, among the candidates
    candidates: int  # held-out cells among which the recall is taken: 1,000 where there are enough


def train(
    place: Place,
    config: TrainConfig,
    folder: Path | str,
    on_epoch: Callable[[EpochMetrics], None] = lambda metrics: None,
) -> None:
    """Train MobCLIP on a place and leave the best model in `folder`.

    Goes on from the last checkpoint in `folder` if it is of the same settings and place; an
    interrupted run thus loses at most `checkpoint_every` epochs. The order of the batches does
    not depend on the interruption.

    Writes config.yaml, metrics.jsonl (a line per epoch), checkpoints/, and at the end
    model.safetensors: the weights of the epoch with the lowest validation loss.
    """
    folder = Path(folder)
    if place.graph is None:
        raise ConfigError(
            f"{place.name} has no mobility, which is the anchor of mobclip-paper. Add flows to "
            "its manifest entry, or use a training-free run such as `propagated`."
        )
    if not place.tables:
        raise ConfigError(f"{place.name} has mobility alone: there is nothing to align with it.")
    if unknown := [name for name in place.tables if name not in config.temperatures]:
        raise ConfigError(
            f"no temperature for modality {unknown[0]!r}; "
            f"temperatures are set for {', '.join(config.temperatures)}."
        )
    settings = {"place": place.provenance.get("key"), **config.to_dict()}
    _claim(folder, settings)

    device = _device(config.device)
    torch.manual_seed(config.seed)
    adjacency = place.graph.normalised("symmetric")
    model = _build(place, config, adjacency).to(device)
    # The node table is decayed too, as in the paper's code; biases are not.
    groups: list[dict[str, Any]] = [
        {"params": [p for p in model.parameters() if p.ndim > 1]},
        {"params": [p for p in model.parameters() if p.ndim <= 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=config.learning_rate, weight_decay=config.weight_decay)
    batches = Batches(
        place,
        adjacency,
        # A small place still gets several steps per epoch, and negatives enough.
        batch_size=min(config.batch_size, max(256, len(place.cells) // 16)),
        seed=config.seed,
        device=device,
    )
    shuffled = np.random.default_rng([config.seed, 0]).permutation(len(place.cells))
    held_out = max(1, round(config.validation_share * len(shuffled)))
    validation_rows, train_rows = np.sort(shuffled[:held_out]), shuffled[held_out:]
    candidates = batches.cut(np.sort(shuffled[: min(held_out, RECALL_CANDIDATES)]))

    last = folder / "checkpoints" / "last.safetensors"
    best = folder / "checkpoints" / "best.safetensors"
    progress = Progress(epoch=0, best_epoch=0, best_validation=float("inf"))
    if last.is_file():
        progress = load_checkpoint(last, model, optimizer)
        log.info("resuming %s after epoch %d", folder.name, progress.epoch)
    _trim_metrics(folder / "metrics.jsonl", progress.epoch)

    for epoch in range(progress.epoch + 1, config.epochs + 1):
        if epoch - 1 - progress.best_epoch >= config.patience:
            break
        start = time.perf_counter()
        model.train()
        total = 0.0
        for batch in batches.epoch(train_rows, epoch):
            optimizer.zero_grad(set_to_none=True)
            with _autocast(device):
                loss = model(batch.rows, batch.tokens, batch.present)
            loss.backward()
            optimizer.step()
            total += loss.item()
        if not np.isfinite(total):
            raise ConfigError(
                f"the loss became {total} in epoch {epoch}: lower learning_rate "
                f"({config.learning_rate}) or raise the temperatures."
            )
        validation = _validate(model, batches, validation_rows)
        is_best = validation < progress.best_validation
        progress = Progress(
            epoch=epoch,
            best_epoch=epoch if is_best else progress.best_epoch,
            best_validation=min(validation, progress.best_validation),
        )
        if is_best:
            _save_weights(best, model)
        metrics = EpochMetrics(
            epoch=epoch,
            loss=total / batches.steps(len(train_rows)),
            validation=validation,
            seconds=time.perf_counter() - start,
            best=is_best,
            recall=model.recall(
                candidates.rows, candidates.tokens, candidates.present, k=RECALL_AT
            ),
            candidates=len(candidates.rows.rows),
        )
        with (folder / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(metrics)) + "\n")
        if epoch % config.checkpoint_every == 0:
            save_checkpoint(last, model, optimizer, progress)
        on_epoch(metrics)

    with atomic_path(folder / "model.safetensors") as temporary:
        shutil.copyfile(best, temporary)


def embed(place: Place, folder: Path | str, *, name: str) -> Embeddings:
    """Embeddings of a trained run: one vector per cell of the place."""
    folder = Path(folder)
    weights = folder / "model.safetensors"
    if not weights.is_file() or place.graph is None:
        raise ArtefactError(f"{weights} is missing: run `mobclip train {place.name}` first.")
    settings = yaml.safe_load((folder / "config.yaml").read_text("utf-8"))
    table = load_file(weights)["anchor.table"]
    if len(table) != len(place.cells) or settings["place"] != place.provenance.get("key"):
        raise ArtefactError(
            f"{folder} was trained on another version of {place.name} "
            f"({len(table)} cells, now {len(place.cells)}). Run `mobclip train` again."
        )
    adjacency = csr_tensor(place.graph.normalised("symmetric"))
    vectors = LightGCN(table, adjacency, settings["layers"]).all_rows().numpy()
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


def _build(place: Place, config: TrainConfig, adjacency: sparse.csr_array) -> MobCLIP:
    assert place.graph is not None
    table = line_vectors(place.graph, config.dims, seed=config.seed)
    standardisers = {
        name: standardise(torch.from_numpy(tokens.values)) for name, tokens in place.tables.items()
    }
    anchor = LightGCN(torch.from_numpy(table), csr_tensor(adjacency), config.layers)
    return MobCLIP(anchor, standardisers, config.temperatures)


@torch.no_grad()
def _validate(model: MobCLIP, batches: Batches, rows: np.ndarray) -> float:
    model.eval()
    losses = [
        float(model(batch.rows, batch.tokens, batch.present))
        for batch in batches.epoch(rows, VALIDATION_EPOCH)
    ]
    return float(np.mean(losses))


def _autocast(device: torch.device) -> torch.autocast:
    """bf16 where it helps: on a GPU. CPUs without bf16 arithmetic would only get slower."""
    return torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda")


def _device(wanted: str) -> torch.device:
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        return torch.device(wanted)
    except RuntimeError as error:
        raise ConfigError(f"device {wanted!r} is unknown: use auto, cpu or cuda.") from error


def _claim(folder: Path, settings: dict[str, object]) -> None:
    """Make `folder` the run of these settings; leftovers of other settings are cleared."""
    path = folder / "config.yaml"
    if path.is_file() and yaml.safe_load(path.read_text("utf-8")) == settings:
        return
    if (folder / "checkpoints").is_dir():
        shutil.rmtree(folder / "checkpoints")
    for stale in ("metrics.jsonl", "model.safetensors"):
        (folder / stale).unlink(missing_ok=True)
    with atomic_path(path) as temporary:
        temporary.write_text(yaml.safe_dump(settings, sort_keys=False), "utf-8")


def _trim_metrics(path: Path, epochs: int) -> None:
    """Drop lines of epochs that come after the checkpoint: they will be run again."""
    if path.is_file():
        kept = path.read_text("utf-8").splitlines(keepends=True)[:epochs]
        with atomic_path(path) as temporary:
            temporary.write_text("".join(kept), "utf-8")


def _save_weights(path: Path, model: MobCLIP) -> None:
    with atomic_path(path) as temporary:
        save_file({name: v.contiguous().cpu() for name, v in model.state_dict().items()}, temporary)
