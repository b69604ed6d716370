"""Two processes against one: same losses, same gradients, same curve, same weights.

Run by torchrun, this file is what the two processes do.
"""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from mobclip import training
from mobclip.config import FusionConfig, TrainConfig
from mobclip.model import info_nce
from mobclip.model.gather import gather, processes, rank, share
from mobclip.place import Place
from mobclip.training import distributed
from mobclip.training.fusion import FusionTask
from mobclip.training.loop import fit
from mobclip.training.paper import PaperTask
from mobclip.training.schedule import Schedule

# Neither columns nor rows nor the cells that have a modality are shared out evenly.
CONFIG = TrainConfig(
    dims=15, epochs=4, batch_size=64, checkpoint_every=1, learning_rate=0.01, device="cpu"
)
SCHEDULE = Schedule(
    batch_size=16, epochs=3, patience=3, learning_rate=0.01, weight_decay=0.01, checkpoint_every=2
)


class Whole:
    """A task that knows nothing of several processes; one of its towers is not always used."""

    def __init__(self):
        torch.manual_seed(rank())  # the first process decides the weights
        self.x = torch.randn(60, 4, generator=torch.Generator().manual_seed(0))
        self.model = nn.ModuleDict({"one": nn.Linear(4, 3), "two": nn.Linear(4, 1)})
        self.train_rows, self.validation_rows = np.arange(50), np.arange(50, 60)

    def loss(self, rows, rng):
        x = self.x[rows] + torch.from_numpy(rng.normal(size=(len(rows), 4)).astype(np.float32))
        terms = {"one": (self.model["one"](x) - 1).square().mean()}
        if rows[0] % 2:
            terms["two"] = (self.model["two"](x) - x[:, :1]).square().mean()
        return terms

    def report(self):
        return {}


def vectors():
    """30 rows of two modalities and a temperature."""
    generator = torch.Generator().manual_seed(0)
    anchor, other = torch.randn(2, 30, 8, generator=generator, dtype=torch.float32)
    return anchor, other, torch.tensor(0.3)


def shared_loss(cut):
    """Loss of the rows that `cut` gives this process, and every gradient, put together again."""
    anchor, other, temperature = vectors()
    mine = [anchor[cut].clone().requires_grad_(), other[cut].clone().requires_grad_()]
    temperature.requires_grad_()
    loss = info_nce(*mine, temperature, shared=True)
    loss.backward()
    count = processes()
    average = distributed.mean(
        {"loss": loss.item(), "temperature": temperature.grad.item()}, loss.device
    )
    return {
        "loss": torch.tensor(average["loss"]),
        "anchor": gather(mine[0].grad) / count,
        "other": gather(mine[1].grad) / count,
        "temperature": torch.tensor(average["temperature"]),
    }


def paper_gradient(place):
    """Gradients of one batch of mobclip-paper."""
    task = PaperTask(place, CONFIG)
    loss = distributed.averaging(task)
    terms = loss(np.sort(task.train_rows[:50]), np.random.default_rng(0))
    sum(terms.values()).backward()
    return {name: p.grad.clone() for name, p in task.model.named_parameters()}


def fusion_gradient(place):
    """Gradients of one batch of mobclip, of a number of rows that two do not share evenly."""
    task = FusionTask([place], FusionConfig(dims=16, hidden_units=16, device="cpu"))
    loss = distributed.averaging(task)
    terms = loss(np.sort(task.train_rows[:51]), np.random.default_rng(0))
    sum(terms.values()).backward()
    return {name: p.grad.clone() for name, p in task.model.named_parameters()}


class Stop(Exception):
    pass


def train_with_a_stop(place, folder):
    """All processes stop in the middle of epoch 3, and go on."""
    original, calls = PaperTask.loss, []

    def loss(self, rows, rng):
        calls.append(len(rows))
        if len(calls) == 12:  # 4 steps and 1 of validation an epoch
            raise Stop
        return original(self, rows, rng)

    PaperTask.loss = loss
    try:
        training.train(place, CONFIG, folder)
    except Stop:
        assert not (folder / "model.safetensors").exists()
    finally:
        PaperTask.loss = original
    training.train(place, CONFIG, folder)


def work(place, folder):
    """What each of the two processes does."""
    distributed.join()
    assert processes() == 2
    even, uneven = share(30), slice(0, 30) if rank() == 0 else slice(30, 30)
    found = {
        "even": shared_loss(even),
        "one has all": shared_loss(uneven),
        "paper": paper_gradient(place),
        "fusion": fusion_gradient(place),
    }
    if distributed.first():
        flat = {f"{kind}/{k}": v for kind, one in found.items() for k, v in one.items()}
        save_file({name: value.contiguous() for name, value in flat.items()}, folder / "gradients")
    train_with_a_stop(place, folder / "paper")
    fit(Whole(), SCHEDULE, folder / "whole", {})


@pytest.fixture(scope="module")
def two(toy_place, tmp_path_factory):
    """Folder of what two processes made."""
    folder = tmp_path_factory.mktemp("two")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*command, __file__, toy_place.folder, folder], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def one(toy_place, tmp_path_factory):
    """Folder of what one process makes."""
    folder = tmp_path_factory.mktemp("one")
    training.train(toy_place, CONFIG, folder / "paper")
    fit(Whole(), SCHEDULE, folder / "whole", {})
    return folder


@pytest.mark.parametrize("cut", ["even", "one has all"])
def test_the_shared_loss_and_its_gradients_are_those_of_the_whole_batch(two, cut):
    found = load_file(two / "gradients")
    expected = shared_loss(slice(0, 30))  # alone, this process has all rows
    for name, value in expected.items():
        torch.testing.assert_close(found[f"{cut}/{name}"], value, rtol=2e-5, atol=1e-7)


@pytest.mark.parametrize(
    ("recipe", "gradient"), [("paper", paper_gradient), ("fusion", fusion_gradient)]
)
def test_gradients_of_the_model_are_those_of_the_whole_batch(two, toy_place, recipe, gradient):
    found = load_file(two / "gradients")
    expected = gradient(toy_place)
    assert max(value.abs().max() for value in expected.values()) > 1e-5
    for name, value in expected.items():
        torch.testing.assert_close(found[f"{recipe}/{name}"], value, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("run", ["paper", "whole"])
def test_the_curve_and_the_weights_are_those_of_one_process(one, two, run):
    for name, keys in {
        "steps": ("loss", "learning_rate"),
        "metrics": ("loss", "validation"),
    }.items():
        alone, together = (
            [json.loads(line) for line in (folder / run / f"{name}.jsonl").read_text().splitlines()]
            for folder in (one, two)
        )
        # One line each: only the first process writes.
        assert len(alone) == len(together) > 0
        for mine, reference in zip(together, alone, strict=True):
            assert [mine[key] for key in keys] == pytest.approx([reference[key] for key in keys])
            assert mine["terms"] == pytest.approx(reference["terms"], rel=1e-5)
    weights, reference = (load_file(folder / run / "model.safetensors") for folder in (two, one))
    for name, value in reference.items():
        torch.testing.assert_close(weights[name], value, rtol=1e-4, atol=2e-5)


if __name__ == "__main__":
    work(Place.load(Path(sys.argv[1])), Path(sys.argv[2]))
