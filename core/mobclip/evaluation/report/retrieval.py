"""Is the right place found: by words, by a planted twin; and are neighbours alike?"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mobclip.evaluation import figures
from mobclip.evaluation.document import (
    Block,
    Cell,
    Code,
    Column,
    Figure,
    Paragraph,
    Row,
    Table,
    Text,
)
from mobclip.evaluation.report.results import Results
from mobclip.evaluation.report.words import (
    LONG,
    average,
    finite,
    fixed,
    how_often,
    percent,
    plain_table,
    plural,
    whole,
)

LEAST_AREA = 0.001  # share of the land at which curves of recall begin


def section(of: Results) -> list[Block]:
    """Words, twins, hierarchy."""
    found = of.all.get("retrieval") or {}
    return [
        *_words(of, list(found.get("text") or ())),
        *_twins(of, list(found.get("twins") or ())),
        *_hierarchy(of, list(found.get("hierarchy") or ())),
    ]


def _words(of: Results, rows: list[Mapping[str, Any]]) -> list[Block]:
    rows = [row for row in rows if finite(row.get("area_under")) is not None]
    if not rows:
        return []
    queries = list(dict.fromkeys(str(row["query"]) for row in rows))
    by_pair = {(row["run"], row["query"]): row for row in rows}
    means = {
        run: average(row["area_under"] for row in rows if row["run"] == run)
        for run in of.by_rank(str(row["run"]) for row in rows)
    }
    runs = sorted(means, key=means.__getitem__, reverse=True)
    seed = how_often(None, list(of.all.get("seeds") or ())[:1])
    note = f"n = {plural(len(queries), 'query', 'queries')}; no folds; embeddings of {seed}."
    lines: list[list[Cell | Text]] = []
    for query in queries:
        values = [finite(by_pair.get((run, query), {}).get("area_under")) for run in runs]
        top = max((value for value in values if value is not None), default=None)
        cells = [Cell(text=fixed(one), best=one is not None and one == top) for one in values]
        lines.append([f"“{query}”", *cells])
    lines.append(["mean", *(fixed(means[run]) for run in runs)])
    table = Table(
        title="Area under recall against area, by query",
        columns=[
            Column(title="query", align="left"),
            *(Column(title=Code(run), upright=len(runs) > 3) for run in runs),
        ],
        rows=lines,
        note=note,
        folded=len(lines) > LONG,
    )
    text = Paragraph(
        text="A query in words ranks all cells. Recall against area: going down that ranking, how "
        "much of what was looked for is found within which share of the land? The area under the "
        "curve is 1 at best and 0.5 by chance. The words of points of interest are among the "
        "inputs: this measures whether words lead to cells, not whether anything is known where "
        "there are no data."
    )
    curves = [
        curve
        for run in runs
        if (
            curve := _curve(
                f"{run} ({fixed(means[run])})", [row for row in rows if row["run"] == run]
            )
        )
    ][: figures.SERIES - 1]
    if not curves:
        return [text, table]
    figure = Figure(
        title=[Code(runs[0]), " finds most with least area"],
        drawing=figures.curve_plot(
            curves,
            xlabel="share of the area searched (log)",
            ylabel="share found (recall)",
            xlog=True,
            percent=True,
            diagonal="by chance (0.500)",
        ),
        alt="Curves of recall against the share of the area searched, mean over queries. Area "
        "under them: " + ", ".join(f"{run} {fixed(means[run])}" for run in runs),
        note=note,
    )
    return [text, Row(blocks=[figure, table])]


def _curve(label: str, rows: Sequence[Mapping[str, Any]]) -> figures.Curve | None:
    """Mean over the queries of one run; None where no row has a curve."""
    curves = [np.array(row["curve"], np.float64) for row in rows if row.get("curve")]
    if not curves:
        return None
    shares = np.geomspace(LEAST_AREA, 1, 51)  # even steps on a log axis
    recall = np.mean([np.interp(shares, curve[:, 0], curve[:, 1]) for curve in curves], axis=0)
    return figures.Curve(label=label, x=shares.tolist(), y=recall.tolist(), points=False)


def _twins(of: Results, rows: list[Mapping[str, Any]]) -> list[Block]:
    if not rows:
        return []
    rows = sorted(
        rows,
        key=lambda row: (finite(row.get("recall10")) or 0.0, finite(row.get("area_under")) or 0.0),
        reverse=True,
    )
    return [
        plain_table(
            rows,
            [
                "Twins that were planted: ",
                Code(str(rows[0]["run"])),
                f" has {percent(rows[0].get('recall10'))} of them among its ten most alike",
            ],
            [
                ("run", "run", Code),
                ("recall1", "recall@1", fixed),
                ("recall10", "recall@10", fixed),
                ("recall100", "recall@100", fixed),
                ("area_under", "area under recall against area", fixed),
                ("n", "pairs", whole),
            ],
            folded=len(rows) > LONG,
            note="Recall@k: share of cells whose twin, planted far away, is among the k most alike "
            "of all cells.",
        )
    ]


def _hierarchy(of: Results, rows: list[Mapping[str, Any]]) -> list[Block]:
    if not rows:
        return []
    rows = sorted(rows, key=lambda row: -(finite(row.get("map")) or 0.0))
    return [
        plain_table(
            rows,
            "Are neighbours alike? Average precision over H3 parents",
            [
                ("run", "run", Code),
                ("map", "hierarchical AP", fixed),
                ("chance", "by chance", fixed),
                ("n", "queries", whole),
            ],
            note="1 where every cell is most like those of its H3 parent, then of its grandparent. "
            "High is not better for every use: position alone reaches it, and twins far apart "
            "lower it.",
        )
    ]
