"""Own dropout: the share, the scale, the gradient, the seed."""

from __future__ import annotations

import pytest
import torch

from guided_refine.backbones.dropout import Dropout


@pytest.mark.parametrize("share", [0.1, 0.2, 0.5, 0.9])
def test_share_and_mean(share: float) -> None:
    torch.manual_seed(0)
    out = Dropout(share)(torch.ones(1_000_003))
    # Four standard deviations of a binomial share over a million draws.
    assert float((out == 0).float().mean()) == pytest.approx(share, abs=0.002)
    assert float(out.mean()) == pytest.approx(1.0, abs=0.02)


def test_neighbours_are_independent() -> None:
    # Four elements share one 64-bit draw, so a fault would show between them.
    torch.manual_seed(0)
    kept = (Dropout(0.3)(torch.ones(400_000)) > 0).float().view(-1, 4)
    assert float((torch.corrcoef(kept.T) - torch.eye(4)).abs().max()) < 0.015
    assert kept.mean(0).tolist() == pytest.approx([0.7] * 4, abs=0.005)


def test_gradient_has_the_mask_of_the_output() -> None:
    x = torch.randn(7, 11, 13, requires_grad=True)
    out = Dropout(0.4)(x)
    out.sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad * x.detach(), out.detach())


def test_a_seed_repeats_it_and_evaluation_leaves_it_alone() -> None:
    drop, x = Dropout(0.5), torch.ones(101)
    torch.manual_seed(3)
    first = drop(x)
    second = drop(x)
    torch.manual_seed(3)
    assert torch.equal(first, drop(x))
    assert not torch.equal(first, second)
    assert drop.eval()(x) is x


def test_empty_input() -> None:
    assert Dropout(0.5)(torch.empty(0, 4)).shape == (0, 4)
