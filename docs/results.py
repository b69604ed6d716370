"""Put the results of three places into README.md, from docs/results/*.json.

Each is the `evaluation/results.json` of `mobclip evaluate <place>`; its long lists may be left out.

python docs/results.py            # rewrites the part of README.md between the two markers
"""

import json
from pathlib import Path

from mobclip.evaluation.report import summary

ROOT = Path(__file__).resolve().parent.parent
BEGIN, END = "<!-- results: docs/results.py -->", "<!-- end of results -->"
ORDER = ("synthetic", "chicago", "new-york")


def section() -> str:
    """All places, as the report sums them up."""
    folder = ROOT / "docs" / "results"
    parts = [summary(json.loads((folder / f"{name}.json").read_text("utf-8"))) for name in ORDER]
    return "\n\n".join([BEGIN, *parts, END])


def with_results(readme: str) -> str:
    """README with the section between the markers replaced."""
    before, rest = readme.split(BEGIN)
    _, after = rest.split(END)
    return before + section() + after


if __name__ == "__main__":
    path = ROOT / "README.md"
    path.write_text(with_results(path.read_text("utf-8")), "utf-8")
