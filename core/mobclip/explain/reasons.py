"""What a result shares with what was asked: categories, bins, partners."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

from mobclip.baselines import Features
from mobclip.graph import MobilityGraph
from mobclip.place import Place
from mobclip.table import CellTable

PRIOR = 5.0  # points at the usual mix that are added to each cell: one fuel station is no lift
CODE = re.compile(r"[0-9a-f]{16,}")  # some providers name a category by a code


@dataclass(frozen=True, kw_only=True)
class Category:
    """A category of points of interest that is more frequent than usual.

    A lift is how many times its share of the cell's points is that of all points of the place,
    both with `PRIOR` points at the usual mix added.
    """

    name: str
    lift: float  # of the result
    lift_asked: float | None  # of the examples; None where there are none
    points: float  # of the result
    points_asked: float | None

    @property
    def is_code(self) -> bool:
        """Whether the provider names it by a code that says nothing to a reader."""
        return CODE.fullmatch(self.name) is not None


def categories(
    place: Place, asked: Int64[np.ndarray, " examples"], row: int, *, most: int = 6
) -> list[Category]:
    """Categories that both have more of than usual (or the result alone, if nobody was asked).

    asked : rows of the examples, whose points are put together
    row : of the result
    """
    table = place.tables.get("poi")
    columns = (
        [i for i, one in enumerate(table.columns) if one.startswith("count_")] if table else []
    )
    if table is None or not columns:
        return []
    names = [table.columns[i].removeprefix("count_") for i in columns]
    # Back from log(1 + count); categories without a column are in the total alone.
    counts = np.expm1(table.values[:, columns].astype(np.float64))
    total = (
        np.expm1(table.column("log_total").astype(np.float64))
        if "log_total" in table.columns
        else counts.sum(1)
    )
    usual = counts.sum(0) / max(total.sum(), 1e-9)
    ours, our_lift = _lift(table, place, counts, total, usual, np.array([row]))
    theirs, their_lift = _lift(table, place, counts, total, usual, asked)
    shared = our_lift if not len(asked) else np.minimum(our_lift, their_lift)
    there = (ours > 0.5) & ((theirs > 0.5) | (len(asked) == 0)) & (shared > 1)
    order = [i for i in np.argsort(-shared, kind="stable") if there[i]][:most]
    return [
        Category(
            name=names[i],
            lift=float(our_lift[i]),
            lift_asked=float(their_lift[i]) if len(asked) else None,
            points=float(ours[i]),
            points_asked=float(theirs[i]) if len(asked) else None,
        )
        for i in order
    ]


def _lift(
    table: CellTable,
    place: Place,
    counts: np.ndarray,
    total: np.ndarray,
    usual: np.ndarray,
    rows: np.ndarray,
) -> tuple[Float64[np.ndarray, " names"], Float64[np.ndarray, " names"]]:
    """Points of some cells by category, and how many times the usual share that is."""
    at = np.flatnonzero(np.isin(table.cells, place.cells[rows]))
    found, many = counts[at].sum(0), total[at].sum()
    share = (found + PRIOR * usual) / (many + PRIOR)
    return found, np.divide(share, usual, out=np.zeros_like(share), where=usual > 0)


def nearest_examples(
    features: Features, modality: str, asked: Int64[np.ndarray, " examples"], row: int
) -> Int64[np.ndarray, " examples"]:
    """Rows of the examples, those first that are most like a result in one modality by itself."""
    values = features.of(modality).values
    length = np.linalg.norm(values[asked], axis=1)
    dots = values[asked] @ values[row]
    cosine = np.divide(dots, length, out=np.zeros_like(dots), where=length > 0)
    return asked[np.argsort(-cosine, kind="stable")]


@dataclass(frozen=True, kw_only=True)
class Bin:
    """A demographic column that is high.

    column : of the table, such as ``hist_income_top``
    kind : "share" (of people or households), "mean" (in its own unit) or "density" (per km²)
    """

    column: str
    kind: str
    value: float  # of the result
    asked: float | None  # mean over the examples
    usual: float  # mean over the cells that have demographics
    above: float  # standard deviations above usual that both reach


KINDS = {"hist_": "share", "mean_": "mean", "log_": "density"}


def bins(
    features: Features,
    asked: Int64[np.ndarray, " examples"],
    row: int,
    *,
    least: float = 0.5,
    most: int = 6,
) -> list[Bin]:
    """Demographic columns in which both are high: `least` deviations above usual, or more."""
    place = features.place
    table = place.tables.get("demographics")
    if table is None:
        return []
    here = place.present["demographics"]
    asked = asked[here[asked]]
    if not here[row]:
        return []
    columns = features.of("demographics")
    raw, _ = table.aligned(place.cells)
    ours = columns.values[row]
    theirs = columns.values[asked].mean(0) if len(asked) else ours
    shared = np.minimum(ours, theirs)
    found: list[Bin] = []
    for i in np.argsort(-shared, kind="stable"):
        name = columns.names[i]
        kind = next((one for start, one in KINDS.items() if name.startswith(start)), "")
        if shared[i] < least or len(found) == most:
            break
        if not kind:
            continue  # has_<source>: about files, not about people
        column = raw[:, table.columns.index(name)].astype(np.float64)
        values = np.expm1(column) if kind == "density" else column
        found.append(
            Bin(
                column=name,
                kind=kind,
                value=float(values[row]),
                asked=float(values[asked].mean()) if len(asked) else None,
                usual=float(values[here].mean()),
                above=float(shared[i]),
            )
        )
    return found


@dataclass(frozen=True, kw_only=True)
class Partner:
    """A cell that both are tied to: its share of all that goes out of and comes into each."""

    row: int
    share: float  # of the flows of the result
    asked: float | None  # of the flows of the examples


def partners(
    graph: MobilityGraph, asked: Int64[np.ndarray, " examples"], row: int, *, most: int = 5
) -> list[Partner]:
    """Cells to and from which both send much, by the smaller of their two shares.

    The examples and the result themselves are left out: that they send to one another is not
    something that they share.
    """
    ours = _shares(graph, [row])
    theirs = _shares(graph, asked) if len(asked) else None
    shared = ours if theirs is None else np.minimum(ours, theirs)
    shared[[row, *asked]] = 0
    order = np.argsort(-shared, kind="stable")[:most]
    return [
        Partner(
            row=int(i), share=float(ours[i]), asked=None if theirs is None else float(theirs[i])
        )
        for i in order
        if shared[i] > 0
    ]


def _shares(
    graph: MobilityGraph, rows: Sequence[int] | Int64[np.ndarray, " rows"]
) -> Float64[np.ndarray, "cells"]:
    """Share of each cell in what leaves and enters some cells together; 0 without flows."""
    total = np.zeros(len(graph.cells))
    for row in rows:
        edges = slice(graph.indptr[row], graph.indptr[row + 1])
        np.add.at(total, graph.indices[edges], graph.weights[edges])
        # Looked for, not transposed: the graph of a nation is on disk.
        arriving = np.flatnonzero(graph.indices == row)
        origin = np.searchsorted(graph.indptr, arriving, side="right") - 1
        np.add.at(total, origin, graph.weights[arriving])
    whole = total.sum()
    return total / whole if whole > 0 else total
