"""Intervals by resampling areas: against a naive loop, and on data where the truth is known."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm

from mobclip.evaluation.bootstrap import BlockBootstrap
from mobclip.probes import HeldOut
from mobclip.splits import block_of

FOLDS = 5


def predictions(place, *, seed, error, rng, name="kind"):
    target = replace(place.targets["kind"], name=name)
    actual = target.actual
    return HeldOut(
        target=target,
        protocol="blocks",
        seed=seed,
        cells=place.cells,
        actual=actual,
        predicted=actual + error * rng.normal(size=actual.shape),
        folds=np.zeros(len(actual), np.int64),
    )


def r2(held_out, rows=slice(None)):
    actual, predicted = held_out.actual[rows, 0], held_out.predicted[rows, 0]
    return 1 - ((actual - predicted) ** 2).sum() / ((actual - actual.mean()) ** 2).sum()


def test_estimates_are_plain_r2_and_intervals_those_of_a_naive_loop(toy_place):
    rng = np.random.default_rng(0)
    made = {seed: predictions(toy_place, seed=seed, error=0.2, rng=rng) for seed in (0, 1)}
    bootstrap = BlockBootstrap(toy_place.cells, seeds=(0, 1), folds=FOLDS)
    for one in made.values():
        bootstrap.add("run", one)
    found = bootstrap.r2("run", "kind")
    assert found.value == pytest.approx(np.mean([r2(one) for one in made.values()]))

    names, block = np.unique(block_of(toy_place.cells, folds=FOLDS), return_inverse=True)
    rows_of = [np.flatnonzero(block == k) for k in range(len(names))]
    drawn = []
    for _ in range(2000):
        rows = np.concatenate([rows_of[k] for k in rng.integers(0, len(names), len(names))])
        seeds = rng.integers(0, 2, 2)
        drawn.append(np.mean([r2(made[seed], rows) for seed in seeds]))
    shift = 2 * norm.ppf(np.mean(np.array(drawn) < found.value))
    low, high = norm.cdf([shift - 1.96, shift + 1.96])
    assert found.low == pytest.approx(np.quantile(drawn, low), abs=0.006)
    assert found.high == pytest.approx(np.quantile(drawn, high), abs=0.006)


def test_differences_are_paired(toy_place):
    rng = np.random.default_rng(0)
    bootstrap = BlockBootstrap(toy_place.cells, seeds=(0,), folds=FOLDS)
    noisy = predictions(toy_place, seed=0, error=1.0, rng=rng)
    # A hair better everywhere: each one's interval is wide, that of the difference is not.
    better = replace(noisy, predicted=noisy.actual + 0.98 * (noisy.predicted - noisy.actual))
    for name in ("kind", "again"):
        target = replace(noisy.target, name=name)
        bootstrap.add("noisy", replace(noisy, target=target))
        bootstrap.add("better", replace(better, target=target))
    names = ["kind", "again"]
    wide = bootstrap.mean_r2("better", names)
    difference = bootstrap.difference("better", "noisy", names)
    assert 0 < difference.low < difference.value < difference.high
    assert difference.high - difference.low < 0.2 * (wide.high - wide.low)
    same = bootstrap.difference("noisy", "noisy", names)
    assert (same.value, same.low, same.high) == (0, 0, 0)


def test_neighbours_that_err_together_widen_the_interval(toy_place):
    rng = np.random.default_rng(0)
    _, block = np.unique(block_of(toy_place.cells, folds=FOLDS), return_inverse=True)
    bootstrap = BlockBootstrap(toy_place.cells, seeds=(0,), folds=FOLDS)
    alone = predictions(toy_place, seed=0, error=0.4, rng=rng)
    by_block = np.abs(rng.standard_t(3, size=block.max() + 1))[block][:, None]
    together = replace(
        alone,
        predicted=alone.actual + 0.4 * by_block / np.sqrt((by_block**2).mean()),
    )
    bootstrap.add("alone", alone)
    bootstrap.add("together", together)
    narrow, wide = bootstrap.r2("alone", "kind"), bootstrap.r2("together", "kind")
    assert wide.high - wide.low > 1.5 * (narrow.high - narrow.low)


def test_intervals_hold_the_truth_as_often_as_they_promise(toy_place):
    # Places of many areas with errors that differ by area: the R² of endless data is known.
    rng = np.random.default_rng(0)
    _, block = np.unique(block_of(toy_place.cells, folds=FOLDS), return_inverse=True)
    n, held = len(toy_place.cells), 0
    target = toy_place.targets["kind"]
    for _ in range(100):
        actual = rng.normal(size=n) + 0.5 * rng.normal(size=block.max() + 1)[block]
        error = (0.5 + rng.random(block.max() + 1))[block] * rng.normal(size=n) * 0.5
        truth = 1 - 0.25 * (0.25 + 0.5 + 1 / 3) / 1.25
        bootstrap = BlockBootstrap(toy_place.cells, seeds=(0,), folds=FOLDS, draws=400)
        made = predictions(toy_place, seed=0, error=0, rng=rng)
        made = replace(
            made,
            target=replace(target, values=actual),
            actual=actual[:, None],
            predicted=(actual + error)[:, None],
        )
        bootstrap.add("run", made)
        found = bootstrap.r2("run", "kind")
        held += found.low <= truth <= found.high
    assert 85 <= held <= 100
