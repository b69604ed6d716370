"""Settings of the training loop alone: whatever the task, they mean the same."""

import math
from dataclasses import dataclass

from mobclip.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How long, how fast and in which portions."""

    batch_size: int  # rows per step, at most: sizes are equal within one
    epochs: int  # at most; early stopping usually ends before
    patience: int  # epochs without a better validation loss
    learning_rate: float
    weight_decay: float = 0.0  # AdamW; not on parameters of one dimension or none
    warmup: float = 0.0  # share of all steps in which the rate rises linearly to `learning_rate`
    decay: str = "none"  # or cosine, after the warm-up; cosine: to zero at the last step
    checkpoint_every: int = 50  # steps
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("batch_size", "epochs", "patience", "checkpoint_every"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name}={getattr(self, name)}: it must be 1 or more.")
        for name in ("learning_rate", "weight_decay"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name}={getattr(self, name)}: it must be 0 or more.")
        if not 0 <= self.warmup < 1:
            raise ConfigError(f"warmup={self.warmup}: it is a share of all steps, below 1.")
        if self.decay not in ("none", "cosine"):
            raise ConfigError(f"decay={self.decay!r}: it is none or cosine.")

    def rate(self, step: int, steps: int) -> float:
        """Learning rate of a step.

        Parameters
        ----------
        step : counted from 1 over all epochs
        steps : of all epochs, if training is not stopped early
        """
        rising = round(self.warmup * steps)
        if step <= rising:
            return self.learning_rate * step / rising
        if self.decay == "none":
            return self.learning_rate
        return (
            self.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - rising) / (steps - rising)))
        )
