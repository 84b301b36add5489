"""BPR-max against a loop, and what it does where nothing is left to compare with."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from naive_losses import Case, assert_slope, sigmoid
from torch import Tensor

from guided_refine.backbones.losses.bpr_max import bpr_max
from guided_refine.config import TrainConfig


def config(negatives: int) -> TrainConfig:
    return TrainConfig(loss="bpr_max", negatives=negatives)


def elu(x: float) -> float:
    return x if x > 0 else 0.5 * (math.exp(x) - 1)


def of_place(target: float, others: list[float], _: list[int]) -> float:
    if not others:
        return 0.0
    target, others = elu(target), [elu(z) for z in others]
    norm = sum(math.exp(r) for r in others)
    share = [math.exp(r) / norm for r in others]
    wins = sum(s * sigmoid(target - r) for s, r in zip(share, others, strict=True))
    return -math.log(wins) + sum(s * r * r for s, r in zip(share, others, strict=True))


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 20),
    st.integers(1, 12),
    st.integers(1, 9),
    st.integers(1, 8),
    st.sampled_from(["uniform", "popularity"]),
    st.integers(0, 10_000),
)
def test_equals_a_loop(places: int, items: int, k: int, block: int, sampling: str, seed: int) -> None:
    case = Case.draw(places, items, 3, sampling, seed)

    def loop() -> float:
        return case.mean(case.deck().deal(-(-places // block), k), block, of_place)

    def ours() -> Tensor:
        return bpr_max(case.states, case.vectors, case.targets, case.deck(), config(k), block=block)

    assert float(ours().detach()) == pytest.approx(loop(), rel=1e-9, abs=1e-12)
    assert_slope(case, ours, loop)


def test_a_place_whose_negatives_are_all_hits_teaches_nothing() -> None:
    states, vectors = torch.randn(3, 2, requires_grad=True), torch.randn(1, 2, requires_grad=True)
    case = Case(states, vectors, torch.zeros(3, dtype=torch.long), torch.tensor([4]), "popularity", 0)
    loss = bpr_max(states, vectors, case.targets, case.deck(), config(5))
    loss.backward()
    assert float(loss.detach()) == 0.0
    assert not states.grad.any() and not vectors.grad.any()


def test_extreme_logits_stay_finite() -> None:
    states = torch.tensor([[300.0], [-300.0]], requires_grad=True)
    vectors = torch.tensor([[1.0], [-1.0], [0.0]], requires_grad=True)
    case = Case(states, vectors, torch.tensor([1, 2]), torch.ones(3, dtype=torch.long), "uniform", 0)
    loss = bpr_max(states, vectors, case.targets, case.deck(), config(3))
    loss.backward()
    assert torch.isfinite(loss) and torch.isfinite(states.grad).all() and torch.isfinite(vectors.grad).all()
