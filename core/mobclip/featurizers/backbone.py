"""Frozen image backbones from timm (extra `vision`): chips -> dense vectors."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float32, Float64

from mobclip.errors import ArtefactError, ConfigError, MissingExtra, RecordError
from mobclip.storage import atomic_path, read_json, write_json

LOW, HIGH = 2, 98  # percentiles of the place's pixels that become black and white

Chips = Float32[np.ndarray, "chips bands pixels pixels"]  # NaN: no data


@dataclass
class Backbone:
    """Chip -> pooled features of a frozen backbone, scaled to length 1; no valid pixel -> NaN.

    Three bands of the raster are stretched to 0..1 between the 2nd and 98th percentile of the
    place, pixels without data become the place's mean, the chip is resized (bilinear) to the
    model's own input size and normalised with the model's own mean and deviation, as in its
    training. Weights come from `weights` (a local file) or, without it, from the hub or its
    cache; with ``HF_HUB_OFFLINE=1`` in the environment nothing is downloaded.
    """

    kind: ClassVar[str] = "backbone"

    model: str = "vit_small_patch14_dinov2.lvd142m"
    weights: str | None = None  # local .safetensors or .pth; default: the model's published ones
    bands: tuple[int, int, int] = (1, 2, 3)  # red, green, blue, from 1; one may stand for all
    device: str = "cpu"
    batch_size: int = 32
    low: Float64[np.ndarray, " bands"] | None = field(default=None, repr=False)  # set by fit
    high: Float64[np.ndarray, " bands"] | None = field(default=None, repr=False)
    middle: Float64[np.ndarray, " bands"] | None = field(default=None, repr=False)
    network: Any = field(default=None, repr=False, compare=False)  # loaded at first use

    @property
    def fitted(self) -> bool:
        """Whether the stretch of the bands is known."""
        return self.low is not None

    @property
    def columns(self) -> tuple[str, ...]:
        """One name per feature, once the network is loaded."""
        features = 0 if self.network is None else int(self.network.num_features)
        return tuple(f"image_{i:03d}" for i in range(features))

    def fit(self, chips: Chips) -> "Backbone":
        """Learn the stretch of the bands; `ConfigError` if a band is not there."""
        self._network()
        pixels = self._pick(chips).transpose(1, 0, 2, 3).reshape(3, -1)
        if not np.isfinite(pixels).any(axis=1).all():
            raise RecordError(
                f"{len(chips)} image chips hold no valid pixels in bands {self.bands}: "
                "check the raster's nodata value and that it covers the place."
            )
        low, high = np.nanpercentile(pixels, [LOW, HIGH], axis=1)
        self.low, self.high = low, np.where(high > low, high, low + 1)
        stretched = np.clip((pixels - low[:, None]) / (self.high - low)[:, None], 0, 1)
        self.middle = np.nanmean(stretched, axis=1)
        return self

    def __call__(self, chips: Chips) -> Float32[np.ndarray, "chips features"]:
        """Features of each chip."""
        import torch

        low, high, middle = self._state()
        network = self._network()
        setting = network.pretrained_cfg
        _, height, width = setting["input_size"]
        mean, std = (np.reshape(setting[key], (1, 3, 1, 1)) for key in ("mean", "std"))
        shape = (1, 3, 1, 1)
        parts = []
        for start in range(0, len(chips), self.batch_size):
            picked = self._pick(chips[start : start + self.batch_size])
            share = np.clip((picked - low.reshape(shape)) / (high - low).reshape(shape), 0, 1)
            filled = np.where(np.isfinite(share), share, middle.reshape(shape))
            images = torch.from_numpy(((filled - mean) / std).astype(np.float32))
            images = torch.nn.functional.interpolate(
                images, size=(height, width), mode="bilinear", antialias=True
            )
            with torch.inference_mode():
                features = network(images.to(self.device)).float()
                unit = torch.nn.functional.normalize(features, dim=1).cpu().numpy()
            unit[~np.isfinite(picked).any(axis=(1, 2, 3))] = np.nan
            parts.append(unit)
        return np.concatenate([np.empty((0, len(self.columns)), np.float32), *parts])

    def save(self, folder: Path | str) -> None:
        """Write a folder with featurizer.json: settings, stretch and the model's name."""
        stretch = [array.tolist() for array in self._state()]
        with atomic_path(folder) as temporary:
            temporary.mkdir()
            header = {
                "kind": self.kind,
                **{key: getattr(self, key) for key in _SETTINGS},
                **dict(zip(_STRETCH, stretch, strict=True)),
            }
            write_json(temporary / "featurizer.json", header)

    @classmethod
    def load(cls, folder: Path | str) -> "Backbone":
        """Read what `save` wrote."""
        header = read_json(Path(folder) / "featurizer.json")
        try:
            red, green, blue = header["bands"]
            settings: dict[str, Any] = {key: header[key] for key in _SETTINGS} | {
                "bands": (red, green, blue)
            }
            return cls(**settings | {key: np.array(header[key]) for key in _STRETCH})
        except (KeyError, ValueError) as error:
            raise ArtefactError(
                f"{folder} is not a backbone featurizer ({error}). Run `mobclip tokenize` again."
            ) from error

    def _pick(self, chips: Chips) -> Float32[np.ndarray, "chips 3 pixels pixels"]:
        """The three bands to be seen; a pixel is without data if any of them is."""
        if min(self.bands) < 1 or max(self.bands) > chips.shape[1]:
            raise ConfigError(
                f"bands {self.bands} of a raster with {chips.shape[1]} bands: "
                "give three numbers from 1, such as [1, 1, 1] for a single band."
            )
        picked = chips[:, np.array(self.bands) - 1]
        return np.where(np.isfinite(picked).all(axis=1, keepdims=True), picked, np.float32("nan"))

    def _state(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        if self.low is None or self.high is None or self.middle is None:
            raise ConfigError("this backbone featurizer knows no bands yet: call fit() or load().")
        return self.low, self.high, self.middle

    def _network(self) -> Any:
        if self.network is None:
            try:
                import timm
            except ImportError as error:
                raise MissingExtra("timm", extra="vision") from error
            local = {"checkpoint_path": self.weights} if self.weights else {"pretrained": True}
            try:
                network = timm.create_model(self.model, num_classes=0, **local)
            except (OSError, RuntimeError, ValueError) as error:
                raise ConfigError(
                    f"the backbone {self.model!r} cannot be loaded ({error}). Give `weights` a "
                    "local file, or let them download once (unset HF_HUB_OFFLINE)."
                ) from error
            self.network = network.eval().requires_grad_(False).to(self.device)
        return self.network


_SETTINGS = ("model", "weights", "bands", "device", "batch_size")
_STRETCH = ("low", "high", "middle")
