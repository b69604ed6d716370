"""Tiled InfoNCE against the full logit matrix."""

import math

import pytest
import torch
from torch.nn.functional import cross_entropy, normalize

from mobclip.model import info_nce
from mobclip.model.losses import FLOOR, TILE


def full_matrix(anchor, other, temperature):
    logits = normalize(anchor, dim=-1) @ normalize(other, dim=-1).T / temperature
    labels = torch.arange(len(anchor))
    return 0.5 * (cross_entropy(logits, labels) + cross_entropy(logits.T, labels))


def pair(batch, dims=16, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(batch, dims, generator=generator, requires_grad=True) for _ in range(2)]


@pytest.mark.parametrize("batch", [2, 5, TILE, TILE + 1, 2 * TILE + 300])
@pytest.mark.parametrize("temperature", [0.07, 0.5])
def test_equals_the_full_matrix_in_double_precision_to_one_part_in_a_million(batch, temperature):
    # A tensor for a temperature is learned: its gradient is compared as well.
    inputs = [*pair(batch, seed=batch), torch.tensor(temperature, requires_grad=True)]
    exact = [value.detach().double().requires_grad_() for value in inputs]
    ours, theirs = info_nce(*inputs), full_matrix(*exact)
    # Logits are up to 1 / temperature, and the loss is their difference: float32 rounds those.
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-6, abs=1e-7 / temperature)
    assert info_nce(*inputs[:2], temperature).item() == ours.item()
    # Another weight than 1: the gradient that comes from above is used.
    found = torch.autograd.grad(3 * ours, inputs)
    expected = torch.autograd.grad(3 * theirs, exact)
    for mine, reference in zip(found, expected, strict=True):
        # Two cells are nearly told apart, so that gradients are small differences too.
        tolerance = 1e-6 if batch > 2 else 3e-6
        assert (mine - reference).norm() < tolerance * reference.norm()


def test_gradients_of_unequal_pairs_tell_the_two_directions_apart():
    # Half of the anchors are alike, so that rows and columns have sums of their own.
    anchor, other = pair(400)
    with torch.no_grad():
        anchor[200:] = anchor[3] + 0.3 * anchor[200:]
    found = torch.autograd.grad(info_nce(anchor, other, 0.1), [anchor, other])
    exact = [value.detach().double().requires_grad_() for value in (anchor, other)]
    expected = torch.autograd.grad(full_matrix(*exact, 0.1), exact)
    for mine, reference in zip(found, expected, strict=True):
        assert (mine - reference).norm() < 1e-6 * reference.norm()


def test_memory_is_that_of_a_tile():
    # The largest tensor that is made while the loss runs, forwards and backwards.
    largest = 0

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            nonlocal largest
            out = function(*args, **(kwargs or {}))
            for value in out if isinstance(out, tuple | list) else [out]:
                if isinstance(value, torch.Tensor):
                    largest = max(largest, value.numel())
            return out

    batch = 4 * TILE
    anchor, other = pair(batch, dims=8)
    with Watch():
        torch.autograd.grad(info_nce(anchor, other, 0.5), [anchor, other])
    assert largest == TILE**2 < batch**2 / 10


def test_hand_worked_three_cells():
    # Orthonormal vectors: cosine 1 with itself, 0 with the others, so the loss is its floor.
    eye = torch.eye(3)
    expected = math.log(math.e**2 + 2) - 2
    assert info_nce(eye, eye, 0.5).item() == pytest.approx(expected, rel=1e-6)


def test_starts_near_log_batch_and_ignores_length():
    generator = torch.Generator().manual_seed(0)
    anchor, other = (torch.randn(4000, 128, generator=generator) for _ in range(2))
    loss = info_nce(anchor, other, 0.5)
    assert loss.item() == pytest.approx(math.log(4000), abs=0.05)
    assert info_nce(7 * anchor, other, 0.5).item() == pytest.approx(loss.item(), rel=1e-6)


def test_low_precision_is_near_and_stays_inside_the_loss():
    # On a CPU autocast must be asked for; on a GPU the training loop asks for it.
    generator = torch.Generator().manual_seed(0)
    anchor, other = (
        torch.randn(1500, 64, generator=generator, requires_grad=True) for _ in range(2)
    )
    exact = info_nce(anchor, other, 0.2)
    with torch.autocast("cpu", torch.bfloat16):
        low = info_nce(anchor, other, 0.2)
    assert low.dtype == torch.float32
    assert low.item() == pytest.approx(exact.item(), rel=1e-3)
    a, b = (torch.autograd.grad(loss, anchor)[0] for loss in (exact, low))
    assert not torch.equal(a, b)  # it was low indeed
    assert torch.nn.functional.cosine_similarity(a.ravel(), b.ravel(), dim=0) > 0.999


@pytest.mark.parametrize("temperature", [0.01, torch.tensor(0.01)])
def test_temperature_that_would_overflow_is_refused(temperature):
    with pytest.raises(ValueError, match="below 1/60"):
        info_nce(torch.eye(3), torch.eye(3), temperature)


def test_the_lowest_temperature_is_finite_for_the_nearest_and_the_farthest():
    eye = torch.cat([torch.eye(2), -torch.eye(2)]).requires_grad_()
    loss = info_nce(eye, eye.detach(), FLOOR)
    assert loss.item() == pytest.approx(0, abs=1e-5)
    assert torch.autograd.grad(loss, eye)[0].isfinite().all()
