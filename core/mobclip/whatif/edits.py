"""Edits: what is to be otherwise at one cell, and what that makes of its tokens."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float32, Float64

from mobclip import featurizers
from mobclip.featurizers.tfidf import Tfidf
from mobclip.fusion import GONE, HIDDEN
from mobclip.modalities.poi import CODE, words_of
from mobclip.place import MOBILITY, Place
from mobclip.textmap import TEXT_PREFIX

POI, DEMOGRAPHICS = "poi", "demographics"
COUNT, TOTAL, SHARE = "count_", "log_total", "hist_"
LEAST_SHARE = 0.1  # of the known words in the text of a cell: below, their length says nothing
NAME_WORDS = 2  # words of a place's name, about
OFTEN = 40  # words offered where categories are codes
SAYS_NOTHING = ("and", "for", "the")
LEAST_POINTS = 0.5  # a cell with fewer than this has none
Number = float | int
_STATES = {"hide": HIDDEN, "drop": GONE}


@dataclass(frozen=True, kw_only=True)
class Edits:
    """What is otherwise at one cell.

    points : category -> points added, fewer where below 0. A name that is no category counts among
        all points, and its words among the words
    shares : column of a histogram (``hist_age_20_29``) -> its share, 0 to 1; the other bins of the
        histogram keep their proportions
    flows : by what all flows of the cell are multiplied, 0 or more
    states : modality -> HIDDEN (the cell's own token is not known) or GONE (nor what is around)
    """

    points: Mapping[str, Number] = field(default_factory=dict)
    shares: Mapping[str, Number] = field(default_factory=dict)
    flows: Number = 1.0
    states: Mapping[str, int] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.edited or self.states)

    @property
    def edited(self) -> frozenset[str]:
        """Modalities whose tokens are changed."""
        found = {
            POI: any(self.points.values()),
            DEMOGRAPHICS: bool(self.shares),
            MOBILITY: self.flows != 1,
        }
        return frozenset(name for name, there in found.items() if there)

    def to_text(self) -> tuple[str, ...]:
        """One line for each, as a link carries them: ``points:20:cafe``."""
        verbs = {state: verb for verb, state in _STATES.items()}
        return (
            *(f"points:{n:g}:{_quoted(name)}" for name, n in self.points.items() if n),
            *(f"share:{share:.4g}:{_quoted(name)}" for name, share in self.shares.items()),
            *([f"flows:{self.flows:g}"] if self.flows != 1 else []),
            *(f"{verbs[state]}:{name}" for name, state in self.states.items()),
        )

    @classmethod
    def from_text(cls, lines: Sequence[str]) -> "Edits":
        """What `to_text` wrote; a line that cannot be read is passed over."""
        points: dict[str, float] = {}
        shares: dict[str, float] = {}
        states: dict[str, int] = {}
        flows = 1.0
        for line in lines:
            verb, _, rest = line.partition(":")
            if verb in _STATES and rest:
                states[rest] = _STATES[verb]
                continue
            text, _, name = rest.partition(":")
            try:
                number = float(text)
            except ValueError:
                continue
            if not math.isfinite(number):
                continue
            if verb == "points" and name:
                points[_unquoted(name)] = min(max(number, -1e6), 1e6)
            elif verb == "share" and name:
                shares[_unquoted(name)] = min(max(number, 0.0), 1.0)
            elif verb == "flows":
                flows = min(max(number, 0.0), 1e6)
        return cls(points=points, shares=shares, flows=flows, states=states)


def _quoted(name: str) -> str:
    return name.replace("%", "%25").replace(",", "%2C")  # commas part the edits of a link


def _unquoted(name: str) -> str:
    return name.replace("%2C", ",").replace("%25", "%")


@dataclass(frozen=True, kw_only=True)
class Token:
    """One modality of one cell."""

    values: Float32[np.ndarray, " columns"]  # 0 where absent
    present: bool


class Points:
    """Points of interest of a place: its categories, and the words of them."""

    def __init__(self, place: Place) -> None:
        table = place.tables[POI]
        self.columns = table.columns
        self._at = {name: i for i, name in enumerate(self.columns)}
        self._text = [i for i, name in enumerate(self.columns) if name.startswith(TEXT_PREFIX)]
        self.categories = tuple(
            name.removeprefix(COUNT)
            for name in self.columns
            if name.startswith(COUNT) and not CODE.fullmatch(name.removeprefix(COUNT))
        )
        self.most = {
            name: float(np.expm1(table.column(f"{COUNT}{name}").max(initial=0)))
            for name in self.categories
        }
        self._words: Tfidf | None = None
        folder = place.folder / "featurizers" / POI
        if self._text and (folder / "featurizer.json").is_file():
            found = featurizers.load(folder)
            if isinstance(found, Tfidf) and found.components is not None:
                self._words = found
        self._terms: dict[str, list[int]] = {}
        self._names: np.ndarray | None = None
        self._index = {one: i for i, one in enumerate(self._words.words)} if self._words else {}

    @property
    def words_follow(self) -> bool:
        """Whether the words of a cell can be made to follow its categories."""
        return self._words is not None

    @property
    def choices(self) -> tuple[str, ...]:
        """What can be added: categories, or common words where categories are codes."""
        if self.categories or self._words is None:
            return self.categories
        return tuple(_telling(self._words.common_words(2 * OFTEN))[:OFTEN])

    def edited(self, token: Token, points: Mapping[str, Number]) -> tuple[Token, list[str]]:
        """The token with other points, and what has to be said of it."""
        values = token.values.astype(np.float64)
        before = self._counts(values)
        total = float(np.expm1(values[self._at[TOTAL]])) if TOTAL in self._at else 0.0
        others = max(total - sum(before.values()), 0.0)
        after = dict(before)
        added = 0.0  # of no category that is counted
        words: dict[str, float] = {}
        for name, wanted in points.items():
            n = float(wanted)
            if name in after:
                after[name] = max(after[name] + n, 0.0)
            else:
                n = max(n, -others - added)
                added += n
                words[name] = n
        whole = sum(after.values()) + others + added
        if whole < LEAST_POINTS:
            gone = Token(values=np.zeros_like(token.values), present=False)
            return gone, ["No point of interest is left: the cell has none."]
        for name, n in after.items():
            values[self._at[f"{COUNT}{name}"]] = np.log1p(n)
        if TOTAL in self._at:
            values[self._at[TOTAL]] = np.log1p(whole)
        said = []
        if self._text and self._words is None:
            said.append("The words of the cell stay as they are: this place's texts cannot follow.")
        elif self._text:
            text, estimated = self._reworded(values[self._text], before, after, words, others)
            values[self._text] = text
            if estimated:
                said.append(
                    "The names of its points are not kept, so how far its words move is an "
                    "estimate."
                )
        return Token(values=values.astype(np.float32), present=True), said

    def words_of_text(self, text: Float32[np.ndarray, " dims"], most: int = 8) -> list[str]:
        """Common words that a text vector leans to, the strongest first."""
        if self._words is None or self._words.components is None or not text.any():
            return []
        common = _telling(self._words.common_words(400))
        vectors = self._words.components[[self._index[one] for one in common]]
        strength = vectors @ text
        order = np.argsort(-strength, kind="stable")[:most]
        return [common[i] for i in order if strength[i] > 0]

    @property
    def text(self) -> list[int]:
        """Columns that hold the text vector."""
        return self._text

    def _counts(self, values: np.ndarray) -> dict[str, float]:
        return {
            name.removeprefix(COUNT): float(np.expm1(values[i]))
            for name, i in self._at.items()
            if name.startswith(COUNT)
        }

    def _reworded(
        self,
        text: Float64[np.ndarray, " dims"],
        before: Mapping[str, float],
        after: Mapping[str, float],
        words: Mapping[str, float],
        others: float,
    ) -> tuple[Float64[np.ndarray, " dims"], bool]:
        """The text vector with other categories, and whether it is an estimate.

        A text is the sum of its words (TF-IDF), turned to fewer dimensions and cut to length 1. Of
        a cell that length is lost, and so are the names of its points. Names are taken to have
        nothing to do with the categories; the known part then has a known length, and the whole is
        as long as makes its shadow on the known part fit. Where nothing is known, each point's name
        counts as some usual words. Without names, and where there was no point, it is exact.
        """
        known, then = self._sum(before, {}), self._sum(after, words)
        length = float(np.linalg.norm(known))
        estimated = True
        if not text.any():
            whole, estimated = known, False
        elif length > 0:
            estimated = float(text @ known) / length < 1 - 1e-4
            whole = text * (length / max(self._share(text, known / length), LEAST_SHARE))
        else:
            whole = text * math.sqrt(max(others, 1.0) * NAME_WORDS) * self._usual_word()
        moved = whole + then - known
        size = float(np.linalg.norm(moved))
        return (moved / size if size > 0 else moved), estimated

    def _share(
        self, text: Float64[np.ndarray, " dims"], known: Float64[np.ndarray, " dims"]
    ) -> float:
        """How much of a text points where its known words do, beside the usual words of names."""
        alone = float(text @ known)
        names = self._usual_name()
        if not names.any():
            return alone
        both = np.column_stack([known, names])
        (share, rest), *_ = np.linalg.lstsq(both, text, rcond=1e-6)
        return float(share) if share > 0 and rest > 0 else alone

    def _usual_name(self) -> Float64[np.ndarray, " dims"]:
        """Direction of all words that are of no category, each as often as cells have it."""
        if self._names is None:
            assert self._words is not None
            assert self._words.components is not None
            assert self._words.idf is not None
            weight = self._words.idf * np.exp(1 - self._words.idf)  # by the share of cells with it
            for name in self.categories:
                weight[self._terms_of(name)] = 0
            total = np.asarray(weight @ self._words.components, np.float64)
            size = float(np.linalg.norm(total))
            self._names = total / size if size > 0 else total
        return self._names

    def _sum(
        self, counts: Mapping[str, float], words: Mapping[str, float]
    ) -> Float64[np.ndarray, " dims"]:
        """The words of so many points, weighed and turned; not cut to length 1."""
        assert self._words is not None
        assert self._words.components is not None
        assert self._words.idf is not None
        often: dict[int, float] = {}
        for name, n in (*counts.items(), *words.items()):
            if n > 0:
                for term in self._terms_of(name):
                    often[term] = often.get(term, 0.0) + n
        if not often:
            return np.zeros(self._words.components.shape[1])
        at = np.array(list(often), np.int64)
        times = np.array(list(often.values()))
        weight = np.where(times < 1, times, 1 + np.log(np.maximum(times, 1)))
        weight = weight * self._words.idf[at]
        return np.asarray(weight @ self._words.components[at], np.float64)

    def _terms_of(self, name: str) -> list[int]:
        assert self._words is not None
        if name not in self._terms:
            terms = self._words.known_words(words_of(name))
            self._terms[name] = [self._index[one] for one in terms]
        return self._terms[name]

    def _usual_word(self) -> float:
        assert self._words is not None
        assert self._words.components is not None
        assert self._words.idf is not None
        common = [self._index[one] for one in self._words.common_words(400)]
        vectors = self._words.components[common] * self._words.idf[common, None]
        return float(np.median(np.linalg.norm(vectors, axis=1)))


def _telling(words: Sequence[str]) -> list[str]:
    return [one for one in words if len(one) > 2 and one not in SAYS_NOTHING]


def histograms(
    columns: Sequence[str], values: Float32[np.ndarray, "cells columns"]
) -> dict[str, tuple[int, ...]]:
    """Variable -> numbers of its columns ``hist_<variable>_<bin>``, if they sum to 1.

    Both parts of a name may have underscores; the variable is what the names of its bins share.
    """
    sample = values[:: max(1, len(values) // 500)]
    found: dict[str, tuple[int, ...]] = {}
    start = 0
    while start < len(columns):
        if not columns[start].startswith(SHARE):
            start += 1
            continue
        end = start + 1
        first = columns[start].split("_")[1]
        while end < len(columns) and columns[end].startswith(f"{SHARE}{first}"):
            whole = sample[:, start:end].sum(axis=1)
            if end - start > 1 and len(whole) and np.abs(whole - 1).max() < 1e-3:
                break
            end += 1
        if not len(sample) or np.abs(sample[:, start:end].sum(axis=1) - 1).max() > 1e-3:
            start = end
            continue
        parts = [columns[i].split("_")[1:] for i in range(start, end)]
        shared = 1
        while all(len(one) > shared + 1 and one[shared] == parts[0][shared] for one in parts):
            shared += 1
        found["_".join(parts[0][:shared])] = tuple(range(start, end))
        start = end
    return found


def moved_shares(
    token: Token,
    columns: Sequence[str],
    bins: Mapping[str, tuple[int, ...]],
    shares: Mapping[str, Number],
) -> tuple[Token, list[str]]:
    """The token with other shares of some bins; the rest of each histogram keeps its proportions.

    Those that are set to more than 1 in all are cut down in proportion.
    """
    if not token.present:
        return token, ["The cell has no demographics, so there are no shares to move."]
    values = token.values.astype(np.float64)
    for at in bins.values():
        fixed = {i: shares[columns[i]] for i in at if columns[i] in shares}
        if not fixed:
            continue
        rest = [i for i in at if i not in fixed]
        total = sum(fixed.values())
        if total > 1 or not rest:
            fixed = {i: one / total if total > 0 else 1 / len(fixed) for i, one in fixed.items()}
        left = 1 - sum(fixed.values())
        before = float(values[rest].sum())
        if before > 0:
            values[rest] *= left / before
        else:
            values[rest] = left / max(len(rest), 1)
        values[list(fixed)] = list(fixed.values())
    return Token(values=values.astype(np.float32), present=True), []
