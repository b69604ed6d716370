"""TextMap: the linear map from a text vector to the space of an embedding."""

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
    """Where a text would lie among the cells: `vector = text @ weight + bias`.

    The text takes the place of a cell's POI text; every other column stands at its mean.
    """

    weight: Float32[np.ndarray, "text dims"]
    bias: Float32[np.ndarray, "dims"]

    @classmethod
    def from_standardised(
        cls, weight: np.ndarray, bias: np.ndarray, *, mean: np.ndarray, scale: np.ndarray
    ) -> "TextMap":
        """Fold `((text - mean) / scale) @ weight + bias` into one map."""
        folded = weight / scale[:, None]
        return cls(weight=folded.astype(np.float32), bias=(bias - mean @ folded).astype(np.float32))

    def __call__(self, text: Float32[np.ndarray, "n text"]) -> Float32[np.ndarray, "n dims"]:
        return text @ self.weight + self.bias

    def save(self, path: Path | str) -> None:
        """Write as safetensors, atomically."""
        with atomic_path(path) as temporary:
            save_file({"weight": np.ascontiguousarray(self.weight), "bias": self.bias}, temporary)

    @classmethod
    def load(cls, path: Path | str) -> "TextMap":
        """Read what `save` wrote; `ArtefactError` if it is missing or damaged."""
        try:
            return cls(**load_file(path))
        except (OSError, SafetensorError, TypeError) as error:
            raise ArtefactError(
                f"{path} is missing or damaged ({error}): this run cannot be searched by text. "
                "Run it again."
            ) from error
