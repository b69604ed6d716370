"""Networks on positions: sizes and initial statistics as published, objectives by hand."""

import math

import numpy as np
import pytest
import torch

from mobclip.model.location import (
    HEADS,
    Capsules,
    FcNet,
    Perceptron,
    Siren,
    against_random,
    one_way,
)


@pytest.mark.parametrize("name", HEADS)
def test_a_head_maps_features_to_outputs_and_learns(name):
    torch.manual_seed(0)
    head = HEADS[name](6, 3)
    x, y = torch.randn(40, 6), torch.randn(40, 3)
    optimizer = torch.optim.Adam(head.parameters(), lr=1e-3)
    head.eval()  # without dropout, so that losses compare
    losses = []
    for _ in range(30):
        loss = ((head(x) - y) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


def parameters(module):
    return sum(p.numel() for p in module.parameters())


def test_parameter_counts():
    # SatCLIP's location encoder at 40 degrees: 1600 -> 256 -> 256 -> 256.
    assert parameters(Siren(1600, 256)) == (1601 + 257 + 257) * 256
    # FcNet: a layer, four times two layers, a linear one without bias.
    assert parameters(FcNet(4, 10, hidden=32)) == 5 * 32 + 8 * 33 * 32 + 32 * 10
    # CSP's: 128 -> 512, normalised, -> 256.
    assert parameters(Perceptron(128, 256, hidden=[512], norm=True)) == 129 * 512 + 1024 + 513 * 256
    # GeoCLIP's: three of 512 -> 1024 -> 1024 -> 1024 -> 512.
    geoclip = Capsules(1536, 512, count=3, hidden=[1024] * 3)
    assert parameters(geoclip) == 3 * (513 * 1024 + 2 * 1025 * 1024 + 1025 * 512)


def test_siren_keeps_variance_through_its_layers():
    # Theorem 1.8 of the paper: every sine gets the same normal input, whatever the depth.
    torch.manual_seed(0)
    siren = Siren(64, 256, hidden=256, layers=6)
    x = torch.rand(4000, 64) * 2 - 1
    out, inputs = x, []
    for layer in list(siren)[:-1]:
        inputs.append(layer.frequency * layer.linear(out))
        out = layer(out)
    # Uniform weights within ±1/64 on uniform inputs, times 30; the bias is of the same width.
    variance = 900 * (1 / (9 * 64) + 1 / (3 * 64**2))
    for one in inputs:
        assert one.var().item() == pytest.approx(variance, rel=0.1)
        # A weight has variance 2/n, and the sine of a normal input (1 - exp(-2 variance)) / 2.
        variance = 1 - math.exp(-2 * variance) + 2 / 256
    assert variance == pytest.approx(0.8, abs=0.02)  # it stays there, however deep
    bounds = [layer.linear.weight.abs().max().item() for layer in list(siren)[:-1]]
    assert bounds[0] == pytest.approx(1 / 64, rel=0.01)
    assert bounds[1] == pytest.approx(math.sqrt(6 / 256), rel=0.01)


def test_siren_drops_nothing_out():
    siren = Siren(5, 3).train()
    x = torch.randn(7, 5)
    torch.testing.assert_close(siren(x), siren(x), rtol=0, atol=0)
    assert not any(isinstance(one, torch.nn.Dropout) for one in siren.modules())


def test_capsules_see_a_block_each():
    torch.manual_seed(0)
    capsules = Capsules(9, 4, count=3, hidden=[8])
    x = torch.randn(5, 9)
    alone = [one(x[:, 3 * i : 3 * i + 3]) for i, one in enumerate(capsules.capsules)]
    torch.testing.assert_close(capsules(x), alone[0] + alone[1] + alone[2])


# ---- objectives --------------------------------------------------------------------------------


def test_one_way_by_hand():
    queries = torch.tensor([[2.0, 0.0], [0.0, 1.0]])
    keys = torch.tensor([[1.0, 0.0], [0.0, 5.0], [-3.0, 0.0]])  # the third only misleads
    # Cosines: 1, 0, -1 and 0, 1, 0.
    first = -math.log(math.e**2 / (math.e**2 + 1 + math.e**-2))
    second = -math.log(math.e**2 / (1 + math.e**2 + 1))
    loss = one_way(queries, keys, temperature=0.5)
    assert loss.item() == pytest.approx((first + second) / 2, rel=1e-6)


def test_one_way_of_nothing_known_is_the_logarithm_of_the_keys():
    rng = np.random.default_rng(0)
    queries, keys = (torch.from_numpy(rng.normal(size=(n, 400))).float() for n in (50, 80))
    assert one_way(queries, keys).item() == pytest.approx(math.log(80), abs=0.01)


def test_against_random_is_the_cross_entropy_of_two():
    rng = np.random.default_rng(1)
    places, random, images = (torch.from_numpy(rng.normal(size=(6, 4))) for _ in range(3))
    naive = []
    for place, other, image in zip(places, random, images, strict=True):
        cosines = torch.stack(
            [torch.cosine_similarity(one, image, dim=0) for one in (place, other)]
        )
        naive.append(-torch.log_softmax(cosines, dim=0)[0])
    torch.testing.assert_close(against_random(places, random, images), torch.stack(naive).mean())
