"""Which run is best, and what neighbours give away."""

from collections.abc import Mapping, Sequence
from statistics import median
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
    Strong,
    Table,
    Text,
)
from mobclip.evaluation.report.results import Results, ends, gap
from mobclip.evaluation.report.words import (
    PROTOCOLS,
    average,
    bracket,
    finite,
    fixed,
    plural,
    signed,
    whole,
    with_spread,
)

FLOOR = -0.25  # R² below it is drawn as an arrow: one hopeless run must not flatten the others


def section(of: Results) -> list[Block]:
    """Every run: blocks beside random beside regions."""
    if not of.ladder:
        return []
    names = [str(one["run"]) for one in of.ladder]
    targets = of.targets_of("number")
    series = [
        figures.Dots(
            label=PROTOCOLS[protocol],
            values=[finite(one.get(protocol)) for one in of.ladder],
            **ends(of.ladder, f"{protocol}_low", f"{protocol}_high"),
        )
        for protocol in of.protocols
    ]
    limits = of.ceilings
    gaps = [one for one in map(gap, of.ladder) if one is not None]
    title: list[Part] = [Code(names[0]), " is highest on spatial blocks"]
    if gaps:
        typical = median(gaps)
        gain = f"flatter runs by {fixed(typical)} (median)" if typical > 0 else "flatter none here"
        title.append(f"; random folds {gain}")
    drawing = figures.dot_plot(
        names,
        series,
        xlabel=f"mean R² over {plural(len(targets), 'target')} (no unit; 1 is perfect)",
        reference=average(limits) if limits else None,
        reference_label="what noise allows" if limits else "",
        floor=FLOOR,
    )
    text: list[Part] = [
        Strong("Spatial blocks"),
        " hold out whole areas, so that nothing near a tested place was seen. ",
        Strong("Random folds"),
        " hold out scattered places whose neighbours were seen. The gap between the two is what "
        "neighbours give away (leakage): it would not be there in an area without data. ",
    ]
    if "regions" in of.protocols:
        text += [
            Strong("Regions"),
            " hold out a whole part of the map at a time, the hardest question. ",
        ]
    text.append("Runs are ranked by blocks.")
    known = all(finite(one.get("blocks_low")) is not None for one in of.ladder)
    note = of.note(
        targets,
        "Bars and brackets are 95 % intervals of the mean (block bootstrap)."
        + ("" if known else " ± is the standard deviation over seeds."),
    )
    rows: list[list[Cell | Text]] = [
        [
            Cell(text=Code(name), under=str((of.runs.get(name) or {}).get("about") or "")),
            *numbers(of, line, intervals=of.protocols),
            signed(gap(line)),
            whole(line.get("dims")),
            _kind(of, name),
        ]
        for name, line in zip(names, of.ladder, strict=True)
    ]
    return [
        Paragraph(text=text),
        Figure(
            title=title,
            drawing=drawing,
            alt="Dot plot of mean R² with intervals, a row per run. "
            + "; ".join(
                f"{one['run']}: "
                + ", ".join(f"{PROTOCOLS[p]} {fixed(one.get(p))}" for p in of.protocols)
                for one in of.ladder
            ),
            note=note,
        ),
        Table(
            title="Mean R² of every run [95 % interval]",
            columns=[
                Column(title="run", align="left"),
                *(Column(title=PROTOCOLS[protocol]) for protocol in of.protocols),
                Column(title="gap: random −\N{NO-BREAK SPACE}blocks"),
                Column(title="dims"),
                Column(title="kind", align="left"),
            ],
            rows=rows,
            note=note,
        ),
    ]


def numbers(of: Results, line: Mapping[str, Any], *, intervals: Sequence[str]) -> list[str]:
    """Numbers of one line, a protocol each, with its interval where asked for."""
    row = []
    for protocol in of.protocols:
        interval = bracket(line.get(f"{protocol}_low"), line.get(f"{protocol}_high"))
        if protocol in intervals and interval:
            row.append(f"{fixed(line.get(protocol))} {interval}")
        else:
            row.append(with_spread(line, protocol))
    return row


def _kind(of: Results, run: str) -> str:
    """Where a run comes from; one that is judged by another probe than ridge says so."""
    probe = (of.runs.get(run) or {}).get("probe", "ridge")
    return of.kind_of(run) + ("" if probe == "ridge" else f", probe: {probe}")
