"""A batch whose places are divided: each place has the loss, and the negatives, that it has in the whole batch."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from naive_losses import Case

from guided_refine.backbones.losses.bce import bce
from guided_refine.backbones.losses.blocks import Span
from guided_refine.backbones.losses.bpr_max import bpr_max
from guided_refine.backbones.losses.full_cross_entropy import full_cross_entropy
from guided_refine.backbones.losses.gbce import gbce
from guided_refine.backbones.losses.sampled_softmax import sampled_softmax
from guided_refine.config import TrainConfig

LOSSES = {
    "cross_entropy": full_cross_entropy,
    "sampled_softmax": sampled_softmax,
    "gbce": gbce,
    "bce": bce,
    "bpr_max": bpr_max,
}


@pytest.mark.parametrize("name", LOSSES)
@settings(max_examples=25, deadline=None)
@given(
    places=st.integers(1, 30),
    cuts=st.lists(st.integers(0, 30), max_size=3),
    block=st.integers(1, 9),
    beside=st.booleans(),
    seed=st.integers(0, 10_000),
)
def test_parts_add_up_to_the_whole(
    name: str, places: int, cuts: list[int], block: int, beside: bool, seed: int
) -> None:
    case = Case.draw(places, 11, 3, "uniform", seed)
    config = TrainConfig(loss=name, **({} if name in ("cross_entropy", "bce") else {"negatives": 4}))
    shape = {"block": block} if name in ("sampled_softmax", "gbce", "bpr_max") else {}

    def deck():  # type: ignore[no-untyped-def]
        return case.deck().beside(case.targets) if beside else case.deck()

    whole = LOSSES[name](case.states, case.vectors, case.targets, deck(), config, **shape)
    edges = sorted({0, places, *(min(cut, places) for cut in cuts)})
    total = torch.zeros((), dtype=torch.float64)
    for first, last in pairwise(edges):
        own = slice(first, last)
        part = LOSSES[name](
            case.states[own],
            case.vectors,
            case.targets[own],
            deck(),
            config,
            Span(first, places),
            **shape,
        )
        total = total + part * (last - first) / places
    torch.testing.assert_close(total, whole)
    torch.testing.assert_close(case.gradients(total), case.gradients(whole))


def test_a_part_without_places_deals_as_the_others_do() -> None:
    case, config = Case.draw(7, 11, 3, "uniform", 0), TrainConfig(loss="sampled_softmax", negatives=4)
    whole, part = case.deck(), case.deck()
    sampled_softmax(case.states, case.vectors, case.targets, whole, config, block=2)
    nothing = slice(3, 3)
    span = Span(3, 7)
    sampled_softmax(case.states[nothing], case.vectors, case.targets[nothing], part, config, span, block=2)
    assert torch.equal(whole.deal(1, 11), part.deal(1, 11))
