"""A run that is killed, stopped or spoilt goes on to the curve of one that never was.

Run as a script, this file is the process that gets killed.
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from mobclip.errors import ConfigError
from mobclip.training.loop import fit
from mobclip.training.schedule import Schedule

PER_EPOCH, EPOCHS, EVERY = 4, 4, 3
SCHEDULE = Schedule(
    batch_size=10,
    epochs=EPOCHS,
    patience=EPOCHS,
    learning_rate=0.01,
    weight_decay=0.01,
    warmup=0.2,
    decay="cosine",
    checkpoint_every=EVERY,
)


class Noisy:
    """A regression that draws from every source of chance, and keeps a count in a buffer.

    at, do : what happens instead of a training step, by its number in this process
    """

    def __init__(self, at=0, do=None):
        rng = np.random.default_rng(0)
        torch.manual_seed(0)
        self.x = rng.normal(size=(50, 4)).astype(np.float32)
        self.y = self.x[:, :1] ** 2
        self.model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.3), nn.Linear(8, 1))
        self.model.register_buffer("seen", torch.zeros(()))
        self.train_rows = np.arange(40)
        self.validation_rows = np.arange(40, 50)
        self.at, self.do, self.steps = at, do, 0

    def loss(self, rows, rng):
        x = torch.from_numpy(self.x[rows] + rng.normal(0, 0.1, (len(rows), 4)).astype(np.float32))
        error = ((self.model(x) - torch.from_numpy(self.y[rows])) ** 2).mean()
        if self.model.training:
            self.model.seen += len(rows)
            self.steps += 1
            if self.steps == self.at:
                error = error * self.do(self.model)
        return {"error": error, "size": 0.01 * self.model[0].weight.square().sum()}

    def report(self):
        return {"seen": self.model.seen.item()}


def train(folder, **how):
    task = Noisy(**how)
    fit(task, SCHEDULE, folder, {"task": "noisy"}, lambda metrics: None)
    return task


def lines(folder, name):
    found = [json.loads(line) for line in (folder / f"{name}.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k != "seconds"} for line in found]


def same(folder, whole):
    assert lines(folder, "metrics") == lines(whole, "metrics")
    assert lines(folder, "steps") == lines(whole, "steps")
    mine, reference = (load_file(one / "model.safetensors") for one in (folder, whole))
    assert mine.keys() == reference.keys()
    for name, tensor in mine.items():
        assert torch.equal(tensor, reference[name]), name


def kill(model):
    os.kill(os.getpid(), signal.SIGKILL)


class Stop(Exception):
    pass


def stop(model):
    raise Stop


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    train(folder)
    return folder


def test_a_run_writes_a_line_per_step_and_per_epoch(whole):
    steps, epochs = lines(whole, "steps"), lines(whole, "metrics")
    assert [one["step"] for one in steps] == list(range(1, PER_EPOCH * EPOCHS + 1))
    assert [one["epoch"] for one in epochs] == list(range(1, EPOCHS + 1))
    assert [one["seen"] for one in epochs] == [40, 80, 120, 160]  # the task's report
    for epoch in epochs:
        mine = [one for one in steps if one["epoch"] == epoch["epoch"]]
        assert epoch["loss"] == pytest.approx(np.mean([one["loss"] for one in mine]))
        for name in ("error", "size"):
            mean = np.mean([one["terms"][name] for one in mine])
            assert epoch["terms"][name] == pytest.approx(mean)
    assert steps[3]["loss"] == pytest.approx(sum(steps[3]["terms"].values()))
    best = min(epochs, key=lambda one: one["validation"])
    assert load_file(whole / "model.safetensors")["seen"].item() == best["seen"]


def test_killed_in_mid_epoch_it_goes_on_to_the_same_curve(whole, tmp_path):
    died_at = 2 * PER_EPOCH + 3
    done = subprocess.run([sys.executable, __file__, tmp_path, str(died_at)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert len(lines(tmp_path, "steps")) == died_at - 1
    assert len(lines(tmp_path, "metrics")) == 2
    assert not (tmp_path / "model.safetensors").exists()
    # Killed while it wrote, it would have left such a file as well.
    torn = tmp_path / "checkpoints" / ".last.safetensors.0123abcd.tmp"
    torn.write_bytes(b"half")
    task = train(tmp_path)
    # From step 9, which is the first of epoch 3.
    assert task.steps == PER_EPOCH * EPOCHS - (died_at - 1) // EVERY * EVERY
    same(tmp_path, whole)
    assert not torn.exists()


@pytest.mark.parametrize("at", range(1, PER_EPOCH * EPOCHS + 1))
def test_stopped_at_any_step_it_goes_on_to_the_same_curve(whole, tmp_path, at):
    with pytest.raises(Stop):
        train(tmp_path, at=at, do=stop)
    train(tmp_path)
    same(tmp_path, whole)


def test_a_loss_that_is_no_number_spoils_nothing(whole, tmp_path):
    with pytest.raises(ConfigError, match=r"nan in step 11 \(epoch 3\).*learning_rate"):
        train(tmp_path, at=11, do=lambda model: float("nan"))
    assert len(lines(tmp_path, "steps")) == 10
    task = train(tmp_path)
    assert task.steps == PER_EPOCH * EPOCHS - 9
    same(tmp_path, whole)


def test_weights_that_are_no_numbers_never_replace_a_checkpoint(whole, tmp_path):
    def infinite_slope(model):
        return 1 + (0 * model[0].weight.sum()).sqrt()

    with pytest.raises(ConfigError, match="weights are no numbers any more in epoch 3"):
        train(tmp_path, at=9, do=infinite_slope)
    assert len(lines(tmp_path, "steps")) == 9  # that loss was a number still
    task = train(tmp_path)
    assert task.steps == PER_EPOCH * EPOCHS - 6
    same(tmp_path, whole)


def test_a_validation_loss_that_is_no_number_is_refused(tmp_path):
    task = Noisy()
    task.y[45] = np.inf
    with pytest.raises(ConfigError, match="validation loss is inf after epoch 1"):
        fit(task, SCHEDULE, tmp_path, {})


def test_a_task_without_validation_rows_is_refused(tmp_path):
    task = Noisy()
    task.validation_rows = np.arange(0)
    with pytest.raises(ConfigError, match="at least one validation row"):
        fit(task, SCHEDULE, tmp_path, {})


def test_the_rate_is_that_of_the_schedule(whole):
    steps = PER_EPOCH * EPOCHS
    written = [one["learning_rate"] for one in lines(whole, "steps")]
    assert written == [SCHEDULE.rate(step, steps) for step in range(1, steps + 1)]
    # Rises to the full rate in 0.2 × 16 = 3 steps, then falls as half a cosine to zero.
    assert written[:3] == pytest.approx([0.01 / 3, 0.02 / 3, 0.01])
    half_way = 0.01 * 0.5 * (1 + np.cos(np.pi * 6 / 13))
    assert written[8] == pytest.approx(half_way)
    assert written[-1] == pytest.approx(0, abs=1e-12)
    plain = Schedule(batch_size=1, epochs=1, patience=1, learning_rate=0.5)
    assert {plain.rate(step, 10) for step in range(1, 11)} == {0.5}


def test_the_rate_is_what_the_weights_feel(tmp_path):
    # The first step of AdamW moves every weight by the rate, whatever its gradient.
    task = Noisy()
    before = {name: value.detach().clone() for name, value in task.model.named_parameters()}
    rising = Schedule(batch_size=40, epochs=4, patience=4, learning_rate=0.004, warmup=0.9)
    with pytest.raises(Stop):
        fit(task, rising, tmp_path, {}, stop)
    after = load_file(tmp_path / "checkpoints" / "best.safetensors")
    for name, value in before.items():
        np.testing.assert_allclose((after[name] - value).abs(), 0.001, rtol=1e-3)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"checkpoint_every": 0}, "1 or more"),
        ({"warmup": 1.0}, "below 1"),
        ({"decay": "linear"}, "none or cosine"),
        ({"learning_rate": -1.0}, "0 or more"),
    ],
)
def test_schedules_that_cannot_be(values, message):
    with pytest.raises(ConfigError, match=message):
        Schedule(**{"batch_size": 1, "epochs": 1, "patience": 1, "learning_rate": 0.1, **values})


if __name__ == "__main__":
    train(Path(sys.argv[1]), at=int(sys.argv[2]), do=kill)
