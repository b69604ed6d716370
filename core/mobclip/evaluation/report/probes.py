"""Other probes, prediction intervals, and the protocol of the paper."""

from collections.abc import Mapping, Sequence

from mobclip.evaluation import figures
from mobclip.evaluation.document import Block, Cell, Code, Column, Figure, Paragraph, Table, Text
from mobclip.evaluation.report.ladder import FLOOR
from mobclip.evaluation.report.methods import METRICS
from mobclip.evaluation.report.results import Results
from mobclip.evaluation.report.words import LONG, amount, average, finite, fixed, plain_table, whole
from mobclip.probes.metrics import PRIMARY


def others(of: Results) -> list[Block]:
    """Other probes beside the one that ranks, on the targets that all of them scored."""
    blocks: list[Block] = []
    rows = [row for row in of.rows("probes") if row.get("protocol", "blocks") == "blocks"]
    for metric in dict.fromkeys(PRIMARY.values()):
        found: dict[tuple[str, str], dict[str, float]] = {}
        for row in rows:
            value = finite(row.get("mean"))
            if row.get("metric") == metric and value is not None:
                found.setdefault((row["run"], row["probe"]), {})[row["target"]] = value
        if not found:
            continue
        common = sorted(set.intersection(*(set(one) for one in found.values())))
        if not common:
            continue
        means = {key: average(one[name] for name in common) for key, one in found.items()}
        runs = of.by_rank(run for run, _ in means)
        probes = sorted({probe for _, probe in means}, key=lambda one: (one != "ridge", one))
        blocks += _metric_blocks(of, metric, common, means, runs, probes)
    if blocks:
        blocks.insert(
            0,
            Paragraph(
                text="The ranking above uses one simple probe for all. A probe that can bend "
                "(neighbours, boosting) may read more out of the same vectors; if it changes the "
                "order of the runs, the order is one of probes as much as of embeddings."
            ),
        )
    return blocks


def _metric_blocks(
    of: Results,
    metric: str,
    targets: Sequence[str],
    means: Mapping[tuple[str, str], float],
    runs: Sequence[str],
    probes: Sequence[str],
) -> list[Block]:
    """Figure and table of one metric; `means` is (run, probe) -> mean over the targets."""
    name = METRICS[metric][0]
    best_run, best_probe = max(means, key=means.__getitem__)
    drawing = figures.dot_plot(
        runs,
        [
            figures.Dots(label=probe, values=[means.get((run, probe)) for run in runs])
            for probe in probes[: figures.SERIES]
        ],
        xlabel=f"mean {name} on spatial blocks",
        floor=FLOOR,
    )
    rows: list[list[Cell | Text]] = []
    for run in runs:
        top = max(means[key] for key in means if key[0] == run)
        row: list[Cell | Text] = [Code(run)]
        for probe in probes:
            value = means.get((run, probe))
            row.append(Cell(text=fixed(value), best=value == top))
        rows.append(row)
    note = of.note(targets, "Every setting is chosen inside the training folds.", often=of.once)
    return [
        Figure(
            title=[f"{name}: best with ", Code(best_probe), " on ", Code(best_run)],
            drawing=drawing,
            alt=f"Dot plot of mean {name} on spatial blocks, a row per run, a mark per probe. "
            + "; ".join(f"{run} {probe} {fixed(value)}" for (run, probe), value in means.items()),
            note=note,
        ),
        Table(
            title=f"Mean {name} on spatial blocks, by probe",
            columns=[
                Column(title="run", align="left"),
                *(Column(title=Code(probe)) for probe in probes),
            ],
            rows=rows,
            note=note,
        ),
    ]


def conformal(of: Results) -> list[Block]:
    """Coverage of prediction intervals, promised against found."""
    rows = [row for row in of.rows("conformal") if finite(row.get("coverage")) is not None]
    if not rows:
        return []
    level = max(
        {finite(row.get("level")) or 0.0 for row in rows},
        key=lambda one: sum(row.get("level") == one for row in rows),
    )
    shown = [row for row in rows if row.get("level") == level]
    runs = of.by_rank(str(row["run"]) for row in shown)
    targets = list(dict.fromkeys(str(row["target"]) for row in shown))
    by_pair = {(row["run"], row["target"]): row for row in shown}
    off = average(abs(row["coverage"] - level) for row in shown)
    drawing = figures.dot_plot(
        [of.title_of(name) for name in targets],
        [
            figures.Dots(
                label=run,
                values=[finite(by_pair.get((run, name), {}).get("coverage")) for name in targets],
            )
            for run in runs[: figures.SERIES]
        ],
        xlabel="share of places whose true value lies in the interval",
        reference=level,
        reference_label=f"promised: {fixed(level)}",
        # A scale on which a miss of a hundredth looks small, as it is.
        least=(level - 0.1, min(level + 0.1, 1.0)),
    )
    found = f"Promised {fixed(level)}, found {fixed(average(row['coverage'] for row in shown))}"
    return [
        Paragraph(
            text="A prediction interval says: the true value is in here with the stated "
            "probability. It is calibrated on blocks that were not tested (split conformal) and "
            "then checked: left of the line intervals are too narrow, right of it too wide."
        ),
        Figure(
            title=f"{found} on average; a target is {fixed(off)} off",
            drawing=drawing,
            alt="Dot plot of coverage, a row per target, a mark per run, a line at the promise. "
            + "; ".join(f"{row['run']} {row['target']} {fixed(row['coverage'])}" for row in shown),
            note=of.note(targets, often=of.once),
        ),
        plain_table(
            rows,
            "Coverage and width of the intervals",
            [
                ("run", "run", Code),
                ("target", "target", of.title_of),
                ("level", "promised", fixed),
                ("coverage", "found", fixed),
                ("width", "width, in the target's unit after its transform", amount),
                ("n", "n", whole),
            ],
            folded=len(rows) > LONG,
        ),
    ]


def paper(of: Results) -> list[Block]:
    """The protocol of the MobCLIP paper, as published."""
    rows = of.rows("paper")
    if not rows:
        return []
    return [
        Paragraph(
            kind="note",
            text="As published, not how we judge: one random split of 80 to 20, one seed, "
            "neighbours of tested cells in training, no interval. It is here so that numbers can "
            "be set beside those of the MobCLIP paper (arXiv 2506.01297), whose data are closed: "
            "these are other places and other targets.",
        ),
        plain_table(
            rows,
            "The paper's own protocol",
            [
                ("run", "run", Code),
                ("target", "target", of.title_of),
                ("level", "as the paper's", str),
                ("probe", "probe", Code),
                ("r2", "R²", fixed),
                ("rmse", "RMSE, in the target's unit", amount),
                ("n", "n", whole),
            ],
            folded=len(rows) > LONG,
            note="n is the number of labelled units, of which a fifth is tested; seed 42.",
        ),
    ]
