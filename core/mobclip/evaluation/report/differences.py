"""Is it better than what needs no training: paired differences."""

from collections.abc import Mapping
from typing import Any

from mobclip.evaluation import figures
from mobclip.evaluation.document import (
    Block,
    Cell,
    Code,
    Column,
    Figure,
    Paragraph,
    Part,
    Table,
    Text,
)
from mobclip.evaluation.report.results import Results, ends
from mobclip.evaluation.report.words import PROTOCOLS, bracket, finite, listed, signed


def verdict(row: Mapping[str, Any]) -> str:
    """What an interval of a difference allows to be said."""
    low, high = finite(row.get("low")), finite(row.get("high"))
    if low is None or high is None:
        return "no interval"
    return "clearly better" if low > 0 else "clearly worse" if high < 0 else "no clear difference"


def lead_over(of: Results) -> list[Part]:
    """One sentence: the best run against the best training-free one that is not itself."""
    if not of.ladder:
        return []
    best = str(of.ladder[0]["run"])
    row = of.difference(best)
    if not row:
        return []
    words = {
        "clearly better": "clearly better than",
        "clearly worse": "clearly worse than",
        "no clear difference": "not clearly different from",
        "no interval": "to be compared with",
    }[verdict(row)]
    interval = bracket(row.get("low"), row.get("high"))
    return [
        "On spatial blocks ",
        Code(best),
        f" is {words} ",
        Code(str(row.get("against", ""))),
        ", the best training-free run beside it: difference in mean R² ",
        signed(row.get("difference")),
        f" {interval} (95 % interval, paired)." if interval else ".",
    ]


def section(of: Results) -> list[Block]:
    """Every run against the best training-free one that is not itself."""
    rows = [row for row in of.rows("differences") if finite(row.get("difference")) is not None]
    blocks = [row for row in rows if row.get("protocol", "blocks") == "blocks"]
    if not blocks:
        return []
    blocks.sort(key=lambda row: -row["difference"])
    numbers = of.targets_of("number")
    better = [str(row["run"]) for row in blocks if verdict(row) == "clearly better"]
    title: Text = (
        [*listed([Code(name) for name in better[:3]]), *([" and others"] if better[3:] else []),
         " clearly better than the best training-free run beside it"]
        if better
        else "No run is clearly better than the best training-free run beside it"
    )  # fmt: skip
    drawing = figures.dot_plot(
        [f"{row['run']} − {row.get('against', '?')}" for row in blocks],
        [
            figures.Dots(
                label="difference on spatial blocks",
                values=[finite(row["difference"]) for row in blocks],
                **ends(blocks, "low", "high"),
            )
        ],
        xlabel="difference in mean R² (right of zero: better than the baseline)",
        reference=0.0,
        reference_label="no difference",
        floor=-0.6,
    )
    protocols = [
        name for name in PROTOCOLS if any(row.get("protocol", "blocks") == name for row in rows)
    ]
    by_pair = {(row["run"], row.get("protocol", "blocks")): row for row in rows}
    lines: list[list[Cell | Text]] = []
    for row in blocks:
        line: list[Cell | Text] = [Code(str(row["run"])), Code(str(row.get("against", "")))]
        for protocol in protocols:
            one = by_pair.get((row["run"], protocol), {})
            other = str(one.get("against", ""))
            against: Text = (
                ["against ", Code(other)] if other not in ("", row.get("against")) else ""
            )
            text = f"{signed(one.get('difference'))} {bracket(one.get('low'), one.get('high'))}"
            line.append(Cell(text=text.strip(), under=against))
        lines.append([*line, verdict(row)])
    return [
        Paragraph(
            text="Each run beside the best training-free run that is not itself, in the same folds "
            "and on the same targets. An interval that holds zero means that these data cannot "
            "tell the two apart."
        ),
        Figure(
            title=title,
            drawing=drawing,
            alt="Forest plot of differences in mean R² with a line at zero. "
            + "; ".join(
                f"{row['run']} minus {row.get('against', '')}: {signed(row['difference'])} "
                f"{bracket(row.get('low'), row.get('high'))}"
                for row in blocks
            ),
            note=of.note(numbers, "Bars are 95 % intervals (paired block bootstrap)."),
        ),
        Table(
            title="Differences in mean R² [95 % interval]",
            columns=[
                Column(title="run", align="left"),
                Column(title="against", align="left"),
                *(Column(title=f"on {PROTOCOLS[protocol]}") for protocol in protocols),
                Column(title="on blocks", align="left"),
            ],
            rows=lines,
        ),
    ]
