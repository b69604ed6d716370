"""Distilled: the embedding of a run as a function of longitude and latitude. numpy alone."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, Float64
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from mobclip.errors import ArtefactError
from mobclip.positions import Harmonics
from mobclip.storage import atomic_path

DEGREES = 32  # of the spherical harmonics: 1,024 features
HIDDEN = (512,) * 8
FILE = "distilled.safetensors"
ROWS = 4096  # positions at once: 30 MB of harmonics


@dataclass(frozen=True, kw_only=True)
class Distilled:
    """The paper's coordinate encoder: spherical harmonics, eight layers of ReLU, a linear one.

    As in the released code of MobCLIP (arXiv 2506.01297): 32 degrees -> 8 × 512 -> 128, which is
    2,429,056 parameters. Where we differ: our harmonics are theirs, mirrored (see `Harmonics`);
    the first layer is held in float64, since over one place the harmonics differ by little. Made
    by `mobclip.training.distil`.

    It remembers the cells that it was made from. Away from them its answer means nothing, and it
    is not asked to know that.
    """

    first: tuple[Float64[np.ndarray, "features hidden"], Float64[np.ndarray, "hidden"]]
    others: tuple[tuple[Float32[np.ndarray, "_ _"], Float32[np.ndarray, "_"]], ...]
    mean: Float32[np.ndarray, "dims"]  # of the vectors: the network gives standardised ones
    scale: Float32[np.ndarray, "dims"]
    report: Mapping[str, Any] = field(default_factory=dict)  # how well it does; see `distil`

    @property
    def parameters(self) -> int:
        """Weights and biases."""
        return sum(array.size for layer in (self.first, *self.others) for array in layer)

    def at(self, lonlat: Float[np.ndarray, "n 2"]) -> Float32[np.ndarray, "n dims"]:
        """Vectors of positions, degrees lon, lat, on the scale of the run's embeddings."""
        encode = Harmonics(degrees=DEGREES)
        found = np.empty((len(lonlat), len(self.mean)), np.float32)
        for start in range(0, len(lonlat), ROWS):
            weight, bias = self.first
            x = (encode(lonlat[start : start + ROWS]) @ weight + bias).astype(np.float32)
            for layer_weight, layer_bias in self.others:
                x = np.maximum(x, 0) @ layer_weight + layer_bias
            found[start : start + len(x)] = x * self.scale + self.mean
        return found

    def save(self, folder: Path | str) -> None:
        """Write `distilled.safetensors`, atomically."""
        tensors = {"mean": self.mean, "scale": self.scale}
        for i, (weight, bias) in enumerate((self.first, *self.others)):
            tensors[f"layer.{i}.weight"] = np.ascontiguousarray(weight)
            tensors[f"layer.{i}.bias"] = bias
        with atomic_path(Path(folder) / FILE) as temporary:
            save_file(tensors, temporary, metadata={"report": json.dumps(dict(self.report))})

    @classmethod
    def load(cls, folder: Path | str) -> "Distilled":
        """Read what `save` wrote; `ArtefactError` if it is missing or damaged."""
        path = Path(folder) / FILE
        try:
            with safe_open(path, framework="np") as file:
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
                report = json.loads(file.metadata()["report"])
            first, *others = (
                (tensors[f"layer.{i}.weight"], tensors[f"layer.{i}.bias"])
                for i in range(len(HIDDEN) + 1)
            )
            return cls(
                first=first,
                others=tuple(others),
                mean=tensors["mean"],
                scale=tensors["scale"],
                report=report,
            )
        except (OSError, SafetensorError, KeyError, TypeError) as error:
            raise ArtefactError(
                f"{path} is missing or damaged ({error}). Distil the run again."
            ) from error
