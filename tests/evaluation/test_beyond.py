"""Coverage, novelty, popularity bias and diversity against loops, scikit-learn, and lists whose answer is known."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics.pairwise import cosine_similarity
from sklearn.preprocessing import StandardScaler
from synthetic import make_dataset, random_dataset

from guided_refine.data.dataset import Dataset
from guided_refine.evaluation.beyond import (
    NAMES,
    Likeness,
    beyond_accuracy,
    gini,
    likeness_by_attributes,
    likeness_by_users,
)
from guided_refine.evaluation.ranking import rank_users

KS = [1, 3, 6]


def lists(dataset: Dataset, seed: int = 0) -> np.ndarray:
    """Random lists of 6, some shorter, one empty."""
    rng = np.random.default_rng(seed)
    users = len(dataset.targets("test")[0])
    best = np.stack([rng.permutation(dataset.n_items)[:6] + 1 for _ in range(users)])
    best[1, 4:] = best[2, 1:] = best[3] = 0
    return best


def naive(best: np.ndarray, dataset: Dataset, k: int, cosine: np.ndarray) -> dict[str, float]:
    shown = [[i for i in row[:k] if i] for row in best]
    counts = np.zeros(dataset.n_items + 1)
    people: list[set[int]] = [set() for _ in range(dataset.n_items + 1)]
    for user in range(dataset.n_users):
        for item in dataset.visible(user, "train"):
            counts[item] += 1
            people[item].add(user)
    exposure = np.array([sum(i in row for row in shown) for i in range(1, dataset.n_items + 1)])
    full = [row for row in shown if row]
    pairs = [list(itertools.combinations(row, 2)) for row in shown if len(row) > 1]
    gaps = [np.mean([1 - cosine[a - 1, b - 1] for a, b in row]) for row in pairs]
    surprise = [[-np.log2(max(len(people[i]), 1) / dataset.n_users) for i in row] for row in full]
    return {
        "coverage": float(np.mean(exposure > 0)),
        "novelty": float(np.mean([np.mean(row) for row in surprise])),
        "popularity": float(np.mean([np.mean(counts[row]) for row in full])),
        # Half the mean absolute difference over the mean: the definition, without any sorting.
        "gini": float(np.abs(exposure[:, None] - exposure).mean() / (2 * exposure.mean())),
        "diversity": float(np.mean(gaps)) if gaps else float("nan"),
    }


@pytest.mark.parametrize("by", ["attributes", "users"])
def test_against_loops(by: str) -> None:
    dataset = random_dataset(users=40, n_items=30)
    rng = np.random.default_rng(1)
    if by == "attributes":
        values = rng.random((30, 4))
        cosine = cosine_similarity(StandardScaler().fit_transform(values))
        likeness = likeness_by_attributes(values)
    else:
        met = np.zeros((30, dataset.n_users))
        for user in range(dataset.n_users):
            met[dataset.visible(user, "train") - 1, user] = 1
        cosine = cosine_similarity(met)
        likeness = likeness_by_users(dataset)
    best = lists(dataset)
    found = beyond_accuracy(best, dataset, KS, likeness)
    assert list(found) == [f"{name}@{k}" for name in NAMES for k in KS]
    for k in KS:
        for name, value in naive(best, dataset, k, cosine).items():
            assert found[f"{name}@{k}"] == pytest.approx(value, abs=1e-9, nan_ok=True), (name, k)


def test_training_interactions_only() -> None:
    """The item that is only a test target has never been met as far as these numbers go."""
    dataset = make_dataset([[1, 2, 3, 5], [2, 1, 3, 5]], 5)
    found = beyond_accuracy(np.array([[5], [5]]), dataset, [1], likeness_by_users(dataset))
    assert found["popularity@1"] == 0 and found["novelty@1"] == 1  # as if one of two users had met it


def test_lists_whose_answer_is_known() -> None:
    dataset = random_dataset(users=30, n_items=20)
    users = len(dataset.targets("test")[0])
    same = np.tile([4, 9], (users, 1))
    twins = Likeness("twins", np.ones((20, 1)))
    found = beyond_accuracy(same, dataset, [2], twins)
    assert found["coverage@2"] == 0.1 and found["diversity@2"] == pytest.approx(0)
    assert found["gini@2"] == pytest.approx(0.9)
    opposite = Likeness("opposite", np.where(np.arange(20) == 3, -1.0, 1.0)[:, None])
    assert beyond_accuracy(same, dataset, [2], opposite)["diversity@2"] == pytest.approx(2)
    strangers = Likeness("strangers", np.eye(20))
    assert beyond_accuracy(same, dataset, [2], strangers)["diversity@2"] == pytest.approx(1)
    nobody = beyond_accuracy(np.zeros((users, 2), int), dataset, [2], twins)
    assert nobody["coverage@2"] == 0 and all(np.isnan(nobody[f"{n}@2"]) for n in NAMES[1:])


def test_a_constant_scorer_shows_everything_alike() -> None:
    dataset = random_dataset(users=2000, n_items=50)
    best = rank_users(lambda users: np.zeros((len(users), 50)), dataset, "test", top=5).best
    found = beyond_accuracy(best, dataset, [5], likeness_by_users(dataset))
    assert found["coverage@5"] == 1 and found["gini@5"] < 0.08
    met = [np.unique(dataset.visible(u, "train")) for u in range(dataset.n_users)]
    people = np.bincount(np.concatenate(met), minlength=51)[1:]
    assert found["novelty@5"] == pytest.approx(np.log2(dataset.n_users / people).mean(), rel=0.01)


def test_items_without_scores_are_like_nothing() -> None:
    values = np.array([[0.1, 0.5], [0.9, 0.5], [np.nan, np.nan], [0.5, 0.5]])
    vectors = likeness_by_attributes(values).vectors
    assert vectors[0] == pytest.approx([-1, 0]) and vectors[1] == pytest.approx([1, 0])
    assert (vectors[2] == 0).all() and (vectors[:, 1] == 0).all()  # not scored; and a flat attribute


@given(st.lists(st.integers(0, 50), min_size=1, max_size=30), st.integers(1, 5))
@settings(deadline=None)
def test_gini_properties(counts: list[int], times: int) -> None:
    shown = np.array(counts)
    if shown.sum() == 0:
        assert np.isnan(gini(shown))
        return
    value = gini(shown)
    assert -1e-12 <= value <= 1 - 1 / len(shown) + 1e-12
    assert gini(shown * times) == pytest.approx(value)
    assert gini(shown[::-1]) == pytest.approx(value)
    assert gini(np.full(len(shown), 3)) == pytest.approx(0)
