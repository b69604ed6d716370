"""The head of the report: the finding in plain words."""

from collections.abc import Sequence

from mobclip.evaluation.document import (
    Block,
    Code,
    Facts,
    Paragraph,
    Part,
    Strong,
    Text,
    Tile,
    Tiles,
)
from mobclip.evaluation.report.differences import lead_over, verdict
from mobclip.evaluation.report.results import (
    Results,
    gap,
)
from mobclip.evaluation.report.words import (
    average,
    bracket,
    finite,
    fixed,
    listed,
    marked,
    percent,
    plural,
    signed,
    whole,
    with_bracket,
)


def kicker(of: Results) -> str:
    """What this is, of which version and date."""
    version, date = of.all.get("mobclip"), of.all.get("date")
    name = f"Evaluation by mobclip {version}" if version else "Evaluation by mobclip"
    return f"{name} · {date}" if date else name


def head(of: Results) -> list[Block]:
    """The answer in words and in three numbers; warnings; what was evaluated."""
    blocks: list[Block] = []
    if of.all.get("generated"):
        blocks.append(
            Paragraph(
                kind="stamp",
                text=[
                    Strong("Synthetic. "),
                    "This place is invented and was made by mobclip. Its numbers show whether what "
                    "was planted is found; they say nothing about real places.",
                ],
            )
        )
    if of.ladder:
        blocks += [Tiles(tiles=_tiles(of)), *_findings(of)]
    blocks += [
        Paragraph(text=marked(str(one)), kind="warning") for one in of.all.get("warnings") or ()
    ]
    blocks.append(Facts(rows=_facts(of)))
    return blocks


def _tiles(of: Results) -> list[Tile]:
    """How good, compared to what, and what a reviewer suspects."""
    best = of.ladder[0]
    numbers = of.targets_of("number")
    tiles = [
        Tile(
            question="How good, in areas it has not seen?",
            number=f"R² {fixed(best['blocks'])}",
            detail=[
                bracket(best.get("blocks_low"), best.get("blocks_high")),
                " mean over ",
                plural(len(numbers), "target"),
                " of the best run, ",
                Code(str(best["run"])),
            ],
        )
    ]
    row = of.difference(str(best["run"]))
    if row:
        tiles.append(
            Tile(
                question="Compared to the next best simple method?",
                number=signed(row.get("difference")),
                detail=[
                    f"{bracket(row.get('low'), row.get('high'))} R² against ",
                    Code(str(row.get("against", ""))),
                    f": {verdict(row)}",
                ],
            )
        )
    leak = gap(best)
    if leak is not None:
        tiles.append(
            Tile(
                question="What do known neighbours add?",
                number=signed(leak),
                detail="R² on random folds minus R² on spatial blocks, same run: leakage, not skill"
                if leak > 0
                else "R² on random folds minus R² on spatial blocks, same run: no leakage seen",
            )
        )
    return tiles


def _findings(of: Results) -> list[Block]:
    """The headline in words."""
    best = of.ladder[0]
    name = str(best["run"])
    text: list[Part] = [
        "Of ",
        plural(len(of.ladder), "run"),
        ", ",
        Code(name),
        {"training-free": ", which needs no training,", "trained": ", a trained model,"}.get(
            of.kind_of(name), ""
        ),
        " predicts best in areas that were held out whole: it gets ",
        Strong(percent(best["blocks"])),
        " of the differences between places right on average (R² ",
        with_bracket(best, "blocks", "blocks_low", "blocks_high"),
        "; 100 % would be perfect, 0 % is what always saying the average gets). ",
        *lead_over(of),
    ]
    blocks: list[Block] = [Paragraph(text=text)]
    for_what = _for_what(of, name)
    if for_what:
        blocks.append(Paragraph(text=for_what))
    trained = [str(one["run"]) for one in of.ladder if of.kind_of(str(one["run"])) == "trained"]
    if trained and trained[0] != name:
        row = of.difference(trained[0])
        against: list[Part] = (
            [
                " (",
                signed(row.get("difference")),
                f" {bracket(row.get('low'), row.get('high'))} against ",
                Code(str(row.get("against", ""))),
                f": {verdict(row)})",
            ]
            if row
            else []
        )
        line = next(one for one in of.ladder if one["run"] == trained[0])
        blocks.append(
            Paragraph(
                text=[
                    "The best trained run, ",
                    Code(trained[0]),
                    f", reaches R² {fixed(line['blocks'])}",
                    *against,
                    ".",
                ]
            )
        )
    return blocks


def _for_what(of: Results, run: str) -> list[Part]:
    """Where a run is best, and where weakest."""
    scored = [
        (value, name)
        for name in of.targets_of("number")
        if (value := of.primary(run, name)) is not None
    ]
    if len(scored) < 2:
        return []
    scored.sort(reverse=True)
    few = 2 if len(scored) >= 4 else 1

    def named(some: Sequence[tuple[float, str]]) -> list[Part]:
        return listed([f"{of.title_of(name)} ({fixed(value)})" for value, name in some])

    text: list[Part] = [
        "It is best for ", *named(scored[:few]), ", weakest for ", *named(scored[-few:][::-1]), ".",
    ]  # fmt: skip
    limits = of.ceilings
    if limits:
        text.append(
            f" The noise in these targets allows no more than {fixed(average(limits))} on average."
        )
    return text


def _facts(of: Results) -> list[tuple[Text, Text]]:
    """What was evaluated."""
    results = of.all
    kinds = {
        "number": "of numbers",
        "binary": "of yes or no",
        "class": "of classes",
        "composition": "of shares",
    }
    counted = [
        f"{len(names)} {word}" for kind, word in kinds.items() if (names := of.targets_of(kind))
    ]
    rows: list[tuple[Text, Text]] = [
        ("Place", of.place),
        ("Data", "synthetic, made by mobclip" if results.get("generated") else "real"),
        (
            "Cells",
            f"{whole(results.get('cells'))} H3, resolution {results.get('resolution', '–')}",
        ),
        ("Targets", ", ".join(counted) or "none"),
        ("Runs", whole(len(of.order))),
        ("Repeats", of.how_often),
    ]
    coverage = finite(results.get("coverage"))
    if coverage is not None and coverage < 1:
        rows.append(("Scored on", f"{percent(coverage)} of the cells: those that every run covers"))
    if results.get("left_out"):
        rows.append(("Left out", "; ".join(f"{k}: {v}" for k, v in results["left_out"].items())))
    return rows
