"""Re-trained location encoders: what each objective sees, and that a run is the same run."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from mobclip import grid
from mobclip.errors import ArtefactError, ConfigError
from mobclip.table import CellTable
from mobclip.training import location
from mobclip.training.location import LOCATION_MODELS, embed_location, pair_of, train_location


@pytest.fixture(scope="module")
def coast(toy_place):
    """The toy place with imagery that is a function of position: eight waves across it."""
    lonlat = grid.centers(toy_place.cells)
    turn = (lonlat - lonlat.min(axis=0)) / np.ptp(lonlat, axis=0) * np.pi
    waves = [np.sin(turn * k + shift) for k in (1, 2) for shift in (0, 1)]
    imagery = CellTable(
        modality="imagery",
        cells=toy_place.cells,
        values=np.hstack(waves).astype(np.float32),
        columns=tuple(f"image_{i}" for i in range(8)),
    )
    tables = {**toy_place.tables, "imagery": imagery}
    made = replace(toy_place, modalities=(*toy_place.modalities, "imagery"))
    return made.varied("imagery of waves", tables=tables)


@pytest.fixture
def short(monkeypatch):
    """All models, three epochs, a checkpoint at every step."""
    for name, model in LOCATION_MODELS.items():
        schedule = replace(model.schedule, epochs=3, checkpoint_every=1)
        monkeypatch.setitem(LOCATION_MODELS, name, replace(model, schedule=schedule))


def task_of(name, place, **settings):
    model = LOCATION_MODELS[name]
    return model.task(
        place,
        model.position(place.resolution, 0),
        network=model.network,
        components=model.components,
        device=torch.device("cpu"),
        **{"pair": "imagery", "seed": 0, **settings},
    )


def curve(folder):
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [(line["epoch"], line["loss"], line["validation"]) for line in lines]


# ---- runs --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LOCATION_MODELS)
def test_an_interrupted_run_resumes_to_the_same_vectors(name, coast, tmp_path, short, monkeypatch):
    train_location(coast, name, tmp_path / "whole", device="cpu")

    class Stop(Exception):
        pass

    kind = LOCATION_MODELS[name].task
    terms, calls = kind.terms, []

    def stop_in_the_second_epoch(self, rows, rng):
        calls.append(self.model.training)
        if sum(calls) == 4:  # two training steps an epoch
            raise Stop
        return terms(self, rows, rng)

    monkeypatch.setattr(kind, "terms", stop_in_the_second_epoch)
    with pytest.raises(Stop):
        train_location(coast, name, tmp_path / "cut", device="cpu")
    monkeypatch.setattr(kind, "terms", terms)
    train_location(coast, name, tmp_path / "cut", device="cpu")
    assert curve(tmp_path / "cut") == curve(tmp_path / "whole")
    whole, cut = (embed_location(coast, tmp_path / one, name="run") for one in ("whole", "cut"))
    np.testing.assert_array_equal(cut.vectors, whole.vectors)
    assert whole.vectors.shape == (len(coast.cells), 128)
    assert whole.provenance["pair"] == "imagery"
    assert "re-trained on our data" in whole.provenance["recipe"]


def test_a_position_learns_what_its_images_look_like(coast, tmp_path, monkeypatch):
    name = "satclip-retrained"
    schedule = replace(LOCATION_MODELS[name].schedule, epochs=40, learning_rate=1e-3)
    monkeypatch.setitem(LOCATION_MODELS, name, replace(LOCATION_MODELS[name], schedule=schedule))
    train_location(coast, name, tmp_path, device="cpu")
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    best = min(lines, key=lambda line: line["validation"])
    held_out = best["candidates"]
    assert held_out == round(0.1 * len(coast.cells))
    assert best["validation"] < math.log(held_out) - 1  # by chance: the logarithm
    assert best["recall"]["imagery"] > 0.8  # by chance: 10 of 23


def test_vectors_follow_from_position_alone(coast, tmp_path, short):
    train_location(coast, "geoclip-retrained", tmp_path, device="cpu")
    vectors = embed_location(coast, tmp_path, name="run").vectors
    lonlat = grid.centers(coast.cells)
    away = grid.distances_km(lonlat, lonlat[100])
    near = np.argsort(away)[1:7]  # the ring around it
    far = np.argsort(away)[-60:]
    apart = np.linalg.norm(vectors - vectors[100], axis=1)
    assert apart[near].max() < np.median(apart[far])


def test_other_versions_of_the_place_are_refused(coast, toy_place, tmp_path, short):
    train_location(coast, "csp-retrained", tmp_path, device="cpu")
    with pytest.raises(ArtefactError, match="another version"):
        embed_location(toy_place, tmp_path, name="run")
    with pytest.raises(ArtefactError, match="missing"):
        embed_location(coast, tmp_path / "nothing", name="run")


def test_the_other_side(coast, toy_place):
    assert pair_of(coast) == "imagery"
    assert pair_of(coast, "poi") == "poi"
    assert pair_of(toy_place) == "poi"
    few = coast.tables["imagery"].restrict(coast.cells[:40])
    sparse = coast.varied("little imagery", tables={**coast.tables, "imagery": few})
    assert pair_of(sparse) == "poi"  # four times as many cells have it
    with pytest.raises(ConfigError, match="no imagery and no poi"):
        pair_of(toy_place.varied("census alone", modalities=["demographics"]))
    with pytest.raises(ConfigError, match="no imagery:"):
        pair_of(toy_place, "imagery")
    with pytest.raises(ConfigError, match="satclip-retrained"):
        train_location(coast, "satclip", "nowhere")


# ---- objectives --------------------------------------------------------------------------------


def test_csp_starts_at_chance_in_each_term(coast):
    task = task_of("csp-retrained", coast)
    task.model.train()
    rows = task.train_rows[:100]
    terms = task.loss(rows, np.random.default_rng(0))
    assert terms["batch"].item() == pytest.approx(math.log(100), abs=0.1)
    assert terms["random"].item() == pytest.approx(math.log(2), abs=0.1)
    # A place is more like itself under another mask than like others.
    assert terms["dropout"].item() < math.log(100) - 0.05
    task.model.eval()
    first, second = (task.loss(rows, np.random.default_rng(s))["dropout"] for s in (0, 1))
    assert first == second  # no mask, no chance


def test_random_places_lie_in_the_cells_of_the_place(coast):
    task = task_of("csp-retrained", coast)
    points = task.anywhere(4000, np.random.default_rng(0))
    cells = grid.points_to_cells(lon=points[:, 0], lat=points[:, 1], resolution=coast.resolution)
    inside = np.isin(cells, coast.cells)
    assert inside.mean() > 0.95  # a disk of a cell's area sticks out at its sides
    _, counts = np.unique(cells[inside], return_counts=True)
    assert len(counts) == len(coast.cells)
    assert counts.std() < 2 * math.sqrt(4000 / len(coast.cells))


def test_positions_move_by_kilometres(coast):
    task = task_of("geoclip-retrained", coast)
    moved = task.moved(task.lonlat, np.tile([3.0, 4.0], (len(task.lonlat), 1)))
    np.testing.assert_allclose(grid.distances_km(task.lonlat, moved), 5, rtol=2e-3)
    assert (moved > task.lonlat).all()  # east and north


def test_the_queue_is_first_in_first_out(coast):
    task = task_of("geoclip-retrained", coast)
    before = task.model.get_buffer("queue").clone()
    assert before.shape == (task.QUEUE, 2)
    rows = task.train_rows[:50]
    task.model.eval()
    quiet = [task.loss(rows, np.random.default_rng(s))["geoclip"].item() for s in (0, 1)]
    assert quiet[0] == quiet[1]
    torch.testing.assert_close(task.model.get_buffer("queue"), before, rtol=0, atol=0)
    task.model.train()
    loss = task.loss(rows, np.random.default_rng(0))["geoclip"].item()
    after = task.model.get_buffer("queue")
    torch.testing.assert_close(after[50:], before[:-50], rtol=0, atol=0)
    away = grid.distances_km(task.lonlat[rows], after[:50].numpy())
    assert np.sqrt((away**2).mean() / 2) == pytest.approx(task.QUEUE_NOISE_KM, rel=0.25)
    # More to choose from: chance is the logarithm of batch and queue.
    assert loss > quiet[0] + 1


def test_only_cells_with_the_modality_are_trained_on(toy_place):
    task = task_of("csp-retrained", toy_place, pair="poi")
    rows = np.concatenate([task.train_rows, task.validation_rows])
    np.testing.assert_array_equal(np.sort(rows), np.flatnonzero(toy_place.present["poi"]))
    assert len(task.validation_rows) == round(location.VALIDATION_SHARE * len(rows))
