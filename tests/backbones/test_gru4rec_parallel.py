"""Lanes: every event once, states carried and reset as if each session ran alone, negatives from the batch."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic import random_dataset
from torch import Tensor
from torch.nn.functional import elu

from guided_refine.backbones.gru4rec_parallel import GRU4RecParallel, LaneStep
from guided_refine.backbones.histories import Histories
from guided_refine.backbones.losses.deck import Deck
from guided_refine.backbones.model import SequenceModel
from guided_refine.backbones.tables import IdTable
from guided_refine.config import TrainConfig

CONFIG = TrainConfig(max_length=5, dropout=0.0, layers=2)
ITEMS, WIDTH = 30, 6


def lanes_of(
    encoder: GRU4RecParallel, lengths: list[int], size: int, seed: int = 0
) -> tuple[list[tuple[Tensor, LaneStep]], Histories]:
    draw = torch.Generator().manual_seed(seed)
    histories = Histories.stack([torch.randint(1, ITEMS + 1, (n,), generator=draw).numpy() for n in lengths])
    users = torch.nonzero(histories.length >= 2)[:, 0]
    windows = histories.length[users].clamp(max=encoder.train_events)
    generator = torch.Generator().manual_seed(seed)
    steps = list(encoder.batches(histories, users, windows, size, generator))
    assert len(steps) <= encoder.n_batches(windows, size)
    assert all(isinstance(step, LaneStep) for _, step in steps)
    return steps, histories  # type: ignore[return-value]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(0, 12), min_size=1, max_size=12).filter(lambda n: max(n) >= 2),
    st.integers(1, 5),
    st.integers(0, 999),
)
def test_every_event_of_every_window_is_trained_once(lengths: list[int], size: int, seed: int) -> None:
    encoder = GRU4RecParallel(WIDTH, CONFIG)
    steps, histories = lanes_of(encoder, lengths, size, seed)
    trained: dict[int, list[tuple[int, int, int]]] = {}
    for users, step in steps:
        assert step.inputs.shape == step.targets.shape == step.seen.shape == (len(users), 1)
        assert len(users) <= size
        for lane in torch.nonzero(step.targets[:, 0])[:, 0].tolist():
            event = (int(step.seen[lane]), int(step.inputs[lane]), int(step.targets[lane]))
            assert bool(step.fresh[lane]) == (int(users[lane]) not in trained)
            trained.setdefault(int(users[lane]), []).append(event)
    expected = {}
    for user, total in enumerate(lengths):
        events, first = histories.sequence(user).tolist(), max(0, total - encoder.train_events)
        if total >= 2:
            expected[user] = [(at + 1, events[at], events[at + 1]) for at in range(first, total - 1)]
    assert trained == expected


@pytest.mark.parametrize("size", [1, 3, 50])
def test_states_in_lanes_are_those_of_each_history_alone(size: int) -> None:
    torch.manual_seed(1)
    encoder, vectors = GRU4RecParallel(WIDTH, CONFIG), torch.randn(ITEMS, WIDTH)
    steps, histories = lanes_of(encoder, [9, 2, 4, 6, 3, 8, 2], size)
    for epoch in range(2):  # what one epoch carried must not reach the next
        for users, step in steps:
            states = encoder.read(step, vectors)[:, 0]
            for lane in torch.nonzero(step.targets[:, 0])[:, 0].tolist():
                user, seen = int(users[lane]), int(step.seen[lane])
                first = max(0, int(histories.length[user]) - encoder.train_events)
                prefix = histories.sequence(user)[first:seen][None]
                alone = encoder.last(prefix, torch.tensor([prefix.shape[1]]), vectors)[0]
                torch.testing.assert_close(states[lane], alone, rtol=0, atol=1e-6, msg=f"epoch {epoch}")


def test_no_gradient_goes_back_through_time() -> None:
    encoder = GRU4RecParallel(WIDTH, CONFIG)
    steps, _ = lanes_of(encoder, [6, 6], 2)
    vectors = torch.randn(ITEMS, WIDTH, requires_grad=True)
    encoder.read(steps[0][1], vectors)
    now = steps[1][1]
    encoder.read(now, vectors).sum().backward()
    assert vectors.grad is not None
    touched = torch.nonzero(vectors.grad.abs().sum(dim=1))[:, 0] + 1
    assert set(touched.tolist()) == set(now.inputs[:, 0].tolist())


def test_other_lanes_targets_are_negatives() -> None:
    config = TrainConfig(**{**CONFIG.model_dump(), "loss": "bpr_max", "negatives": 2})
    model = SequenceModel("gru4rec_parallel", IdTable(ITEMS, WIDTH, std=1.0), None, config, seed=0)
    steps, _ = lanes_of(model.encoder, [5] * 6, 6)  # type: ignore[arg-type]
    users, step = steps[0]
    deck = Deck(torch.ones(ITEMS, dtype=torch.long), "uniform", torch.Generator().manual_seed(0))
    vectors, targets = model.table.matrix(), step.targets[:, 0] - 1
    assert len(targets.unique()) > 2
    pool = torch.cat([targets, deck.cards[:2]])
    scores = elu(model.encoder.read(step, vectors)[:, 0] @ vectors.T, 0.5).detach()
    total = 0.0
    for row, target in zip(scores, targets.tolist(), strict=True):
        others = row[pool[pool != target]]
        share = others.softmax(0)
        total += float(-(share * torch.sigmoid(row[target] - others)).sum().log() + (share * others**2).sum())
    loss, places = model.loss(users, step, deck)
    assert places == 6
    assert float(loss.detach()) == pytest.approx(total / 6, rel=1e-5)


def test_padded_batches_are_read_too() -> None:
    # Whatever makes `Examples` of whole rows may use this encoder as any other.
    torch.manual_seed(0)
    encoder, vectors = GRU4RecParallel(WIDTH, CONFIG), torch.randn(ITEMS, WIDTH)
    dataset = random_dataset(5, ITEMS)
    histories = Histories.stack([dataset.visible(u, "train") for u in range(5)])
    examples = encoder.examples(*histories.recent(torch.arange(5), 6), torch.Generator())
    torch.testing.assert_close(
        encoder.read(examples, vectors), encoder(examples.inputs, examples.lengths, vectors)
    )
