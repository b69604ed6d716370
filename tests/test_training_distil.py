"""Distilling: the published network, what it remembers, and what it does not know."""

import json
import shutil

import numpy as np
import pytest
import torch

from mobclip import grid, pipeline
from mobclip.distilled import DEGREES, FILE, HIDDEN, Distilled
from mobclip.embeddings import Embeddings
from mobclip.errors import ArtefactError
from mobclip.place import Place
from mobclip.positions import Harmonics
from mobclip.training import distil as distilling
from mobclip.training.distil import DistilTask, distil

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def smooth(toy_place):
    """Embeddings of 128 dimensions that are waves of position, far from 0 and of any size."""
    lonlat = grid.centers(toy_place.cells)
    turn = (lonlat - lonlat.mean(axis=0)) / np.ptp(lonlat, axis=0) * np.pi
    rng = np.random.default_rng(0)
    waves = np.sin(turn @ rng.normal(size=(2, 128)) + rng.normal(size=128))
    vectors = 5 + rng.uniform(0.1, 10, size=128) * waves
    return Embeddings(name="waves", cells=toy_place.cells, vectors=vectors.astype(np.float32))


def test_it_is_the_published_network(smooth):
    task = DistilTask(grid.centers(smooth.cells), smooth.vectors, seed=0, device=CPU)
    made = task.distilled()
    assert made.parameters == 2_429_056
    assert made.first[0].shape == (1024, 512)
    assert [weight.shape for weight, _ in made.others] == [(512, 512)] * 7 + [(512, 128)]
    assert (DEGREES, HIDDEN) == (32, (512,) * 8)


def test_the_network_on_harmonics_is_the_one_that_learned(smooth):
    lonlat = grid.centers(smooth.cells)
    task = DistilTask(lonlat, smooth.vectors, seed=1, device=CPU)
    with torch.no_grad():
        learned = task.model(task.features).numpy() * task.scale + task.mean
    made = task.distilled()
    np.testing.assert_allclose(made.at(lonlat), learned, atol=2e-4 * np.abs(learned).max())
    # By hand, in float64, at a position that is no cell.
    where = lonlat[:1] + np.array([0.013, -0.007])
    x = Harmonics(degrees=32)(where)[0] @ made.first[0] + made.first[1]
    for weight, bias in made.others:
        x = np.maximum(x, 0) @ weight + bias
    np.testing.assert_allclose(made.at(where)[0], x * made.scale + made.mean, rtol=1e-3)


def test_it_remembers_and_says_what_it_does_not_know(smooth, tmp_path):
    seen = []
    report = distil(smooth, tmp_path, epochs=30, device="cpu", on_epoch=seen.append)
    assert [metrics.epoch for metrics in seen] == list(range(1, 61))
    assert report["r2"]["fit"] > 0.8
    assert report["r2"]["random"] > 0.5  # waves are smooth
    assert report["r2"]["blocks"] < report["r2"]["random"] < report["r2"]["fit"]
    assert report["loss"]["blocks"] > report["loss"]["random"] > report["loss"]["fit"]
    assert report["cells"]["fit"] == len(smooth.cells)
    assert 0.1 < report["cells"]["blocks"] / len(smooth.cells) < 0.3
    assert json.loads((tmp_path / "report.json").read_text()) == report

    loaded = Distilled.load(tmp_path)
    assert loaded.report == report
    vectors = loaded.at(grid.centers(smooth.cells))
    standardised = (vectors - smooth.vectors) / smooth.vectors.std(axis=0)
    assert (standardised**2).mean() == pytest.approx(report["loss"]["fit"], rel=1e-3)
    assert loaded.at(np.empty((0, 2))).shape == (0, 128)


def test_what_is_held_out_is_not_learned(smooth, tmp_path, monkeypatch):
    taught = []

    def spy(lonlat, vectors, **settings):
        taught.append({row.tobytes() for row in vectors})
        return DistilTask(lonlat, vectors, **settings)

    monkeypatch.setattr(distilling, "DistilTask", spy)
    report = distil(smooth, tmp_path, epochs=1, device="cpu")
    trial, kept = taught
    everyone = len(smooth.cells)
    assert len(kept) == everyone == report["cells"]["fit"]
    assert len(trial) == everyone - report["cells"]["random"] - report["cells"]["blocks"]
    assert report["cells"]["random"] == round(0.1 * (everyone - report["cells"]["blocks"]))


def test_an_interrupted_run_gives_the_same_network(smooth, tmp_path):
    distil(smooth, tmp_path / "whole", epochs=2, device="cpu")

    class Stop(Exception):
        pass

    def stop(metrics):
        if metrics.epoch == 3:  # in the second network
            raise Stop

    with pytest.raises(Stop):
        distil(smooth, tmp_path / "cut", epochs=2, device="cpu", on_epoch=stop)
    distil(smooth, tmp_path / "cut", epochs=2, device="cpu")
    where = grid.centers(smooth.cells)
    whole, cut = (Distilled.load(tmp_path / one).at(where) for one in ("whole", "cut"))
    np.testing.assert_array_equal(cut, whole)


def test_the_stage_is_not_done_twice(app_data, manifest_path, tmp_path):
    shutil.copytree(app_data, tmp_path / "data")
    steps = []
    workspace = pipeline.Workspace.open(
        manifest=manifest_path,
        data=tmp_path / "data",
        on_step=lambda *step: steps.append(step),
    )
    place = Place.load(tmp_path / "data" / "places" / "islands-r6")
    report = pipeline.distil(workspace, place, "demographics", epochs=2)
    assert steps[-1][1:] == (4, 4)
    assert report["run"] == "demographics"
    steps.clear()
    assert pipeline.distil(workspace, place, "demographics", epochs=2) == report
    assert not steps
    made = Distilled.load(place.folder / "runs" / "demographics" / "distilled")
    embeddings = Embeddings.load(place.folder / "runs" / "demographics" / "embeddings.parquet")
    assert made.at(grid.centers(place.cells)).shape == embeddings.vectors.shape
    pipeline.distil(workspace, place, "demographics", epochs=3)
    assert steps[-1][1:] == (6, 6)


def test_a_damaged_file_says_what_to_do(tmp_path):
    with pytest.raises(ArtefactError, match="Distil the run again"):
        Distilled.load(tmp_path)
    (tmp_path / FILE).write_bytes(b"not one")
    with pytest.raises(ArtefactError, match="Distil the run again"):
        Distilled.load(tmp_path)
