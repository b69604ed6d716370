"""Held-out flows: do two embeddings and a distance tell how many go from one cell to the other?

Two tasks, after the NAICS-aware GraphSAGE (arXiv 2507.19697: R² and NDCG@10 of co-visitation) and
the complementary relation of SEENet (arXiv 2306.08921):

flows         from a cell to a cell
co-visitation of two cells d, e: Σ over origins o of min(flow o → d, flow o → e), the trips from
              the same origins that end in both

What is asked, of whom
----------------------
Tested are *all* pairs of some cells, drawn at random, with the cells from which their flows are
hidden (`graph.hold_out`), pairs without a flow included: no metric has to undo a sampling. Only
cells that still send (first end) or receive (second end) in the graph that the embeddings saw
take part, and of the second ends of a first end the nearest 1,000: in places of fewer than 5,000
cells that is all, in larger ones far flows are not asked for.

Learned from are pairs in which flows are hidden from the embeddings too, but shown to the probe:
all that have a flow, and of those without one the r-th nearest to the first end with chance
min(1, 10 / r). Far pairs are almost all empty and all alike. What is left out is made up for by
weights of 1 / chance, so that every row learns the same thing as from all pairs.

Sizes are strengths (outflow, inflow) in the graph that the embeddings saw, for every row alike.
Rows differ in nothing but the embedding.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64
from scipy import sparse

from mobclip import grid
from mobclip.errors import ConfigError
from mobclip.graph import PARTS, HeldOut
from mobclip.probes import metrics
from mobclip.probes.pairs import fit_pairs

Task = Literal["flows", "co-visitation"]

MOST_LEARNED = 120_000  # pairs
MOST_TESTED = 800_000  # pairs
MOST_CANDIDATES = 1_000  # second ends of one first end
NEAR = 10.0  # empty pairs up to this rank by distance are all learned from
DIMS = 32  # of an embedding, after PCA
TOP = 10  # of NDCG
BLOCK = 100_000  # pairs whose features are in memory at once


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """Ordered pairs of cells, those of one first end side by side."""

    first: Int64[np.ndarray, " n"]  # row number of the cell
    second: Int64[np.ndarray, " n"]
    km: Float64[np.ndarray, " n"]  # between the centres
    nearer: Float64[np.ndarray, " n"]  # size of all cells nearer to `first` than `second` is
    value: Float64[np.ndarray, " n"]  # what is to be predicted, 0 or more
    weight: Float64[np.ndarray, " n"]  # how many pairs it stands for


@dataclass(frozen=True, kw_only=True)
class Question:
    """What a probe learns from and is asked."""

    task: Task
    out: Float64[np.ndarray, "cells"]  # strengths in the graph that the embeddings saw
    into: Float64[np.ndarray, "cells"]
    learned: Pairs
    tested: Pairs
    choosing: Bool[np.ndarray, "learned"]  # a fifth of the parents: how long to learn


@dataclass(frozen=True, kw_only=True)
class Answer:
    """Predictions of the tested pairs."""

    log: Float64[np.ndarray, " n"]  # of log(1 + value)
    value: Float64[np.ndarray, " n"]  # calibrated: right in total on the pairs learned from


@dataclass(frozen=True, kw_only=True)
class FlowScore:
    """How good an answer is."""

    r2: float  # of log(1 + value), all tested pairs
    ndcg10: float  # mean over first ends with two partners or more
    cpc: float | None  # None where values are not trips from here to there
    n: int  # pairs
    positives: int  # of them with a value


# ---- the questions ---------------------------------------------------------------------------


def flows(held: HeldOut, *, seed: int) -> Question:
    """Predict the flow of ordered pairs of cells."""

    def parts(part: int) -> Callable[[int], Bool[np.ndarray, "cells"]]:
        return lambda one: held.parts_of(one) == part

    def values(of: sparse.csr_array) -> Callable[[int], Float64[np.ndarray, "cells"]]:
        return lambda one: of[[one]].toarray()[0].astype(np.float64)

    return _question(
        held,
        "flows",
        tested=(parts(0), values(held.tested.matrix)),
        learned=(parts(1), values(held.learned.matrix)),
        seed=seed,
    )


def co_visitation(held: HeldOut, *, seed: int) -> Question:
    """Predict how many trips of the same hidden origins end in both cells of a pair.

    Asked for are pairs of cells whose parents are of one group: flows into both are hidden from
    the embeddings for the same origins, two fifths of the place, and their co-visitation is over
    these alone. A second deal, of the parents of each group, puts a fifth of the pairs of parents
    to the test; the probe learns from the others.
    """
    rng = np.random.default_rng([seed, 2])
    names, first, of_cell = np.unique(held.parents, return_index=True, return_inverse=True)
    second = np.empty(len(names), np.int64)
    for group in range(PARTS):
        members = rng.permutation(np.flatnonzero(held.group[first] == group))
        second[members] = np.arange(len(members)) % PARTS
    deal = second[of_cell]

    def parts(tested: bool) -> Callable[[int], Bool[np.ndarray, "cells"]]:
        def asked(one: int) -> Bool[np.ndarray, "cells"]:
            is_tested = (deal + deal[one]) % PARTS == 0
            return (held.group == held.group[one]) & (is_tested == tested)

        return asked

    values = covisits(sparse.csr_array(held.learned.matrix + held.tested.matrix))
    return _question(
        held,
        "co-visitation",
        tested=(parts(True), values),
        learned=(parts(False), values),
        seed=seed,
    )


def covisits(matrix: sparse.csr_array) -> Callable[[int], Float64[np.ndarray, "cells"]]:
    """d -> for every cell e, Σ over origins o of min(flow o → d, flow o → e)."""
    into = sparse.csr_array(matrix.T)

    def values(one: int) -> Float64[np.ndarray, "cells"]:
        here = slice(into.indptr[one], into.indptr[one + 1])
        visits = matrix[into.indices[here]]
        both = np.minimum(visits.data, np.repeat(into.data[here], np.diff(visits.indptr)))
        summed = np.bincount(visits.indices, weights=both, minlength=matrix.shape[0])
        return summed.astype(np.float64)  # whole numbers where there is nothing to sum

    return values


Asked = tuple[
    Callable[[int], Bool[np.ndarray, "cells"]],  # first end -> which second ends may be asked for
    Callable[[int], Float64[np.ndarray, "cells"]],  # first end -> true values
]


def _question(held: HeldOut, task: Task, *, tested: Asked, learned: Asked, seed: int) -> Question:
    out = held.seen.out_strength.astype(np.float64)
    into = held.seen.in_strength.astype(np.float64)
    sends, receives = (out if task == "flows" else into) > 0, into > 0
    lonlat = grid.centers(held.seen.cells)
    size = out + into

    def listed(asked: Asked, near: float, most: int, stream: int) -> Pairs:
        rng = np.random.default_rng([seed, stream])
        made: list[Pairs] = []
        left = most
        for one in rng.permutation(np.flatnonzero(sends)).tolist():
            candidates = receives & asked[0](one)
            made.append(_pairs_of(one, lonlat, size, candidates, asked[1](one), near, rng))
            left -= len(made[-1].first)
            if left <= 0:
                break
        columns = {
            name: np.concatenate([getattr(one, name) for one in made])
            for name in (Pairs.__dataclass_fields__ if made else ())
        }
        if not columns or not columns["value"].any():
            raise ConfigError(f"no {task} between hidden cells to ask for: take a larger place.")
        return Pairs(**columns)

    pairs = listed(learned, NEAR, MOST_LEARNED, 1)
    parents = held.parents[pairs.first]
    names = np.random.default_rng([seed, 3]).permutation(np.unique(parents))
    if len(names) < 2:
        raise ConfigError(f"{task} is known from one H3 parent alone: take a larger place.")
    return Question(
        task=task,
        out=out,
        into=into,
        learned=pairs,
        tested=listed(tested, np.inf, MOST_TESTED, 0),
        choosing=np.isin(parents, names[: max(len(names) // 5, 1)]),
    )


def _pairs_of(
    one: int,
    lonlat: Float64[np.ndarray, "cells 2"],
    size: Float64[np.ndarray, "cells"],
    candidates: Bool[np.ndarray, "cells"],
    values: Float64[np.ndarray, "cells"],
    near: float,
    rng: np.random.Generator,
) -> Pairs:
    """The pairs of one first end, nearest first, thinned beyond rank `near`."""
    km = grid.distances_km(lonlat, lonlat[one])
    order = np.argsort(km, kind="stable")
    order = order[order != one]
    nearer = np.concatenate([[0.0], np.cumsum(size[order])])
    second = order[candidates[order]][:MOST_CANDIDATES]
    value = values[second]
    chance = np.minimum(1.0, near / np.arange(1, len(second) + 1))
    chance[value > 0] = 1.0
    kept = rng.random(len(second)) < chance
    second = second[kept]
    return Pairs(
        first=np.full(len(second), one, np.int64),
        second=second,
        km=km[second],
        nearer=nearer[np.searchsorted(km[order], km[second])],
        value=value[kept],
        weight=1 / chance[kept],
    )


# ---- the answers -----------------------------------------------------------------------------


def probe(
    question: Question,
    vectors: Float32[np.ndarray, "cells dims"] | None,
) -> Answer:
    """Boosted trees (`probes.pairs`) on both vectors, distance and sizes; predicts log(1 + value).

    Vectors are cut to 32 dimensions by PCA over all cells. Features of a flow: both vectors a and
    b, their product, log distance, log outflow and inflow; of a co-visitation, which has no
    direction: a + b, |a - b|, a · b, log distance, sum and difference of log inflows. Predicted
    values are exp(·) - 1, times one factor that makes their total right on the pairs learned from
    (the exponential of a mean logarithm is too small; cf. the smearing of Duan 1983).

    vectors : None: distance and sizes only
    """
    reduced = None if vectors is None else _principal(vectors)
    learned = question.learned
    predict = fit_pairs(
        _features(question, learned, reduced),
        np.log1p(learned.value),
        learned.weight,
        question.choosing,
    )
    log = [
        np.concatenate(
            [
                predict(_features(question, pairs, reduced, slice(start, start + BLOCK)))
                for start in range(0, len(pairs.first), BLOCK)
            ]
        )
        for pairs in (learned, question.tested)
    ]
    values = [np.maximum(np.expm1(one), 0) for one in log]
    return Answer(log=log[1], value=values[1] * _calibration(learned, values[0]))


def gravity(question: Question) -> Answer:
    """E(value) = exp(b0 + b1 log size + b2 log other size + b3 log km).

    Poisson pseudo-likelihood by iteratively reweighted least squares, which takes pairs without
    flow as they are (Santos Silva & Tenreyro 2006). Not constrained to the totals of the cells.
    For co-visitation sizes are the sum and the absolute difference of log inflows.
    """
    weight, value = question.learned.weight, question.learned.value
    x, tested = (
        np.column_stack([np.ones(len(pairs.first)), np.log(pairs.km), _sizes(question, pairs)])
        for pairs in (question.learned, question.tested)
    )
    fitted = poisson(x, value, weight)
    expected = np.exp(tested @ fitted)
    return Answer(log=np.log1p(expected), value=expected)


def radiation(question: Question) -> Answer:
    """The radiation model (Simini et al. 2012, eq. 2), which has no parameter.

    T_ij = T_i m_i m_j / ((m_i + s_ij) (m_i + m_j + s_ij)); T_i is the outflow of i; population m is
    in- and outflow; s_ij that of the cells strictly nearer to i than j is, i left out. All in the
    graph that the embeddings saw; times one factor that makes the total right on the pairs learned
    from.
    """
    learned, tested = (_radiated(question, one) for one in (question.learned, question.tested))
    value = tested * _calibration(question.learned, learned)
    return Answer(log=np.log1p(value), value=value)


def poisson(
    x: Float64[np.ndarray, "n k"], y: Float64[np.ndarray, " n"], weight: Float64[np.ndarray, " n"]
) -> Float64[np.ndarray, " k"]:
    """Coefficients b of E(y) = exp(x b) that maximise the weighted Poisson likelihood.

    The first column of `x` is the constant.
    """
    fitted = np.zeros(x.shape[1])
    fitted[0] = np.log(max(np.average(y, weights=weight), 1e-12))
    for _ in range(100):
        mean = np.exp(np.clip(x @ fitted, -50, 50))
        root = np.sqrt(weight * mean)
        step = np.linalg.lstsq(x * root[:, None], root * (y - mean) / mean, rcond=None)[0]
        # The first steps from a poor start may be far too long.
        fitted += step / max(1.0, np.abs(x @ step).max() / 5)
        if np.abs(step).max() < 1e-8:
            break
    return fitted


def _radiated(question: Question, pairs: Pairs) -> Float64[np.ndarray, " n"]:
    size = question.out + question.into
    own, other = size[pairs.first], size[pairs.second]
    within = own + pairs.nearer
    return question.out[pairs.first] * own * other / (within * (within + other))


def _sizes(question: Question, pairs: Pairs) -> Float64[np.ndarray, "n 2"]:
    into = np.log(question.into[pairs.second])
    if question.task == "flows":
        return np.column_stack([np.log(question.out[pairs.first]), into])
    other = np.log(question.into[pairs.first])
    return np.column_stack([other + into, np.abs(other - into)])


def _features(
    question: Question,
    pairs: Pairs,
    reduced: Float32[np.ndarray, "cells dims"] | None,
    rows: slice = slice(None),
) -> Float32[np.ndarray, "n features"]:
    pairs = Pairs(**{name: getattr(pairs, name)[rows] for name in Pairs.__dataclass_fields__})
    columns = [np.log(pairs.km)[:, None], _sizes(question, pairs)]
    if reduced is not None:
        a, b = reduced[pairs.first], reduced[pairs.second]
        ends = [a, b] if question.task == "flows" else [a + b, np.abs(a - b)]
        columns = [*ends, a * b, *columns]
    return np.hstack(columns, dtype=np.float32, casting="same_kind")


def _principal(vectors: Float32[np.ndarray, "cells dims"]) -> Float32[np.ndarray, "cells reduced"]:
    centred = vectors - vectors.mean(0, dtype=np.float64)
    axes = np.linalg.eigh(centred.T @ centred)[1][:, ::-1][:, :DIMS]
    return (centred @ axes).astype(np.float32)


def _calibration(learned: Pairs, predicted: Float64[np.ndarray, " n"]) -> float:
    """What predictions are multiplied by, so that their total is right where it is known."""
    total = (learned.weight * predicted).sum()
    return float((learned.weight * learned.value).sum() / total) if total > 0 else 1.0


# ---- the scores ------------------------------------------------------------------------------


def score(question: Question, answer: Answer) -> FlowScore:
    """R², NDCG@10 and, for flows, the common part of commuters on the tested pairs."""
    tested = question.tested
    return FlowScore(
        r2=metrics.regression(np.log1p(tested.value), answer.log)["r2"],
        ndcg10=ndcg(tested.first, tested.value, answer.log),
        cpc=common_part(tested.value, answer.value) if question.task == "flows" else None,
        n=len(tested.value),
        positives=int((tested.value > 0).sum()),
    )


def common_part(actual: Float64[np.ndarray, " n"], predicted: Float64[np.ndarray, " n"]) -> float:
    """Common part of commuters: 2 Σ min(t, p) / (Σ t + Σ p), from 0 to 1.

    Sørensen's index (1948) on flows (Lenormand, Bassolas & Ramasco 2016, eq. 9). Totals are not
    made equal: they were right on the pairs learned from, and are part of what is judged.
    """
    total = actual.sum() + predicted.sum()
    return float(2 * np.minimum(actual, predicted).sum() / total) if total > 0 else np.nan


def ndcg(
    first: Int64[np.ndarray, " n"],
    actual: Float64[np.ndarray, " n"],
    predicted: Float64[np.ndarray, " n"],
    *,
    top: int = TOP,
) -> float:
    """Normalised discounted cumulative gain at `top`, mean over first ends.

    Candidates of a first end are ranked by prediction; the one at rank r gains its true value
    divided by log2(r + 1); the sum is divided by that of the true order (Järvelin & Kekäläinen
    2002, with the discount of Burges et al. 2005). Equal predictions, frequent with trees, gain
    their expectation in random order (McSherry & Najork 2008). First ends with fewer than two
    candidates of a value above 0 are left out: their ranking says little. NaN if there is none.
    """
    discount = np.zeros(len(first) + 1)
    discount[1 : top + 1] = 1 / np.log2(np.arange(2, len(discount[1 : top + 1]) + 2))
    names, first = np.unique(first, return_inverse=True)
    starts = np.concatenate([[0], np.cumsum(np.bincount(first))])[:-1]

    def gained(by: np.ndarray) -> Float64[np.ndarray, " firsts"]:
        order = np.lexsort((-by, first))
        of, key, gain = first[order], by[order], actual[order]
        fresh = np.concatenate([[True], (of[1:] != of[:-1]) | (key[1:] != key[:-1])])
        tie = np.cumsum(fresh) - 1
        expected = (np.bincount(tie, weights=gain) / np.bincount(tie))[tie]
        rank = np.arange(len(of)) - starts[of] + 1
        return np.bincount(of, weights=expected * discount[rank], minlength=len(names))

    several = np.bincount(first, weights=actual > 0, minlength=len(names)) >= 2
    if not several.any():
        return np.nan
    return float((gained(predicted)[several] / gained(actual)[several]).mean())
