"""Checkpoints: everything that a run needs to go on, in one safetensors file."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from mobclip.errors import ArtefactError
from mobclip.storage import atomic_path


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where a run stands."""

    epoch: int = 0  # epochs done
    best_epoch: int = 0
    best_validation: float = float("inf")
    step: int = 0  # steps done in the epoch under way
    sums: Mapping[str, float] = field(default_factory=dict)  # loss terms summed over those steps
    seconds: float = 0.0  # spent on those steps


def save_checkpoint(
    path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, progress: Progress
) -> None:
    """Write model, optimiser and progress, atomically."""
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    for index, state in optimizer.state_dict()["state"].items():
        for key, value in state.items():
            tensors[f"optimizer.{index}.{key}"] = torch.as_tensor(value)
    _save(path, tensors, {"progress": json.dumps(asdict(progress))})


def save_weights(path: Path, model: nn.Module) -> None:
    """Write the model alone, atomically."""
    _save(path, model.state_dict())


def load_checkpoint(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> Progress:
    """Restore what `save_checkpoint` wrote, in place; `ArtefactError` if it is damaged."""
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            progress = Progress(**json.loads(file.metadata()["progress"]))
    except (OSError, SafetensorError, KeyError) as error:
        raise ArtefactError(
            f"{path} is not a whole checkpoint ({error}). Delete it to train from the start."
        ) from error
    model.load_state_dict(
        {name.removeprefix("model."): v for name, v in tensors.items() if name[:6] == "model."}
    )
    state: dict[int, dict[str, torch.Tensor]] = {}
    for name, value in tensors.items():
        if name.startswith("optimizer."):
            _, index, key = name.split(".")
            state.setdefault(int(index), {})[key] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
    return progress


def _save(
    path: Path, tensors: Mapping[str, torch.Tensor], metadata: dict[str, str] | None = None
) -> None:
    with atomic_path(path) as temporary:
        whole = {name: value.detach().contiguous().cpu() for name, value in tensors.items()}
        save_file(whole, temporary, metadata=metadata)
