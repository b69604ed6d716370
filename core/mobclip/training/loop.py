"""The training loop: a task + a schedule -> a run folder."""

import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mobclip.errors import ConfigError
from mobclip.training import distributed
from mobclip.training.batches import deal, steps_per_epoch
from mobclip.training.checkpoint import Progress, load_checkpoint, save_checkpoint, save_weights
from mobclip.training.folder import RunFolder
from mobclip.training.schedule import Schedule
from mobclip.training.task import Task

log = logging.getLogger(__name__)

VALIDATION_EPOCH = 2**31  # a batch order of its own, the same at every epoch


@dataclass(frozen=True, kw_only=True)
class StepMetrics:
    """One line of steps.jsonl."""

    step: int  # counted from 1 over all epochs
    epoch: int  # counted from 1
    loss: float  # of this batch: sum of the terms
    terms: dict[str, float]
    learning_rate: float
    seconds: float  # of this step


@dataclass(frozen=True, kw_only=True)
class EpochMetrics:
    """One line of metrics.jsonl, in which the entries of `report` stand beside the others."""

    epoch: int  # counted from 1
    loss: float  # mean over the steps of the epoch: sum of the terms
    validation: float  # mean loss of the validation batches
    seconds: float  # of this epoch
    best: bool  # whether this is the lowest validation loss so far
    terms: dict[str, float]  # mean over the steps of the epoch
    report: dict[str, Any]  # what the task says of itself

    def line(self) -> dict[str, Any]:
        """As it is written."""
        own = asdict(self)
        report = own.pop("report")
        return {**own, **report}


def fit(
    task: Task,
    schedule: Schedule,
    folder: Path | str,
    settings: Mapping[str, Any],
    on_epoch: Callable[[EpochMetrics], None] = lambda metrics: None,
) -> None:
    """Train and leave the best model in `folder`; `folder.RunFolder` lists what is written.

    Goes on from the last checkpoint in `folder` if it is of the same `settings`; a run that was
    killed loses at most `checkpoint_every` steps. Batches, and what the task draws at random,
    follow from (seed, epoch, step) alone: the curve and the weights are those of a run that was
    never interrupted.

    Started by `torchrun`, the processes train one model together, in a folder that all of them
    can read; the first one writes it and calls `on_epoch`. See `training.distributed`.

    Parameters
    ----------
    settings : everything that the result depends on, in plain values; written to config.yaml
    on_epoch : told of every epoch as it ends

    Raises
    ------
    ConfigError : the loss is no number any more. Checkpoints stay as they are.
    ArtefactError : the checkpoint is damaged
    """
    if len(task.validation_rows) == 0:
        raise ConfigError("early stopping needs at least one validation row: raise their share.")
    distributed.join()
    run = RunFolder(Path(folder), writes=distributed.first())
    run.claim(settings)
    distributed.wait()
    model = task.model
    per_epoch = steps_per_epoch(len(task.train_rows), schedule.batch_size)
    optimizer = _optimizer(model, schedule)
    progress = Progress()
    if run.last.is_file():
        progress = load_checkpoint(run.last, model, optimizer)
        log.info("resuming %s after epoch %d, step %d", folder, progress.epoch, progress.step)
    run.trim(epochs=progress.epoch, steps=progress.epoch * per_epoch + progress.step)
    loss_of = distributed.averaging(task)

    while progress.epoch < schedule.epochs:
        if progress.epoch - progress.best_epoch >= schedule.patience:
            break
        epoch = progress.epoch + 1
        # What was spent on the epoch before an interruption counts as well.
        start = time.perf_counter() - progress.seconds
        model.train()
        batches = deal(task.train_rows, schedule.batch_size, seed=schedule.seed, epoch=epoch)
        for step, rows in enumerate(batches[progress.step :], progress.step + 1):
            begun = time.perf_counter()
            total = progress.epoch * per_epoch + step
            rate = schedule.rate(total, schedule.epochs * per_epoch)
            for group in optimizer.param_groups:
                group["lr"] = rate
            terms = _step(loss_of, optimizer, rows, _rng(schedule.seed, epoch, step))
            loss = sum(terms.values())
            if not math.isfinite(loss):
                raise _no_number(
                    f"the loss became {loss} in step {total} (epoch {epoch})", schedule
                )
            run.append(
                run.steps,
                asdict(
                    StepMetrics(
                        step=total,
                        epoch=epoch,
                        loss=loss,
                        terms=terms,
                        learning_rate=rate,
                        seconds=time.perf_counter() - begun,
                    )
                ),
            )
            names = [*progress.sums, *(name for name in terms if name not in progress.sums)]
            progress = replace(
                progress,
                step=step,
                sums={name: progress.sums.get(name, 0.0) + terms.get(name, 0.0) for name in names},
                seconds=time.perf_counter() - start,
            )
            # The last step of an epoch is checkpointed below, with what the epoch has found.
            if total % schedule.checkpoint_every == 0 and step < per_epoch:
                _checkpoint(run, model, optimizer, progress, schedule)

        model.eval()
        validation = _validate(task, schedule)
        if not math.isfinite(validation):
            raise _no_number(f"the validation loss is {validation} after epoch {epoch}", schedule)
        is_best = validation < progress.best_validation
        if is_best and run.writes:
            save_weights(run.best, model)
        with torch.no_grad():
            report = task.report()
        mean = {name: value / per_epoch for name, value in progress.sums.items()}
        metrics = EpochMetrics(
            epoch=epoch,
            loss=sum(mean.values()),
            validation=validation,
            seconds=time.perf_counter() - start,
            best=is_best,
            terms=mean,
            report=report,
        )
        run.append(run.metrics, metrics.line())
        progress = Progress(
            epoch=epoch,
            best_epoch=epoch if is_best else progress.best_epoch,
            best_validation=min(validation, progress.best_validation),
        )
        if epoch * per_epoch % schedule.checkpoint_every == 0:
            _checkpoint(run, model, optimizer, progress, schedule)
        if run.writes:
            on_epoch(metrics)
    run.finish()
    distributed.wait()


def _optimizer(model: nn.Module, schedule: Schedule) -> torch.optim.Optimizer:
    # Tables of nodes are decayed too, as in the code of the paper; biases and scalars are not.
    learned = [p for p in model.parameters() if p.requires_grad]
    groups: list[dict[str, Any]] = [
        {"params": [p for p in learned if p.ndim > 1]},
        {"params": [p for p in learned if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        groups,
        lr=schedule.learning_rate,
        weight_decay=schedule.weight_decay,
        fused=True,  # one pass over table and moments, and no copies of them
    )


def _rng(seed: int, epoch: int, step: int) -> np.random.Generator:
    """Randomness of one step, torch's included (dropout, say). Steps are counted from 1."""
    rng = np.random.default_rng([seed, epoch, step])
    torch.manual_seed(int(rng.integers(2**63)))
    return rng


def _step(
    loss_of: nn.Module,
    optimizer: torch.optim.Optimizer,
    rows: np.ndarray,
    rng: np.random.Generator,
) -> dict[str, float]:
    """One step downhill, unless the loss is no number; the terms before it."""
    optimizer.zero_grad(set_to_none=True)
    device = next(loss_of.parameters()).device
    # bf16 where it helps: on a GPU. CPUs without bf16 arithmetic would only get slower.
    with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
        terms: dict[str, Tensor] = loss_of(rows, rng)
    loss = torch.stack(list(terms.values())).sum()
    values = distributed.mean({name: v.item() for name, v in terms.items()}, device)
    if math.isfinite(sum(values.values())):
        torch.autograd.backward(loss)
        optimizer.step()
    return values


@torch.no_grad()
def _validate(task: Task, schedule: Schedule) -> float:
    batches = deal(
        task.validation_rows, schedule.batch_size, seed=schedule.seed, epoch=VALIDATION_EPOCH
    )
    losses = []
    for step, rows in enumerate(batches, 1):
        terms = task.loss(rows, _rng(schedule.seed, VALIDATION_EPOCH, step))
        losses.append(sum(value.item() for value in terms.values()))
    device = next(task.model.parameters()).device
    return distributed.mean({"validation": float(np.mean(losses))}, device)["validation"]


def _checkpoint(
    run: RunFolder,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    progress: Progress,
    schedule: Schedule,
) -> None:
    """Save, but never weights that a gradient of a finite loss has spoilt over good ones."""
    if not all(bool(value.isfinite().all()) for value in model.parameters()):
        where = f"epoch {progress.epoch + (progress.step > 0)}"
        raise _no_number(f"some weights are no numbers any more in {where}", schedule)
    if run.writes:
        save_checkpoint(run.last, model, optimizer, progress)


def _no_number(what: str, schedule: Schedule) -> ConfigError:
    return ConfigError(
        f"{what}: lower learning_rate ({schedule.learning_rate}) or raise the temperatures. "
        "Checkpoints from before it are kept."
    )
