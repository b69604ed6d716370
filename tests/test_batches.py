"""Tokens of a batch, read where they lie or on the device, against the aligned table."""

from dataclasses import replace

import numpy as np
import torch

from mobclip.training.batches import Tokens


def test_tokens_of_a_batch_are_rows_of_the_aligned_tables(toy_place):
    rows = np.random.default_rng(0).permutation(len(toy_place.cells))[:60]
    tokens = Tokens(toy_place.tables, toy_place.cells, torch.device("cpu"))
    on_device = Tokens(toy_place.tables, toy_place.cells, torch.device("cpu"))
    on_device.there = on_device._read(np.arange(len(toy_place.cells)))  # as on a GPU
    for one in (tokens, on_device):
        values, present = one.of(rows)
        assert list(values) == list(present) == list(toy_place.tables)
        for name, table in toy_place.tables.items():
            expected, here = table.aligned(toy_place.cells)
            np.testing.assert_array_equal(values[name], expected[rows])
            np.testing.assert_array_equal(present[name], here[rows])
    assert not present["poi"].all()


def test_tokens_may_lie_in_a_file(toy_place, tmp_path):
    poi = toy_place.tables["poi"]
    np.save(tmp_path / "poi.npy", poi.values)
    mapped = replace(poi, values=np.load(tmp_path / "poi.npy", mmap_mode="r"))
    rows = np.arange(0, 200, 7)
    cpu = torch.device("cpu")
    found, _ = Tokens({"poi": mapped}, toy_place.cells, cpu).of(rows)
    expected, _ = Tokens({"poi": poi}, toy_place.cells, cpu).of(rows)
    assert torch.equal(found["poi"], expected["poi"])
