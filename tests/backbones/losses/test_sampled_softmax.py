"""Sampled softmax against a loop, its limit, and the logQ correction."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from naive_losses import Case, assert_slope
from torch import Tensor

from guided_refine.backbones.losses.full_cross_entropy import chunked_cross_entropy
from guided_refine.backbones.losses.sampled_softmax import sampled_softmax
from guided_refine.config import TrainConfig

SAMPLINGS = ["uniform", "popularity"]


def config(negatives: int) -> TrainConfig:
    return TrainConfig(loss="sampled_softmax", negatives=negatives)


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 20),
    st.integers(1, 12),
    st.integers(1, 4),
    st.integers(1, 9),
    st.integers(1, 8),
    st.sampled_from(SAMPLINGS),
    st.integers(0, 10_000),
)
def test_equals_a_loop(
    places: int, items: int, width: int, k: int, block: int, sampling: str, seed: int
) -> None:
    case = Case.draw(places, items, width, sampling, seed)
    dealt, log_expected = case.deck().draw(places, k)
    expected = dict(zip(dealt.reshape(-1).tolist(), log_expected.exp().reshape(-1).tolist(), strict=True))

    def loop() -> float:
        dealt = case.deck().deal(-(-places // block), k)
        return case.mean(
            dealt,
            block,
            lambda target, others, names: (
                math.log(
                    math.exp(target)
                    + sum(math.exp(z) / expected[j] for z, j in zip(others, names, strict=True))
                )
                - target
            ),
        )

    def ours() -> Tensor:
        return sampled_softmax(case.states, case.vectors, case.targets, case.deck(), config(k), block=block)

    assert float(ours().detach()) == pytest.approx(loop(), rel=1e-9, abs=1e-12)
    assert_slope(case, ours, loop)


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_with_every_card_dealt_it_is_full_cross_entropy(sampling: str) -> None:
    # Cards are drawn without replacement, so the limit is reached, not only approached: at the catalog's size for
    # a uniform deck, at all events and one card per item for one by popularity.
    case = Case.draw(40, 17, 3, sampling, 1)
    cards = 17 if sampling == "uniform" else 17 + int(case.counts.sum())
    sampled = sampled_softmax(case.states, case.vectors, case.targets, case.deck(), config(cards), block=8)
    full = chunked_cross_entropy(case.states, case.vectors, case.targets)
    torch.testing.assert_close(sampled, full)
    torch.testing.assert_close(case.gradients(sampled), case.gradients(full))
    more = sampled_softmax(case.states, case.vectors, case.targets, case.deck(), config(10 * cards))
    torch.testing.assert_close(more, full)


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_more_negatives_come_closer_to_the_full_loss(sampling: str) -> None:
    case = Case.draw(400, 60, 4, sampling, 2)
    full = float(chunked_cross_entropy(case.states, case.vectors, case.targets).detach())
    gaps = [
        full
        - float(
            sampled_softmax(case.states, case.vectors, case.targets, case.deck(), config(k), block=1).detach()
        )
        for k in (2, 8, 32)
    ]
    # From below: the logarithm of an unbiased estimate is too small on average.
    assert gaps[0] > 2 * gaps[1] > 4 * gaps[2] > 0


def estimates(case: Case, k: int, draws: int) -> Tensor:
    """The estimate of the softmax's denominator for the case's one place, from independent draws."""
    z = (case.vectors @ case.states[0]).detach()
    found = []
    for seed in range(draws):
        case.seed = seed
        loss = sampled_softmax(case.states, case.vectors, case.targets, case.deck(), config(k))
        found.append((loss.detach() + z[case.targets[0]]).exp())
    return torch.stack(found)


@pytest.mark.parametrize("sampling", SAMPLINGS)
@pytest.mark.parametrize("k", [1, 5])
def test_the_sum_over_the_catalog_is_estimated_without_bias(sampling: str, k: int) -> None:
    case = Case.draw(1, 12, 2, sampling, 4)
    assert case.counts.unique().numel() > 3
    got = estimates(case, k, 2000)
    truth = (case.vectors @ case.states[0]).detach().exp().sum()
    error = got.std() / len(got) ** 0.5
    # The tolerance is far below what a missing correction would do.
    assert abs(got.mean() - truth) < 4 * error < 0.3 * truth


def test_in_batch_targets_keep_the_sum_unbiased() -> None:
    case = Case.draw(1, 12, 2, "uniform", 4)
    z = (case.vectors @ case.states[0]).detach()
    generator, found = torch.Generator().manual_seed(0), []
    for seed in range(2000):
        case.seed = seed
        others = torch.multinomial(case.counts.double(), 6, replacement=True, generator=generator)
        deck = case.deck().beside(torch.cat([case.targets, others]))
        loss = sampled_softmax(case.states, case.vectors, case.targets, deck, config(3))
        found.append((loss.detach() + z[case.targets[0]]).exp())
    got = torch.stack(found)
    error = got.std() / len(got) ** 0.5
    assert abs(got.mean() - z.exp().sum()) < 4 * error < 0.1 * z.exp().sum()


def test_a_target_that_is_drawn_counts_once() -> None:
    states, vectors = torch.randn(3, 2), torch.randn(1, 2)
    case = Case(states, vectors, torch.zeros(3, dtype=torch.long), torch.tensor([4]), "popularity", 0)
    loss = sampled_softmax(states, vectors, case.targets, case.deck(), config(5))
    # One item in the catalog: nothing can be confused with it.
    assert float(loss) == 0.0


def test_a_million_items_need_no_matrix_of_places_times_items() -> None:
    # 10,000 x 1,000,000 logits would take 40 GB.
    states = torch.randn(10_000, 2, requires_grad=True)
    vectors = torch.randn(1_000_000, 2, requires_grad=True)
    counts = torch.zeros(1_000_000, dtype=torch.long)
    targets = torch.randint(1_000_000, (10_000,))
    case = Case(states, vectors, targets, counts, "uniform", 0)
    sampled_softmax(states, vectors, targets, case.deck(), config(64)).backward()
    assert vectors.grad is not None and torch.isfinite(vectors.grad).all()
    touched = int((vectors.grad != 0).any(dim=1).sum())
    assert 10_000 < touched <= 10_000 + 40 * 64
