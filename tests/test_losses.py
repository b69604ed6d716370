"""Tiled InfoNCE against the full logit matrix."""

import math

import pytest
import torch
from torch.nn.functional import cross_entropy, normalize

from mobclip.model import info_nce
from mobclip.model.losses import TILE


def full_matrix(anchor, other, temperature):
    logits = normalize(anchor, dim=-1) @ normalize(other, dim=-1).T / temperature
    labels = torch.arange(len(anchor))
    return 0.5 * (cross_entropy(logits, labels) + cross_entropy(logits.T, labels))


@pytest.mark.parametrize("batch", [2, 5, TILE, TILE + 1, 2 * TILE + 300])
@pytest.mark.parametrize("temperature", [0.07, 0.5])
def test_equals_the_full_matrix_and_so_do_gradients(batch, temperature):
    generator = torch.Generator().manual_seed(batch)
    anchor, other = (
        torch.randn(batch, 16, generator=generator, requires_grad=True) for _ in range(2)
    )
    ours, theirs = (f(anchor, other, temperature) for f in (info_nce, full_matrix))
    # Logits are up to 1 / temperature, and the loss is their difference: float32 rounds those.
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-6, abs=1e-7 / temperature)
    for mine, reference in zip(
        torch.autograd.grad(ours, [anchor, other]),
        torch.autograd.grad(theirs, [anchor, other]),
        strict=True,
    ):
        scale = reference.abs().max()
        assert (mine - reference).abs().max() < 5e-6 * scale


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


def test_temperature_that_would_overflow_is_refused():
    with pytest.raises(ValueError, match="1/60"):
        info_nce(torch.eye(3), torch.eye(3), 0.01)
