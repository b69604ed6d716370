"""What the README says runs, and its numbers come from the JSON beside it."""

import importlib.util
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")


def test_the_ten_lines_run_as_written(country_data, capsys):
    code = re.search(r"```python\n(.*?)```", README, re.DOTALL)[1]
    assert '"data/places/synthetic-r6"' in code
    small = code.replace("data/places/synthetic-r6", f"{country_data}/places/synthetic-600-r6")
    exec(compile(small.replace("cells[1000]", "cells[100]"), "README.md", "exec"), {})
    cells, scores, probed = re.fullmatch(
        r"\[([\d\s]+)\]\s\[([-\d.e\s]+)\]\n(.+)\n", capsys.readouterr().out
    ).groups()
    assert len(cells.split()) == len(scores.split()) == 10
    assert all(-5 < float(score) < 1 for score in probed.split())


def test_the_results_are_those_of_the_json_files():
    spec = importlib.util.spec_from_file_location("results", ROOT / "docs" / "results.py")
    results = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(results)
    assert results.with_results(README) == README
    for place in results.ORDER:
        found = json.loads((ROOT / "docs" / "results" / f"{place}.json").read_text("utf-8"))
        assert len(found["ladder"]) > 5
        best = max(found["ladder"], key=lambda line: line["blocks"])
        interval = f"[{best['blocks_low']:.3f}, {best['blocks_high']:.3f}]"
        assert f"| `{best['run']}` | {best['dims']} | {best['blocks']:.3f} {interval} |" in README


def test_the_manifest_example_is_a_manifest(tmp_path):
    from mobclip import load_manifest
    from mobclip.errors import ManifestError

    example = re.search(r"```yaml\n(.*?)```", README, re.DOTALL)[1]
    path = tmp_path / "manifest.yaml"
    path.write_text(example)
    # The provenance that the comment stands for is all that is missing.
    with pytest.raises(ManifestError) as found:
        load_manifest(path)
    for line in str(found.value).splitlines()[1:-1]:
        assert re.search("provider|licence|citation|date|sha256|bytes|origin", line), line


def test_files_that_the_readme_links_to_exist():
    for target in re.findall(r"\]\((?!http|#)([^)]+)\)", README):
        assert (ROOT / target).is_file(), target
