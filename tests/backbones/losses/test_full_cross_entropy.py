"""Chunked cross-entropy against torch's own on the full matrix."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from guided_refine.backbones.losses.full_cross_entropy import chunked_cross_entropy


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40), st.integers(1, 50), st.integers(1, 9), st.integers(1, 45), st.integers(0, 10_000))
def test_equals_naive_loss_and_gradients(n: int, items: int, width: int, rows: int, seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    s = torch.randn(n, width, dtype=torch.float64, generator=draw).requires_grad_()
    v = torch.randn(items, width, dtype=torch.float64, generator=draw).requires_grad_()
    t = torch.randint(items, (n,), generator=draw)
    ours = chunked_cross_entropy(s, v, t, rows=rows)
    theirs = torch.nn.functional.cross_entropy(s @ v.T, t)
    # The factor 3 makes sure that what comes from above is passed on.
    ours_grad = torch.autograd.grad(3 * ours, (s, v))
    theirs_grad = torch.autograd.grad(3 * theirs, (s, v))
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(ours_grad, theirs_grad)


def test_extreme_logits_stay_finite() -> None:
    s = torch.tensor([[1000.0], [-1000.0]], requires_grad=True)
    v = torch.tensor([[1.0], [-1.0], [0.0]], requires_grad=True)
    t = torch.tensor([1, 2])
    ours = chunked_cross_entropy(s, v, t)
    ours.backward()
    assert float(ours.detach()) == pytest.approx(1500.0)
    assert torch.isfinite(s.grad).all() and torch.isfinite(v.grad).all()


def test_frozen_vectors_get_no_gradient() -> None:
    s, v = torch.randn(5, 3, requires_grad=True), torch.randn(4, 3)
    chunked_cross_entropy(s, v, torch.zeros(5, dtype=torch.long), rows=2).backward()
    assert s.grad is not None and v.grad is None


def test_hundred_thousand_items_need_no_full_matrix() -> None:
    # 3,000 x 100,000 logits would take 1.2 GB; the chunk takes 50 MB.
    s, v = torch.randn(3000, 4), torch.randn(100_000, 4)
    loss = chunked_cross_entropy(s, v, torch.randint(100_000, (3000,)))
    assert torch.isfinite(loss)


@pytest.mark.parametrize("rows", [64, 200, None])  # without and with padded rows in the last chunk
def test_bfloat16_products_stay_close_and_sum_in_float32(rows: int | None) -> None:
    draw = torch.Generator().manual_seed(1)
    s = torch.randn(300, 16, generator=draw).requires_grad_()
    v = torch.randn(500, 16, generator=draw).requires_grad_()
    t = torch.randint(500, (300,), generator=draw)
    ours = chunked_cross_entropy(s, v, t, rows=rows, dtype=torch.bfloat16)
    theirs = torch.nn.functional.cross_entropy(s @ v.T, t)
    assert ours.dtype == torch.float32
    assert float(ours.detach()) == pytest.approx(float(theirs.detach()), rel=5e-3)
    pairs = zip(torch.autograd.grad(ours, (s, v)), torch.autograd.grad(theirs, (s, v)), strict=True)
    for our_grad, their_grad in pairs:
        assert our_grad.dtype == torch.float32
        assert float((our_grad - their_grad).norm() / their_grad.norm()) < 0.01
