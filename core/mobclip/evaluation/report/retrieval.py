"""Is the right place found: by words, by an image, by a planted twin; are neighbours alike?"""

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
    """Words, the own cell of a token, twins, hierarchy."""
    found = of.all.get("retrieval") or {}
    return [
        *_words(of, list(found.get("text") or ())),
        *_ways(of, list(found.get("ways") or ())),
        *_own(of, found),
        *_twins(of, list(found.get("twins") or ())),
        *_hierarchy(of, list(found.get("hierarchy") or ())),
    ]


WEIGHTINGS = {"": "by points", "_share": "by share"}


def _words(of: Results, rows: list[Mapping[str, Any]]) -> list[Block]:
    rows = [row for row in rows if finite(row.get("area_under")) is not None]
    if not rows:
        return []
    queries = list(dict.fromkeys(str(row["query"]) for row in rows))
    by_pair = {(row["run"], row["query"]): row for row in rows}
    by_run = {
        run: [row for row in rows if row["run"] == run]
        for run in of.by_rank(str(row["run"]) for row in rows)
    }
    means = {run: {name: _mean(of_run, name) for name in _UNDER} for run, of_run in by_run.items()}
    runs = sorted(means, key=lambda run: means[run]["area_under"] or 0.0, reverse=True)
    shown = [name for name in _UNDER if any(means[run][name] is not None for run in runs)]
    seed = how_often(None, list(of.all.get("seeds") or ())[:1])
    note = f"n = {plural(len(queries), 'query', 'queries')}; no folds; embeddings of {seed}."
    text = Paragraph(
        text="A query in words, the name of a category, ranks all cells. Recall against area: "
        "going down that ranking, how much of what was looked for is found within which share of "
        "the land? The area under the curve is 1 at best and 0.5 by chance. By points every point "
        "of the category counts once, and cells that hold much of everything count most; by share "
        "a cell counts by how much of what it has is of the category. Beside it what any other "
        "prompt finds of the same: words have said something where they find more than that. The "
        "words of points of interest are among the inputs: this measures whether words lead to "
        "cells, not whether anything is known where there are no data."
    )
    best = {name: max((means[run][name] or 0.0 for run in runs), default=0.0) for name in shown}
    summary = Table(
        title="Area under recall against area, mean over queries",
        columns=[
            Column(title="run", align="left"),
            *(Column(title=_UNDER[name]) for name in shown),
        ],
        rows=[
            [
                Code(run),
                *(
                    Cell(
                        text=fixed(means[run][name]),
                        best=name.startswith("area") and means[run][name] == best[name],
                    )
                    for name in shown
                ),
            ]
            for run in runs
        ],
        note=note,
    )
    blocks: list[Block] = [text]
    curves = [
        curve
        for run in runs
        if (curve := _curve(f"{run} ({fixed(means[run]['area_under'])})", by_run[run]))
    ][: figures.SERIES - 1]
    if curves:
        figure = Figure(
            title=[Code(runs[0]), " finds most points with least area"],
            drawing=figures.curve_plot(
                curves,
                xlabel="share of the area searched (log)",
                ylabel="share found (recall, by points)",
                xlog=True,
                percent=True,
                diagonal="by chance (0.500)",
            ),
            alt="Curves of recall against the share of the area searched, mean over queries. Area "
            "under them: " + ", ".join(f"{run} {fixed(means[run]['area_under'])}" for run in runs),
            note=note,
        )
        blocks.append(Row(blocks=[figure, summary]))
    else:
        blocks.append(summary)
    for weighting, words in WEIGHTINGS.items():
        name = f"area_under{weighting}"
        if name not in shown:
            continue
        lines: list[list[Cell | Text]] = []
        for query in queries:
            values = [finite(by_pair.get((run, query), {}).get(name)) for run in runs]
            top = max((value for value in values if value is not None), default=None)
            cells = [Cell(text=fixed(one), best=one is not None and one == top) for one in values]
            lines.append([f"“{query}”", *cells])
        blocks.append(
            Table(
                title=f"The same by query, {words}",
                columns=[
                    Column(title="query", align="left"),
                    *(Column(title=Code(run), upright=len(runs) > 3) for run in runs),
                ],
                rows=lines,
                note=note,
                folded=True,
            )
        )
    return blocks


_UNDER = {
    "area_under": "by points",
    "null": "any other prompt, by points",
    "area_under_share": "by share",
    "null_share": "any other prompt, by share",
}


def _mean(rows: Sequence[Mapping[str, Any]], name: str) -> float | None:
    """Mean over the rows that have the number."""
    values = [value for row in rows if (value := finite(row.get(name))) is not None]
    return average(values) if values else None


def _ways(of: Results, rows: list[Mapping[str, Any]]) -> list[Block]:
    rows = [row for row in rows if finite(row.get("area_under")) is not None]
    if not rows:
        return []
    ranks = of.by_rank(str(row["run"]) for row in rows)
    return [
        plain_table(
            sorted(rows, key=lambda row: ranks.index(str(row["run"]))),
            "Other ways from words to cells",
            [
                ("run", "run", Code),
                ("way", "words become a direction by, cells are ranked by", str),
                *((name, title, fixed) for name, title in _UNDER.items()),
                ("n", "queries", whole),
            ],
            note="Direction: that along which a ridge regression finds the words predicted by the "
            "embedding; its penalty is chosen by the texts of cells, not by these queries. By "
            "cosine is what the app does. Towers: words as a cell that has nothing but them.",
            folded=True,
        )
    ]


def _own(of: Results, found: Mapping[str, Any]) -> list[Block]:
    new = (of.all.get("subsets") or {}).get("tokens") or ()
    rows = [
        row
        for row in (*(found.get("own") or ()), *(new if found else ()))
        if finite(row.get("recall10")) is not None
    ]
    if not rows:
        return []
    blocks: list[Block] = []
    for name, what in (("words", "the words of its points of interest"), ("imagery", "its image")):
        asked = [
            {**row, "seen": "yes" if row.get("seen") else "no"}
            for row in rows
            if row.get("of") == name
        ]
        if not asked:
            continue
        asked.sort(key=lambda row: -float(row["recall10"]))
        top = asked[0]
        blocks.append(
            plain_table(
                asked,
                [
                    f"A cell by {what} alone: ",
                    Code(str(top["run"])),
                    f" has it among ten in {percent(top['recall10'])} of the cases",
                ],
                [
                    ("run", "run", Code),
                    ("way", "how it becomes a query", str),
                    ("seen", "cells seen in training", str),
                    *((f"recall{k}", f"recall@{k}", percent) for k in (1, 10, 100)),
                    ("null10", "recall@10 of a random prompt", percent),
                    ("chance10", "recall@10 by chance", percent),
                    ("n", "queries", whole),
                    ("candidates", "cells to choose from", whole),
                ],
                note="The query is what one cell has of it, the answer that cell among all of its "
                "fold of spatial blocks. A random prompt is that of another cell. Where the cells "
                "were not seen, the whole model was made without the fold.",
                folded=len(asked) > LONG,
            )
        )
    impossible = [
        f"{row.get('of')}, {row.get('run')}: {row.get('why')}"
        for row in found.get("not_applicable") or ()
    ]
    if impossible:
        blocks.append(Paragraph(kind="note", text=f"Not asked. {'; '.join(impossible)}."))
    return blocks


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
