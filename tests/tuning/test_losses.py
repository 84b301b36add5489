"""Every loss term against a loop over plain Python numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from guided_refine.tuning.losses import (
    SMALLEST_STD,
    anchor_loss,
    catalog_scale,
    digit_mass_loss,
    recommendation_logits,
    recommendation_loss,
)


def naive_recommendation(
    user: np.ndarray, items: np.ndarray, target: list[int], blocked: np.ndarray, temperature: float
) -> float:
    total = 0.0
    for u in range(len(user)):
        scores = [
            sum(user[u][a] * items[j][a] for a in range(user.shape[1]))
            / math.sqrt(user.shape[1])
            / temperature
            for j in range(len(items))
        ]
        open_scores = [s for j, s in enumerate(scores) if not blocked[u][j]]
        total += -math.log(math.exp(scores[target[u]]) / sum(math.exp(s) for s in open_scores))
    return total / len(user)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 5), st.integers(2, 7), st.integers(1, 6), st.floats(0.3, 3))
def test_recommendation_matches_the_loop(
    seed: int, users: int, items: int, m: int, temperature: float
) -> None:
    rng = np.random.default_rng(seed)
    z_u, z_i = rng.normal(size=(users, m)), rng.normal(size=(items, m))
    target = rng.integers(items, size=users)
    blocked = rng.random((users, items)) < 0.3
    blocked[np.arange(users), target] = False
    logits = recommendation_logits(torch.from_numpy(z_u), torch.from_numpy(z_i), temperature)
    loss = recommendation_loss(logits, torch.from_numpy(target), torch.from_numpy(blocked))
    assert loss.item() == pytest.approx(
        naive_recommendation(z_u, z_i, target.tolist(), blocked, temperature), rel=1e-9
    )


def test_blocked_candidates_get_no_gradient() -> None:
    user = torch.ones(1, 3)
    items = torch.randn(3, 3, requires_grad=True)
    blocked = torch.tensor([[False, True, False]])
    recommendation_loss(recommendation_logits(user, items), torch.tensor([0]), blocked).backward()
    assert items.grad is not None
    assert items.grad[1].abs().sum() == 0
    assert items.grad[0].abs().sum() > 0 and items.grad[2].abs().sum() > 0


def test_scale_is_that_of_known_items_and_has_a_floor() -> None:
    value = np.array([[0.1, 0.5, 0.3], [0.9, 0.5, 0.3], [np.nan, np.nan, np.nan], [0.2, 0.5, 0.3001]])
    scale = catalog_scale(value)
    known = value[[0, 1, 3]]
    np.testing.assert_allclose(scale.mean, known.mean(axis=0))
    np.testing.assert_allclose(scale.std, [known[:, 0].std(), SMALLEST_STD, SMALLEST_STD])
    z = scale.apply(torch.from_numpy(known)).numpy()
    np.testing.assert_allclose(z[:, 0].std(), 1)
    with pytest.raises(ValueError, match="no item"):
        catalog_scale(np.full((2, 2), np.nan))


def test_digit_mass_matches_the_loop() -> None:
    mass = np.random.default_rng(0).random((4, 3))
    assert digit_mass_loss(torch.from_numpy(mass).log()).item() == pytest.approx(
        -sum(math.log(p) for p in mass.reshape(-1)) / 12
    )


def test_anchor_matches_the_loop_and_is_a_divergence() -> None:
    rng = np.random.default_rng(1)
    tuned, untuned = rng.normal(size=(4, 3, 9)), rng.normal(size=(4, 3, 9))
    expected = 0.0
    for r in range(4):
        for a in range(3):
            p, q = np.exp(tuned[r, a]), np.exp(untuned[r, a])
            p, q = p / p.sum(), q / q.sum()
            expected += sum(p[d] * math.log(p[d] / q[d]) for d in range(9))
    got = anchor_loss(torch.from_numpy(tuned), torch.from_numpy(untuned)).item()
    assert got == pytest.approx(expected / 12, rel=1e-5)
    assert got > 0
    # A constant added to all nine logits is the same distribution.
    shifted = torch.from_numpy(untuned + 3)
    assert anchor_loss(shifted, torch.from_numpy(untuned)).item() == pytest.approx(0, abs=1e-6)


def test_anchor_pulls_only_the_tuned_side() -> None:
    tuned = torch.randn(2, 2, 9, requires_grad=True)
    untuned = torch.randn(2, 2, 9, requires_grad=True)
    anchor_loss(tuned, untuned).backward()
    assert tuned.grad is not None and tuned.grad.abs().sum() > 0
    assert untuned.grad is None
