"""Lessons for a class: a question about the place at hand, a prediction, then what is so.

Answers are computed from the place that is open: nothing is known beforehand, and a lesson that
the place has no data for is left out.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import cache
import numpy as np
from cache import PlaceFiles
from colours import shown

from mobclip import grid
from mobclip.errors import MobclipError

NEAR_KM = 8  # edges of a cell: what counts as the neighbourhood
LISTED = 20


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What is so, and which of the choices said it."""

    right: int
    says: str


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """One question: look, predict, reveal, discuss."""

    title: str
    look: str  # what to do first
    question: str
    choices: Sequence[str]
    reveal: Callable[[], Answer]
    discuss: str
    opens: Mapping[str, Any] = field(default_factory=dict)  # fields of the selection


def lessons(files: PlaceFiles, run: str) -> list[Lesson]:
    """Those that this place and embedding have the data for, easiest first."""
    made = [
        _evidence(files),
        _near(files, run),
        _words(files, run),
        _split(files, run),
        _position(files, run),
        _modality(files),
    ]
    return [lesson for lesson in made if lesson is not None]


def _evidence(files: PlaceFiles) -> Lesson | None:
    place = cache.load_place(files)
    if len(place.modalities) < 2:
        return None
    names = list(place.modalities)

    def reveal() -> Answer:
        share = [float(place.present[name].mean()) for name in names]
        least = int(np.argmin(share))
        table = ", ".join(f"{name} {value:.0%}" for name, value in zip(names, share, strict=True))
        return Answer(right=least, says=f"Share of the cells that have it: {table}.")

    return Lesson(
        title="What do we know of a place?",
        look="The map shows how many kinds of evidence each cell has. Choose one kind in "
        "“Colour by” and look where it is missing.",
        question="Which kind is missing most often?",
        choices=names,
        reveal=reveal,
        discuss="Who is not in the data where a kind is missing? What would a model that is "
        "unaware of this say about those places?",
        opens={"view": "map", "colour": "evidence", "cell": ""},
    )


def _near(files: PlaceFiles, run: str) -> Lesson | None:
    place = cache.load_place(files)
    if len(place.cells) <= 4 * LISTED:
        return None
    cell = _richest(files)
    edge = grid.edge_km(place.resolution)

    def reveal() -> Answer:
        index = cache.load_index(files, run)
        matches = index.like_cell(cell, LISTED)
        away = grid.distances_km(
            grid.centers(matches.cells), grid.centers(np.array([cell], np.uint64))
        )
        near = int((away <= NEAR_KM * edge).sum())
        return Answer(
            right=min(near // 5, 3),
            says=f"{near} of {LISTED} lie within {shown(NEAR_KM * edge)} km; the farthest is "
            f"{shown(float(away.max()))} km away.",
        )

    return Lesson(
        title="Is alike the same as near?",
        look="A busy cell is chosen and ringed. Like colours mean like places: look around it.",
        question=f"How many of its {LISTED} most similar cells lie within "
        f"{shown(NEAR_KM * edge)} km?",
        choices=["0 to 4", "5 to 9", "10 to 14", "15 to 20"],
        reveal=reveal,
        discuss="Open “Similar places” and leave out near cells with the slider. Are the far ones "
        "alike for the same reason?",
        opens={
            "view": "map",
            "colour": "embedding",
            "cell": grid.to_strings(np.array([cell], np.uint64))[0],
        },
    )


def _words(files: PlaceFiles, run: str) -> Lesson | None:
    place = cache.load_place(files)
    query = cache.text_query(files, run)
    table = place.tables.get("poi")
    if table is None or not query.available:
        return None
    counts = {
        name.removeprefix("count_"): np.expm1(table.column(name).astype(np.float64))
        for name in table.columns
        if name.startswith("count_")
    }
    usable = {}
    for name, count in counts.items():
        share = float((count > 0).mean())
        if name.replace("_", "").isalpha() and 0.01 < share < 0.3:
            usable[name] = share
    for name in sorted(usable, key=usable.__getitem__):
        words = name.replace("_", " ")
        try:
            vector = query(words)
        except MobclipError:  # no word of it is known here
            continue
        break
    else:
        return None

    def reveal() -> Answer:
        index = cache.load_index(files, run)
        found = index.like_vector(vector, LISTED)
        rows, there = grid.locate(table.cells, found.cells)
        here = float((counts[name][rows] > 0)[there].sum() / LISTED)
        everywhere = float((counts[name] > 0).sum() / len(place.cells))
        times = here / everywhere
        return Answer(
            right=int(np.searchsorted([2, 5, 20], times, side="right")),
            says=f"{here:.0%} of the {LISTED} cells have a “{words}”; of all cells "
            f"{everywhere:.1%} have: {times:.3g} times as many.",
        )

    return Lesson(
        title="Can it read?",
        look=f"“{words}” was searched for. The cells that fit best are ringed on the map.",
        question=f"How much more often is there a “{words}” in the best {LISTED} cells than in any "
        "cell?",
        choices=["less than 2 times", "2 to 5 times", "5 to 20 times", "20 times or more"],
        reveal=reveal,
        discuss="Choose a cell from the list that has none. Why may it have been found all the "
        "same?",
        opens={"view": "similar", "query": words, "cell": ""},
    )


def _split(files: PlaceFiles, run: str) -> Lesson | None:
    scores = _mean_scores(files)
    if run not in scores or "random" not in scores[run]:
        return None

    def reveal() -> Answer:
        scattered, areas = scores[run]["random"], scores[run]["blocks"]
        lost = scattered - areas
        return Answer(
            right=1 if abs(lost) < 0.01 else 0 if lost < 0 else 2 if lost < 0.1 else 3,
            says=f"Mean R² of {run}: {scattered:.2f} in scattered gaps, {areas:.2f} in new areas.",
        )

    return Lesson(
        title="How honest is a test?",
        look="The probe is tested in two ways: on single cells left out here and there "
        "(scattered gaps), and on whole areas left out (new areas).",
        question="Compared with scattered gaps, what happens to the score in new areas?",
        choices=[
            "it is higher",
            "about the same",
            "it falls by less than 0.1",
            "it falls by 0.1 or more",
        ],
        reveal=reveal,
        discuss="Why does a neighbour in the training set help? Which of the two tests is like "
        "using the model in a city that it has not seen?",
        opens={"view": "probe"},
    )


def _position(files: PlaceFiles, run: str) -> Lesson | None:
    scores = _mean_scores(files)
    if run not in scores or "coordinates" not in scores or run == "coordinates":
        return None

    def reveal() -> Answer:
        position, mine = scores["coordinates"], scores[run]
        names = {"random": "scattered gaps", "blocks": "new areas"}
        said = "; ".join(
            f"in {names[one]} position alone {position[one]:.2f}, {run} {mine[one]:.2f}"
            for one in ("random", "blocks")
            if one in position and one in mine
        )
        share = max(position["blocks"], 0.0) / max(mine["blocks"], 1e-9)
        return Answer(
            right=int(np.searchsorted([0.1, 0.33, 0.66], share)), says=f"Mean R²: {said}."
        )

    return Lesson(
        title="Is the place enough?",
        look="“coordinates” is an embedding that knows longitude and latitude and nothing else.",
        question=f"How much of the score of “{run}” in new areas has position alone?",
        choices=["less than a tenth", "up to a third", "up to two thirds", "more"],
        reveal=reveal,
        discuss="What can position alone never know about a place?",
        opens={"view": "probe", "layer": "actual"},
    )


def _modality(files: PlaceFiles) -> Lesson | None:
    scores = _mean_scores(files)
    place = cache.load_place(files)
    names = [name for name in place.modalities if name in scores]
    if len(names) < 2:
        return None

    def reveal() -> Answer:
        values = [scores[name]["blocks"] for name in names]
        table = ", ".join(f"{name} {value:.2f}" for name, value in zip(names, values, strict=True))
        return Answer(right=int(np.argmax(values)), says=f"Mean R² in new areas: {table}.")

    return Lesson(
        title="One kind of evidence only",
        look="Each kind of evidence can be used alone: choose it as “Embedding” above.",
        question="Which kind alone predicts best in new areas, on average over all targets?",
        choices=names,
        reveal=reveal,
        discuss="Is the best one the best for every target? Try targets one by one.",
        opens={"view": "probe"},
    )


def _richest(files: PlaceFiles) -> int:
    """A cell of which much is known: most evidence, then most trips or points."""
    place = cache.load_place(files)
    kinds = np.sum(list(place.present.values()), axis=0).astype(np.float64)
    if place.graph is not None:
        busy = place.graph.out_strength + place.graph.in_strength
        kinds += busy / (busy.max() + 1)
    return int(place.cells[np.argmax(kinds)])


def _mean_scores(files: PlaceFiles) -> dict[str, dict[str, float]]:
    """Run -> protocol -> mean R² over targets, from `mobclip probe`."""
    table = cache.load_probes(files)
    values: dict[str, dict[str, list[float]]] = {}
    for row in table["rows"] if table else ():
        if row["metric"] == "r2":
            values.setdefault(row["run"], {}).setdefault(row["protocol"], []).append(row["mean"])
    return {
        run: {protocol: float(np.mean(of)) for protocol, of in by.items()}
        for run, by in values.items()
        if "blocks" in by
    }
