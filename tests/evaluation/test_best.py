"""Lists of best items against a sort of every row, and how ties fall."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guided_refine.evaluation.best import best_items


def pairs(seen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    row, place = np.nonzero(seen)
    return row, place + 1


@given(
    st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(1, 9), st.integers(1, 12), st.integers(1, 6)
)
@settings(deadline=None)
def test_any_ties_any_length(seed: int, n_items: int, k: int, users: int, levels: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, levels, (users, n_items)).astype(np.float32)
    scores[rng.random(scores.shape) < 0.1] = -np.inf
    seen = rng.random(scores.shape) < 0.3
    before = scores.copy()
    best = best_items(scores, np.arange(users), *pairs(seen), k)
    assert best.shape == (users, k) and (scores == before).all()
    for user in range(users):
        free = np.flatnonzero(~seen[user]) + 1
        found = best[user][best[user] > 0]
        assert len(found) == min(k, len(free)) and len(set(found)) == len(found) and set(found) <= set(free)
        assert (best[user][len(found) :] == 0).all()
        # The scores in the list are the highest there are, in order; which of the tied is open.
        assert scores[user, found - 1].tolist() == sorted(scores[user, free - 1], reverse=True)[:k]


def test_without_ties_it_is_the_sort() -> None:
    scores = np.random.default_rng(0).permuted(np.tile(np.arange(50.0), (20, 1)), axis=1)
    best = best_items(scores, np.arange(20), *pairs(np.zeros((20, 50), bool)), 7)
    assert (best == np.argsort(-scores, axis=1)[:, :7] + 1).all()


def test_ties_fall_at_random_but_the_same_for_all_models_and_batches() -> None:
    users = np.arange(3000)
    none = (np.zeros(0, np.int64), np.zeros(0, np.int64))
    flat, high = np.zeros((3000, 20)), np.full((3000, 20), 7.0, np.float32)
    best = best_items(flat, users, *none, 5)
    assert (best == best_items(high, users, *none, 5)).all()
    assert (best[1000:] == best_items(flat[1000:], users[1000:], *none, 5)).all()
    # A shorter list is the beginning of a longer one.
    assert (best[:, :3] == best_items(flat, users, *none, 3)).all()
    # Every item is equally likely at every place: 150 expected, deviation 12.
    for place in range(5):
        counts = np.bincount(best[:, place], minlength=21)[1:]
        assert counts.min() > 150 - 5 * 12 and counts.max() < 150 + 5 * 12


@pytest.mark.parametrize("kind", [np.int64, np.float16, np.float64])
def test_kinds_of_numbers(kind: type) -> None:
    scores = np.array([[1, 3, 2]], dtype=kind)
    assert best_items(scores, np.array([0]), np.array([0]), np.array([2]), 2).tolist() == [[3, 1]]


def test_nothing_to_list() -> None:
    none = np.zeros(0, np.int64)
    assert best_items(np.zeros((0, 4)), none, none, none, 3).shape == (0, 3)
    assert best_items(np.zeros((2, 4)), np.arange(2), none, none, 0).shape == (2, 0)
    everything = pairs(np.ones((1, 4), bool))
    assert best_items(np.ones((1, 4)), np.array([0]), *everything, 2).tolist() == [[0, 0]]
