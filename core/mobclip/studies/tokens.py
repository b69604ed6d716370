"""Does a token find its own cell: words alone, or an image alone, as the query?"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Int64

from mobclip.baselines import BASELINES, Features
from mobclip.embeddings import Embeddings
from mobclip.evaluation.retrieval import own_recall, pooled
from mobclip.fusion import ALONE, FUSION_FILE, GONE, Fusion
from mobclip.place import Place
from mobclip.probes import folds_of
from mobclip.probes.words import texts_of
from mobclip.recipes import MOBCLIP, PAPER, TRAINED
from mobclip.studies.variants import combined
from mobclip.textmap import TextMap

WORDS, IMAGERY = "words", "imagery"


def own_cells(
    place: Place, folder: Path, run: str
) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
    """Recall of the own cell among the cells of its held-out blocks, for a run as it is.

    The candidates are all cells of a fold of spatial blocks (seed 0), fold by fold. The run has
    been fitted, or trained, on all of them: see `studies.subsets` for cells that were not there.

    Parameters
    ----------
    folder : of the run, with its embeddings and, where it has them, its towers
    run : name of the recipe

    Returns
    -------
    rows `run, of ("words" | "imagery"), way, seen, recall<k>, chance<k>, null<k>, n, candidates`;
    and what this run cannot be asked, and why
    """
    vectors = Embeddings.load(folder / "embeddings.parquet").vectors
    fold = folds_of(place.cells, protocol="blocks", seed=0)
    rows: list[dict[str, Any]] = []
    impossible: list[dict[str, str]] = []

    def add(of: str, way: str, queries: np.ndarray, has: np.ndarray) -> None:
        found = among_blocks(queries, has, vectors, fold)
        rows.append({"run": run, "of": of, "way": way, "seen": True, **found})

    has, texts = texts_of(place)
    words = folder / "text.safetensors"
    if has.any() and words.is_file():
        add(WORDS, "direction", TextMap.load(words)(texts), has)
        if (towers := towers_of_words(place, folder, run)) is not None:
            add(WORDS, "towers", towers(texts), has)
    if "imagery" in place.tables:
        tokens, has = place.tables["imagery"].aligned(place.cells)
        queries, why = _of_images(place, folder, run, tokens)
        if queries is None:
            impossible.append({"run": run, "of": IMAGERY, "why": why})
        else:
            add(IMAGERY, "towers", queries, has)
    return rows, impossible


def towers_of_words(
    place: Place, folder: Path, run: str
) -> Callable[[np.ndarray], np.ndarray] | None:
    """(n, text) text vectors -> where a cell lies that has nothing else; None without towers."""
    if run == MOBCLIP:
        return partial(Fusion.load(folder / FUSION_FILE).of_token, "poi", words=True)
    if run == PAPER:
        from mobclip import training

        return partial(training.of_token, place.tables["poi"], folder, words=True)
    return None


def among_blocks(
    queries: Float32[np.ndarray, "cells dims"],
    has: Bool[np.ndarray, "cells"],
    vectors: Float32[np.ndarray, "cells dims"],
    fold: Int64[np.ndarray, "cells"],
) -> dict[str, Any]:
    """`own_recall` of the cells that have a query, each among the cells of its fold."""
    parts = []
    for one in np.unique(fold[has]):
        rows = np.flatnonzero(fold == one)
        asked = np.flatnonzero(has[rows])
        parts.append(own_recall(queries[rows[asked]], asked, vectors[rows]))
    return pooled(parts)


def _of_images(
    place: Place, folder: Path, run: str, tokens: np.ndarray
) -> tuple[Float32[np.ndarray, "cells dims"] | None, str]:
    """Where the image of each cell lies by itself, or why that cannot be said."""
    if run == MOBCLIP:
        fusion = Fusion.load(folder / FUSION_FILE)
        votes = fusion.votes(place, {ALONE})
        return combined(fusion, votes, only("imagery", ALONE, fusion)), ""
    if run == PAPER:
        from mobclip import training

        return training.of_token(place.tables["imagery"], folder, tokens), ""
    if run == "pca":
        known = Features(place, known=frozenset({"imagery"}))
        return BASELINES[run].fit(known).vectors, ""
    if run == "imagery":
        return None, "its embedding is the image: it finds itself"
    if run == "propagated":
        return None, "an image without its neighbours is not what it is made of"
    if run in TRAINED:
        return None, "what it was taught by is not kept, but for positions"
    return None, "it does not look at images"


def only(name: str, state: int, fusion: Fusion) -> dict[str, int]:
    """One modality in a state, the others gone."""
    return {one: state if one == name else GONE for one in fusion.modalities}
