"""The whole evaluation on a small country: one report, the same folds for everyone."""

import re
import shutil
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mobclip import grid, recipes
from mobclip.config import FusionConfig, LocationConfig, TrainConfig
from mobclip.embeddings import Embeddings
from mobclip.errors import ConfigError
from mobclip.pipeline import Workspace, tokenize
from mobclip.probes import probe
from mobclip.storage import read_json
from mobclip.studies.evaluate import evaluate

# Some rows of every sort: all of them would take minutes and tell no more.
ROWS = (
    *("random", "coordinates", "wrap", "neighbours", "poi", "pca", "propagated"),
    *("geoclip-retrained", "mobclip-paper", "mobclip"),
)
CONFIGS = {
    "mobclip": FusionConfig(epochs=1),
    "mobclip-paper": TrainConfig(epochs=1),
    "geoclip-retrained": LocationConfig(epochs=1),
}


@pytest.fixture(scope="module", autouse=True)
def few_rows():
    with pytest.MonkeyPatch.context() as patch:
        whole = recipes.possible
        patch.setattr(
            recipes, "possible", lambda place: [one for one in whole(place) if one in ROWS]
        )
        yield


@pytest.fixture(scope="module")
def evaluated(country_data, manifest_path, tmp_path_factory):
    """A quick evaluation of the 600-cell country with two seeds, and a file of others' vectors."""
    data = tmp_path_factory.mktemp("evaluate") / "data"
    shutil.copytree(country_data, data)
    workspace = Workspace.open(manifest=manifest_path, data=data)
    spec = workspace.spec("synthetic", cells=600)
    place = tokenize(workspace, spec)
    # One target of cells, one of districts, one of too few cities: the rest would only take time.
    place.__dict__["targets"] = {name: place.targets[name] for name in ("POP", "EDU", "ENE")}
    file = data / "others.parquet"
    vectors = np.random.default_rng(0).normal(size=(len(place.cells), 6)).astype(np.float32)
    covered = np.arange(len(place.cells)) % 10 > 0
    pq.write_table(
        pa.table(
            {
                "h3": grid.to_strings(place.cells[covered]),
                **{f"A{k:02d}": vectors[covered, k] for k in range(6)},
            }
        ),
        file,
    )
    results = evaluate(workspace, spec, place, seeds=(0, 1), configs=CONFIGS, quick=True)
    with_others = evaluate(
        workspace, spec, place, seeds=(0,), configs=CONFIGS, quick=True, external=[file]
    )
    return workspace, spec, place, results, with_others


def test_every_run_meets_every_target_in_every_protocol(evaluated):
    _, _, place, results, _ = evaluated
    found = {(row["run"], row["target"], row["protocol"]) for row in results["scores"]}
    assert found == {
        (run, target, protocol)
        for run in results["runs"]
        for target in results["targets"]
        for protocol in ("blocks", "random", "regions")
    }
    assert {"random", "coordinates", "neighbours", "pca", "propagated", "mobclip-paper"} <= set(
        results["runs"]
    )
    assert set(results["targets"]) | set(results["left_out"]) == set(place.targets)
    assert all(len(row["per_seed"]) == 2 for row in results["scores"])


def test_scores_are_those_of_a_probe_by_hand(evaluated):
    _, _, place, results, _ = evaluated
    embeddings = Embeddings.load(place.folder / "runs" / "pca" / "embeddings.parquet")
    by_hand = probe(embeddings, place.targets["POP"], seeds=[0])
    for protocol in ("blocks", "random"):
        [row] = [
            row
            for row in results["scores"]
            if (row["run"], row["target"], row["protocol"], row["metric"])
            == ("pca", "POP", protocol, "r2")
        ]
        assert row["per_seed"][0] == pytest.approx(by_hand.scores[protocol].mean, abs=1e-9)
        assert row["low"] < row["mean"] < row["high"]


def test_the_ladder_is_sorted_and_differences_are_against_the_best_that_is_free(evaluated):
    *_, results, _ = evaluated
    lines = results["ladder"]
    assert [line["blocks"] for line in lines] == sorted(
        (line["blocks"] for line in lines), reverse=True
    )
    free = [line["run"] for line in lines if results["runs"][line["run"]]["training_free"]]
    scores = {line["run"]: line["blocks"] for line in lines}
    for row in results["differences"]:
        if row["protocol"] == "blocks":
            assert row["against"] == (free[0] if row["run"] != free[0] else free[1])
            expected = scores[row["run"]] - scores[row["against"]]
            assert row["difference"] == pytest.approx(expected)
            assert row["low"] <= row["difference"] <= row["high"]


def test_a_trained_run_that_loses_is_said_to_lose(evaluated):
    *_, results, _ = evaluated
    scores = {line["run"]: line["blocks"] for line in results["ladder"]}
    free = max(value for run, value in scores.items() if results["runs"][run]["training_free"])
    loses = scores["mobclip-paper"] < free
    assert any("mobclip-paper" in text for text in results["warnings"]) == loses


def test_the_report_and_the_numbers_are_on_disk(evaluated):
    _, _, place, _, results = evaluated
    folder = place.folder / "evaluation"
    written = read_json(folder / "results.json")
    assert set(written) == set(results)
    page = (folder / "report.html").read_text("utf-8")
    for run in results["runs"]:
        assert run in page
    assert not re.search(r"""(src|href|url)\s*[=(]\s*["']?(https?:)?//""", page)  # loads nothing
    assert (folder / "tables.md").read_text("utf-8").count("|") > 50


def test_others_are_scored_where_they_are_and_everyone_there(evaluated):
    _, _, place, alone, results = evaluated
    assert results["runs"]["others"]["external"]
    n = {row["n"] for row in results["scores"] if (row["target"], row["metric"]) == ("POP", "r2")}
    assert n == {int((np.arange(len(place.cells)) % 10 > 0).sum())}
    scores = {line["run"]: line["blocks"] for line in results["ladder"]}
    assert scores["others"] < 0.1 < scores["pca"]  # they are noise
    # Other units, other numbers; but the parts of the report that need no ladder are not lost.
    assert results["leakage"] == alone["leakage"]


def test_a_buffer_keeps_near_cells_from_being_learned(evaluated, monkeypatch):
    workspace, spec, place, plain, _ = evaluated
    apart = evaluate(
        workspace, spec, place, seeds=(0,), configs=CONFIGS, quick=True, buffer_km=15.0
    )
    assert apart["buffer_km"] == 15.0
    for protocol, same in {"random": True, "blocks": False, "regions": False}.items():
        first, buffered = (
            next(
                row["per_seed"][0]
                for row in results["scores"]
                if (row["run"], row["target"], row["protocol"], row["metric"])
                == ("pca", "POP", protocol, "r2")
            )
            for results in (plain, apart)
        )
        assert (first == pytest.approx(buffered, abs=1e-9)) == same

    # What does not depend on it is not made again.
    def forbidden(*args, **kwargs):
        raise AssertionError("made again although nothing changed")

    monkeypatch.setattr("mobclip.studies.evaluate.audit", forbidden)
    again = evaluate(workspace, spec, place, seeds=(0,), configs=CONFIGS, quick=True)
    assert again["leakage"] == apart["leakage"]


def test_a_place_without_targets_cannot_be_evaluated(toy_place, tmp_path, manifest_path):
    bare = replace(toy_place, folder=tmp_path)
    bare.__dict__["targets"] = {}
    workspace = Workspace.open(manifest=manifest_path, data=tmp_path)
    with pytest.raises(ConfigError, match="no target that can be probed"):
        evaluate(workspace, workspace.spec("synthetic"), bare)
