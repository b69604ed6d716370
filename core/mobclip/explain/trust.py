"""Trust: how many of a cell's neighbours stay when another model is asked."""

import numpy as np

from mobclip import grid
from mobclip.search import SimilarityIndex

NEIGHBOURS = 20


def neighbours_kept(
    one: SimilarityIndex, other: SimilarityIndex, cell: int, *, k: int = NEIGHBOURS
) -> tuple[int, int] | None:
    """How many of the `k` nearest cells are the same in two embeddings, and of how many.

    By chance it is k² / cells. None where the other has no such cell.

    A search that a second model (or the same one from another seed) answers with other cells
    rests on what is particular to the model, not on the evidence.
    """
    if not grid.locate(other.embeddings.cells, np.array([cell], np.uint64))[1][0]:
        return None
    mine, theirs = (index.like_cell(cell, k).cells for index in (one, other))
    return len(np.intersect1d(mine, theirs)), min(len(mine), len(theirs))
