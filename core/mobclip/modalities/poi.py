"""Points of interest -> one token per cell: a text vector, counts by category, and how many."""

import re
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float32, Int64, UInt64

from mobclip import grid
from mobclip.errors import RecordError
from mobclip.records import PointRecords
from mobclip.table import CellTable

TextFeaturizer = Callable[[Sequence[str]], Float32[np.ndarray, "documents dims"]]

MAX_CATEGORIES = 64  # the most frequent have a column of their own
MIN_CELLS = 3  # a category in fewer cells says nothing about other cells
# Some providers name categories by a code: it is counted, but it is no word.
CODE = re.compile(r"(?=.*\d)[0-9A-Fa-f-]{6,}|\d+")


def tokenize(
    points: Sequence[PointRecords],
    cells: UInt64[np.ndarray, "cells"],
    featurizer: TextFeaturizer | None,
) -> CellTable:
    """Tokens of all cells with at least one point.

    Columns: ``text_000...`` from the featurizer; ``count_<category>`` = log(1 + count) of the 64
    most frequent categories that occur in 3 cells or more; ``log_total`` = log(1 + count of all).
    A record of weight w counts as w points.

    Parameters
    ----------
    points : one or more sources; they are counted together
    cells : sorted, unique, one resolution; points elsewhere are left out
    featurizer : fitted on these cells' documents first if it is not fitted yet; None: no text
    """
    point, row = _inside(points, cells)
    present, cell = np.unique(row, return_inverse=True)
    weight = _concatenated(points, "weight")[point]
    blocks: list[np.ndarray] = []
    columns: list[str] = []
    if featurizer is not None:
        texts = _joined(_words(points)[point], cell, len(present))
        if not getattr(featurizer, "fitted", True):
            featurizer.fit(texts)  # type: ignore[attr-defined]
        vectors = featurizer(texts)
        blocks.append(vectors)
        columns += [f"text_{i:03d}" for i in range(vectors.shape[1])]
    counts, names = _category_counts(_categories(points)[point], cell, weight, len(present))
    blocks.append(np.log1p(counts))
    columns += [f"count_{name}" for name in names]
    blocks.append(np.log1p(np.bincount(cell, weights=weight, minlength=len(present)))[:, None])
    columns.append("log_total")
    return CellTable(
        modality="poi",
        cells=cells[present],
        values=np.concatenate(blocks, axis=1).astype(np.float32),
        columns=tuple(columns),
    )


def documents(
    points: Sequence[PointRecords], cells: UInt64[np.ndarray, "cells"]
) -> tuple[UInt64[np.ndarray, "present"], list[str]]:
    """Cells with at least one point, and the text of each: one line per point.

    A line is the words of the category and then the text of the record; points keep the order of
    the sources and of their rows.
    """
    point, row = _inside(points, cells)
    present, cell = np.unique(row, return_inverse=True)
    return cells[present], _joined(_words(points)[point], cell, len(present))


def _inside(
    points: Sequence[PointRecords], cells: UInt64[np.ndarray, "cells"]
) -> tuple[Int64[np.ndarray, " n"], Int64[np.ndarray, " n"]]:
    """Numbers of the points that lie in `cells`, and the row of the cell of each."""
    if not points or len(cells) == 0:
        raise RecordError("POI tokens need at least one source of points and one cell.")
    found = grid.points_to_cells(
        lon=_concatenated(points, "lon"),
        lat=_concatenated(points, "lat"),
        resolution=grid.resolution_of(cells),
    )
    row, known = grid.locate(cells, found)
    if not known.any():
        raise RecordError(
            f"none of {len(found)} points of {', '.join(p.source for p in points)} lies in the "
            f"{len(cells)} cells of the place: check lon, lat and the area in data_manifest.yaml."
        )
    inside = np.flatnonzero(known)
    return inside, row[inside]


def _concatenated(points: Sequence[PointRecords], name: str) -> np.ndarray:
    return np.concatenate([getattr(source, name) for source in points])


def _categories(points: Sequence[PointRecords]) -> np.ndarray:
    return np.concatenate([_texts(source.category, len(source)) for source in points])


def _words(points: Sequence[PointRecords]) -> np.ndarray:
    """One line per point: words of the category, then the text."""
    lines: list[str] = []
    for source in points:
        category = _texts(source.category, len(source))
        # Few categories, many points: each is looked at once.
        word = {name: words_of(name) for name in pd.unique(category)}
        text = _texts(source.text, len(source))
        lines += [
            " ".join(f"{word[name]} {words}".split())
            for name, words in zip(category, text, strict=True)
        ]
    found = np.empty(len(lines), dtype=object)
    found[:] = lines
    return found


def words_of(category: str) -> str:
    """What a category adds to the text of its points; a code adds nothing."""
    return "" if CODE.fullmatch(category) else re.sub(r"[_/&,;:|>-]+", " ", category)


def _texts(values: np.ndarray | None, n: int) -> np.ndarray:
    return np.full(n, "", dtype=object) if values is None else values


def _joined(lines: np.ndarray, cell: Int64[np.ndarray, " n"], n: int) -> list[str]:
    """Lines of each of `n` cells under one another."""
    order = np.argsort(cell, kind="stable")
    parts = np.split(lines[order], np.cumsum(np.bincount(cell, minlength=n))[:-1])
    return ["\n".join(filter(None, part)) for part in parts]


def _category_counts(
    category: np.ndarray, cell: Int64[np.ndarray, " n"], weight: np.ndarray, n: int
) -> tuple[np.ndarray, list[str]]:
    """(cells, categories) counts of the most frequent categories, and their names."""
    code, names = pd.factorize(category, sort=True)
    keep = np.array([name != "" for name in names], bool)
    total = np.bincount(code, weights=weight, minlength=len(names))
    pairs = np.unique(code * n + cell)
    spread = np.bincount(pairs // n, minlength=len(names))  # in how many cells
    keep &= spread >= MIN_CELLS
    # Ties in alphabetical order: names are sorted and the sort is stable.
    chosen = np.argsort(-np.where(keep, total, -1), kind="stable")[
        : min(MAX_CATEGORIES, keep.sum())
    ]
    column = np.full(len(names), -1)
    column[chosen] = np.arange(len(chosen))
    at = column[code]
    used = at >= 0
    counts = np.bincount(
        cell[used] * len(chosen) + at[used],
        weights=weight[used],
        minlength=n * len(chosen),
    )
    return counts.reshape(n, len(chosen)), [str(names[i]) for i in chosen]
