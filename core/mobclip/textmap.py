"""TextMap: the map from a text vector to the space of an embedding."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from mobclip.errors import ArtefactError
from mobclip.storage import atomic_path

TEXT_PREFIX = "text_"  # token columns of the POI table that hold the text vector


@dataclass(frozen=True, kw_only=True)
class TextMap:
    """Where a text would lie among the cells: `text @ weight + bias`, corrected by a network.

    The text takes the place of a cell's POI text; every other column stands at its mean. With
    ``v`` the linear part, the network adds `relu(v @ inner + inner_bias) @ outer + outer_bias`.
    """

    weight: Float32[np.ndarray, "text dims"]
    bias: Float32[np.ndarray, "dims"]
    network: Mapping[str, Float32[np.ndarray, "..."]] | None = None  # its four arrays; None: none

    @classmethod
    def from_standardised(
        cls, weight: np.ndarray, bias: np.ndarray, *, mean: np.ndarray, scale: np.ndarray
    ) -> "TextMap":
        """Fold `((text - mean) / scale) @ weight + bias` into one map."""
        folded = weight / scale[:, None]
        return cls(weight=folded.astype(np.float32), bias=(bias - mean @ folded).astype(np.float32))

    def __call__(self, text: Float32[np.ndarray, "n text"]) -> Float32[np.ndarray, "n dims"]:
        linear = text @ self.weight + self.bias
        if self.network is None:
            return linear
        inner = np.maximum(linear @ self.network["inner"] + self.network["inner_bias"], 0)
        corrected: np.ndarray = linear + inner @ self.network["outer"] + self.network["outer_bias"]
        return corrected

    def save(self, path: Path | str) -> None:
        """Write as safetensors, atomically."""
        with atomic_path(path) as temporary:
            arrays = {"weight": self.weight, "bias": self.bias, **(self.network or {})}
            save_file({name: np.ascontiguousarray(one) for name, one in arrays.items()}, temporary)

    @classmethod
    def load(cls, path: Path | str) -> "TextMap":
        """Read what `save` wrote; `ArtefactError` if it is missing or damaged."""
        try:
            arrays = load_file(path)
            weight, bias = arrays.pop("weight"), arrays.pop("bias")
            return cls(weight=weight, bias=bias, network=arrays or None)
        except (OSError, SafetensorError, KeyError) as error:
            raise ArtefactError(
                f"{path} is missing or damaged ({error}): this run cannot be searched by text. "
                "Run it again."
            ) from error
