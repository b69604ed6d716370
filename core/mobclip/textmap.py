"""TextMap: the direction in the space of an embedding along which a text grows."""

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
    """Text vector -> direction: the product of a cell's vector with it says how much of the text
    is to be expected there. `probes.words` reads it off the cells of a place."""

    weight: Float32[np.ndarray, "text dims"]

    def __call__(self, text: Float32[np.ndarray, "n text"]) -> Float32[np.ndarray, "n dims"]:
        directions: np.ndarray = text @ self.weight
        return directions

    def save(self, path: Path | str) -> None:
        """Write as safetensors, atomically."""
        with atomic_path(path) as temporary:
            save_file({"weight": np.ascontiguousarray(self.weight)}, temporary)

    @classmethod
    def load(cls, path: Path | str) -> "TextMap":
        """Read what `save` wrote; `ArtefactError` if it is missing or damaged."""
        try:
            return cls(weight=load_file(path)["weight"])
        except (OSError, SafetensorError, KeyError) as error:
            raise ArtefactError(
                f"{path} is missing or damaged ({error}): this run cannot be searched by text. "
                "Run it again."
            ) from error
