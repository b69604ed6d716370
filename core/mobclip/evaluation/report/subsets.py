"""How good is it at cells that are new, and where evidence is missing?"""

from collections.abc import Mapping, Sequence
from typing import Any

from mobclip.evaluation import figures
from mobclip.evaluation.document import Block, Cell, Code, Column, Figure, Paragraph, Table, Text
from mobclip.evaluation.report.ladder import FLOOR
from mobclip.evaluation.report.results import Results
from mobclip.evaluation.report.words import (
    bracket,
    finite,
    fixed,
    how_often,
    percent,
    signed,
    whole,
    with_spread,
)

CELLS = {"seen": "seen in training", "unseen": "never seen"}
KNOWN = {  # state of a modality -> what is known of the cell
    "hidden": "all but its own {}; that of its neighbours",
    "gone": "all but {}, of it and around it",
    "only": "{} alone, of it and around it",
}


def section(of: Results) -> list[Block]:
    """Seen and unseen cells; every modality hidden, gone, and the only one."""
    found = of.all.get("subsets") or {}
    cells = {
        str(row.get("what")): row
        for row in found.get("cells") or ()
        if finite(row.get("blocks")) is not None
    }
    rows = [row for row in found.get("missing") or () if finite(row.get("blocks")) is not None]
    if not cells or not rows:
        return []
    recipe = str(found.get("recipe", ""))
    often = how_often(found.get("folds"), found.get("seeds"))
    targets = [str(one) for one in found.get("targets") or ()]
    note = of.note(targets, "± and bars: standard deviation over seeds.", often=often)
    return [
        Paragraph(
            text=[
                Code(recipe),
                " is trained without the cells of each fold of spatial blocks in turn, and then "
                "shown what there is of them: they are as new to it as another district. Probes "
                "learn from whole embeddings of the other folds. Where something is missing of a "
                "new cell, the network stands in for it; where nothing is, it has no say.",
            ]
        ),
        _cells(recipe, cells, note),
        *_missing(recipe, cells, rows, found, note),
    ]


def _cells(recipe: str, cells: Mapping[str, Mapping[str, Any]], note: str) -> Block:
    lines: list[list[Cell | Text]] = []
    for name, row in cells.items():
        change = "" if name == "seen" else _change(row)
        lines.append([CELLS.get(name, name), with_spread(row, "blocks"), change])
    lost = finite((cells.get("unseen") or {}).get("difference", {}).get("blocks"))
    found = "–" if lost is None else signed(lost)
    return Table(
        title=["New cells: ", Code(recipe), f" changes by {found} R² where it has not seen them"],
        columns=[
            Column(title="cells", align="left"),
            Column(title="R² on spatial blocks"),
            Column(title="change [95 % interval]"),
        ],
        rows=lines,
        note=f"{note} A unit is in the fold of its main cell, which is not quite as in the ladder.",
    )


def _missing(
    recipe: str,
    cells: Mapping[str, Mapping[str, Any]],
    rows: Sequence[Mapping[str, Any]],
    found: Mapping[str, Any],
    note: str,
) -> list[Block]:
    by_what = {
        (str(row.get("state")), str(row.get("modality")), bool(row.get("network"))): row
        for row in rows
    }
    states = [state for state in KNOWN if any(key[0] == state for key in by_what)]
    asked = [
        (state, modality)
        for state in states
        for modality in dict.fromkeys(str(row.get("modality")) for row in rows)
        if any(key[:2] == (state, modality) for key in by_what)
    ]
    first = {state: next(i for i, key in enumerate(asked) if key[0] == state) for state in states}
    headings = {
        "hidden": "a modality of the cell itself is not known",
        "gone": "a modality is known neither there nor around",
        "only": "a modality is all that is known",
    }
    drawing = figures.dot_plot(
        [f"{modality} alone" if state == "only" else modality for state, modality in asked],
        [
            figures.Dots(
                label=label,
                values=[finite(by_what.get((*one, network), {}).get("blocks")) for one in asked],
            )
            for network, label in ((True, "with the network"), (False, "without it"))
        ],
        xlabel="R² at cells that are new",
        reference=finite((cells.get("unseen") or {}).get("blocks")),
        reference_label="everything known",
        floor=FLOOR,
        headings={i: headings[state] for state, i in first.items()},
    )
    helped = [
        (one, other)
        for (*key, network), one in by_what.items()
        if network and (other := by_what.get((key[0], key[1], False)))
    ]
    better = sum(one["blocks"] > other["blocks"] for one, other in helped)
    lines: list[list[Cell | Text]] = []
    for state, modality in asked:
        for network in (True, False):
            row = by_what.get((state, modality, network))
            if row is None:
                continue
            lines.append(
                [
                    KNOWN[state].format(modality),
                    "yes" if network else "no",
                    with_spread(row, "cosine"),
                    *(percent(row.get(f"recall{k}")) for k in (1, 10, 100)),
                    percent(row.get("chance10")),
                    with_spread(row, "blocks"),
                    _change(row),
                    whole(row.get("n")),
                    whole(row.get("candidates")),
                ]
            )
    return [
        Figure(
            title=f"Where evidence is missing the network helps in {better} of {len(helped)} cases",
            drawing=drawing,
            alt="Dot plot of R² at new cells with one modality missing, or alone, with the network "
            "and without it; the table below has the numbers.",
            note=note,
        ),
        Table(
            title=["What ", Code(recipe), " makes of less, at new cells"],
            columns=[
                Column(title="known of the cell", align="left"),
                Column(title="network", align="left"),
                Column(title="cosine to all of it"),
                *(Column(title=f"recall@{k}") for k in (1, 10, 100)),
                Column(title="recall@10 by chance"),
                Column(title="R² on spatial blocks"),
                Column(title="change from all known [95 % interval]"),
                Column(title="cells asked"),
                Column(title="cells of a fold"),
            ],
            rows=lines,
            note=[
                "Cosine: to the embedding of all evidence of the same cell; two different cells "
                f"have {fixed(found.get('random_cosine'))} in the mean. Recall@k: how often that "
                "embedding is among the k nearest of all cells of the fold. Both over the cells "
                "that have the modality. ",
                note,
            ],
            folded=True,
        ),
    ]


def _change(row: Mapping[str, Any]) -> str:
    found = row.get("difference") or {}
    interval = bracket(found.get("low"), found.get("high"))
    return f"{signed(found.get('blocks'))} {interval}".strip()
