"""gBCE against a loop with the paper's transformed probability, and its two ends."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from naive_losses import Case, assert_slope, sigmoid
from torch import Tensor

from guided_refine.backbones.losses.bce import bce
from guided_refine.backbones.losses.gbce import calibration, gbce
from guided_refine.config import TrainConfig


def config(negatives: int, t: float) -> TrainConfig:
    return TrainConfig(loss="gbce", negatives=negatives, gbce_t=t)


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 20),
    st.integers(2, 12),
    st.integers(1, 9),
    st.floats(0, 1),
    st.integers(1, 8),
    st.integers(0, 10_000),
)
def test_equals_a_loop(places: int, items: int, k: int, t: float, block: int, seed: int) -> None:
    case = Case.draw(places, items, 3, "uniform", seed)

    def loop() -> float:
        dealt = case.deck().deal(-(-places // block), k)
        alpha = min(1.0, k / (items - 1))
        beta = alpha * (t * (1 - 1 / alpha) + 1 / alpha)
        return case.mean(
            dealt,
            block,
            lambda target, others, _: (
                -(math.log(sigmoid(target) ** beta) + sum(math.log(1 - sigmoid(z)) for z in others))
                / (dealt.shape[1] + 1)
            ),
        )

    def ours() -> Tensor:
        return gbce(case.states, case.vectors, case.targets, case.deck(), config(k, t), block=block)

    assert float(ours().detach()) == pytest.approx(loop(), rel=1e-9, abs=1e-12)
    assert_slope(case, ours, loop)


def test_t_zero_with_one_negative_per_place_is_bce() -> None:
    case = Case.draw(50, 20, 3, "uniform", 1)
    ours = gbce(case.states, case.vectors, case.targets, case.deck(), config(1, 0.0), block=1)
    plain = bce(case.states, case.vectors, case.targets, case.deck(), TrainConfig(loss="bce"))
    torch.testing.assert_close(ours, plain)
    torch.testing.assert_close(case.gradients(ours), case.gradients(plain))


def test_t_zero_is_binary_cross_entropy_of_torch() -> None:
    case = Case.draw(30, 40, 3, "uniform", 2)
    items = case.deck().deal(1, 6)[0]
    case.targets = torch.tensor(sorted(set(range(40)) - set(items.tolist())))[:30]  # no hits
    logits = torch.cat(
        [
            (case.states * case.vectors[case.targets]).sum(1, keepdim=True),
            case.states @ case.vectors[items].T,
        ],
        dim=1,
    )
    labels = torch.zeros_like(logits)
    labels[:, 0] = 1
    ours = gbce(case.states, case.vectors, case.targets, case.deck(), config(6, 0.0))
    theirs = torch.nn.functional.binary_cross_entropy_with_logits(logits, labels)
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(case.gradients(ours), case.gradients(theirs))


def test_calibration() -> None:
    assert calibration(256, 3417, 0.75) == pytest.approx(1 - 0.75 * (1 - 256 / 3416))
    assert calibration(10, 101, 1.0) == pytest.approx(0.1)
    assert calibration(10, 101, 0.0) == calibration(500, 101, 0.9) == calibration(5, 1, 0.9) == 1.0


def test_t_one_rests_at_the_true_probabilities() -> None:
    # One context whose next item is i with probability p_i, and logits that say just that. Every target meets every
    # card once, so the gradient is the expected one. With t = 1 it is nearly zero (the paper's k / (n - 1) is 1/n off
    # where a target may be drawn and is left out); with t = 0 it drives all logits up, the overconfidence.
    n = 50
    often = torch.arange(n, 0, -1)
    p = often.double() / often.sum()
    vectors = torch.log(p / (1 - p))[:, None].requires_grad_()
    targets = torch.repeat_interleave(torch.arange(n), often).repeat_interleave(n)
    states = torch.ones(len(targets), 1, dtype=torch.float64)
    case = Case(states, vectors, targets, torch.zeros(n, dtype=torch.long), "uniform", 0)

    def gradient(t: float) -> Tensor:
        deck = case.deck()
        deck.cards = torch.arange(n)
        loss = gbce(states, vectors, targets, deck, config(1, t), block=1)
        return torch.autograd.grad(loss, vectors)[0]

    calibrated, plain = gradient(1.0), gradient(0.0)
    assert (plain < 0).all()
    assert (calibrated.abs() < 1.5 / n / n * plain.abs()).all()
