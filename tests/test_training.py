"""The loop: it learns, it resumes to the same curve, it refuses what it cannot train."""

import json
from dataclasses import replace

import numpy as np
import pytest

from mobclip import training
from mobclip.config import TrainConfig
from mobclip.errors import ArtefactError, ConfigError
from mobclip.place import Place
from mobclip.probes import probe

CONFIG = TrainConfig(dims=16, epochs=6, batch_size=64, checkpoint_every=2, learning_rate=0.01)


def curve(folder):
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [(line["epoch"], line["loss"], line["validation"]) for line in lines]


def test_training_lowers_the_loss_and_the_embedding_knows_the_kind(toy_place, tmp_path):
    training.train(toy_place, replace(CONFIG, epochs=15, patience=15), tmp_path)
    losses = [loss for _, loss, _ in curve(tmp_path)]
    assert losses[-1] < losses[0] - 0.1
    last = json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[-1])
    assert last["candidates"] == round(0.1 * len(toy_place.cells))
    assert set(last["recall"]) == {"poi", "demographics"}
    assert all(0 <= share <= 1 for share in last["recall"].values())
    assert set(last["terms"]) == {"poi", "demographics"}
    assert sum(last["terms"].values()) == pytest.approx(last["loss"])
    made = training.embed(toy_place, tmp_path, name="run")
    assert made.vectors.shape == (len(toy_place.cells), 16)
    assert probe(made, toy_place.targets["kind"], seeds=[0]).scores["blocks"].mean > 0.5


def test_the_loop_is_plain_adamw_over_random_batches(toy_place, tmp_path):
    import torch
    from safetensors.torch import load_file

    from mobclip.training.paper import PaperTask

    training.train(toy_place, replace(CONFIG, epochs=2), tmp_path)
    task = PaperTask(toy_place, CONFIG)
    flat = [p for p in task.model.parameters() if p.ndim == 1]
    deep = [p for p in task.model.parameters() if p.ndim == 2]
    assert flat
    assert deep
    optimizer = torch.optim.AdamW(
        [{"params": deep, "weight_decay": 1e-3}, {"params": flat, "weight_decay": 0}], lr=0.01
    )
    for epoch in (1, 2):
        order = np.random.default_rng([0, epoch]).permutation(task.train_rows)
        for rows in np.array_split(order, 4):
            loss = sum(task.loss(np.sort(rows), np.random.default_rng()).values())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    _, _, validation = zip(*curve(tmp_path), strict=True)
    assert validation[1] < validation[0]  # the second epoch is what was kept
    for name, value in load_file(tmp_path / "model.safetensors").items():
        torch.testing.assert_close(value, task.model.state_dict()[name], rtol=1e-5, atol=1e-6)


def test_an_interrupted_run_resumes_to_the_same_curve(toy_place, tmp_path):
    training.train(toy_place, CONFIG, tmp_path / "whole")

    class Stop(Exception):
        pass

    def stop_after_five(metrics):
        if metrics.epoch == 5:
            raise Stop

    with pytest.raises(Stop):
        training.train(toy_place, CONFIG, tmp_path / "cut", stop_after_five)
    assert not (tmp_path / "cut" / "model.safetensors").exists()
    seen = []
    training.train(toy_place, CONFIG, tmp_path / "cut", lambda m: seen.append(m.epoch))
    assert seen == [5, 6]  # from the checkpoint after epoch 4
    assert curve(tmp_path / "cut") == curve(tmp_path / "whole")
    whole, cut = (
        training.embed(toy_place, tmp_path / name, name="run") for name in ("whole", "cut")
    )
    np.testing.assert_array_equal(whole.vectors, cut.vectors)


def test_early_stopping_keeps_the_best_epoch(toy_place, tmp_path):
    seen = []
    config = replace(CONFIG, epochs=60, patience=2, learning_rate=0.5)
    training.train(toy_place, config, tmp_path, seen.append)
    best = min(seen, key=lambda metrics: metrics.validation)
    assert len(seen) == best.epoch + 2 < 60


def test_other_settings_start_anew(toy_place, tmp_path):
    training.train(toy_place, replace(CONFIG, epochs=2), tmp_path)
    seen = []
    training.train(toy_place, replace(CONFIG, epochs=2, seed=1), tmp_path, seen.append)
    assert [metrics.epoch for metrics in seen] == [1, 2]


def test_a_damaged_checkpoint_says_what_to_do(toy_place, tmp_path):
    training.train(toy_place, CONFIG, tmp_path)
    last = tmp_path / "checkpoints" / "last.safetensors"
    last.write_bytes(last.read_bytes()[:500])
    with pytest.raises(ArtefactError, match="Delete it to train from the start"):
        training.train(toy_place, CONFIG, tmp_path)


def test_a_place_without_mobility_is_refused(toy_place, tmp_path):
    lame = replace(toy_place, modalities=("poi", "demographics"))
    assert isinstance(lame, Place)
    with pytest.raises(ConfigError, match="no mobility"):
        training.train(lame, CONFIG, tmp_path)


def test_a_token_goes_through_the_trained_tower_with_all_else_at_the_mean(toy_place, tmp_path):
    import torch
    from safetensors.torch import load_file

    training.train(toy_place, replace(CONFIG, epochs=2), tmp_path)
    poi = toy_place.tables["poi"]
    text = np.array([[0.3, -0.7]], np.float32)
    token = np.hstack([text, poi.values[:, 2:].mean(0, keepdims=True)])
    tensors = load_file(tmp_path / "model.safetensors")
    standard = (torch.from_numpy(token) - tensors["encoders.poi.0.mean"]) / tensors[
        "encoders.poi.0.scale"
    ]
    expected = standard @ tensors["encoders.poi.1.weight"].T + tensors["encoders.poi.1.bias"]
    found = training.of_token(poi, tmp_path, text, words=True)
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-4, atol=1e-5)
    whole = training.of_token(poi, tmp_path, token)
    np.testing.assert_allclose(whole, expected.numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"epoch": 3}, "Did you mean 'epochs'"),
        ({"epochs": 0}, "1 or more"),
        ({"validation_share": 1.0}, "between 0 and 1"),
        ({"temperatures": {"poi": 0.0}}, "above 0"),
    ],
)
def test_settings_that_cannot_be(values, message):
    with pytest.raises(ConfigError, match=message):
        TrainConfig.from_dict(values)
