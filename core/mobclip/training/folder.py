"""The folder of a run: what the loop leaves in it, for people, for an app, and to go on from."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from mobclip.storage import atomic_path


class RunFolder:
    """Files of a run.

    ==============================  ============================================================
    `config.yaml`                   the settings that the folder belongs to
    `metrics.jsonl`                 a line per epoch (`loop.EpochMetrics`)
    `steps.jsonl`                   a line per step (`loop.StepMetrics`), as it happens
    `checkpoints/last.safetensors`  to go on from
    `checkpoints/best.safetensors`  weights of the best epoch so far
    `model.safetensors`             the same, once training has ended
    ==============================  ============================================================

    Parameters
    ----------
    writes : False in all processes but one, where several train together: they only read
    """

    def __init__(self, path: Path, *, writes: bool = True) -> None:
        self.writes = writes
        self.config = path / "config.yaml"
        self.metrics = path / "metrics.jsonl"
        self.steps = path / "steps.jsonl"
        self.model = path / "model.safetensors"
        self.checkpoints = path / "checkpoints"
        self.last = self.checkpoints / "last.safetensors"
        self.best = self.checkpoints / "best.safetensors"

    def claim(self, settings: Mapping[str, Any]) -> None:
        """Make this the run of these settings; leftovers of other settings are cleared."""
        if not self.writes:
            return
        if self.config.is_file() and yaml.safe_load(self.config.read_text("utf-8")) == settings:
            for torn in self.checkpoints.glob(".*.tmp"):
                torn.unlink()  # a kill -9 while it was written
            return
        if self.checkpoints.is_dir():
            shutil.rmtree(self.checkpoints)
        for stale in (self.metrics, self.steps, self.model):
            stale.unlink(missing_ok=True)
        with atomic_path(self.config) as temporary:
            temporary.write_text(yaml.safe_dump(dict(settings), sort_keys=False), "utf-8")

    def trim(self, *, epochs: int, steps: int) -> None:
        """Drop lines of what came after the checkpoint: it will be run again."""
        if not self.writes:
            return
        for path, kept in ((self.metrics, epochs), (self.steps, steps)):
            if path.is_file():
                lines = path.read_text("utf-8").splitlines(keepends=True)[:kept]
                with atomic_path(path) as temporary:
                    temporary.write_text("".join(lines), "utf-8")

    def append(self, path: Path, line: Mapping[str, Any]) -> None:
        """One more line of a .jsonl file, in one write: a reader sees it whole or not at all."""
        if self.writes:
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")

    def finish(self) -> None:
        """The best weights become the model."""
        if not self.writes:
            return
        with atomic_path(self.model) as temporary:
            shutil.copyfile(self.best, temporary)
