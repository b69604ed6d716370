"""LightGCN against dense algebra; MobCLIP's shapes, counts, temperatures and missing cells."""

import numpy as np
import pytest
import shapely
import torch

from mobclip import grid
from mobclip.graph import MobilityGraph
from mobclip.model import LightGCN, MobCLIP, Propagation, TableEncoder
from mobclip.model.encoders import Linear, standardise


@pytest.fixture
def graph():
    rng = np.random.default_rng(1)
    cells = grid.polygon_to_cells(shapely.box(5, 50, 6, 51), 6)[:40]
    origin, destination = rng.integers(0, 40, (2, 300))
    return MobilityGraph.from_edges(cells, cells[origin], cells[destination], rng.random(300))


@pytest.fixture
def smooth(graph):
    return Propagation.of(graph.undirected())


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_lightgcn_is_the_sum_of_powers_and_so_is_its_gradient(graph, smooth, layers):
    rng = np.random.default_rng(2)
    table = torch.from_numpy(rng.normal(size=(40, 6))).float()
    rows = torch.tensor([3, 8, 20, 39])
    model = LightGCN(table, smooth, layers)
    out = model(rows)

    dense = torch.from_numpy(graph.normalised("symmetric").toarray())
    reference = table.clone().requires_grad_()
    powers = [reference]
    for _ in range(layers):
        powers.append(dense @ powers[-1])
    expected = sum(powers)
    torch.testing.assert_close(out, expected[rows], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(model.all_rows(), expected.detach(), rtol=1e-5, atol=1e-5)

    upstream = torch.from_numpy(rng.normal(size=(4, 6))).float()
    (out * upstream).sum().backward()
    (expected[rows] * upstream).sum().backward()
    torch.testing.assert_close(model.table.grad, reference.grad, rtol=1e-4, atol=1e-5)


def test_propagation_stays_float32_under_autocast(smooth):
    model = LightGCN(torch.randn(40, 6), smooth)
    rows = torch.arange(7)
    with torch.autocast("cpu", torch.bfloat16):
        low = model(rows)
        assert torch.equal(low, model(rows))
    assert low.dtype == torch.float32
    torch.testing.assert_close(low, model.all_rows()[:7])
    low.sum().backward()
    assert model.table.grad.dtype == torch.float32


def make(smooth, dims=8):
    n = 40
    generator = torch.Generator().manual_seed(0)
    tokens = {
        "poi": torch.randn(n, 5, generator=generator),
        "demographics": torch.randn(n, 4, generator=generator),
    }
    anchor = LightGCN(torch.randn(n, dims, generator=generator), smooth)
    model = MobCLIP(
        anchor,
        {name: standardise(values) for name, values in tokens.items()},
        {"poi": 0.5, "demographics": 0.7, "imagery": 0.2},
    )
    return model, tokens


def test_published_parameter_count():
    # 195,574 cells x 128, POI 1024 -> 128, imagery 768 -> 128, demographics 40 -> 64 -> 128.
    encoders = [Linear(1024, 128), Linear(768, 128), TableEncoder(40, 128)]
    count = sum(p.numel() for encoder in encoders for p in encoder.parameters())
    assert 195_574 * 128 + count == 25_274_048


def test_encoder_parameters_have_the_stated_spread():
    torch.manual_seed(0)
    layer = Linear(400, 300)
    assert layer.weight.std().item() == pytest.approx((2 / 400) ** 0.5, rel=0.02)  # Kaiming
    assert layer.bias.abs().max().item() <= 1 / 400**0.5


def test_standardise_reads_rows_in_parts_and_leaves_constants_alone(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    values = (5 + 3 * rng.normal(size=(100, 4))).astype(np.float32)
    values[:, 2] = 7
    np.save(tmp_path / "values.npy", values)
    monkeypatch.setattr("mobclip.model.encoders.ROWS_AT_ONCE", 30)
    for tokens in (
        values,
        torch.from_numpy(values),
        np.load(tmp_path / "values.npy", mmap_mode="r"),
    ):
        one = standardise(tokens)
        np.testing.assert_allclose(one.mean, values.mean(0), rtol=1e-6)
        np.testing.assert_allclose(one.scale[[0, 1, 3]], values.std(0)[[0, 1, 3]], rtol=1e-6)
        assert one.scale[2] == 1
        out = one(torch.from_numpy(values))
        np.testing.assert_allclose(out.mean(0), 0, atol=1e-5)
        np.testing.assert_allclose(out.std(0, correction=0)[[0, 1, 3]], 1, atol=1e-5)


def test_a_cell_without_a_modality_changes_nothing_in_its_loss(smooth):
    model, tokens = make(smooth)
    batch = torch.arange(20)
    present = {name: torch.arange(20) < 12 for name in tokens}
    before = model.losses(batch, {k: v[:20] for k, v in tokens.items()}, present)
    changed = {k: v[:20].clone() for k, v in tokens.items()}
    for value in changed.values():
        value[12:] = 1e3
    after = model.losses(batch, changed, present)
    for name in before:
        assert before[name].item() == after[name].item()


def test_a_modality_that_nobody_has_is_left_out(smooth):
    model, tokens = make(smooth)
    batch = torch.arange(20)
    present = {
        "poi": torch.zeros(20, dtype=torch.bool),
        "demographics": torch.ones(20, dtype=torch.bool),
    }
    losses = model.losses(batch, {k: v[:20] for k, v in tokens.items()}, present)
    assert list(losses) == ["demographics"]


def test_recall_counts_the_cells_that_find_themselves(smooth):
    model, tokens = make(smooth)
    batch = torch.arange(30)
    values = {name: value[:30] for name, value in tokens.items()}
    present = {name: torch.arange(30) < 25 for name in tokens}
    found = model.recall(batch, values, present, k=3)
    for name in tokens:
        with torch.no_grad():
            anchors = torch.nn.functional.normalize(model.anchor(batch)[:25], dim=-1)
            encoded = torch.nn.functional.normalize(model.encoders[name](values[name][:25]), dim=-1)
        best = (anchors @ encoded.T).argsort(dim=1, descending=True)[:, :3]
        hits = [i in best[i] for i in range(25)]
        assert found[name] == pytest.approx(np.mean(hits))
    assert model.recall(batch, values, present, k=25) == dict.fromkeys(tokens, 1.0)


def test_state_dict_round_trip_keeps_temperatures_and_statistics(smooth):
    model, _ = make(smooth)
    other, _ = make(smooth)
    for value in other.state_dict().values():
        value.zero_()
    other.load_state_dict(model.state_dict())
    torch.testing.assert_close(other.temperature, torch.tensor([0.5, 0.7]))
    for name, value in model.state_dict().items():
        torch.testing.assert_close(other.state_dict()[name], value)
    assert not any("propagation" in name for name in model.state_dict())
