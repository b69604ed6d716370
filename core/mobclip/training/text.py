"""The towers of a trained `mobclip-paper` that are one linear map: for texts and images."""

from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from mobclip.table import CellTable
from mobclip.textmap import TEXT_PREFIX, TextMap


def text_map(poi: CellTable, folder: Path | str) -> TextMap:
    """Text vector -> shared space, through the trained POI encoder in `folder`.

    Columns other than the text stand at their mean, which standardisation makes zero.
    """
    return _tower(folder, "poi", np.array([name.startswith(TEXT_PREFIX) for name in poi.columns]))


def image_map(imagery: CellTable, folder: Path | str) -> TextMap:
    """Image token -> shared space, through the trained imagery encoder in `folder`."""
    return _tower(folder, "imagery", np.ones(len(imagery.columns), bool))


def _tower(folder: Path | str, name: str, columns: np.ndarray) -> TextMap:
    tensors = load_file(Path(folder) / "model.safetensors")
    return TextMap.from_standardised(
        tensors[f"encoders.{name}.1.weight"][:, columns].T,
        tensors[f"encoders.{name}.1.bias"],
        mean=tensors[f"encoders.{name}.0.mean"][columns],
        scale=tensors[f"encoders.{name}.0.scale"][columns],
    )
