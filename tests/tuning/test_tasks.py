"""Every task against a loop over plain Python numbers, and which of its parts get gradients."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from objective_parts import Base

from guided_refine.tuning.batches import TuneBatch
from guided_refine.tuning.identity import identity
from guided_refine.tuning.tasks import BaseRecommender, LikeDislike, StepScores, next_item


def make_step(seed: int, users: int = 4, items: int = 5, m: int = 3) -> StepScores:
    rng = np.random.default_rng(seed)
    target = rng.integers(items, size=users)
    blocked = rng.random((users, items)) < 0.3
    blocked[np.arange(users), target] = False
    labels = rng.integers(0, 2, users).astype(float)
    none = np.zeros(0, np.int64)
    batch = TuneBatch(
        0,
        np.arange(users),
        rng.integers(1, 5, users),
        np.arange(1, items + 1),
        target,
        blocked,
        none,
        none,
        labels,
    )
    z = [torch.from_numpy(rng.normal(size=(n, m))).requires_grad_() for n in (users, items)]
    return StepScores(batch, *z)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 5), st.integers(1, 6), st.integers(1, 5), st.floats(-2, 2))
def test_like_dislike_matches_the_loop(seed: int, users: int, items: int, m: int, offset: float) -> None:
    step = make_step(seed, users, items, m)
    z_u, z_i = step.users.detach().numpy(), step.items.detach().numpy()
    assert step.batch.labels is not None
    total = 0.0
    for u in range(users):
        score = sum(z_u[u][a] * z_i[step.batch.target[u]][a] for a in range(m)) / math.sqrt(m) + offset
        likely = 1 / (1 + math.exp(-score))
        total -= math.log(likely if step.batch.labels[u] == 1 else 1 - likely)
    assert LikeDislike(offset)(step).item() == pytest.approx(total / users, rel=1e-6)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 5), st.integers(2, 6), st.integers(1, 5))
def test_base_recommender_matches_the_loop(seed: int, users: int, items: int, m: int) -> None:
    step = make_step(seed, users, items, m)
    z_u, z_i = step.users.detach().numpy(), step.items.detach().numpy()
    total = 0.0
    for u in range(users):
        s = [
            math.sin(u + 2 * step.batch.positions[u] + 3 * step.batch.items[j])
            + 0.7 * sum(z_u[u][a] * z_i[j][a] for a in range(m))
            for j in range(items)
        ]
        open_scores = [x for j, x in enumerate(s) if not step.batch.blocked[u][j]]
        total += math.log(sum(math.exp(x) for x in open_scores)) - s[step.batch.target[u]]
    assert BaseRecommender(Base())(step).item() == pytest.approx(total / users, rel=1e-6)


def test_an_item_that_the_base_is_sure_of_teaches_nothing() -> None:
    class Sure(Base):
        def __call__(self, users: np.ndarray, positions: np.ndarray, items: np.ndarray) -> np.ndarray:
            said = np.zeros((len(users), len(items)))
            said[np.arange(len(users)), step.batch.target] = 200.0
            return said

    step = make_step(1)
    BaseRecommender(Sure())(step).backward()
    assert step.users.grad is not None and step.users.grad.abs().max() < 1e-6
    step = make_step(1)
    BaseRecommender(Base())(step).backward()
    assert step.users.grad is not None and step.users.grad.abs().max() > 1e-3


@pytest.mark.parametrize("task", [next_item, LikeDislike(0.0), BaseRecommender(Base())])
def test_both_sides_get_gradients(task) -> None:
    step = make_step(2)
    task(step).backward()
    assert all(z.grad is not None and z.grad.abs().max() > 0 for z in (step.users, step.items))


def test_a_task_is_known_by_what_it_does() -> None:
    def one(scores: StepScores) -> torch.Tensor:
        return scores.users.mean()

    first = identity(one)

    def one(scores: StepScores) -> torch.Tensor:
        return scores.items.mean()

    assert first != identity(one)

    class Named:
        name = "mine/2"

        def __call__(self, scores: StepScores) -> torch.Tensor:
            return scores.users.mean()

    assert identity(Named()) == "mine/2"
