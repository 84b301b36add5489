"""BCE with one negative against a loop."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from naive_losses import Case, assert_slope, sigmoid
from torch import Tensor

from guided_refine.backbones.losses.bce import bce
from guided_refine.config import TrainConfig

CONFIG = TrainConfig(loss="bce")


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 20), st.integers(1, 12), st.integers(0, 10_000))
def test_equals_a_loop(places: int, items: int, seed: int) -> None:
    case = Case.draw(places, items, 3, "uniform", seed)

    def loop() -> float:
        return case.mean(
            case.deck().deal(places, 1),
            1,
            lambda target, others, _: (
                -(math.log(sigmoid(target)) + sum(math.log(1 - sigmoid(z)) for z in others)) / 2
            ),
        )

    def ours() -> Tensor:
        return bce(case.states, case.vectors, case.targets, case.deck(), CONFIG)

    assert float(ours().detach()) == pytest.approx(loop(), rel=1e-9, abs=1e-12)
    assert_slope(case, ours, loop)


def test_extreme_logits_stay_finite() -> None:
    states = torch.tensor([[1000.0], [-1000.0]], requires_grad=True)
    vectors = torch.tensor([[1.0], [-1.0]], requires_grad=True)
    case = Case(states, vectors, torch.tensor([0, 0]), torch.tensor([1, 1]), "uniform", 0)
    loss = bce(states, vectors, case.targets, case.deck(), CONFIG)
    loss.backward()
    assert torch.isfinite(loss) and torch.isfinite(states.grad).all() and torch.isfinite(vectors.grad).all()
