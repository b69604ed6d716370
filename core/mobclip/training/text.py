"""The POI tower of a trained run as a map for text queries."""

from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from mobclip.table import CellTable
from mobclip.textmap import TEXT_PREFIX, TextMap


def text_map(poi: CellTable, folder: Path | str) -> TextMap:
    """Text vector -> shared space, through the trained POI encoder in `folder`.

    Columns other than the text stand at their mean, which standardisation makes zero.
    """
    tensors = load_file(Path(folder) / "model.safetensors")
    text = np.array([name.startswith(TEXT_PREFIX) for name in poi.columns])
    return TextMap.from_standardised(
        tensors["encoders.poi.1.weight"][:, text].T,
        tensors["encoders.poi.1.bias"],
        mean=tensors["encoders.poi.0.mean"][text],
        scale=tensors["encoders.poi.0.scale"][text],
    )
