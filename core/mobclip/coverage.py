"""What a place knows of its cells, and how good it is: coverage, odd columns, flows, targets.

Numbers of what was made. A number that looks wrong here was wrong in the file, in the manifest, or
in how the two were joined, and no model will put it right.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mobclip.graph import MobilityGraph
from mobclip.place import Place, Target
from mobclip.table import CellTable

EXTREME = 8.0  # robust standard deviations from the median from which on a value is extreme
MOST_EDGES = 20_000_000  # up to which flows are compared with their way back
COLUMNS_AT_ONCE = 64
# Columns whose long tails are usual: features that mean nothing one by one, counts of rare things.
FEATURES = ("text_", "image_", "count_")


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column of a modality's tokens, over the cells that have one."""

    name: str
    least: float
    middle: float  # median
    most: float
    zeros: float  # share of cells where it is 0
    constant: bool  # the same everywhere: says nothing
    extreme: int  # cells further than EXTREME robust deviations from the median
    same_as: str = ""  # an earlier column with the very same values


@dataclass(frozen=True, kw_only=True)
class Modality:
    """What there is of one modality."""

    name: str
    cells: int
    share: float  # of the place's cells
    columns: tuple[Column, ...] = ()  # of mobility none: it is a graph
    alike: int = 0  # cells whose token is the same, number for number, as that of another cell


@dataclass(frozen=True, kw_only=True)
class Flows:
    """The mobility graph."""

    edges: int
    isolated: int  # cells without any flow
    partners: float  # median number of destinations of the cells that have some
    weight: float  # of all that was read
    kept: float  # share of it that became edges
    inside: float  # share inside one cell
    outside: float  # share with an end outside the place
    unmatched: float  # share with an end that no zone has
    largest: float  # share of the heaviest edge in what was kept
    returned: float | None  # share of what goes that also comes back, 1: symmetric; None: too many


@dataclass(frozen=True, kw_only=True)
class Goal:
    """A target."""

    name: str
    title: str
    kind: str
    unit: str
    level: str
    units: int  # with a value
    cells: float  # share of the place's cells in such a unit
    summary: str  # range, or how many of each class
    nearest: str = ""  # the input column that alone predicts it best
    nearest_r2: float | None = None
    copy: bool = False  # whether an input nearly repeats it
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where something comes from."""

    name: str
    kind: str
    provider: str
    licence: str
    citation: str
    date: str
    note: str
    dropped: Mapping[str, int]  # reason -> rows that were left out


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """The report of a place."""

    name: str
    title: str
    resolution: int
    cells: int
    key: str  # of the inputs that it was made from
    version: str  # of mobclip that made it
    generated: bool
    note: str
    complete: float  # share of cells with every modality
    modalities: tuple[Modality, ...]
    flows: Flows | None
    targets: tuple[Goal, ...]
    sources: tuple[Source, ...]
    findings: tuple[str, ...]  # what a reader should know, in sentences

    @property
    def attribution(self) -> str:
        """What has to stand beside a map or a table that is made of the place."""
        groups: dict[tuple[str, str, str], list[str]] = {}
        for one in self.sources:
            groups.setdefault((one.provider, one.licence, one.citation), []).append(one.name)
        lines = []
        for (provider, licence, citation), names in groups.items():
            cited = f" {citation.rstrip('.')}." if citation else ""
            lines.append(
                f"{', '.join(names)}: {provider or 'provider not stated'}.{cited} "
                f"Licence: {licence or 'not stated'}."
            )
        return "\n".join(lines)


def report(place: Place, evaluation: Mapping[str, Any] | None = None) -> Coverage:
    """Look through a whole place: seconds for a large one.

    evaluation : what `mobclip evaluate` found, whose audit says which inputs nearly hold a target
    """
    masks = list(place.present.values())
    modalities = tuple(_modality(place, name) for name in place.modalities)
    flows = None if place.graph is None else _flows(place.graph)
    leaks = {one["target"]: one for one in (evaluation or {}).get("leakage") or []}
    targets = tuple(_goal(place, one, leaks.get(name)) for name, one in place.targets.items())
    sources = tuple(_source(name, one) for name, one in place.provenance.get("sources", {}).items())
    complete = float(np.all(masks, axis=0).mean()) if masks else 0.0
    return Coverage(
        name=place.name,
        title=place.title,
        resolution=place.resolution,
        cells=len(place.cells),
        key=str(place.provenance.get("key", "")),
        version=str(place.provenance.get("mobclip", "")),
        generated=place.generated,
        note=str(place.provenance.get("note", "")),
        complete=complete,
        modalities=modalities,
        flows=flows,
        targets=targets,
        sources=sources,
        findings=tuple(_findings(modalities, flows, targets, sources)),
    )


def _modality(place: Place, name: str) -> Modality:
    mask = place.present[name]
    table = place.tables.get(name)
    return Modality(
        name=name,
        cells=int(mask.sum()),
        share=float(mask.mean()),
        columns=() if table is None else _columns(table),
        alike=0 if table is None else _alike(table),
    )


def _columns(table: CellTable) -> tuple[Column, ...]:
    found: list[Column] = []
    seen: dict[bytes, str] = {}
    if len(table.cells) == 0:
        return ()
    for start in range(0, len(table.columns), COLUMNS_AT_ONCE):
        values = np.asarray(table.values[:, start : start + COLUMNS_AT_ONCE], np.float64)
        middle = np.median(values, axis=0)
        away = np.abs(values - middle)
        # Of columns that are mostly one value the median deviation is 0: then the mean one.
        scale = 1.4826 * np.median(away, axis=0)
        scale = np.where(scale > 0, scale, np.sqrt(np.mean(away**2, axis=0)))
        least, most = values.min(axis=0), values.max(axis=0)
        extreme = (away > EXTREME * np.where(scale > 0, scale, np.inf)).sum(axis=0)
        zeros = (values == 0).mean(axis=0)
        for i, name in enumerate(table.columns[start : start + COLUMNS_AT_ONCE]):
            content = np.ascontiguousarray(values[:, i]).tobytes()
            constant = bool(least[i] == most[i])
            twin = "" if constant else seen.setdefault(content, name)
            found.append(
                Column(
                    name=name,
                    least=float(least[i]),
                    middle=float(middle[i]),
                    most=float(most[i]),
                    zeros=float(zeros[i]),
                    constant=constant,
                    extreme=int(extreme[i]),
                    same_as="" if twin == name else twin,
                )
            )
    return tuple(found)


def _alike(table: CellTable) -> int:
    """Cells whose token another cell has too."""
    if len(table.cells) == 0:
        return 0
    rows = np.ascontiguousarray(table.values)
    whole = rows.view(np.dtype((np.void, rows.dtype.itemsize * rows.shape[1]))).ravel()
    _, counts = np.unique(whole, return_counts=True)
    return int(counts[counts > 1].sum())


def _flows(graph: MobilityGraph) -> Flows:
    told = graph.report
    kept = float(graph.weights.sum(dtype=np.float64))
    weight = float(told.get("weight", kept)) or 1.0
    degree = np.diff(graph.indptr)
    returned = None
    if len(graph.indices) <= MOST_EDGES:
        both = graph.matrix.minimum(graph.matrix.T)
        returned = float(both.sum(dtype=np.float64)) / kept if kept else 0.0
    return Flows(
        edges=len(graph.indices),
        isolated=int((~graph.present).sum()),
        partners=float(np.median(degree[degree > 0])) if (degree > 0).any() else 0.0,
        weight=weight,
        kept=kept / weight,
        inside=float(told.get("self_flow_weight", 0.0)) / weight,
        outside=float(told.get("outside_weight", 0.0)) / weight,
        unmatched=float(told.get("unmatched_weight", 0.0)) / weight,
        largest=float(graph.weights.max()) / kept if kept else 0.0,
        returned=returned,
    )


def _goal(place: Place, target: Target, leak: Mapping[str, Any] | None) -> Goal:
    covered = np.zeros(len(place.cells), bool)
    covered[target.weights.indices] = True
    return Goal(
        name=target.name,
        title=target.title,
        kind=target.kind,
        unit=target.unit,
        level=target.level,
        units=len(target.values),
        cells=float(covered.mean()),
        summary=_summary(target),
        nearest=f"{leak['modality']}: {leak['column']}" if leak else "",
        nearest_r2=float(leak["r2_column"]) if leak else None,
        copy=bool(leak and leak["near_copy"]),
        note=target.note,
    )


def _summary(target: Target) -> str:
    values = target.values
    if len(values) == 0:
        return "no values"
    if target.kind == "number":
        low, middle, high = np.percentile(values, [0, 50, 100])
        return f"{_number(low)} to {_number(high)}, median {_number(middle)}"
    if target.kind == "binary":
        return f"{np.mean(values):.0%} yes"
    shares = (
        values.mean(axis=0)
        if target.kind == "composition"
        else np.bincount(values.astype(int), minlength=len(target.classes)) / len(values)
    )
    order = np.argsort(-shares)[:3]
    named = ", ".join(f"{target.classes[i]} {shares[i]:.0%}" for i in order)
    return (
        f"{len(target.classes)} {'parts' if target.kind == 'composition' else 'classes'}: {named}"
    )


def _number(value: float) -> str:
    """As people write it."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _source(name: str, given: Mapping[str, Any]) -> Source:
    texts = ("kind", "provider", "licence", "citation", "date", "note")
    return Source(
        name=name,
        dropped={str(why): int(rows) for why, rows in (given.get("dropped") or {}).items()},
        **{key: str(given.get(key) or "") for key in texts},
    )


def _findings(
    modalities: Sequence[Modality],
    flows: Flows | None,
    targets: Sequence[Goal],
    sources: Sequence[Source],
) -> list[str]:
    """What stands out, the gravest first."""
    found = [
        f"“{one.title}” is nearly held by the input {one.nearest} (R² {one.nearest_r2:.2f} from "
        "that column alone): a good score on it says little about an embedding."
        for one in targets
        if one.copy
    ]
    for one in modalities:
        if one.share < 0.5:
            found.append(f"Only {one.share:.0%} of the cells have {_spoken(one.name)}.")
        constant = [column.name for column in one.columns if column.constant]
        if constant:
            found.append(
                f"{_titled(one.name)}: {_some(constant)} {_be(constant)} the same in every cell."
            )
        twins = [f"{c.name} (= {c.same_as})" for c in one.columns if c.same_as]
        if twins:
            found.append(f"{_titled(one.name)}: {_some(twins)} {_be(twins)} there twice.")
        wild = [
            column.name
            for column in one.columns
            if 0 < column.extreme <= 0.001 * one.cells and not column.name.startswith(FEATURES)
        ]
        if wild:
            found.append(
                f"{_titled(one.name)}: {_some(wild)} {'has' if len(wild) == 1 else 'have'} a few "
                "cells far from all others; see the table of columns."
            )
        if one.columns and one.alike > 0.2 * one.cells:
            found.append(
                f"{_titled(one.name)}: {one.alike:,} cells ({one.alike / one.cells:.0%}) have "
                "exactly the token of another cell. Usual where zones are larger than cells, or "
                "where a cell holds one record."
            )
    if flows is not None:
        if flows.inside > 0.3:
            found.append(
                f"{flows.inside:.0%} of the flow stays inside one cell and is no edge: a finer "
                "resolution would keep more of it."
            )
        if flows.outside > 0.3:
            found.append(f"{flows.outside:.0%} of the flow has an end outside the place.")
        if flows.unmatched > 0.01:
            found.append(f"{flows.unmatched:.1%} of the flow has an end in no known zone.")
    found += [
        f"“{one.title}” is known in {one.cells:.0%} of the cells only."
        for one in targets
        if one.cells < 0.3
    ]
    bare = [one.name for one in sources if not one.licence or "unstated" in one.licence.lower()]
    if bare:
        found.append(
            f"The licence of {_some(bare)} is not stated: ask the provider before you pass on what "
            "is made of it."
        )
    return found


def _spoken(modality: str) -> str:
    return "points of interest" if modality == "poi" else modality.replace("_", " ")


def _titled(modality: str) -> str:
    return _spoken(modality).capitalize()


def _some(names: Sequence[str]) -> str:
    """The first three of them, and how many more."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def _be(names: Sequence[str]) -> str:
    return "is" if len(names) == 1 else "are"
