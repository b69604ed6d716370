"""How well a search finds what it should: words, tokens, twins, hierarchical precision.

Search answers with a ranked list of cells. Cells have an area, so the price of an answer is the
km² that have to be looked at; a rank has no such meaning once cells differ in size.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64, Real, UInt64

from mobclip import grid
from mobclip.embeddings import Embeddings, unit_rows
from mobclip.errors import ConfigError, RecordError
from mobclip.place import Place
from mobclip.textmap import TextMap

KS = (1, 10, 100)  # of recall@k
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


# ---- words -------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Prompts:
    """Queries of a few words each, and where what they name is: the POI categories of a place."""

    queries: tuple[str, ...]
    texts: Float32[np.ndarray, "queries text"]
    points: Float64[np.ndarray, "cells queries"]  # of the category, as counted in the POI tokens
    share: Float64[np.ndarray, "cells queries"]  # of the points of the cell

    @classmethod
    def of(cls, place: Place) -> "Prompts | None":
        """All categories that have a column and a name whose words are known; None without any."""
        counts = _category_counts(place)
        folder = place.folder / "featurizers" / "poi"
        if not counts or not folder.is_dir():
            return None
        from mobclip import featurizers  # brings scikit-learn: only when a text is asked for

        featurizer = featurizers.load(folder)
        known: list[str] = []
        texts: list[np.ndarray] = []
        points: list[np.ndarray] = []
        share: list[np.ndarray] = []
        table = place.tables["poi"]
        rows, _ = grid.locate(place.cells, table.cells)
        total = np.expm1(table.column("log_total").astype(np.float64))
        for query, count in counts.items():
            try:
                # Only a text featurizer stands there, and those have `query`.
                texts.append(featurizer.query(_words(query)))  # type: ignore[attr-defined]
            except RecordError:  # no known word
                continue
            known.append(query)
            for kind, values in ((points, count), (share, count / np.maximum(total, count))):
                everywhere = np.zeros(len(place.cells))
                everywhere[rows] = values
                kind.append(everywhere)
        if not known:
            return None
        return cls(
            queries=tuple(known),
            texts=np.array(texts, np.float32),
            points=np.column_stack(points),
            share=np.column_stack(share),
        )


def text_recall(
    place: Place, run_folder: Path | str, prompts: Prompts | None
) -> list[dict[str, Any]]:
    """Do words find the cells that hold what they name? One row for each POI category.

    The query is the name of a category, a cell's score the cosine of its vector to the vector of
    the words, as in the app. **POI text is an input of the embeddings**: this measures whether the
    path from words to cells works, not whether anything is known about places without data. A run
    that lost the text scores 0.5. The truth is weighed in two ways:

    - `area_under`: every point of the category counts once. Points are most in the cells that hold
      everything, whose vectors are about everything; a query of one word may rank cells with
      little else before them, and score less than 0.5.
    - `area_under_share`: every cell counts by the share of its points that are of the category.
      Then what is *typical* of a cell is asked for, which is what a cosine can see.

    `null` and `null_share` are what any other prompt of the place scores on the same truth (mean
    over all of them). It is not 0.5: a map that ranks busy cells first, whatever is asked, finds
    most of everything. Words have said something where a query scores more than its null.

    Parameters
    ----------
    run_folder : runs/<run> with embeddings.parquet and text.safetensors
    prompts : of the place

    Returns
    -------
    rows `query, run, area_under, area_under_share, null, null_share, curve, curve_share, cells,
    points`, in the order of the prompts; none without prompts, or for a run without text
    """
    run_folder = Path(run_folder)
    words = run_folder / "text.safetensors"
    if prompts is None or not words.is_file():
        return []
    embeddings = Embeddings.load(run_folder / "embeddings.parquet")
    scores = embeddings.unit() @ unit_rows(TextMap.load(words)(prompts.texts)).T
    areas = grid.areas_km2(embeddings.cells)
    truths = {"": prompts.points, "_share": prompts.share}
    under = {name: areas_under(scores, truth, areas) for name, truth in truths.items()}
    found = []
    for column, query in enumerate(prompts.queries):
        here = prompts.points[:, column] > 0
        row = {
            "query": query,
            "run": embeddings.name,
            "cells": int(here.sum()),
            "points": float(prompts.points[:, column].sum()),
        }
        for name, truth in truths.items():
            curve = recall_vs_area(
                scores[:, column], np.flatnonzero(here), areas, weights=truth[here, column]
            )
            others = np.delete(under[name][:, column], column)
            row |= {
                f"area_under{name}": curve.area_under,
                f"null{name}": float(others.mean()) if len(others) else None,
                f"curve{name}": curve.rows(),
            }
        found.append(row)
    return found


def text_ways(
    run_folder: Path | str,
    prompts: Prompts | None,
    towers: Callable[[np.ndarray], np.ndarray] | None = None,
) -> list[dict[str, Any]]:
    """Other ways from words to cells, beside that of `text_recall`; a row for each, means.

    Words become a direction that was read off the cells (`probes.words`), or the point where the
    towers of the recipe put a cell that has nothing else; cells are ranked by cosine or by dot
    product, which prefers cells of which there is more to say.

    Parameters
    ----------
    towers : (n, text) text vectors -> (n, dims); None for a recipe without towers

    Returns
    -------
    rows `run, way, area_under, area_under_share, null, null_share, n`; n queries
    """
    run_folder = Path(run_folder)
    words = run_folder / "text.safetensors"
    if prompts is None or not words.is_file():
        return []
    embeddings = Embeddings.load(run_folder / "embeddings.parquet")
    maps: dict[str, Callable[[np.ndarray], np.ndarray]] = {"direction": TextMap.load(words)}
    if towers is not None:
        maps["towers"] = towers
    areas = grid.areas_km2(embeddings.cells)
    rows = []
    for name, direction in maps.items():
        queries = direction(prompts.texts)
        ranked = {
            "cosine": embeddings.unit() @ unit_rows(queries).T,
            "dot product": embeddings.vectors @ queries.T,
        }
        for by, scores in ranked.items():
            row: dict[str, Any] = {"run": embeddings.name, "way": f"{name}, {by}"}
            for weighting, truth in (("", prompts.points), ("_share", prompts.share)):
                under = areas_under(scores, truth, areas)
                n = len(under)
                of_others = (under.sum() - np.trace(under)) / (n * (n - 1)) if n > 1 else None
                row[f"area_under{weighting}"] = float(np.trace(under) / n)
                row[f"null{weighting}"] = of_others
            rows.append({**row, "n": n})
    return rows


def areas_under(
    scores: Real[np.ndarray, "cells prompts"],
    truth: Real[np.ndarray, "cells queries"],
    areas_km2: Real[np.ndarray, "cells"],
) -> Float64[np.ndarray, "prompts queries"]:
    """Area under recall vs area of the scores of each prompt, for the truth of each query.

    As `recall_vs_area`, for all pairs at once: what a true point costs is the area before its
    cell and half of that of its tie.
    """
    price = np.empty(scores.shape)
    for column in range(scores.shape[1]):
        _, tie = np.unique(-np.asarray(scores[:, column], np.float64), return_inverse=True)
        of_tie = np.bincount(tie, weights=areas_km2)
        price[:, column] = (np.cumsum(of_tie) - of_tie / 2)[tie]
    under: np.ndarray = 1 - price.T @ (truth / truth.sum(0)) / areas_km2.sum()
    return under


# ---- tokens --------------------------------------------------------------------------------------


def own_recall(
    queries: Float32[np.ndarray, "n dims"],
    own: Int64[np.ndarray, " n"],
    candidates: Float32[np.ndarray, "m dims"],
    ks: Sequence[int] = KS,
) -> dict[str, Any]:
    """Is the own cell of each query among its nearest by cosine?

    Equal cells count as the expected value over their orders.

    Parameters
    ----------
    own : row of the own cell of each query among the candidates

    Returns
    -------
    `recall<k>`, `chance<k>` (k of the candidates), `null<k>` (how often a query has the own cell
    of *another* query among its best k: a random prompt; more than chance where queries prefer
    such cells whatever they say), `n`, `candidates`
    """
    if not len(queries):
        raise ConfigError("recall needs at least one query.")
    unit, wanted = unit_rows(candidates), unit_rows(queries)
    m, n = len(unit), len(wanted)
    hits = dict.fromkeys(ks, 0.0)
    of_others = dict.fromkeys(ks, 0.0)
    for start in range(0, n, 1024):
        scores = wanted[start : start + 1024] @ unit.T
        mine = own[start : start + 1024]
        for k in ks:
            if k >= m:
                chance = np.ones_like(scores)
            else:
                least = -np.partition(-scores, k - 1, axis=1)[:, k - 1 : k]
                better, equal = scores > least, scores == least
                room = k - better.sum(1, keepdims=True)
                chance = np.where(better, 1, equal * room / equal.sum(1, keepdims=True))
            hit = chance[np.arange(len(mine)), mine]
            hits[k] += float(hit.sum())
            of_others[k] += float(chance[:, own].sum() - hit.sum())
    return {
        **{f"recall{k}": hits[k] / n for k in ks},
        **{f"chance{k}": min(k, m) / m for k in ks},
        **{f"null{k}": of_others[k] / (n * (n - 1)) if n > 1 else min(k, m) / m for k in ks},
        "n": n,
        "candidates": m,
    }


def pooled(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Rows of `own_recall` as one: means over all queries; of the candidates their mean number."""
    n = np.array([part["n"] for part in parts], np.float64)
    means = {
        name: float(np.average([part[name] for part in parts], weights=n))
        for name in parts[0]
        if name not in ("n", "candidates")
    }
    many = float(np.average([part["candidates"] for part in parts], weights=n))
    return {**means, "n": int(n.sum()), "candidates": round(many)}


# ---- twins, hierarchy ----------------------------------------------------------------------------


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
