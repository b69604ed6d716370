"""The towers of a trained `mobclip-paper`: where a token lies that was brought along."""

from pathlib import Path

import numpy as np
from jaxtyping import Float32
from safetensors.numpy import load_file

from mobclip.table import CellTable
from mobclip.textmap import TEXT_PREFIX


def of_token(
    table: CellTable,
    folder: Path | str,
    tokens: Float32[np.ndarray, "n columns"],
    *,
    words: bool = False,
) -> Float32[np.ndarray, "n dims"]:
    """Tokens of one modality -> shared space, through the trained encoder in `folder`.

    table : of the modality
    tokens : all its columns; with `words` those of the text alone, and the others stand at their
        mean, which standardisation makes zero
    """
    tensors = load_file(Path(folder) / "model.safetensors")
    first, last = (f"encoders.{table.modality}.{layer}" for layer in (0, 1))
    columns = np.array([not words or name.startswith(TEXT_PREFIX) for name in table.columns], bool)
    standard = (tokens - tensors[f"{first}.mean"][columns]) / tensors[f"{first}.scale"][columns]
    made: np.ndarray = standard @ tensors[f"{last}.weight"][:, columns].T + tensors[f"{last}.bias"]
    return made
