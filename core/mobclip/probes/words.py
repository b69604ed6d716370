"""Words: where a text lies in a space, read off the cells of a place."""

import numpy as np
from jaxtyping import Bool, Float32, UInt64

from mobclip.embeddings import Embeddings
from mobclip.place import Place
from mobclip.probes import ridge
from mobclip.probes.scores import folds_of, least_units
from mobclip.splits import Folds
from mobclip.textmap import TEXT_PREFIX, TextMap


def texts_of(place: Place) -> tuple[Bool[np.ndarray, "cells"], Float32[np.ndarray, "cells text"]]:
    """Which cells of a place have POI text, and the text vector of each, 0 without."""
    if "poi" not in place.tables:
        return np.zeros(len(place.cells), bool), np.zeros((len(place.cells), 0), np.float32)
    table = place.tables["poi"]
    values, has = table.aligned(place.cells)
    text = [i for i, name in enumerate(table.columns) if name.startswith(TEXT_PREFIX)]
    texts = np.where(has[:, None], values[:, text], 0).astype(np.float32)
    return has & texts.any(axis=1), texts


def text_map(embeddings: Embeddings, place: Place) -> TextMap | None:
    """`read_off` the cells of a place; None where too few have a text.

    It asks nothing of how the vectors were made, so that every run is searched by words in the
    same way: also one that has never seen a word.
    """
    has, texts = texts_of(place)
    if has.sum() < least_units():
        return None
    return read_off(embeddings.vectors[has], texts[has], embeddings.cells[has])


def read_off(
    vectors: Float32[np.ndarray, "n dims"],
    texts: Float32[np.ndarray, "n text"],
    cells: UInt64[np.ndarray, " n"],
) -> TextMap:
    """The direction along which each number of a text grows in a space.

    A ridge regression predicts the texts of cells from their vectors, W; a query t becomes W t, so
    that its dot product with a vector is how much of t is predicted there. The penalty is chosen
    by how well texts of other spatial blocks are predicted: no query has a say in it.

    Not in the paper, which takes the point where the POI tower puts the text; that finds less for
    every recipe (`mobclip evaluate`, "other ways").
    """
    folds = Folds(of_unit=folds_of(cells, protocol="blocks", seed=0))
    weights, _ = ridge.fit(vectors.astype(np.float64), texts.astype(np.float64), folds)
    return TextMap(weight=np.ascontiguousarray(weights.T, np.float32))
