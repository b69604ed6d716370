"""What is telling about some cells: in words, from their evidence, against the rest of the place.

Used for the names of clusters, for cells that somebody drew around, and for what goes with one
dimension of an embedding. Only evidence is read, never a target.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from jaxtyping import Float, Float64, Int64

from mobclip import grid
from mobclip.place import MOBILITY, Place

POI, DEMOGRAPHICS, WORDS, PRESENCE = "poi", "demographics", "words", "presence"
LEAST = 0.5  # deviations of all cells: a smaller difference is not worth telling
OFTEN = 0.1  # share of the cells that have a category, for it to tell anything of them
LOGIT = math.sqrt(3) / math.pi  # deviations per unit of log-odds (Chinn 2000)
CHANCE = 3.5  # standard errors: one that is smaller may be an accident of a few cells
COMMON = 300  # words that are looked at, where categories are codes
RELATED = 0.2  # a weaker correlation is not worth telling
ALIKE = 2  # of one group (bins of one histogram, categories, words) at most among the telling

NAMED = 12  # traits from which a name is made

NUMBERS = {"none": "no", "one": "one", "two": "two", "three": "three", "four": "four"}

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Trait:
    """One thing that cells have more or less of."""

    key: str  # the column of the token, or `has_<modality>`
    kind: str  # poi, demographics, words, presence, or the modality
    group: str  # traits of one group say much the same
    label: str  # "cafes", "aged 25–29"
    much: str  # where there is more than elsewhere: "cafes", "many aged 25–29"
    little: str  # where there is less; "" where that says nothing
    unit: str = ""  # of the values: "a cell", "%", "trips a cell"; "": values say nothing by itself


@dataclass(frozen=True, kw_only=True)
class Telling:
    """A trait of some cells, against the rest of the place."""

    trait: Trait
    difference: float  # in deviations of all cells; of categories and words by log-odds, below
    here: float  # mean in the unit of the trait
    elsewhere: float

    @property
    def phrase(self) -> str:
        """As in a name: "cafes", "few aged 65 or more"."""
        return self.trait.much if self.difference > 0 else self.trait.little

    @property
    def times(self) -> float | None:
        """How many times as much as elsewhere; None where that says nothing."""
        if not self.trait.unit or self.elsewhere <= 0:
            return None
        return self.here / self.elsewhere


@dataclass(frozen=True, kw_only=True)
class _Block:
    """Some traits: values on the scale on which they are compared, and in their unit."""

    traits: tuple[Trait, ...]
    values: np.ndarray  # (rows, traits), anything that can be multiplied
    rows: Int64[np.ndarray, " rows"]  # of the place
    whole: bool  # whether cells without a row count too, with 0
    odds: int = 0  # the first so many are compared by how many cells have any
    units: Callable[[np.ndarray], np.ndarray]


class Traits:
    """All that can be told of the cells of a place: POI categories, people, flows, presence."""

    def __init__(self, place: Place) -> None:
        self.cells = len(place.cells)
        self._blocks = [one for one in _blocks(place) if one.traits]

    def tell(
        self, labels: Int64[np.ndarray, "cells"], count: int, *, top: int = 5
    ) -> list[tuple[Telling, ...]]:
        """The `top` most telling traits of each of `count` groups of cells, against all others.

        labels : group of each cell, 0 to count - 1; -1: in none, but among the others

        Only what differs by `LEAST` deviations or more, and by more than chance; the strongest
        first. A group may have none.
        """
        found: list[list[Telling]] = [[] for _ in range(count)]
        for block in self._blocks:
            for group, one in enumerate(_compared(block, labels, count, self.cells)):
                found[group] += one
        return [_varied(sorted(one, key=_strength), top) for one in found]

    def name(self, labels: Int64[np.ndarray, "cells"], count: int) -> list[str]:
        """`names` of groups by what is most telling of them."""
        return names(self.tell(labels, count, top=NAMED))

    def correlates(
        self, values: Float[np.ndarray, "cells"], *, top: int = 5
    ) -> list[tuple[Trait, float]]:
        """Traits whose (log) values go most with `values` over the cells: Pearson's r.

        Only those of `RELATED` or more. NaN among `values`: the cell is left out.
        """
        known = np.isfinite(values)
        found: list[tuple[Trait, float]] = []
        for block in self._blocks:
            kept = known[block.rows]
            at = values[block.rows[kept]].astype(np.float64)
            everyone = values[known].astype(np.float64) if block.whole else at
            n = len(everyone)
            if n < 3:
                continue
            given = np.asarray(block.values[kept], np.float64)
            mean = given.sum(axis=0) / n
            spread = np.sqrt(np.maximum((given**2).sum(axis=0) / n - mean**2, 0))
            shared = given.T @ at / n - mean * everyone.mean()
            scale = spread * everyone.std()
            r = np.divide(shared, scale, out=np.zeros_like(shared), where=scale > 1e-9)
            found += zip(block.traits, r.tolist(), strict=True)
        found = [one for one in found if abs(one[1]) >= RELATED]
        found.sort(key=lambda one: -abs(one[1]))
        return _few_alike(found, lambda one: one[0], top)


def names(told: Sequence[Sequence[Telling]]) -> list[str]:
    """A short name for each group, each another: "cafes, offices · many aged 25–29".

    "mixed" where nothing stands out.
    """
    given: list[str] = []
    for one in told:
        for parts in (2, 3, 5):
            name = _name(one, parts)
            if name not in given:
                break
        repeats = sum(other == name or other.startswith(f"{name} (") for other in given)
        given.append(f"{name} ({repeats + 1})" if repeats else name)
    return given


def _name(told: Sequence[Telling], parts: int) -> str:
    said = [one for one in told if one.phrase]
    things = [one for one in said if one.trait.kind in (POI, WORDS)][:parts]
    others = [one for one in said if one.trait.kind not in (POI, WORDS)]
    if things:  # that there are many is said; people come first
        others = [one for one in others if one.trait.group != "total"]
        others.sort(key=lambda one: one.trait.kind != DEMOGRAPHICS)
    # One of a group: the second says much the same.
    strongest: dict[str, Telling] = {}
    for one in others:
        strongest.setdefault(one.trait.group, one)
    others = list(strongest.values())
    others = others[: max(1, parts - len(things))]
    left = ", ".join(one.phrase for one in things)
    right = ", ".join(one.phrase for one in others)
    return " · ".join(filter(None, (left, right))) or "mixed"


def _strength(one: Telling) -> tuple[float, bool]:
    return -round(abs(one.difference), 3), one.difference < 0


def _varied(told: Sequence[Telling], top: int) -> tuple[Telling, ...]:
    said: list[Telling] = []
    for one in told:
        # Of two bins that make a whole, one is said.
        mirrored = any(
            one.trait.group == other.trait.group and abs(one.difference + other.difference) < 1e-3
            for other in said
        )
        if one.phrase and not mirrored:
            said.append(one)
    return tuple(_few_alike(said, lambda one: one.trait, top))


def _few_alike(found: Sequence[T], trait: Callable[[T], Trait], top: int) -> list[T]:
    """The first `top`, at most `ALIKE` of a group; of one kind about half, if there are others."""
    groups: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    first: list[int] = []
    spare: list[int] = []
    for i, one in enumerate(found):
        groups[trait(one).group] += 1
        if groups[trait(one).group] > ALIKE:
            continue
        kinds[trait(one).kind] += 1
        (first if kinds[trait(one).kind] <= top // 2 + 1 else spare).append(i)
    return [found[i] for i in sorted([*first, *spare][:top])]


def _compared(block: _Block, labels: np.ndarray, count: int, cells: int) -> list[list[Telling]]:
    """For each group the traits of a block that set it apart."""
    at = labels[block.rows]
    member = np.zeros((count, len(at)), np.float32)
    inside = np.flatnonzero(at >= 0)
    member[at[inside], inside] = 1
    values = block.values
    total = values.sum(axis=0, dtype=np.float64)
    squares = np.einsum("ij,ij->j", values, values, dtype=np.float64)
    sums = np.asarray(member @ values, np.float64)
    units = block.units(values)
    unit_total = units.sum(axis=0, dtype=np.float64)
    unit_sums = np.asarray(member @ units, np.float64)
    having = (values[:, : block.odds] > 0).astype(np.float32)
    had, all_had = np.asarray(member @ having, np.float64), having.sum(axis=0, dtype=np.float64)
    n = cells if block.whole else len(at)
    sizes = np.bincount(labels[labels >= 0] if block.whole else at[inside], minlength=count)
    deviation = np.sqrt(np.maximum(squares / max(n, 1) - (total / max(n, 1)) ** 2, 0))
    told: list[list[Telling]] = []
    for group in range(count):
        size, rest = int(sizes[group]), n - int(sizes[group])
        if size == 0 or rest == 0:
            told.append([])
            continue
        apart = sums[group] / size - (total - sums[group]) / rest
        difference = np.divide(apart, deviation, out=np.zeros_like(apart), where=deviation > 1e-9)
        certain = np.abs(difference) * np.sqrt(size * rest / n) > CHANCE
        if block.odds:  # by how many there are, or by how many cells have any
            first = slice(0, block.odds)
            odds, sure = _odds(had[group], all_had - had[group], size, rest)
            sure &= ~certain[first] | (np.abs(odds) > np.abs(difference[first]))
            difference[first] = np.where(sure, odds, difference[first])
            certain[first] |= sure
            often = (had[group] >= OFTEN * size) | (difference[first] < 0)
            certain[first] &= often
        here = unit_sums[group] / size
        elsewhere = (unit_total - unit_sums[group]) / rest
        told.append(
            [
                Telling(
                    trait=block.traits[i],
                    difference=float(difference[i]),
                    here=float(here[i]),
                    elsewhere=float(max(elsewhere[i], 0)),
                )
                for i in np.flatnonzero(certain & (np.abs(difference) >= LEAST))
            ]
        )
    return told


def _odds(
    here: np.ndarray, elsewhere: np.ndarray, size: int, rest: int
) -> tuple[np.ndarray, np.ndarray]:
    """Log-odds of having a category, in deviations, and whether they are no accident.

    A category that few cells have anywhere would not be seen in means.
    """
    cells = [here + 0.5, size - here + 0.5, elsewhere + 0.5, rest - elsewhere + 0.5]
    odds = np.log(cells[0] * cells[3] / (cells[1] * cells[2]))
    certain = np.abs(odds) > CHANCE * np.sqrt(sum(1 / one for one in cells))
    return odds * LOGIT, certain


# ---- what there is to tell


def _blocks(place: Place) -> Iterable[_Block]:
    everywhere = np.arange(len(place.cells))
    if POI in place.tables:
        yield from _of_points(place)
    if DEMOGRAPHICS in place.tables:
        yield _of_people(place)
    if place.graph is not None:
        flow = place.graph.out_strength + place.graph.in_strength
        trait = Trait(
            key="flow", kind=MOBILITY, group="flow", label="trips", much="many trips",
            little="few trips", unit="trips a cell",
        )  # fmt: skip
        yield _Block(
            traits=(trait,),
            values=np.log1p(flow)[:, None].astype(np.float32),
            rows=everywhere,
            whole=True,
            units=np.expm1,
        )
    shares = {name: mask for name, mask in place.present.items() if 0 < mask.mean() < 1}
    yield _Block(
        traits=tuple(_presence(name) for name in shares),
        values=np.column_stack([*shares.values(), np.zeros(len(everywhere), bool)])[
            :, : len(shares)
        ].astype(np.float32),
        rows=everywhere,
        whole=True,
        units=_percent,
    )


def _presence(name: str) -> Trait:
    words = {POI: "points of interest", MOBILITY: "trips", "imagery": "imagery"}
    what = words.get(name, f"{name.replace('_', ' ')}")
    # Presence of points goes with their number, and that of trips with theirs.
    group = {POI: "total", MOBILITY: "flow"}.get(name, f"has_{name}")
    return Trait(
        key=f"has_{name}", kind=PRESENCE, group=group, label=f"has {what}",
        much=f"with {what}", little=f"without {what}", unit="% of cells",
    )  # fmt: skip


def _of_points(place: Place) -> Iterable[_Block]:
    from mobclip.modalities.poi import CODE  # brings pandas: only where it is needed

    table = place.tables[POI]
    rows, _ = grid.locate(place.cells, table.cells)
    counts = [
        i
        for i, name in enumerate(table.columns)
        if name.startswith("count_") and not CODE.fullmatch(name.removeprefix("count_"))
    ]
    traits = [_category(table.columns[i].removeprefix("count_")) for i in counts]
    if "log_total" in table.columns:
        counts.append(table.columns.index("log_total"))
        traits.append(
            Trait(
                key="log_total",
                kind="total",
                group="total",
                label="points of interest",
                much="many points of interest",
                little="few points of interest",
                unit="a cell",
            )
        )
    yield _Block(
        traits=tuple(traits), values=table.values[:, counts], rows=rows, whole=True,
        units=np.expm1, odds=sum(trait.kind == POI for trait in traits),
    )  # fmt: skip
    if len(counts) <= 1:  # categories are codes, which say nothing: ask the words
        yield from _of_words(place)


def _of_words(place: Place) -> Iterable[_Block]:
    """Weights of common words, read back from the text columns; they are not counts."""
    from mobclip import featurizers  # brings scikit-learn: only where it is needed
    from mobclip.featurizers.tfidf import Tfidf

    folder = place.folder / "featurizers" / POI
    table = place.tables[POI]
    text = [i for i, name in enumerate(table.columns) if name.startswith("text_")]
    if not text or not (folder / "featurizer.json").is_file():
        return
    featurizer = featurizers.load(folder)
    if not isinstance(featurizer, Tfidf) or featurizer.components is None:
        return
    words = [one for one in featurizer.common_words(COMMON) if len(one) > 2]
    at = {one: i for i, one in enumerate(featurizer.words)}
    components = featurizer.components[[at[one] for one in words]]
    traits = tuple(
        Trait(key=f"word_{one}", kind=WORDS, group="words", label=f"the word “{one}”",
              much=f"“{one}”", little="")
        for one in words
    )  # fmt: skip
    rows, _ = grid.locate(place.cells, table.cells)
    yield _Block(
        traits=traits,
        values=(table.values[:, text] @ components.T).astype(np.float32),
        rows=rows,
        whole=True,
        units=lambda values: values,
    )


def _category(name: str) -> Trait:
    words = name.replace("_", " ").strip()  # in its own case: French restaurants
    many = _plural(words)
    return Trait(
        key=f"count_{name}", kind=POI, group=POI, label=many, much=many, little="", unit="a cell"
    )


def _plural(words: str) -> str:
    """Of a category, as English mostly makes it."""
    if " / " in words:
        return " / ".join(_plural(part) for part in words.split(" / "))
    if not words or not words[-1].isalpha() or words.endswith(("ss", "ing", "wear", "food")):
        return words
    if words.endswith("s"):
        return words
    if words.endswith("y") and words[-2:-1] not in ("a", "e", "i", "o", "u"):
        return f"{words[:-1]}ies"
    return f"{words}es" if words.endswith(("x", "z", "ch", "sh")) else f"{words}s"


def _of_people(place: Place) -> _Block:
    table = place.tables[DEMOGRAPHICS]
    rows, _ = grid.locate(place.cells, table.cells)
    traits = []
    columns = []
    variables = _variables(table.columns, table.values)
    for i, name in enumerate(table.columns):
        if name.startswith("has_"):
            continue
        kind, _, rest = name.partition("_")
        if kind == "hist":
            traits.append(_bin(name, variables[i], rest.removeprefix(variables[i]).lstrip("_")))
        elif kind == "log":
            traits.append(_density(name, rest))
        else:
            what = rest.replace("_", " ")
            traits.append(
                Trait(key=name, kind=DEMOGRAPHICS, group=_mean_group(rest), label=what,
                      much=f"high {what}", little=f"low {what}")
            )  # fmt: skip
        columns.append(i)
    kinds = np.array([table.columns[i].partition("_")[0] for i in columns])

    def units(values: np.ndarray) -> np.ndarray:
        shown: np.ndarray = np.where(kinds == "hist", values * 100, values)
        return np.where(kinds == "log", np.expm1(np.where(kinds == "log", values, 0)), shown)

    return _Block(
        traits=tuple(traits), values=table.values[:, columns], rows=rows, whole=False, units=units
    )


def people_in_words(place: Place) -> dict[str, str]:
    """Column of the demographics -> what it counts, in words: "women aged 25–29"."""
    if DEMOGRAPHICS not in place.tables:
        return {}
    return {trait.key: trait.label for trait in _of_people(place).traits}


def _mean_group(rest: str) -> str:
    # A median age of men says what that of women does, and what the bins of ages do.
    words = [one for one in rest.split("_") if one not in ("men", "women")]
    return words[-1] if words else rest


def _density(name: str, what: str) -> Trait:
    if what == "population":
        much, little, label = "densely populated", "sparsely populated", "people"
    else:
        label = what.replace("_", " ")
        much, little = f"many {label}", f"few {label}"
    return Trait(
        key=name, kind=DEMOGRAPHICS, group="density", label=label, much=much, little=little,
        unit="per km²",
    )  # fmt: skip


def _bin(name: str, variable: str, part: str) -> Trait:
    said = part.replace("_", " ")
    for joint in ("-", " "):  # 25-29, 25 29
        low, _, high = said.partition(joint)
        if low.isdigit() and high.isdigit():
            said = f"{low}–{high}"
    for more in ("+", " up"):
        if said.endswith(more):
            said = f"{said.removesuffix(more)} or more"
    what = variable.replace("_", " ")
    group = "age" if variable.split("_")[0] == "age" else variable
    if group == "age":
        who = what.removeprefix("age").strip()
        label = f"{who} aged {said}".strip()
    elif what.endswith("s") and (said[:1].isdigit() or said.split()[0] in NUMBERS):
        # "with one vehicle", "with no vehicles", "with three or more vehicles"
        said = {"0": "no"}.get(said, NUMBERS.get(said, said))
        label = f"with {said} {what[:-1] if said in ('1', 'one') else what}"
    else:
        label = f"{said} ({what})"
    return Trait(
        key=name, kind=DEMOGRAPHICS, group=group, label=label, much=f"many {label}",
        little=f"few {label}", unit="%",
    )  # fmt: skip


def _variables(columns: Sequence[str], values: np.ndarray) -> dict[int, str]:
    """The variable of each column ``hist_<variable>_<bin>``; both parts may have underscores.

    Bins of a variable stand side by side and sum to 1; the variable is what their names share.
    """
    given: dict[int, str] = {}
    at = [i for i, name in enumerate(columns) if name.startswith("hist_")]
    sample = values[:: max(1, len(values) // 1000)]
    start = 0
    while start < len(at):
        first = columns[at[start]].split("_")[1]
        end = start + 1
        while end < len(at) and columns[at[end]].split("_")[1] == first:
            together = sample[:, at[start:end]].sum(axis=1)
            if end - start > 1 and len(together) and np.abs(together - 1).max() < 1e-3:
                break
            end += 1
        parts = [columns[i].split("_")[1:] for i in at[start:end]]
        shared = 0
        while all(len(one) > shared + 1 for one in parts) and (
            len({one[shared] for one in parts}) == 1
        ):
            shared += 1
        name = "_".join(parts[0][: max(shared, 1)])
        given |= dict.fromkeys(at[start:end], name)
        start = end
    return given


def _percent(values: np.ndarray) -> Float64[np.ndarray, "rows traits"]:
    return np.asarray(values * 100, np.float64)
