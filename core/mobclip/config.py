"""Settings: one set of defaults, frozen, checked once, unknown keys rejected."""

import difflib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml

from mobclip.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How `mobclip-paper` is trained. Defaults are the paper's (arXiv 2506.01297 and its code)."""

    dims: int = 128  # length of an embedding
    layers: int = 2  # LightGCN propagation steps
    temperatures: Mapping[str, float] = field(  # fixed; a temperature divides the cosine
        default_factory=lambda: {"poi": 0.5, "demographics": 0.7, "imagery": 0.2}
    )
    batch_size: int = 20_480  # cells per step; at most 1/16 of the place, but 256
    epochs: int = 100  # at most; early stopping usually ends before
    patience: int = 10  # epochs without a better validation loss
    learning_rate: float = 1e-3
    weight_decay: float = 1e-3  # AdamW; not on biases
    validation_share: float = 0.1  # random cells kept out of the contrast
    checkpoint_every: int = 5  # epochs
    seed: int = 0
    device: str = "auto"  # "auto": cuda where there is one, else cpu

    def __post_init__(self) -> None:
        for name in ("dims", "layers", "batch_size", "epochs", "patience", "checkpoint_every"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name}={getattr(self, name)}: it must be 1 or more.")
        if not 0 < self.validation_share < 1:
            raise ConfigError(
                f"validation_share={self.validation_share}: it is a share between 0 and 1."
            )
        for name in ("learning_rate", "weight_decay"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name}={getattr(self, name)}: it must be 0 or more.")
        for modality, temperature in self.temperatures.items():
            if temperature <= 0:
                raise ConfigError(
                    f"temperature of {modality} is {temperature}: it must be above 0."
                )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "TrainConfig":
        """Defaults overridden by `values`; `ConfigError` on a key that is not a setting."""
        known = [one.name for one in fields(cls)]
        for key in values:
            if key not in known:
                near = difflib.get_close_matches(key, known, n=1)
                hint = f" Did you mean {near[0]!r}?" if near else ""
                raise ConfigError(f"unknown setting {key!r}; there are {', '.join(known)}.{hint}")
        return cls(**values)

    @classmethod
    def from_yaml(cls, path: Path | str) -> "TrainConfig":
        """Settings from a YAML file of `name: value` lines."""
        try:
            values = yaml.safe_load(Path(path).read_text("utf-8")) or {}
        except (OSError, yaml.YAMLError) as error:
            raise ConfigError(f"{path} cannot be read as YAML: {error}") from error
        if not isinstance(values, dict):
            raise ConfigError(f"{path} must hold `name: value` lines.")
        return cls.from_dict(values)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for YAML and provenance."""
        return {**asdict(self), "temperatures": dict(self.temperatures)}
