"""Training of `mobclip`: what is hidden, what the network learns of it, what stays as it is."""

import json
from dataclasses import replace

import numpy as np
import pytest
import shapely
import torch
from safetensors.torch import load_file

from mobclip import grid
from mobclip.config import FusionConfig
from mobclip.errors import ConfigError
from mobclip.fusion import ALONE, FUSION_FILE, GONE, HIDDEN, KNOWN, STATES, WORDS, Fusion
from mobclip.graph import MobilityGraph
from mobclip.model.fusion import LEAST_TEMPERATURE, FusionNetwork
from mobclip.place import save_place
from mobclip.splits import block_of
from mobclip.table import CellTable
from mobclip.training import train_fusion
from mobclip.training.fusion import FusionTask, _exported

CONFIG = FusionConfig(dims=16, hidden_units=64, epochs=4, patience=4, learning_rate=0.01)


@pytest.fixture(scope="module")
def country(tmp_path_factory):
    """780 cells that all modalities describe alike, each in its own way, by two numbers of each."""
    rng = np.random.default_rng(0)
    cells = grid.polygon_to_cells(shapely.box(-35, 38, -33, 39.8), 6)
    n = len(cells)
    latent = rng.normal(size=(n, 2))
    latent += np.sin(4 * grid.centers(cells))  # half of it by region

    def table(modality, columns, have):
        some = np.flatnonzero(rng.random(n) < have)
        bent = np.tanh(latent[some] @ rng.normal(size=(2, len(columns))))
        values = bent + 0.2 * rng.normal(size=bent.shape)
        return CellTable(
            modality=modality, cells=cells[some], values=values.astype(np.float32), columns=columns
        )

    kind = (latent[:, 0] > 0).astype(int)
    origin, destination = rng.integers(0, n, (2, 20_000))
    keep = (kind[origin] == kind[destination]) | (rng.random(20_000) < 0.1)
    return save_place(
        tmp_path_factory.mktemp("country") / "country-r6",
        name="country",
        title="Country",
        resolution=6,
        cells=cells,
        tables={
            "poi": table("poi", ("text_0", "text_1", "text_2", "log_total"), 0.7),
            "demographics": table("demographics", tuple(f"hist_{i}" for i in range(5)), 1.0),
        },
        graph=MobilityGraph.from_edges(
            cells, cells[origin[keep]], cells[destination[keep]], np.ones(int(keep.sum()))
        ),
        targets={},
        provenance={"key": "country", "sources": {}},
    )


@pytest.fixture(scope="module")
def task(country):
    return FusionTask([country], CONFIG)


def loud(model):
    """The same network with random weights in all places."""
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter) / max(parameter.shape or (1,)) ** 0.5)
    return model


# ---- the network -------------------------------------------------------------------------------


def test_the_network_is_the_same_in_numpy(task):
    other = FusionTask.__new__(FusionTask)
    other.__dict__.update(task.__dict__)
    inputs = len(task.fusion.modalities) * (task.fusion.dims + STATES)
    other.model = loud(FusionNetwork(inputs, 64, 16))
    fusion = replace(task.fusion, network=_exported(other.model.state_dict()))
    rng = np.random.default_rng(0)
    rows = rng.integers(0, len(task.target), 300)
    states = rng.integers(0, STATES, (300, 3)).astype(np.int8)
    with torch.no_grad():
        made, target, told = other._made(rows, states)
    found = fusion.combine(task.votes[0].chosen(rows, states), states)
    assert np.abs(found - task.votes[0].chosen(rows, states).sum(1)).max() > 0.5
    np.testing.assert_allclose(found, made.numpy(), atol=1e-5)
    np.testing.assert_array_equal(target.numpy(), task.target[rows])
    nothing = [all(tokens_of(task, row, state)) for row, state in zip(rows, states, strict=True)]
    np.testing.assert_array_equal(told.numpy(), ~np.array(nothing))


def tokens_of(task, row, states):
    """Whether each modality says nothing at a cell, in a state."""
    for column, name in enumerate(task.fusion.modalities):
        silent = states[column] == GONE
        silent |= states[column] == WORDS and name != "poi"
        silent |= states[column] in (ALONE, WORDS) and not task.present[row, column]
        yield silent


def test_the_temperature_has_a_floor():
    model = FusionNetwork(4, 3, 2)
    assert model.temperature.item() == pytest.approx(0.2)
    with torch.no_grad():
        model.log_temperature.fill_(-9.0)
    assert model.temperature.item() == pytest.approx(LEAST_TEMPERATURE)


def test_a_network_starts_by_adding_nothing(task):
    fresh = FusionNetwork(len(task.fusion.modalities) * (16 + STATES), 64, 16)
    assert (fresh(torch.randn(5, 3 * (16 + STATES))) == 0).all()


# ---- what is hidden ----------------------------------------------------------------------------


def test_evidence_is_hidden_in_three_ways(task):
    rng = np.random.default_rng(0)
    rows = rng.integers(0, len(task.target), 6000)
    states = task.hidden(rows, rng)
    assert states.dtype == np.int8
    known = states == KNOWN
    brought = np.isin(states, (ALONE, WORDS))
    one_brought = brought.sum(1) == 1
    assert brought.sum(1).max() == 1
    assert (states[one_brought] == GONE).sum(1).tolist() == [2] * one_brought.sum()
    assert one_brought.mean() == pytest.approx(1 / 3, abs=0.03)
    # One known alone, or some hidden: of the second 3 × .6 × .2² leave one known, too.
    one_known = (known.sum(1) == 1) & ((states == GONE).sum(1) == 2)
    assert one_known.mean() == pytest.approx((1 + 3 * 0.6 * 0.04) / 3, abs=0.03)
    assert (states == HIDDEN).mean() == pytest.approx(0.2 / 3, abs=0.01)
    # A token that is brought along is there.
    assert task.present[rows][brought].all()
    poi = task.fusion.modalities.index("poi")
    assert set(np.flatnonzero((states == WORDS).any(0))) == {poi}
    words = (states[:, poi] == WORDS).sum() / brought[:, poi].sum()
    assert words == pytest.approx(0.5, abs=0.06)


def test_one_that_the_cell_has_is_what_is_left(task):
    """Of many draws, never one that the cell lacks; each that it has as often as the others."""
    poi = task.fusion.modalities.index("poi")
    rows = np.repeat(np.flatnonzero(~task.present[:, poi])[:50], 400)
    states = task.hidden(rows, np.random.default_rng(0))
    alone = np.isin(states, (ALONE, WORDS))
    assert not alone[:, poi].any()
    assert alone.sum(0).max() < 1.1 * np.sort(alone.sum(0))[1]


def test_cells_that_have_nothing_are_dealt_with(task):
    other = FusionTask.__new__(FusionTask)
    other.__dict__.update(task.__dict__)
    other.present = np.zeros_like(task.present)
    rows = np.arange(500)
    states = other.hidden(rows, np.random.default_rng(0))
    assert set(np.unique(states)) <= set(range(STATES))


def test_what_is_hidden_follows_from_the_generator(task):
    rows = np.arange(100)
    one, same, other = (task.hidden(rows, np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()


def test_nothing_hidden_has_no_error_and_no_gradient(task, monkeypatch):
    rows = np.arange(50)
    monkeypatch.setattr(task, "hidden", lambda rows, rng: np.zeros((len(rows), 3), np.int8))
    monkeypatch.setattr(task, "model", loud(FusionNetwork(3 * (16 + STATES), 64, 16)))
    terms = task.loss(rows, np.random.default_rng(0))
    assert terms["error"].item() == 0
    sum(terms.values()).backward()
    for name, parameter in task.model.named_parameters():
        assert (parameter.grad == 0).all() == (name != "log_temperature")


@pytest.mark.parametrize("state", [GONE, ALONE, WORDS])
def test_cells_of_which_nothing_is_known_do_not_drown_the_others(task, monkeypatch, state):
    """Their embedding starts at 0, where the gradient of a cosine is without bounds."""
    rows = np.arange(64)
    states = np.full((64, 3), HIDDEN, np.int8)
    states[:8] = state
    monkeypatch.setattr(task, "hidden", lambda rows, rng: states)
    monkeypatch.setattr(task, "model", FusionNetwork(3 * (16 + STATES), 64, 16))
    sum(task.loss(rows, np.random.default_rng(0)).values()).backward()
    for parameter in task.model.parameters():
        assert parameter.grad.isfinite().all()
        assert parameter.grad.abs().max() < 10
    assert task.model.outer.bias.grad.abs().max() > 0


def test_the_loss_is_squared_error_and_contrast(task):
    rows = task.train_rows[:40]
    terms = task.loss(rows, np.random.default_rng(4))
    states = task.hidden(rows, np.random.default_rng(4))
    made = task.votes[0].chosen(rows, states).sum(1)  # of an untrained network
    target = task.target[rows]
    error = ((made - target) ** 2).sum(1).mean() / task.target.var(0).sum()
    assert terms["error"].item() == pytest.approx(error, rel=1e-4)
    told = np.linalg.norm(made, axis=1) > 0
    made[~told] = target[~told]
    one, other = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (made, target))
    logits = one @ other.T / 0.2
    contrast = np.mean([np.log(np.exp(logits).sum(axis)) - np.diag(logits) for axis in (0, 1)])
    assert terms["contrast"].item() == pytest.approx(0.1 * contrast, rel=1e-4)
    task.config = replace(CONFIG, contrast=0.0)
    try:
        assert set(task.loss(rows, np.random.default_rng(4))) == {"error"}
    finally:
        task.config = CONFIG


# ---- training ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(country, tmp_path_factory):
    """A training, and what was said of every epoch."""
    folder, seen = tmp_path_factory.mktemp("run"), []
    config = replace(CONFIG, epochs=40, patience=40)
    return train_fusion([country], config, folder, seen.append), folder, seen


def test_whole_blocks_are_held_out(country, task):
    blocks = block_of(country.cells, folds=10)
    inside = set(blocks[task.validation_rows].tolist())
    assert not inside & set(blocks[task.train_rows].tolist())
    assert 0.05 < len(task.validation_rows) / len(country.cells) < 0.2
    both = np.concatenate([task.validation_rows, task.train_rows])
    np.testing.assert_array_equal(np.sort(both), np.arange(len(country.cells)))


def test_training_lowers_the_error_of_held_out_cells(run):
    _, _, seen = run
    first, last = seen[0], seen[-1]
    assert last.terms["error"] < 0.8 * first.terms["error"]
    assert min(one.validation for one in seen) < 0.9 * first.validation
    for figure in ("closeness", "recall"):
        assert set(last.report[figure]) == {"mobility", "poi", "demographics"}
        assert all(0 <= value <= 1 for value in last.report[figure].values())
    assert 0.05 <= last.report["temperature"] < 0.5
    assert last.report["candidates"] > 50


def test_a_cell_comes_nearer_to_itself_with_a_modality_hidden(country, task, run):
    fusion, _, _ = run
    before = replace(fusion, network=None)
    own = before.embed(country)
    rows = task.validation_rows  # the same blocks: the seed is
    for name in ("poi", "demographics"):
        for state in (HIDDEN, GONE):
            off = {}
            for trained, model in ((False, before), (True, fusion)):
                made = model.embed(country, states={name: state})
                off[trained] = np.linalg.norm((made - own)[rows], axis=1).mean()
            assert off[True] < 0.95 * off[False]


def test_closeness_and_recall_are_those_of_a_loop(country, task, run):
    fusion, _, seen = run
    best = min(seen, key=lambda one: one.validation)
    rows = task.validation_rows
    own = fusion.embed(country)[rows]
    own /= np.linalg.norm(own, axis=1, keepdims=True)
    for name in fusion.modalities:
        here = country.present[name][rows]
        made = fusion.embed(country, states={name: HIDDEN})[rows]
        cosine = (made * own).sum(1) / np.linalg.norm(made, axis=1)
        assert best.report["closeness"][name] == pytest.approx(cosine[here].mean(), abs=1e-4)
        states = dict.fromkeys(fusion.modalities, GONE) | {name: ALONE}
        made = fusion.embed(country, states=states)[rows]
        rank = [(own @ made[i] > own[i] @ made[i]).sum() for i in range(len(rows)) if here[i]]
        assert best.report["recall"][name] == pytest.approx(np.mean(np.array(rank) < 10), abs=0.03)


def test_what_is_all_known_stays_the_linear_embedding(country, run):
    fusion, folder, _ = run
    untrained = Fusion.fit([country], fusion.settings).embed(country)
    np.testing.assert_array_equal(fusion.embed(country), untrained)
    np.testing.assert_allclose(
        Fusion.load(folder / FUSION_FILE).embed(country), untrained, atol=1e-6
    )


def test_the_best_weights_are_what_is_written(country, run):
    fusion, folder, _ = run
    weights = load_file(folder / "model.safetensors")
    np.testing.assert_array_equal(fusion.network.inner, weights["inner.weight"].numpy().T)
    again = Fusion.load(folder / FUSION_FILE)
    for name in ("inner", "inner_bias", "outer", "outer_bias"):
        np.testing.assert_array_equal(getattr(again.network, name), getattr(fusion.network, name))
    states = {"poi": HIDDEN, "mobility": GONE}
    np.testing.assert_allclose(
        again.embed(country, states=states), fusion.embed(country, states=states), atol=1e-5
    )


def test_a_text_is_learned_as_a_cell_that_has_it(country, run):
    """What is made of the words of a cell is nearer to that cell than to others, as a rule."""
    fusion, _, _ = run
    poi = country.tables["poi"]
    words = fusion.of_token("poi", poi.values[:, :3], words=True)
    rows = grid.locate(country.cells, poi.cells)[0]
    own = fusion.embed(country)
    off = np.linalg.norm(words - own[rows], axis=1)
    shuffled = np.linalg.norm(np.roll(words, 1, axis=0) - own[rows], axis=1)
    assert off.mean() < 0.9 * shuffled.mean()


def test_a_seed_gives_one_model_and_another_seed_another(country, tmp_path):
    models = [
        train_fusion([country], replace(CONFIG, seed=seed), tmp_path / folder).network
        for folder, seed in (("a", 0), ("b", 0), ("c", 1))
    ]
    np.testing.assert_array_equal(models[0].inner, models[1].inner)
    np.testing.assert_array_equal(models[0].outer, models[1].outer)
    assert (models[0].inner != models[2].inner).any()


def test_an_interrupted_training_ends_as_one_that_was_not(country, tmp_path):
    config = replace(CONFIG, checkpoint_every=2)
    whole = train_fusion([country], config, tmp_path / "whole").network

    class Stop(Exception):
        pass

    def stop(metrics):
        if metrics.epoch == 3:
            raise Stop

    with pytest.raises(Stop):
        train_fusion([country], config, tmp_path / "cut", stop)
    assert not (tmp_path / "cut" / FUSION_FILE).exists()
    epochs = []
    fusion = train_fusion([country], config, tmp_path / "cut", lambda one: epochs.append(one.epoch))
    cut = fusion.network
    assert epochs[0] > 1
    assert epochs[-1] == 4
    np.testing.assert_array_equal(cut.inner, whole.inner)
    np.testing.assert_array_equal(cut.outer, whole.outer)
    lines = (tmp_path / "cut" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [1, 2, 3, 4]


def test_other_places_or_settings_start_anew(country, tmp_path):
    epochs = []
    config = replace(CONFIG, epochs=1, checkpoint_every=1)
    for place, near in ((country, 0.3), (country, 0.2), (country.varied("other"), 0.2)):
        train_fusion(
            [place], replace(config, near=near), tmp_path, lambda one: epochs.append(one.epoch)
        )
    assert epochs == [1, 1, 1]
    train_fusion([place], replace(config, near=near), tmp_path, lambda one: epochs.append(0))
    assert epochs == [1, 1, 1]  # it was done


def test_several_places_are_trained_together(country, toy_place, tmp_path):
    west = country.varied("west", cells=country.cells[: len(country.cells) // 2])
    east = country.varied("east", cells=country.cells[len(country.cells) // 2 :])
    task = FusionTask([west, east], CONFIG)
    assert len(task.target) == len(country.cells)
    targets = np.concatenate([task.fusion.embed(west), task.fusion.embed(east)])
    np.testing.assert_allclose(task.target, targets, atol=1e-6)
    # Rows of both places in one batch, in any order, are the rows of each.
    rng = np.random.default_rng(0)
    rows = rng.permutation(len(task.target))[:80]
    states = task.hidden(rows, rng)
    assert set(np.unique(states)) == {KNOWN, HIDDEN, GONE, ALONE}  # no words are shared
    _, target, _ = task._made(rows, states)
    np.testing.assert_allclose(target.numpy(), targets[rows], atol=1e-6)
    fusion = train_fusion([west, east], CONFIG, tmp_path)
    assert np.isfinite(fusion.embed(country, states={"demographics": HIDDEN})).all()
    with pytest.raises(ConfigError, match="toy lacks the column 'hist_0'"):
        fusion.embed(toy_place)


def test_places_that_cannot_be_trained(country, tmp_path):
    with pytest.raises(ConfigError, match="no place to train on"):
        train_fusion([], CONFIG, tmp_path)
    coarse = np.unique(grid.parents(country.cells, 5))
    table = CellTable(
        modality="demographics",
        cells=coarse,
        values=np.random.default_rng(0).normal(size=(len(coarse), 5)).astype(np.float32),
        columns=tuple(f"hist_{i}" for i in range(5)),
    )
    other = save_place(
        tmp_path / "coarse",
        name="coarse",
        title="Coarse",
        resolution=5,
        cells=coarse,
        tables={"demographics": table},
        graph=None,
        targets={},
        provenance={"key": "coarse", "sources": {}},
    )
    with pytest.raises(ConfigError, match="different resolutions"):
        train_fusion([country, other], CONFIG, tmp_path / "run")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"validation_share": 0.0}, "between 0 and 1"),
        ({"validation_share": 1.0}, "between 0 and 1"),
        ({"fill": 1.5}, "a share from 0 to 1"),
        ({"hidden_units": 0}, "1 or more"),
        ({"emphasis": -0.1}, "0 or more"),
        ({"contrasts": 1.0}, "Did you mean 'contrast'"),
    ],
)
def test_settings_that_cannot_be(values, message):
    with pytest.raises(ConfigError, match=message):
        FusionConfig.from_dict(values)
