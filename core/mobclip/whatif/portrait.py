"""Portrait: what is known of one cell, modality by modality, against what is usual in the place."""

from dataclasses import dataclass

import numpy as np

from mobclip.graph import MobilityGraph
from mobclip.modalities.poi import CODE
from mobclip.place import Place
from mobclip.whatif.edits import COUNT, DEMOGRAPHICS, POI, TOTAL, Points, histograms

LISTED = 8


@dataclass(frozen=True, kw_only=True)
class Amount:
    """Something that is counted, here and in the mean cell that has the modality."""

    name: str
    here: float
    usual: float
    below: float = float("nan")  # share of those cells that have less, 0 to 1, where it is asked


@dataclass(frozen=True, kw_only=True)
class PointsSeen:
    """Points of interest of a cell."""

    total: Amount
    categories: tuple[Amount, ...]  # most first; without those that are named by codes
    others: float  # points of categories without a column, or without a name
    words: tuple[str, ...]  # that its text leans to


@dataclass(frozen=True, kw_only=True)
class Histogram:
    """Shares of the bins of one variable; they sum to 1."""

    variable: str
    columns: tuple[str, ...]
    bins: tuple[Amount, ...]


@dataclass(frozen=True, kw_only=True)
class PeopleSeen:
    """Demographics of a cell."""

    histograms: tuple[Histogram, ...]
    numbers: tuple[Amount, ...]  # densities per km², and means in their own unit


@dataclass(frozen=True, kw_only=True)
class Tied:
    """A cell that people go to, or come from."""

    row: int
    to: float  # trips there
    come: float  # trips from there


@dataclass(frozen=True, kw_only=True)
class TripsSeen:
    """Flows of a cell."""

    out: Amount
    into: Amount
    all: Amount  # both together
    partners: tuple[Tied, ...]  # those with most trips, both ways together, the most first
    tied: int  # number of all partners


def points_seen(place: Place, row: int, points: Points) -> PointsSeen | None:
    """Points of interest of a cell; None where there are none."""
    table = place.tables[POI]
    values, present = table.aligned(place.cells[[row]])
    if not present[0]:
        return None
    ours = values[0]
    counted = [i for i, name in enumerate(table.columns) if name.startswith(COUNT)]
    here = np.expm1(ours[counted].astype(np.float64))
    usual = np.expm1(table.values[:, counted].astype(np.float64)).mean(0)
    named = [not CODE.fullmatch(table.columns[i].removeprefix(COUNT)) for i in counted]
    order = [
        i for i in np.lexsort((-usual, -here)) if named[i] and (here[i] > 0.5 or usual[i] > 0.5)
    ]
    found = tuple(
        Amount(
            name=table.columns[counted[i]].removeprefix(COUNT).replace("_", " "),
            here=float(here[i]),
            usual=float(usual[i]),
        )
        for i in order[:LISTED]
    )
    if TOTAL in table.columns:
        every = np.expm1(table.column(TOTAL).astype(np.float64))
        whole = float(np.expm1(np.float64(ours[table.columns.index(TOTAL)])))
    else:
        every = np.expm1(table.values[:, counted].astype(np.float64)).sum(1)
        whole = float(here.sum())
    return PointsSeen(
        total=_amount("points of interest", whole, every),
        categories=found,
        others=max(whole - float(here[named].sum()), 0.0) if counted else whole,
        words=tuple(points.words_of_text(ours[points.text])),
    )


def people_seen(place: Place, row: int) -> PeopleSeen | None:
    """Demographics of a cell; None where there are none."""
    table = place.tables[DEMOGRAPHICS]
    values, present = table.aligned(place.cells[[row]])
    if not present[0]:
        return None
    ours, mean = values[0].astype(np.float64), table.values.mean(0, dtype=np.float64)
    found = []
    for variable, at in histograms(table.columns, table.values).items():
        bins = [
            Amount(
                name=bin_name(table.columns[i], variable),
                here=float(ours[i]),
                usual=float(mean[i]),
            )
            for i in at
        ]
        columns = tuple(table.columns[i] for i in at)
        found.append(
            Histogram(variable=variable.replace("_", " "), columns=columns, bins=tuple(bins))
        )
    numbers = []
    for i, name in enumerate(table.columns):
        kind, _, what = name.partition("_")
        every = table.values[:, i].astype(np.float64)
        if kind == "log":
            label = "people" if what == "population" else what.replace("_", " ")
            numbers.append(_amount(f"{label} per km²", float(np.expm1(ours[i])), np.expm1(every)))
        elif kind == "mean":
            numbers.append(_amount(what.replace("_", " "), float(ours[i]), every))
    return PeopleSeen(histograms=tuple(found), numbers=tuple(numbers))


def bin_name(column: str, variable: str) -> str:
    """A bin as people write it: ``20–29`` of ``hist_age_20_29``, ``55 or more`` of ``55_up``."""
    said = column.removeprefix(f"hist_{variable}_").replace("_", " ")
    for joint in ("-", " "):
        low, _, high = said.partition(joint)
        if low.isdigit() and high.isdigit():
            return f"{low}–{high}"
    for more in ("+", " up"):
        if said.endswith(more):
            return f"{said.removesuffix(more)} or more"
    return said


def trips_seen(graph: MobilityGraph, row: int, *, most: int) -> TripsSeen | None:
    """Flows of a cell; None where there are none."""
    there = graph.indices[graph.indptr[row] : graph.indptr[row + 1]]
    sent = graph.weights[graph.indptr[row] : graph.indptr[row + 1]].astype(np.float64)
    arriving = np.flatnonzero(graph.indices == row)
    here = np.searchsorted(graph.indptr, arriving, side="right") - 1
    got = graph.weights[arriving].astype(np.float64)
    if not len(sent) and not len(got):
        return None
    out, into = graph.out_strength, graph.in_strength
    present = out + into > 0
    trips: dict[int, list[float]] = {}
    for side, rows, flow in ((0, there, sent), (1, here, got)):
        for one, amount in zip(rows.tolist(), flow.tolist(), strict=True):
            trips.setdefault(one, [0.0, 0.0])[side] = amount
    largest = sorted(trips, key=lambda one: (-sum(trips[one]), one))[:most]
    return TripsSeen(
        out=_amount("leaving", float(sent.sum()), out[present]),
        into=_amount("arriving", float(got.sum()), into[present]),
        all=_amount("trips", float(sent.sum() + got.sum()), (out + into)[present]),
        partners=tuple(Tied(row=one, to=trips[one][0], come=trips[one][1]) for one in largest),
        tied=len(trips),
    )


def telling_cell(place: Place) -> int:
    """Row of a cell worth a look: of those with most modalities, one with more points than most."""
    count = np.sum([place.present[name] for name in place.modalities], axis=0)
    rows = np.flatnonzero(count == count.max())
    if POI in place.tables and TOTAL in place.tables[POI].columns:
        values, _ = place.tables[POI].aligned(place.cells[rows])
        amount = values[:, place.tables[POI].columns.index(TOTAL)]
    elif place.graph is not None:
        amount = (place.graph.out_strength + place.graph.in_strength)[rows]
    else:
        return int(rows[len(rows) // 2])
    # Not the busiest of all: it is unlike any other, and an edit hardly moves it.
    return int(rows[np.argsort(amount, kind="stable")[int(0.75 * (len(rows) - 1))]])


def _amount(name: str, here: float, every: np.ndarray) -> Amount:
    return Amount(
        name=name,
        here=here,
        usual=float(every.mean()),
        below=float((every < here * (1 - 1e-6)).mean()),
    )
