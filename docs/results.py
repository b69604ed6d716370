"""Put the results of three places into README.md, from docs/results/*.json.

    python docs/results.py          # rewrites the part of README.md between the two markers
    python docs/results.py data     # first takes over the evaluations that lie in data/places

`make results` makes those evaluations first, which takes an hour or two on two cores. Of
`evaluation/results.json` only what README shows is kept here, and `tables.md` beside it whole.
"""

import json
import shutil
import sys
from pathlib import Path

from mobclip.evaluation.report import summary

ROOT = Path(__file__).resolve().parent.parent
BEGIN, END = "<!-- results: docs/results.py -->", "<!-- end of results -->"
ORDER = {"synthetic": "synthetic-r6", "chicago": "chicago-r9", "new-york": "new-york-r8"}
LONG = ("scores", "conformal", "retrieval", "probes", "flows", "paper", "leakage")
# Functions of position alone, beside `coordinates`: their lines are in docs/results/*.md.
POSITION = ("wrap", "harmonics", "fourier", "sphere2vec", "space2vec-grid", "space2vec-theory")
LONG += ("ablation", "subsets", "scaling", "transfer")


def section() -> str:
    """All places, as the report sums them up."""
    folder = ROOT / "docs" / "results"
    found = [json.loads((folder / f"{name}.json").read_text("utf-8")) for name in ORDER]
    parts = [summary(one, without=POSITION) for one in found]
    return "\n\n".join([BEGIN, *parts, END])


def with_results(readme: str) -> str:
    """README with the section between the markers replaced."""
    before, rest = readme.split(BEGIN)
    _, after = rest.split(END)
    return before + section() + after


def take_over(data: Path) -> None:
    """Copy the evaluations of all places into docs/results."""
    for name, folder in ORDER.items():
        made = data / "places" / folder / "evaluation"
        results = json.loads((made / "results.json").read_text("utf-8"))
        short = {key: value for key, value in results.items() if key not in LONG}
        target = ROOT / "docs" / "results" / f"{name}.json"
        target.write_text(json.dumps(short, indent=1, ensure_ascii=False) + "\n", "utf-8")
        shutil.copyfile(made / "tables.md", target.with_suffix(".md"))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        take_over(Path(sys.argv[1]))
    path = ROOT / "README.md"
    path.write_text(with_results(path.read_text("utf-8")), "utf-8")
