"""The report of an evaluation: how good, for what, compared to what, how sure.

`write_report` takes the dict that `mobclip evaluate` leaves in `results.json` and writes one HTML
page that needs nothing else, and its tables as Markdown. Every list of the results may be missing:
its section is then left out. Every sentence with a finding is computed from the numbers.

==================  ========================================================================
`results`           the results as the sections ask for them
`words`             numbers and names as they are written
`head`              the answer, warnings, what was evaluated
`ladder`            every run on blocks, random folds and regions
`targets`           every run on every target; classes and shares
`differences`       against what needs no training
`probes`            other probes, prediction intervals, the paper's protocol
`flows`             held-out flows
`retrieval`         words, images, twins, hierarchy
`leakage`           answers among the inputs
`ablation`          what each part contributes
`subsets`           new cells and missing evidence
`scaling`           power laws and costs
`transfer`          probes from elsewhere
`methods`           how it was measured
==================  ========================================================================
"""

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from mobclip.evaluation.document import (
    Block,
    Cell,
    Code,
    Column,
    Paragraph,
    Section,
    Table,
    Text,
    block_markdown,
    table_markdown,
    to_html,
    to_markdown,
)
from mobclip.evaluation.report import (
    ablation,
    differences,
    flows,
    ladder,
    leakage,
    methods,
    probes,
    retrieval,
    scaling,
    subsets,
    targets,
    transfer,
)
from mobclip.evaluation.report.head import head, kicker
from mobclip.evaluation.report.results import Results
from mobclip.evaluation.report.words import PROTOCOLS, finite, marked, plural, whole
from mobclip.storage import atomic_path

_SECTIONS: tuple[tuple[str, str, Callable[[Results], list[Block]]], ...] = (
    ("ladder", "Which run is best, and what do neighbours give away?", ladder.section),
    ("targets", "Good for what? Every target", targets.numbers),
    ("differences", "Is it better than what needs no training?", differences.section),
    ("classes", "Yes or no, classes and shares", targets.classes),
    ("probes", "Does another probe change the picture?", probes.others),
    ("conformal", "Are the prediction intervals honest?", probes.conformal),
    ("flows", "Does it know who goes where?", flows.section),
    ("retrieval", "Is the right place found?", retrieval.section),
    ("leakage", "Are answers hidden among the inputs?", leakage.section),
    ("ablation", "What does each part contribute?", ablation.section),
    ("subsets", "What of new cells, and of missing evidence?", subsets.section),
    ("scaling", "Does more of it help, and at what cost?", scaling.section),
    ("transfer", "Does what was learned elsewhere hold here?", transfer.section),
    ("paper", "As the paper measures", probes.paper),
    ("methods", "How it was measured", methods.section),
)


def write_report(results: Mapping[str, Any], folder: Path) -> None:
    """Write `report.html` and `tables.md` into `folder`, each whole or not at all."""
    of = Results(results)
    sections: list[Section] = []
    for name, title, make in _SECTIONS:
        blocks = make(of)
        if blocks:
            numbered = f"{len(sections) + 1}. {title}"
            sections.append(Section(name=name, title=numbered, blocks=blocks))
    parts: dict[str, Any] = {
        "title": f"How good are the embeddings of {of.place}?",
        "kicker": kicker(of),
        "head": head(of),
        "sections": sections,
    }
    for name, text in (("report.html", to_html(**parts)), ("tables.md", to_markdown(**parts))):
        with atomic_path(folder / name) as temporary:
            temporary.write_text(text, "utf-8")


def summary(results: Mapping[str, Any], *, without: Collection[str] = ()) -> str:
    """The ladder of one place as Markdown: what, table, the difference that matters, warnings.

    without : runs whose lines are left out of the table
    """
    of = Results(results)
    numbers = of.targets_of("number")
    levels = sorted({str(of.target(name).get("level", "")) for name in numbers})
    parts = [
        f"**{of.place}**: {whole(results.get('cells'))} cells of resolution "
        f"{results.get('resolution', '–')}; {plural(len(numbers), 'numeric target')} at the level "
        f"of {', '.join(levels)} ({of.units(numbers)}); {of.how_often}"
    ]
    if of.ladder:
        known = any(finite(one.get("blocks_low")) is not None for one in of.ladder)
        columns = [Column(title="run", align="left"), Column(title="dims")]
        for protocol in of.protocols:
            interval = " [95 % interval]" if known and protocol == "blocks" else ""
            columns.append(Column(title=f"R² on {PROTOCOLS[protocol]}{interval}"))
        rows: list[list[Cell | Text]] = [
            [
                Code(str(one["run"])),
                whole(one.get("dims")),
                *ladder.numbers(of, one, intervals=["blocks"]),
            ]
            for one in of.ladder
            if one["run"] not in without
        ]
        parts.append("\n".join(table_markdown(Table(title="", columns=columns, rows=rows))))
    sentence = differences.lead_over(of)
    if sentence:
        parts.append(block_markdown(Paragraph(text=sentence)))
    parts += [
        block_markdown(Paragraph(text=marked(str(one)), kind="warning"))
        for one in results.get("warnings") or ()
    ]
    return "\n\n".join(parts)
