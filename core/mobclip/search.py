"""Similarity search over cells: exact cosine, by cells, by examples, by words, by directions."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64, Shaped, UInt64

from mobclip import grid
from mobclip.embeddings import Embeddings, unit_rows
from mobclip.errors import ConfigError
from mobclip.session import Selection
from mobclip.textmap import TextMap

# Cells given as examples: a list of them, or an array.
Examples = Sequence[int | np.uint64] | UInt64[np.ndarray, "_"]

AGAINST = 0.5  # weight of what the answers should be unlike
SAMPLE = 499  # queries that nobody asked, beside which a score is put
WHOLE_SAMPLE = 99  # of them, those whose best score in the whole place is looked for
ROWS_AT_ONCE = 65_536
SPREAD_ROWS = 20_000  # cells from which it is read how far scores spread


@dataclass(frozen=True, kw_only=True)
class Matches:
    """The best cells of a query, best first."""

    cells: UInt64[np.ndarray, "k"]
    scores: Float32[np.ndarray, "k"]  # cosine, -1 to 1


@dataclass(frozen=True, kw_only=True)
class Found(Matches):
    """Matches, and what their scores are worth."""

    rows: Int64[np.ndarray, "k"]  # of the embeddings
    ranks: Int64[np.ndarray, "k"]  # among all cells but the examples, from 1: before any filter
    percentiles: Float64[np.ndarray, "k"]  # share of those other cells that it stands before, 0-1
    own: Float32[np.ndarray, "k"]  # the embedding's score, where `scores` mixes it with others
    chance: Float64[np.ndarray, "k"]  # how often chance does as well (`Null.as_good`); NaN: unsaid
    km: Float64[np.ndarray, "k"] | None  # to the nearest positive example; None without one
    passed: int  # how many cells pass the filters, these among them


@dataclass(frozen=True, kw_only=True)
class Query:
    """What is looked for, in parts; one that is not given is not asked for.

    like, unlike : cells as examples
    towards, away : directions in the space of the run, each of words or of an image
    """

    like: tuple[int, ...] = ()
    unlike: tuple[int, ...] = ()
    towards: tuple[Float32[np.ndarray, " dims"], ...] = ()
    away: tuple[Float32[np.ndarray, " dims"], ...] = ()

    @property
    def examples(self) -> UInt64[np.ndarray, " examples"]:
        """All cells that were named: they are no answers."""
        return np.array([*self.like, *self.unlike], np.uint64)


@dataclass(frozen=True, kw_only=True)
class Null:
    """Queries that nobody asked: a seeded sample of the make-up of one that was.

    In place of its cells stand as many random ones, in place of its words as many other words of
    the place, in place of its image those of other cells.
    """

    queries: Float32[np.ndarray, "sample dims"]  # of length 1

    def as_good(
        self, unit: Float32[np.ndarray, "k dims"], scores: Float32[np.ndarray, "k"]
    ) -> Float64[np.ndarray, "k"]:
        """How often a random query finds a cell at least as good as the asked one does.

        (1 + as good) / (1 + sample), as for a permutation test. It is asked of each cell: one that
        is near to everything (a hub) is found by chance often, however high its score.

        unit : vectors of the cells, of length 1
        """
        if not len(self.queries):
            return np.full(len(scores), np.nan)
        as_good = (self.queries @ unit.T >= scores).sum(axis=0)
        return (1.0 + as_good) / (1.0 + len(self.queries))


@dataclass(frozen=True, kw_only=True)
class Ranked:
    """All cells in the order of their scores: filters read it without a new search."""

    index: "SimilarityIndex" = field(repr=False)
    query: Query = field(repr=False)
    own: Float32[np.ndarray, "cells"]  # cosine to the query
    scores: Float32[np.ndarray, "cells"]  # what is ranked by: `own`, unless `by` said otherwise
    order: Int64[np.ndarray, " others"]  # rows, best first, without the examples
    null: Null = field(repr=False)

    def by(self, scores: Float32[np.ndarray, "cells"]) -> "Ranked":
        """Ranked by other scores of the same cells."""
        return replace(self, scores=scores, order=_order(scores, self._examples))

    def best(
        self,
        count: int,
        *,
        least: float = -1.0,
        inside: Bool[np.ndarray, "cells"] | None = None,
        apart_km: float = 0.0,
    ) -> Found:
        """The first `count` cells that pass the filters.

        least : no lower score
        inside : only these cells
        apart_km : only cells farther than this from every positive example: what is next door is
            often alike for that reason alone
        """
        scores = self.scores[self.order]
        passed = scores >= least
        if inside is not None:
            passed &= inside[self.order]
        if apart_km > 0 and self.km is not None:
            passed &= self.km[self.order] > apart_km
        at = np.flatnonzero(passed)[:count]
        rows = self.order[at]
        others = len(self.order)
        own = self.own[rows]
        return Found(
            cells=self.index.embeddings.cells[rows],
            scores=self.scores[rows],
            rows=rows,
            ranks=at + 1,
            percentiles=1 - at / max(others - 1, 1),
            own=own,
            chance=self.null.as_good(self.index.unit[rows], own),
            km=None if self.km is None else self.km[rows],
            passed=int(passed.sum()),
        )

    @cached_property
    def km(self) -> Float64[np.ndarray, "cells"] | None:
        """Distance of every cell to the nearest positive example; None without one."""
        if not self.query.like:
            return None
        everywhere = grid.centers(self.index.embeddings.cells)
        examples = grid.centers(np.array(self.query.like, np.uint64))
        return np.min([grid.distances_km(everywhere, one) for one in examples], axis=0)

    @cached_property
    def best_by_chance(self) -> float:
        """How often the best score of a random query reaches that of the asked one; NaN: unsaid.

        For words and images: a cell has always something that is near to it.
        """
        queries = self.null.queries[:WHOLE_SAMPLE]
        if not len(queries) or not len(self.order):
            return float("nan")
        best = np.full(len(queries), -np.inf, np.float32)
        for start in range(0, len(self.index.unit), ROWS_AT_ONCE):
            part = self.index.unit[start : start + ROWS_AT_ONCE]
            best = np.maximum(best, (part @ queries.T).max(axis=0))
        as_good = (best >= self.own[self._best_own]).sum()
        return float((1 + as_good) / (1 + len(queries)))

    @property
    def _best_own(self) -> int:
        return int(self.order[self.own[self.order].argmax()])

    @property
    def _examples(self) -> np.ndarray:
        return self.index.embeddings.rows(self.query.examples)


class SimilarityIndex:
    """Exact cosine search: one matrix-vector product per query (20k × 128 in milliseconds).

    Vectors are L2-normalised here; the embeddings themselves keep their length.
    """

    def __init__(self, embeddings: Embeddings) -> None:
        self.embeddings = embeddings
        self.unit = embeddings.unit()
        self.unit.setflags(write=False)

    def scores(self, vector: Float32[np.ndarray, " dims"]) -> Float32[np.ndarray, "cells"]:
        """Cosine of every cell to `vector`, in the order of the cells."""
        vector = np.asarray(vector, np.float32)
        if vector.shape != (self.embeddings.dims,):
            raise ConfigError(
                f"a query vector of {self.embeddings.name!r} has {self.embeddings.dims} numbers, "
                f"not shape {vector.shape}."
            )
        return self.unit @ unit_rows(vector[None])[0]

    def ranked(
        self,
        query: Query,
        *,
        others: Float32[np.ndarray, "pool dims"] | None = None,
        seed: int = 0,
    ) -> Ranked:
        """Score all cells once.

        others : directions of other words, or of other images, for the `Null` of a query that has
            directions; without them nothing is said of chance
        """
        scores = self.scores(self.vector(query))
        return Ranked(
            index=self,
            query=query,
            own=scores,
            scores=scores,
            order=_order(scores, self.embeddings.rows(query.examples)),
            null=self._null(query, others, np.random.default_rng(seed)),
        )

    def vector(self, query: Query) -> Float32[np.ndarray, " dims"]:
        """The parts of a query as one vector: "like A, minus B, plus words".

        Examples are one part: the mean of the positive unit vectors minus half the mean of the
        negative ones. Each direction is one, those to be led away from by half. A query of one
        part is that part. Several are added after each was divided by how far its scores spread
        over the cells (their standard deviation): scores by words vary less than scores by a cell,
        and would have no say.

        Raises
        ------
        ConfigError : only things that the answers should be unlike
        """
        if not query.like and not query.towards:
            raise ConfigError(
                "a search needs something to look for: at least one positive cell, or words that "
                "are not taken off. Mark a cell as “more like this”, or add words."
            )
        parts: list[tuple[float, np.ndarray]] = []
        if query.like:
            parts.append((1.0, self.vector_of(query.like, query.unlike)))
        elif query.unlike:
            parts.append((-AGAINST, self.vector_of(query.unlike)))
        parts += [(1.0, one) for one in query.towards]
        parts += [(-AGAINST, one) for one in query.away]
        if len(parts) == 1:
            return np.asarray(parts[0][1], np.float32)
        total = np.zeros(self.embeddings.dims)
        for weight, part in parts:
            spread = self._spread(part)
            total += weight * part / spread if spread > 0 else 0
        return total.astype(np.float32)

    def _spread(self, vector: np.ndarray) -> float:
        return float(np.sqrt(max(vector @ self._covariance @ vector, 0)))

    @cached_property
    def _covariance(self) -> Float64[np.ndarray, "dims dims"]:
        some = self.unit[:: max(1, len(self.unit) // SPREAD_ROWS)].astype(np.float64)
        some = some - some.mean(0)
        return some.T @ some / len(some)

    def _null(
        self,
        query: Query,
        others: Float32[np.ndarray, "pool dims"] | None,
        rng: np.random.Generator,
    ) -> Null:
        directions = bool(query.towards or query.away)
        sample = SAMPLE
        if len(self.unit) < 2 or (directions and (others is None or not len(others))):
            sample = 0
        cells = self.embeddings.cells
        made = np.empty((sample, self.embeddings.dims), np.float32)
        for i in range(sample):
            like, unlike = (
                tuple(cells[rng.integers(len(cells), size=len(one))].tolist())
                for one in (query.like, query.unlike)
            )
            towards, away = query.towards, query.away
            if directions:
                assert others is not None
                towards, away = (
                    tuple(others[rng.integers(len(others), size=len(one))])
                    for one in (towards, away)
                )
            made[i] = self.vector(Query(like=like, unlike=unlike, towards=towards, away=away))
        return Null(queries=unit_rows(made))

    # ---- in one step

    def like_vector(
        self,
        vector: Float32[np.ndarray, " dims"],
        k: int,
        *,
        allowed: Bool[np.ndarray, "cells"] | None = None,
    ) -> Matches:
        """The `k` cells nearest to `vector`, among those `allowed`."""
        scores = self.scores(vector)
        rows = np.arange(len(scores)) if allowed is None else np.flatnonzero(allowed)
        k = min(k, len(rows))
        if k < len(rows):
            rows = rows[np.argpartition(-scores[rows], k)[:k]] if k else rows[:0]
        # Ties go to the smaller cell number, so that an answer is the same everywhere.
        order = np.lexsort((rows, -scores[rows]))
        rows = rows[order]
        return Matches(cells=self.embeddings.cells[rows], scores=scores[rows])

    def like_cell(
        self, cell: int | np.uint64, k: int, *, exclude_within_km: float = 0.0
    ) -> Matches:
        """The `k` cells most like `cell`, itself left out.

        exclude_within_km : cells closer than this to `cell` are left out too: what is next door
        is often alike for that reason alone
        """
        return self.like([cell], [], k, exclude_within_km=exclude_within_km)

    def like(
        self,
        positive: Examples,
        negative: Examples,
        k: int,
        *,
        exclude_within_km: float = 0.0,
    ) -> Matches:
        """Cells like the `positive` examples and unlike the `negative` ones.

        The query is the mean of the positive unit vectors minus half the mean of the negative
        ones. The examples are left out.
        """
        allowed = np.ones(len(self.unit), bool)
        vector = self.vector_of(positive, negative)
        examples = np.asarray([*positive, *negative], np.uint64)
        allowed[self.embeddings.rows(examples)] = False
        if exclude_within_km > 0:
            everywhere = grid.centers(self.embeddings.cells)
            for example in grid.centers(np.asarray(positive, np.uint64)):
                allowed &= grid.distances_km(everywhere, example) > exclude_within_km
        return self.like_vector(vector, k, allowed=allowed)

    def vector_of(
        self, positive: Examples, negative: Examples = ()
    ) -> Float32[np.ndarray, " dims"]:
        """The query vector of examples."""
        if not len(positive):
            raise ConfigError("a search by example needs at least one positive cell.")
        vector = self.unit[self.embeddings.rows(np.asarray(positive, np.uint64))].mean(0)
        if len(negative):
            against = self.unit[self.embeddings.rows(np.asarray(negative, np.uint64))].mean(0)
            vector = vector - np.float32(AGAINST) * against
        return np.asarray(vector, np.float32)


def _order(
    scores: Float32[np.ndarray, "cells"], examples: Shaped[np.ndarray, " examples"]
) -> Int64[np.ndarray, " others"]:
    """Rows, best first; ties go to the smaller cell number. A score that is not known: left out."""
    order = np.argsort(-scores, kind="stable")
    out = ~np.isfinite(scores)
    out[examples] = True
    return order[~out[order]]


# ---- words


@dataclass(frozen=True, kw_only=True)
class TextQuery:
    """Words -> a vector in the space of one run, through the place's own text featurizer."""

    run: Path  # runs/<run>, holds text.safetensors
    featurizer: Path  # featurizers/poi of the place

    def __call__(self, text: str) -> Float32[np.ndarray, " dims"]:
        """Vector of a text; an error names known words if none of its words is known."""
        # Only a text featurizer stands there, and those have `query`, which refuses unknown words.
        vector: np.ndarray = self._map(self._featurizer.query(text)[None])[0]
        return vector

    def others(self, text: str, *, size: int = SAMPLE, seed: int = 0) -> np.ndarray:
        """(size, dims) vectors of other words of the place, as many at a time as `text` has.

        None, (0, dims), from a featurizer that keeps no list of words.
        """
        words = np.array([one for one in getattr(self._featurizer, "words", ()) if " " not in one])
        asked = set(text.lower().split())
        words = words[[one not in asked for one in words.tolist()]] if len(words) else words
        if not len(words):
            return np.zeros((0, self._map.weight.shape[1]), np.float32)
        rng = np.random.default_rng(seed)
        many = min(max(len(asked), 1), len(words))
        prompts = [" ".join(rng.choice(words, many, replace=False)) for _ in range(size)]
        return self._map(self._featurizer(prompts))

    @property
    def available(self) -> bool:
        """Whether this run can be searched by text."""
        return (self.run / "text.safetensors").is_file() and self.featurizer.is_dir()

    @cached_property
    def _featurizer(self) -> Any:
        from mobclip import featurizers  # brings scikit-learn: only when a text is asked for

        return featurizers.load(self.featurizer)

    @cached_property
    def _map(self) -> TextMap:
        return TextMap.load(self.run / "text.safetensors")


def signed_words(text: str) -> tuple[str, str]:
    """Words to be added, and those behind a minus sign, to be taken off.

    ``cafe market -harbour`` -> ``("cafe market", "harbour")``; a hyphen inside a word is no sign.
    """
    parts = text.split()
    off = [one[1:] for one in parts if re.match(r"[-−]\w", one)]
    return " ".join(one for one in parts if not re.match(r"[-−]\w", one)), " ".join(off)


@dataclass(frozen=True, kw_only=True)
class ImageQuery:
    """Where an image lies in the space of a run."""

    direction: Float32[np.ndarray, " dims"]
    others: Float32[np.ndarray, "pool dims"]  # where the images of other cells lie
    as_far: float  # share of the place's own images that are as far from the average one, 0 to 1


def asked(
    selection: Selection,
    words: Callable[[str], np.ndarray] | None,
    *,
    image: Float32[np.ndarray, " dims"] | None = None,
) -> Query | None:
    """The query of a selection; None where nothing is asked.

    With words (or an image) the examples are those that were marked; without, the chosen cell is
    one too.

    words : a `TextQuery` of the run; None: it has to be a search by example
    image : direction of an image
    """
    like = tuple(dict.fromkeys(_numbers(selection.like)))
    unlike = tuple(one for one in dict.fromkeys(_numbers(selection.unlike)) if one not in like)
    plus, minus = signed_words(selection.query)
    if not selection.query and image is None and selection.cell:
        (cell,) = _numbers((selection.cell,))
        like = tuple(dict.fromkeys((cell, *like)))
        unlike = tuple(one for one in unlike if one != cell)
    if not (like or unlike or plus or minus or image is not None):
        return None
    if (plus or minus) and words is None:
        raise ConfigError("this run cannot be searched by words. Search by a cell or a position.")
    towards = [words(plus)] if plus and words else []
    return Query(
        like=like,
        unlike=unlike,
        towards=(*towards, *([image] if image is not None else [])),
        away=(words(minus),) if minus and words else (),
    )


def _numbers(cells: Sequence[str]) -> list[int]:
    return [int(cell) for cell in grid.from_strings(list(cells))]
