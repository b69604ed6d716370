"""Good for what: every run on every target, of numbers, classes and shares."""

from collections.abc import Sequence

from mobclip.evaluation.document import (
    Block,
    Bullets,
    Cell,
    Code,
    Column,
    Paragraph,
    Strong,
    Table,
    Text,
)
from mobclip.evaluation.report.methods import METRICS
from mobclip.evaluation.report.results import Results
from mobclip.evaluation.report.words import amount, bracket, finite, fixed, whole


def numbers(of: Results) -> list[Block]:
    """R² of every run on every numeric target."""
    names = of.targets_of("number")
    if not names:
        return []
    heat = _heat(of, names, "R² on spatial blocks, every run on every target", ceiling=True)
    if heat is None:
        return []
    best = next(iter(of.order))
    return [
        Paragraph(
            text="The stronger the shade, the better predicted; hatched is worse than always "
            "saying the average (R² below 0). The best of each row is underlined. Runs are in the "
            "order of the section above."
        ),
        heat,
        *_notes(of, names),
        *_every_metric(of, best, names),
    ]


def classes(of: Results) -> list[Block]:
    """The same for what is no number, by the primary metric of its kind."""
    names = of.targets_of("binary", "class", "composition")
    if not names:
        return []
    heat = _heat(of, names, "Primary score on spatial blocks, every run", ceiling=False)
    if heat is None:
        return []
    used = dict.fromkeys(of.metric_of(name) for name in names)
    best = next(iter(of.order))
    named = [
        f"{of.title_of(name)}: {', '.join(map(str, parts))}."
        for name in names
        if (parts := of.target(name).get("classes"))
    ]
    return [
        Bullets(items=[[Strong(METRICS[one][0]), ". ", METRICS[one][1]] for one in used]),
        Paragraph(text="Hatched is no better than chance, or than the average shares."),
        heat,
        *([Paragraph(kind="note", text=" ".join(named))] if named else []),
        *_notes(of, names),
        *_every_metric(of, best, names),
    ]


def _heat(of: Results, targets: Sequence[str], title: Text, *, ceiling: bool) -> Table | None:
    """A row per target, a column per run, lightness by the primary score on blocks."""
    found = {
        (run, name): value
        for name in targets
        for run in of.order
        if (value := of.primary(run, name)) is not None
    }
    runs = [run for run in of.order if any((run, name) in found for name in targets)]
    if not runs:
        return None
    limits = ceiling and any(finite(of.target(name).get("ceiling")) for name in targets)
    metrics = not all(of.target(name).get("kind", "number") == "number" for name in targets)
    columns = [Column(title="target", align="left")]
    columns += [Column(title="score", align="left")] if metrics else []
    columns += [Column(title="noise allows")] if limits else []
    columns += [Column(title=Code(run), upright=True) for run in runs]
    rows: list[list[Cell | Text]] = []
    for name in targets:
        metric = of.metric_of(name)
        row: list[Cell | Text] = [Cell(text=of.title_of(name), under=_small_print(of, name))]
        row += [METRICS[metric][0]] if metrics else []
        row += [fixed(of.target(name).get("ceiling"))] if limits else []
        best = max((found[run, name] for run in runs if (run, name) in found), default=None)
        for run in runs:
            value = found.get((run, name))
            if value is None:
                row.append("–")
                continue
            shade = 2 * value - 1 if metric == "auc" else value
            row.append(Cell(text=fixed(value), shade=shade, best=value == best))
        rows.append(row)
    return Table(
        title=title,
        columns=columns,
        rows=rows,
        note=of.note(
            targets,
            "Mean over seeds."
            + (
                " “Noise allows”: the largest R² that the noise in the target leaves possible, "
                "where it is known."
                if limits
                else ""
            ),
        ),
    )


def _small_print(of: Results, name: str) -> str:
    """Level, n, unit and transform of a target."""
    what = of.target(name)
    parts = [
        str(what.get("level") or ""),
        f"n = {whole(what['n'])}" if finite(what.get("n")) is not None else "",
        str(what.get("unit") or ""),
        str(what["transform"]) if what.get("transform") not in (None, "none") else "",
    ]
    return ", ".join(part for part in parts if part)


def _notes(of: Results, targets: Sequence[str]) -> list[Block]:
    """What a reader must know of targets, once for all that share it."""
    shared: dict[str, list[str]] = {}
    for name in targets:
        note = str(of.target(name).get("note") or "")
        if note:
            shared.setdefault(note, []).append(of.title_of(name))
    return [
        Paragraph(kind="note", text=f"{'; '.join(titles)}: {note}")
        for note, titles in shared.items()
    ]


def _every_metric(of: Results, run: str, targets: Sequence[str]) -> list[Block]:
    """All scores of one run, folded: for those who want every number."""
    wanted = [
        metric
        for metric in METRICS
        if any(of.score(run, name, "blocks", metric) for name in targets)
    ]
    if not wanted:
        return []
    rows: list[list[Cell | Text]] = []
    for name in targets:
        row: list[Cell | Text] = [Cell(text=of.title_of(name), under=_small_print(of, name))]
        for metric in wanted:
            one = of.score(run, name, "blocks", metric)
            if not one:
                row.append("–")
            elif metric in ("rmse", "mae"):
                row.append(amount(one.get("mean")))
            else:
                spread = finite(one.get("spread"))
                under = bracket(one.get("low"), one.get("high"))
                if spread is not None and not under:
                    under = f"± {fixed(spread)}"
                row.append(Cell(text=fixed(one.get("mean")), under=under))
        rows.append(row)
    return [
        Table(
            title=["All scores of ", Code(run), " on spatial blocks"],
            columns=[
                Column(title="target", align="left"),
                *(Column(title=METRICS[metric][0]) for metric in wanted),
            ],
            rows=rows,
            note=of.note(
                targets,
                "Below a score its 95 % interval (block bootstrap), or ± its standard deviation "
                "over seeds. Errors are in the unit of the target after its transform.",
            ),
            folded=True,
        )
    ]
