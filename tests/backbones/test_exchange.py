"""What a process sends to the others: its own gradients of this step, and its part of the mean."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from guided_refine.backbones.exchange import Exchange
from guided_refine.processes import Processes


def weights() -> list[nn.Parameter]:
    return [nn.Parameter(torch.ones(2, 3)), nn.Parameter(torch.ones(4))]


def test_a_weight_without_a_gradient_adds_nothing_though_it_had_one_before() -> None:
    """One process alone: the sum over all is what it sent."""
    used, unused = weights()
    exchange = Exchange([used, unused], Processes())
    (2 * used.sum() + 3 * unused.sum()).backward()
    exchange.sum(torch.tensor(1.0), 4, 4)
    assert used.grad is not None and (used.grad == 2).all()
    assert unused.grad is not None and (unused.grad == 3).all()
    used.grad = unused.grad = None
    (5 * used.sum()).backward()
    exchange.sum(torch.tensor(1.0), 4, 4)
    assert (used.grad == 5).all() and (unused.grad == 0).all()


@pytest.mark.parametrize(("mean", "count", "sent"), [(2.0, 3, 0.5), (2.0, 12, 2.0), (float("nan"), 0, 0.0)])
def test_a_mean_weighs_by_its_places_and_one_over_no_place_by_nothing(
    mean: float, count: int, sent: float
) -> None:
    exchange = Exchange(weights(), Processes())
    assert float(exchange.sum(torch.tensor(mean), count, 12)) == sent
