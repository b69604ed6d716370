"""Held-out flows: does an embedding know who goes where?"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from mobclip.evaluation import figures
from mobclip.evaluation.document import (
    Block,
    Bullets,
    Cell,
    Code,
    Column,
    Figure,
    Paragraph,
    Strong,
    Table,
    Text,
)
from mobclip.evaluation.report.ladder import FLOOR
from mobclip.evaluation.report.results import Results
from mobclip.evaluation.report.words import LONG, finite, fixed, how_often, n_of, whole

# key -> (name, in words)
SCORES = {
    "r2": ("R²", "How much of the differences between flows, as log(1 + trips), is predicted?"),
    "ndcg10": ("NDCG@10", "Are the largest partners of a cell ranked first? 1 is the true order."),
    "cpc": (
        "CPC",
        "Common part of commuters: the share of trips that prediction and truth have in common.",
    ),
}
TASKS = {
    "flows": "How many go from here to there?",
    "co-visitation": "Which places do people from the same origins visit?",
}


def section(of: Results) -> list[Block]:
    """Every task, each with its own ranking."""
    rows = of.rows("flows")
    blocks: list[Block] = []
    for task in dict.fromkeys(str(row.get("task", "flows")) for row in rows):
        blocks += _task(of, task, [row for row in rows if str(row.get("task", "flows")) == task])
    if not blocks:
        return []
    text = (
        "All flows between some areas were taken out, and every run was made anew without them. A "
        "small model then predicts them from the two embeddings, the distance and how busy both "
        "ends are; the same model without embeddings is a row of its own. Gravity and radiation "
        "are the classic formulas of sizes and distances."
    )
    items: list[Text] = [
        [Strong(name), f". {words}"]
        for key, (name, words) in SCORES.items()
        if any(finite(row.get(key)) is not None for row in rows)
    ]
    return [Paragraph(text=text), Bullets(items=items), *blocks]


def _task(of: Results, task: str, rows: Sequence[Mapping[str, Any]]) -> list[Block]:
    used = [key for key in SCORES if any(finite(row.get(key)) is not None for row in rows)]
    if not used:
        return []

    def rank(row: Mapping[str, Any]) -> float:
        value = finite(row.get(used[0]))
        return -math.inf if value is None else value

    rows = sorted(rows, key=rank, reverse=True)
    series = []
    for key in used:
        values = [finite(row.get(key)) for row in rows]
        spreads = [_spread(row, key) for row in rows]
        bars = [
            (None, None) if value is None or spread is None else (value - spread, value + spread)
            for value, spread in zip(values, spreads, strict=True)
        ]
        series.append(
            figures.Dots(
                label=SCORES[key][0],
                values=values,
                low=[low for low, _ in bars],
                high=[high for _, high in bars],
            )
        )
    drawing = figures.dot_plot(
        [str(row["run"]) for row in rows],
        series,
        xlabel="score on held-out flows (1 is perfect)",
        floor=FLOOR,
    )
    seeds = how_often(None, of.all.get("seeds"))
    note = (
        f"{n_of(rows, 'pairs of cells')}, pairs without a flow included; no folds, other areas are "
        f"held out for each seed; {seeds}. ± and bars: standard deviation over seeds."
    )
    lines: list[list[Cell | Text]] = []
    for row in rows:
        scores = [_with_spread(row, key) for key in used]
        lines.append([Code(str(row["run"])), *scores, whole(row.get("n"))])
    return [
        Figure(
            title=[
                f"{TASKS.get(task, task)} Best by {SCORES[used[0]][0]}: ",
                Code(str(rows[0]["run"])),
            ],
            drawing=drawing,
            alt=f"Dot plot of the scores of {task}, a row per run. "
            + "; ".join(f"{row['run']} {fixed(row.get(used[0]))}" for row in rows),
            note=note,
        ),
        Table(
            title=f"Held-out {task}",
            columns=[
                Column(title="run", align="left"),
                *(Column(title=SCORES[key][0]) for key in used),
                Column(title="n"),
            ],
            rows=lines,
            note=note,
            folded=len(rows) > LONG,
        ),
    ]


def _spread(row: Mapping[str, Any], key: str) -> float | None:
    found = row.get("spread")
    return finite(found.get(key)) if isinstance(found, Mapping) else None


def _with_spread(row: Mapping[str, Any], key: str) -> str:
    spread = _spread(row, key)
    return fixed(row.get(key)) + ("" if spread is None else f" ± {fixed(spread)}")
