"""How well a search finds what it should: recall against area, twins, hierarchical precision.

Search answers with a ranked list of cells. Cells have an area, so the price of an answer is the
km² that have to be looked at; a rank has no such meaning once cells differ in size.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64, Int64, Real, UInt64

from mobclip import grid
from mobclip.embeddings import Embeddings
from mobclip.errors import ConfigError, RecordError
from mobclip.place import Place
from mobclip.search import SimilarityIndex, TextQuery

# Shares of the area at which a curve is written down: close together where answers are looked at.
SHARES = (0, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7, 1)
COUNT_PREFIX = "count_"  # token columns of the POI table that count a category, log(1 + n)


@dataclass(frozen=True, kw_only=True)
class RecallCurve:
    """Recall against the share of the area that was looked at, best cells first."""

    share: Float64[np.ndarray, " points"]  # of the area, 0 to 1, rising
    recall: Float64[np.ndarray, " points"]  # expected, 0 to 1, not falling
    area_under: float  # 1 is perfect, 0.5 is chance

    def rows(self) -> list[list[float]]:
        """The curve at `SHARES`, as pairs."""
        recall = np.interp(SHARES, self.share, self.recall)
        return [[float(share), float(value)] for share, value in zip(SHARES, recall, strict=True)]


def recall_vs_area(
    scores: Real[np.ndarray, "cells"],
    truth_rows: Int64[np.ndarray, " m"],
    areas_km2: Real[np.ndarray, "cells"],
    *,
    weights: Real[np.ndarray, " m"] | None = None,
) -> RecallCurve:
    """Recall vs Area (Bianco, Eigen and Gormish, arXiv 2407.13862).

    Cells are taken in the order of their score until the true one is among them; the price of
    the answer is the area taken. The area under the curve is the chance that a true point stands
    before a point drawn at random from the area, so that random scores have 0.5.

    Where we differ: a truth lies anywhere in its cell, so that its recall rises while the cell is
    taken, and not when the whole cell is (the paper's cells are small). Cells of equal score
    stand in random order: what is given is the expected value over the orders. That of the area
    is exact; the curve is a straight line over a tie, which is exact where cells have one size.

    Parameters
    ----------
    scores : higher is better
    truth_rows : rows of the true cells, may repeat
    weights : of each truth, 1 by default

    Raises
    ------
    ConfigError : no truth, a score that is NaN, an area that is not positive
    """
    if not len(truth_rows):
        raise ConfigError("recall needs at least one true cell.")
    if np.isnan(scores).any() or not (areas_km2 > 0).all():
        raise ConfigError("recall needs a score for every cell, and areas above 0 km².")
    mass = np.bincount(truth_rows, weights=weights, minlength=len(scores))
    _, tie = np.unique(-np.asarray(scores, np.float64), return_inverse=True)  # best is 0
    area = np.concatenate([[0.0], np.cumsum(np.bincount(tie, weights=areas_km2))])
    found = np.concatenate([[0.0], np.cumsum(np.bincount(tie, weights=mass))])
    share, recall = area / area[-1], found / found[-1]
    return RecallCurve(share=share, recall=recall, area_under=float(np.trapezoid(recall, share)))


def text_recall(
    place: Place, run_folder: Path | str, queries: Sequence[str] | None = None
) -> list[dict[str, Any]]:
    """Do words find the cells that hold what they name? One row for each POI category.

    The query is the name of a category, the truth its points as counted in the POI tokens, a
    cell's score the cosine of its vector to the vector of the words. **POI text is an input of
    the embeddings**: this measures whether the path from words to cells works, not whether
    anything is known about places without data. A run that lost the text scores 0.5. Less than
    that is possible: points are most in the cells that hold everything, whose vectors are about
    everything, and a query of one word may rank cells with little else before them.

    Parameters
    ----------
    run_folder : runs/<run> with embeddings.parquet and text.safetensors
    queries : categories; default: all that have a column of their own and a name, not a code

    Returns
    -------
    rows `query, run, area_under, curve, cells, points`, in the order of the columns (the most
    frequent category first); none if the run or the place has no text, or only codes. A category
    whose words the place's text featurizer does not know is left out.
    """
    run_folder = Path(run_folder)
    find = TextQuery(run=run_folder, featurizer=place.folder / "featurizers" / "poi")
    counts = _category_counts(place)
    if queries is not None:
        unknown = [query for query in queries if query not in counts]
        if unknown:
            raise ConfigError(
                f"{place.name} counts no POI category {unknown[0]!r}: choose among "
                f"{', '.join(counts) or 'none, for its categories are codes'}."
            )
        counts = {query: counts[query] for query in queries}
    if not find.available or not counts:
        return []
    embeddings = Embeddings.load(run_folder / "embeddings.parquet")
    index = SimilarityIndex(embeddings)
    areas = grid.areas_km2(embeddings.cells)
    cells = place.tables["poi"].cells
    rows = embeddings.rows(cells)
    found = []
    for query, count in counts.items():
        try:
            vector = find(_words(query))
        except RecordError:  # no known word
            continue
        here = count > 0
        curve = recall_vs_area(index.scores(vector), rows[here], areas, weights=count[here])
        found.append(
            {
                "query": query,
                "run": embeddings.name,
                "area_under": curve.area_under,
                "curve": curve.rows(),
                "cells": int(here.sum()),
                "points": float(count.sum()),
            }
        )
    return found


def twin_recall(
    embeddings: Embeddings, pairs: UInt64[np.ndarray, "m 2"], ks: Sequence[int] = (1, 10, 100)
) -> dict[str, Any]:
    """Is the twin of a cell among its nearest by cosine? For twins planted far apart.

    Each cell of a pair is a query for the other and is itself left out. Ties count as the
    expected value over their orders, in the recall and in the area under recall vs area.

    Returns
    -------
    a row `run, recall<k> ..., area_under, n, left_out`: n pairs of which both cells are there

    Raises
    ------
    ConfigError : no pair has both its cells among those of the embeddings
    """
    row, known = grid.locate(embeddings.cells, pairs.ravel())
    both = known.reshape(-1, 2).all(axis=1)
    if not both.any():
        raise ConfigError(
            f"none of {len(pairs)} pairs of twins is among the {len(embeddings.cells):,} cells of "
            f"{embeddings.name!r}: give the pairs that were planted in this place."
        )
    ends = row.reshape(-1, 2)[both]
    query = np.concatenate([ends[:, 0], ends[:, 1]])
    twin = np.concatenate([ends[:, 1], ends[:, 0]])
    unit = embeddings.unit()
    areas = grid.areas_km2(embeddings.cells)
    within = {k: np.zeros(len(query)) for k in ks}
    under = np.zeros(len(query))
    for number, (of, to) in enumerate(zip(query, twin, strict=True)):
        scores = unit @ unit[of]
        others = np.arange(len(scores)) != of
        better = (scores > scores[to]) & others
        equal = (scores == scores[to]) & others  # the twin among them
        for k in ks:
            within[k][number] = np.clip((k - better.sum()) / equal.sum(), 0, 1)
        before = areas[better].sum() + areas[equal].sum() / 2
        under[number] = 1 - before / areas[others].sum()
    return {
        "run": embeddings.name,
        **{f"recall{k}": float(within[k].mean()) for k in ks},
        "area_under": float(under.mean()),
        "n": int(both.sum()),
        "left_out": int((~both).sum()),
    }


def hierarchical_ap(
    embeddings: Embeddings, *, levels: int = 3, sample: int = 2000, rng: np.random.Generator
) -> dict[str, Any]:
    """Hierarchical average precision over H3 parents: do vectors keep the nested geography?

    H-AP of Ramzi et al. 2022 (HAPPIER, arXiv 2207.04873), by which DyCL (arXiv 2506.23077) is
    trained, with H3 ancestors as the hierarchy. Let U_1 be the cells that share the query's
    parent, U_2 those that share its grandparent, and so on up to U_L. Then, over cells k of U_L,

        rel(k)    = Σ 1 / |U_l| over the levels l of which k is a member
        rank(k)   = number of cells with a score of k's or more, k included
        H-rank(k) = Σ min(rel(k), rel(j)) over the cells j with a score of k's or more
        H-AP      = Σ_k H-rank(k) / rank(k)  /  Σ_k rel(k)

    This is the relevance for which H-AP is the mean of the average precisions at every level (each
    level weighs the same; a level without members does not count), and so it is computed here. Of
    one level it is average precision. Where we differ: the authors' other relevance,
    (l / L) / |cells of exactly level l|, can fall as the level rises where few cells share the
    grandparent but not the parent, as on a coast. The query is left out; equal scores count as
    ranked at the end of their tie, as in scikit-learn.

    This says how far nearness in the space is nearness on the ground. More is not better for
    every use: twins far apart lower it.

    Parameters
    ----------
    levels : number of ancestors, 1 or more
    sample : queries, drawn without replacement; those without any relevant cell do not count

    Returns
    -------
    a row `run, map, chance, levels, n`: mean over queries, the same for random ranks, the
    resolutions of the ancestors and the number of queries
    """
    cells = embeddings.cells
    resolution = grid.resolution_of(cells)
    if not 1 <= levels <= resolution:
        raise ConfigError(
            f"{levels} levels of parents: cells of resolution {resolution} have 1 to {resolution}."
        )
    ancestors = [
        np.unique(grid.parents(cells, resolution - up), return_inverse=True)[1]
        for up in range(1, levels + 1)
    ]
    order = np.argsort(ancestors[-1], kind="stable")  # members of each of the widest ancestors
    start = np.concatenate([[0], np.cumsum(np.bincount(ancestors[-1]))])
    unit = embeddings.unit()
    precision, chance = [], []
    for query in rng.permutation(len(cells))[:sample]:
        members = order[start[ancestors[-1][query]] : start[ancestors[-1][query] + 1]]
        members = members[members != query]
        if len(members) == 0:
            continue
        shares = np.array([of[members] == of[query] for of in ancestors])
        scores = unit @ unit[query]
        scores[query] = -np.inf  # behind everything
        rank = len(cells) - np.searchsorted(np.sort(scores), scores[members], side="left")
        precision.append(_hap(shares, rank))
        chance.append(_hap(shares, rng.choice(len(cells) - 1, len(members), replace=False) + 1))
    if not precision:
        raise ConfigError(
            f"no two cells share an ancestor {levels} levels up: take more levels than {levels}."
        )
    return {
        "run": embeddings.name,
        "map": float(np.mean(precision)),
        "chance": float(np.mean(chance)),
        "levels": [resolution - up for up in range(1, levels + 1)],
        "n": len(precision),
    }


def _hap(shares: Bool[np.ndarray, "levels k"], rank: Int64[np.ndarray, " k"]) -> float:
    """H-AP of one query: mean over the levels of the average precision of their members."""
    precisions = []
    for member in shares[shares.any(axis=1)]:
        ranks = np.sort(rank[member])
        precisions.append(np.mean(np.searchsorted(ranks, ranks, side="right") / ranks))
    return float(np.mean(precisions))


def _category_counts(place: Place) -> dict[str, np.ndarray]:
    """Category -> points in each cell of the POI tokens; codes are no words and left out."""
    from mobclip.modalities.poi import CODE  # brings pandas

    table = place.tables.get("poi")
    if table is None:
        return {}
    counts = {}
    for column in table.columns:
        category = column.removeprefix(COUNT_PREFIX)
        if column.startswith(COUNT_PREFIX) and not CODE.fullmatch(category):
            count = np.expm1(table.column(column).astype(np.float64))
            if count.sum() > 0:
                counts[category] = count
    return counts


def _words(category: str) -> str:
    """A category as words: `logistics_depot` -> "logistics depot"."""
    return re.sub(r"[^\w'’]+|_+", " ", category).strip()
