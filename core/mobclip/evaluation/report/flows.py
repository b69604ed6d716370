"""Held-out flows: does an embedding know who goes where?"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from mobclip.evaluation import figures
from mobclip.evaluation.document import Block, Bullets, Code, Figure, Paragraph, Strong, Text
from mobclip.evaluation.report.ladder import FLOOR
from mobclip.evaluation.report.results import Results
from mobclip.evaluation.report.words import LONG, finite, fixed, n_of, plain_table, whole

# key -> (name, in words)
SCORES = {
    "r2": ("R²", "How much of the differences between flows, on a log scale, is predicted?"),
    "ndcg10": ("NDCG@10", "Are the ten largest partners of a cell ranked first? 1 is yes."),
    "cpc": (
        "CPC",
        "Common part of commuters: the share of trips that prediction and truth have in common.",
    ),
}
TASKS = {
    "flows": "How many go from here to there?",
    "co-visitation": "Which places do the same people visit?",
}


def section(of: Results) -> list[Block]:
    """Every task, each with its own ranking."""
    rows = of.rows("flows")
    used = [key for key in SCORES if any(finite(row.get(key)) is not None for row in rows)]
    blocks: list[Block] = []
    for task in dict.fromkeys(str(row.get("task", "flows")) for row in rows):
        mine = [row for row in rows if str(row.get("task", "flows")) == task]
        blocks += _task(of, task, mine)
    if not blocks:
        return []
    text = (
        "Flows between pairs of cells were taken out before anything was learned. A small model "
        "then predicts them from the two embeddings and the distance. Gravity and radiation are "
        "the classic formulas that know sizes and distances only."
    )
    items: list[Text] = [[Strong(SCORES[key][0]), f". {SCORES[key][1]}"] for key in used]
    return [Paragraph(text=text), Bullets(items=items), *blocks]


def _task(of: Results, task: str, rows: Sequence[Mapping[str, Any]]) -> list[Block]:
    used = [key for key in SCORES if any(finite(row.get(key)) is not None for row in rows)]
    if not used:
        return []

    def rank(row: Mapping[str, Any]) -> float:
        value = finite(row.get(used[0]))
        return -math.inf if value is None else value

    rows = sorted(rows, key=rank, reverse=True)
    drawing = figures.dot_plot(
        [str(row["run"]) for row in rows],
        [
            figures.Dots(label=SCORES[key][0], values=[finite(row.get(key)) for row in rows])
            for key in used
        ],
        xlabel="score on held-out flows (1 is perfect)",
        floor=FLOOR,
    )
    note = f"{n_of(rows, 'pairs of cells')}; {of.how_often}."
    return [
        Figure(
            title=[f"{TASKS.get(task, task)} Best by {SCORES[used[0]][0]}: ",
                   Code(str(rows[0]["run"]))],
            drawing=drawing,
            alt="Dot plot of the scores of the table below, a row per run.",
            note=note,
        ),
        plain_table(
            rows,
            f"Held-out flows: {task}",
            [
                ("run", "run", Code),
                *((key, SCORES[key][0], fixed) for key in used),
                ("n", "n", whole),
            ],
            note=note,
            folded=len(rows) > LONG,
        ),
    ]  # fmt: skip
