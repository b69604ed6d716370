"""What does each part contribute?"""

from collections.abc import Mapping, Sequence
from typing import Any

from mobclip.evaluation import figures
from mobclip.evaluation.document import Block, Cell, Code, Column, Figure, Paragraph, Table, Text
from mobclip.evaluation.report.ladder import FLOOR
from mobclip.evaluation.report.results import Results
from mobclip.evaluation.report.words import (
    LONG,
    PROTOCOLS,
    bracket,
    finite,
    how_often,
    shifted,
    signed,
    with_spread,
)

STUDIES = {
    "full": "the whole recipe",
    "modality-removed": "without one modality",
    "modality-alone": "one modality alone",
    "dims": "dimensions",
    "design": "one idea left out",
    "known": "modalities known at inference (mean over the choices)",
    "known-linear": "the same, without what training adds",
    "resolution": "H3 resolution (units that every resolution has)",
}


def section(of: Results) -> list[Block]:
    """Every recipe that was taken apart."""
    blocks: list[Block] = []
    for recipe, found in (of.all.get("ablation") or {}).items():
        blocks += _recipe(of, str(recipe), found or {})
    return blocks


def _recipe(of: Results, recipe: str, found: Mapping[str, Any]) -> list[Block]:
    rows = [row for row in found.get("rows") or () if finite(row.get("blocks")) is not None]
    if not rows:
        return []
    studies = list(dict.fromkeys(str(row.get("study", "")) for row in rows))
    rows.sort(key=lambda row: studies.index(str(row.get("study", ""))))
    words = {study: STUDIES.get(study, study) for study in studies}
    first = {
        study: next(i for i, row in enumerate(rows) if str(row.get("study", "")) == study)
        for study in studies
    }
    protocols = [one for one in PROTOCOLS if any(finite(row.get(one)) is not None for row in rows)]
    drawing = figures.dot_plot(
        [_what(row) for row in rows],
        [
            figures.Dots(
                label=PROTOCOLS[one],
                values=[finite(row.get(one)) for row in rows],
                low=[shifted(row, one, -1) for row in rows],
                high=[shifted(row, one, 1) for row in rows],
            )
            for one in protocols
        ],
        xlabel="mean R²",
        floor=FLOOR,
        headings={i: words[study] for study, i in first.items()},
    )
    targets = [str(one) for one in found.get("targets") or of.targets_of("number")]
    often = how_often(
        found.get("folds", of.all.get("folds")), found.get("seeds", of.all.get("seeds"))
    )
    note = of.note(targets, "± and bars: standard deviation over seeds.", often=often)
    changes = any(_change(row) for row in rows)
    lines: list[list[Cell | Text]] = []
    for row in rows:
        line: list[Cell | Text] = [
            words[str(row.get("study", ""))],
            Cell(text=_what(row), under=str(row.get("note") or "")),
            *(with_spread(row, one) for one in protocols),
        ]
        lines.append([*line, _change(row)] if changes else line)
    blocks: list[Block] = [
        Figure(
            title=[Code(recipe), f": {_costliest(rows)}"],
            drawing=drawing,
            alt="Dot plot of mean R², a row per variation; the table below has the numbers.",
            note=note,
        ),
        Table(
            title=["Variations of ", Code(recipe)],
            columns=[
                Column(title="study", align="left"),
                Column(title="what", align="left"),
                *(Column(title=f"R² on {PROTOCOLS[one]}") for one in protocols),
                *([Column(title="change on blocks [95 % interval]")] if changes else []),
            ],
            rows=lines,
            note=note,
            folded=len(rows) > LONG,
        ),
    ]
    gains = [row for row in found.get("gains") or () if row.get("modality")]
    if gains:
        blocks.append(
            Table(
                title=["What each modality adds to ", Code(recipe), ", in R² on spatial blocks"],
                columns=[
                    Column(title="modality", align="left"),
                    Column(title="as the first (alone)"),
                    Column(title="as the last (to all others)"),
                ],
                rows=[
                    [
                        Code(str(row["modality"])),
                        with_spread(row, "first"),
                        with_spread(row, "last"),
                    ]
                    for row in gains
                ],
                note="What modalities have in common counts in each first and in no last.",
            )
        )
    impossible = [
        f"{STUDIES.get(str(row.get('study')), row.get('study'))}, {row.get('what')}: "
        f"{row.get('why')}"
        for row in found.get("not_applicable") or ()
    ]
    if impossible:
        blocks.append(Paragraph(kind="note", text=f"Not applicable. {'; '.join(impossible)}."))
    return blocks


def _what(row: Mapping[str, Any]) -> str:
    """A variation in words."""
    name = str(row.get("what", ""))
    return {"modality-removed": f"without {name}", "modality-alone": f"{name} alone"}.get(
        str(row.get("study")), name
    )


def _change(row: Mapping[str, Any]) -> str:
    """Difference from the whole recipe; of the whole recipe itself nothing."""
    found = row.get("difference")
    if not isinstance(found, Mapping) or row.get("study") == "full":
        return ""
    interval = bracket(found.get("low"), found.get("high"))
    return f"{signed(found.get('blocks'))} {interval}".strip()


def _costliest(rows: Sequence[Mapping[str, Any]]) -> str:
    """Which modality is missed most, where that was asked."""
    removed = [
        (float(found["blocks"]), str(row.get("what")))
        for row in rows
        if row.get("study") == "modality-removed"
        and isinstance(found := row.get("difference"), Mapping)
        and finite(found.get("blocks")) is not None
    ]
    if not removed or min(removed)[0] >= 0:
        return "what changes when parts are taken away"
    change, name = min(removed)
    return f"{name} is missed most, {signed(change)} R² without it"
