"""Are answers hidden among the inputs: the audit of near copies."""

from collections.abc import Mapping
from typing import Any

from mobclip.evaluation import figures
from mobclip.evaluation.document import Block, Cell, Code, Column, Figure, Paragraph, Table, Text
from mobclip.evaluation.report.ladder import FLOOR
from mobclip.evaluation.report.results import Results
from mobclip.evaluation.report.words import average, few, finite, fixed, plural, signed


def section(of: Results) -> list[Block]:
    """Every target with and without the inputs nearest to it."""
    rows = [row for row in of.rows("leakage") if finite(row.get("r2")) is not None]
    if not rows:
        return []

    def drop(row: Mapping[str, Any]) -> float:
        return (finite(row.get("r2")) or 0.0) - (finite(row.get("r2_without")) or 0.0)

    rows.sort(key=lambda row: -drop(row))
    near = [row for row in rows if row.get("near_copy")]
    found = f"{len(near)} of {plural(len(rows), 'target')}" if near else "No target"
    title = (
        f"{found} {'has' if len(near) < 2 else 'have'} a near copy among the inputs; without the "
        f"nearest inputs R² changes by {signed(-average(map(drop, rows)))} on average"
    )
    drawing = figures.dot_plot(
        [of.title_of(str(row["target"])) for row in rows],
        [
            figures.Dots(label=label, values=[finite(row.get(key)) for row in rows])
            for key, label in (
                ("r2", "all inputs"),
                ("r2_without", "without the nearest"),
                ("r2_column", "the nearest input alone"),
            )
        ],
        xlabel="R² on spatial blocks",
        floor=FLOOR,
    )
    note = of.note([str(row["target"]) for row in rows], often=of.once)
    lines: list[list[Cell | Text]] = [
        [
            of.title_of(str(row["target"])),
            Cell(
                text=Code(str(row.get("column", "–"))),
                under=str(row.get("modality") or "")
                + (", a near copy" if row.get("near_copy") else ""),
            ),
            fixed(row.get("r2_column")),
            fixed(row.get("r2")),
            fixed(row.get("r2_without")),
            signed(-drop(row)),
            few(row.get("removed") or ()),
        ]
        for row in rows
    ]
    return [
        Paragraph(
            text="An input that is nearly a copy of a target makes a prediction look like "
            "knowledge. For each target the input column was sought that alone predicts it best, "
            "and the target was predicted again by a run made without that column and its like "
            "(all near copies, and the rest of their histograms)."
        ),
        Figure(
            title=title,
            drawing=drawing,
            alt="Dot plot of R² with all inputs, without the nearest and by the nearest alone; the "
            "table below has the numbers.",
            note=note,
        ),
        Table(
            title="R² with and without the inputs nearest to the target",
            columns=[
                Column(title="target", align="left"),
                Column(title="nearest input", align="left"),
                Column(title="R² of it alone"),
                Column(title="R², all inputs"),
                Column(title="R² without"),
                Column(title="change"),
                Column(title="inputs left out", align="left"),
            ],
            rows=lines,
            note=note,
        ),
    ]
