"""Settings: one set of defaults, frozen, checked once, unknown keys rejected."""

import difflib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

import yaml

from mobclip.errors import ConfigError

Some = TypeVar("Some", bound="Settings")


def read_settings(path: Path | str) -> dict[str, Any]:
    """What a YAML file of `name: value` lines holds."""
    try:
        values = yaml.safe_load(Path(path).read_text("utf-8")) or {}
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(f"{path} cannot be read as YAML: {error}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path} must hold `name: value` lines.")
    return values


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What every kind of settings has and can: be read from and written to plain values."""

    seed: int = 0  # of everything random
    device: str = "auto"  # "auto": cuda where there is one, else cpu

    @classmethod
    def from_dict(cls: type[Some], values: Mapping[str, Any]) -> Some:
        """Defaults overridden by `values`; `ConfigError` on a key that is not a setting."""
        known = [one.name for one in fields(cls)]
        for key in values:
            if key not in known:
                near = difflib.get_close_matches(key, known, n=1)
                hint = f" Did you mean {near[0]!r}?" if near else ""
                raise ConfigError(f"unknown setting {key!r}; there are {', '.join(known)}.{hint}")
        return cls(**values)

    @classmethod
    def from_yaml(cls: type[Some], path: Path | str) -> Some:
        """Settings from a YAML file of `name: value` lines."""
        return cls.from_dict(read_settings(path))

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for YAML and provenance, without those that are None."""
        return {
            name: dict(value) if isinstance(value, Mapping) else value
            for name, value in asdict(self).items()
            if value is not None
        }

    def _at_least(self, least: int, *names: str) -> None:
        for name in names:
            if getattr(self, name) < least:
                raise ConfigError(f"{name}={getattr(self, name)}: it must be {least} or more.")

    def _share(self, *names: str) -> None:
        for name in names:
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name}={getattr(self, name)}: it is a share from 0 to 1.")


@dataclass(frozen=True, kw_only=True)
class TrainConfig(Settings):
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

    def __post_init__(self) -> None:
        self._at_least(1, "dims", "layers", "batch_size", "epochs", "patience", "checkpoint_every")
        if not 0 < self.validation_share < 1:
            raise ConfigError(
                f"validation_share={self.validation_share}: it is a share between 0 and 1."
            )
        self._at_least(0, "learning_rate", "weight_decay")
        for modality, temperature in self.temperatures.items():
            if temperature <= 0:
                raise ConfigError(
                    f"temperature of {modality} is {temperature}: it must be above 0."
                )


@dataclass(frozen=True, kw_only=True)
class FusionConfig(Settings):
    """How `mobclip` is made. What `near` to `emphasis` do is in `mobclip.fusion.Fusion`.

    The values of these seven were chosen by block scores of Chicago, New York and the synthetic
    country on partitions into blocks (seeds 10 to 15) other than those that are reported (0 to 2).
    """

    dims: int = 128  # length of an embedding; its first 32 and 64 numbers are embeddings too
    near: float = 0.3  # share of the surroundings in what a modality says of a cell
    fill: float = 0.4  # how far the surroundings stand in for a token that is not there
    wide: float = 0.3  # weight of the wide surroundings, about 9 cells around, beside the cell
    thin: float = 0.1  # tokens of this share of the usual amount count half beside neighbours
    persistence: float = 1.0  # weight of what neighbours share when the axes are chosen
    presence: float = 0.15  # weight of which modalities a cell has
    emphasis: float = 0.3  # how much the first dimensions are stretched: 0 not at all
    hidden_units: int = 1024  # of the network that stands in for what is hidden
    contrast: float = 0.1  # weight of the contrastive loss beside the squared error
    batch_size: int = 2048  # cells per step; at most 1/8 of the place, but 256
    epochs: int = 40  # at most; early stopping usually ends before
    patience: int = 6  # epochs without a better loss on the held-out blocks
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2  # AdamW; not on biases
    validation_share: float = 0.1  # spatial blocks kept out of training
    checkpoint_every: int = 100  # steps

    def __post_init__(self) -> None:
        self._at_least(
            1, "dims", "hidden_units", "batch_size", "epochs", "patience", "checkpoint_every"
        )
        self._at_least(
            0,
            "wide",
            "presence",
            "thin",
            "persistence",
            "emphasis",
            "contrast",
            "learning_rate",
            "weight_decay",
        )
        self._share("near", "fill")
        if not 0 < self.validation_share < 1:
            raise ConfigError(
                f"validation_share={self.validation_share}: it is a share between 0 and 1."
            )


@dataclass(frozen=True, kw_only=True)
class LocationConfig(Settings):
    """How location encoders are re-trained; the rest is theirs, see `training.location`."""

    epochs: int | None = None  # at most; None: as each of them has it

    def __post_init__(self) -> None:
        if self.epochs is not None:
            self._at_least(1, "epochs")
