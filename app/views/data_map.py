"""Colourings of the map that say what is known of each cell."""

import cache
import colours
import numpy as np
from cache import PlaceFiles
from colours import Colouring

from mobclip.session import Selection
from views import frame


def embedding_or_evidence(selection: Selection, files: PlaceFiles) -> Colouring:
    """The chosen embedding in its colours; without one how many kinds of evidence there are."""
    if not selection.run:
        return kinds(files)
    projection = cache.load_projection(files, selection.run)
    method = {"pca": "PCA", "umap": "UMAP"}[projection.method]
    return Colouring(
        colours=frame.on_place(files, projection.cells, projection.rgb, 160),
        legend=colours.Legend(
            title=f"Embedding “{selection.run}”", note=f"like colours, like places · {method}"
        ),
    )


def kinds(files: PlaceFiles) -> Colouring:
    """How many kinds of evidence each cell has."""
    place = cache.load_place(files)
    count = np.sum(list(place.present.values()), axis=0)
    most = len(place.modalities)
    stops = [colours.ABSENT, *colours.SEQUENTIAL[2:]]
    picked = [stops[round(i * (len(stops) - 1) / most)] for i in range(most + 1)]
    labels = [f"{i} of {most}" for i in range(most + 1)]
    return colours.categories(count, labels, picked, "Kinds of evidence")


def presence(mask: np.ndarray, title: str) -> Colouring:
    """Which cells have something."""
    share = f"{mask.mean():.0%} of cells"
    return colours.categories(
        mask.astype(int),
        ["none", f"there ({share})"],
        [colours.ABSENT, colours.PRESENT],
        title,
    )
