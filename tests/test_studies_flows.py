"""The flow study: its rows are what the parts give by hand, from embeddings of the rest."""

import json
import shutil

import numpy as np
import pytest
import shapely

from mobclip import grid, pipeline
from mobclip.baselines import BASELINES, Features
from mobclip.embeddings import Embeddings
from mobclip.evaluation.flows import co_visitation, flows, gravity, probe, score
from mobclip.graph import MobilityGraph, hold_out
from mobclip.place import Place, save_place
from mobclip.studies.flows import flow_study


@pytest.fixture(scope="module")
def place(toy_place, tmp_path_factory):
    return Place.load(shutil.copytree(toy_place.folder, tmp_path_factory.mktemp("f") / "toy-r6"))


@pytest.fixture(scope="module")
def workspace(place, manifest_path):
    return pipeline.Workspace.open(manifest=manifest_path, data=place.folder.parent)


@pytest.fixture(scope="module")
def rows(workspace, place):
    return flow_study(workspace, place, ["mobility"], seeds=(0, 1))


def test_rows_are_what_the_parts_give(rows, place):
    by_name = {(row["run"], row["task"]): row for row in rows}
    # The counts of POIs are a row without being asked for.
    names = ["distance and strengths only", "mobility", "poi-counts", "gravity"]
    assert set(by_name) == {
        *((name, task) for name in names for task in ("flows", "co-visitation")),
        ("radiation", "flows"),
    }
    held = hold_out(place.graph, rng=np.random.default_rng(1))
    varied = place.varied("by hand", graph=held.seen)
    vectors = BASELINES["mobility"].fit(Features(varied, seed=1)).vectors
    for question in (flows(held, seed=1), co_visitation(held, seed=1)):
        for run, answer in (
            ("mobility", probe(question, vectors)),
            ("gravity", gravity(question)),
        ):
            expected = score(question, answer)
            scored = by_name[run, question.task]["per_seed"]
            found = [scored[name][1] for name in ("r2", "ndcg10", "cpc")]
            assert found == [
                None if one is None else pytest.approx(one, abs=1e-6)
                for one in (expected.r2, expected.ndcg10, expected.cpc)
            ]


def test_a_row_is_the_mean_and_spread_of_its_seeds(rows):
    for row in rows:
        for name in ("r2", "ndcg10"):
            assert row[name] == pytest.approx(np.mean(row["per_seed"][name]))
            assert row["spread"][name] == pytest.approx(np.std(row["per_seed"][name], ddof=1))
        assert (row["cpc"] is None) == (row["task"] == "co-visitation")
        assert row["n"] > row["positives"] > 0
    json.dumps(rows, allow_nan=False)


def test_embeddings_are_made_without_what_is_held_out_and_apart_from_the_others(rows, place):
    assert place.runs() == []  # what the app shows
    saved = Embeddings.load(place.folder / "runs" / "flows1" / "mobility" / "embeddings.parquet")
    assert saved.provenance["place_key"] != place.provenance["key"]
    held = hold_out(place.graph, rng=np.random.default_rng(1))
    np.testing.assert_array_equal(saved.present["mobility"], held.seen.present)


def test_a_seed_gives_the_same_row_alone(rows, workspace, place):
    again = flow_study(workspace, place, ["mobility"], seeds=(1,))
    for alone, row in zip(again, rows, strict=True):
        assert alone["per_seed"] == {name: values[1:] for name, values in row["per_seed"].items()}
        assert alone["spread"]["r2"] is None


def test_a_place_without_flows_or_too_small_has_no_rows(workspace, toy_place, tmp_path, caplog):
    none = toy_place.varied("no flows", modalities=["poi"])
    assert flow_study(workspace, none, ["poi"]) == []
    cells = grid.polygon_to_cells(shapely.box(5, 50, 5.5, 50.5), 6)[:6]
    small = save_place(
        tmp_path / "small-r6",
        name="small",
        title="Small",
        resolution=6,
        cells=cells,
        tables={},
        graph=MobilityGraph.from_edges(cells, cells[:1], cells[1:2], np.ones(1)),
        targets={},
        provenance={"key": "small", "sources": {}},
    )
    assert flow_study(workspace, small, []) == []
    assert "larger place" in caplog.text
