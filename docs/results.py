"""Put the probe tables into README.md, from docs/results/*.json (evaluation.json of `evaluate`).

python docs/results.py            # rewrites the part of README.md between the two markers
"""

import json
from pathlib import Path

from mobclip.probes import ladder

ROOT = Path(__file__).resolve().parent.parent
BEGIN, END = "<!-- results: docs/results.py -->", "<!-- end of results -->"
ORDER = ("synthetic", "chicago", "new-york")


def table(evaluation: dict) -> str:
    """Markdown of one place: a line per run, best on spatial blocks first."""
    targets = evaluation["targets"].values()
    levels = sorted({target["level"] for target in targets})
    units = sorted({target["n"] for target in targets})
    lines = [
        f"**{evaluation['title']}**, {evaluation['cells']:,} cells of resolution "
        f"{evaluation['resolution']}; {len(targets)} targets at the level of "
        f"{', '.join(levels)} ({units[0]:,} to {units[-1]:,} labelled units each); "
        f"{len(evaluation['seeds'])} seeds",
        "",
        "| run | dims | R² on spatial blocks | R² on random folds |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| `{line['run']}` | {line['dims']} "
        f"| {line['blocks']:.3f} ± {line['blocks_spread']:.3f} "
        f"| {line['random']:.3f} ± {line['random_spread']:.3f} |"
        for line in ladder(evaluation)
    ]
    return "\n".join(lines)


def section() -> str:
    """All tables."""
    folder = ROOT / "docs" / "results"
    tables = [table(json.loads((folder / f"{name}.json").read_text("utf-8"))) for name in ORDER]
    return "\n\n".join([BEGIN, *tables, END])


def with_results(readme: str) -> str:
    """README with the section between the markers replaced."""
    before, rest = readme.split(BEGIN)
    _, after = rest.split(END)
    return before + section() + after


if __name__ == "__main__":
    path = ROOT / "README.md"
    path.write_text(with_results(path.read_text("utf-8")), "utf-8")
