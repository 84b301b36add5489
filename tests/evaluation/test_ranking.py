"""Ranks against a naive loop, the seen-item filter, and scorers whose right result is known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from guided_refine.data.dataset import Dataset, from_frames
from guided_refine.errors import InputError
from guided_refine.evaluation.metrics import ranking_metrics
from guided_refine.evaluation.ranking import Scorer, rank_targets, rank_users
from guided_refine.evaluation.sampled import Sampling


def make_dataset(n_users: int = 40, n_items: int = 30, seed: int = 0) -> Dataset:
    """Histories with repeats, so that targets occur in them now and then."""
    rng = np.random.default_rng(seed)
    items = pd.DataFrame(
        {"item_id": [f"i{i}" for i in range(n_items)], "title": "t", "text": ""}, index=range(n_items)
    )
    lengths = rng.integers(1, 12, n_users)
    rows = pd.DataFrame(
        {
            "user_id": np.repeat([f"u{u}" for u in range(n_users)], lengths),
            "item_id": [f"i{i}" for i in rng.integers(0, n_items, lengths.sum())],
        }
    )
    return from_frames("toy", items, rows)


def table_scorer(table: np.ndarray) -> Scorer:
    return lambda users: table[users]


@pytest.mark.parametrize("part", ["valid", "test"])
@pytest.mark.parametrize("levels", [3, 1000])
def test_equals_naive_loop(part: str, levels: int) -> None:
    dataset = make_dataset()
    table = (
        np.random.default_rng(1).integers(0, levels, (dataset.n_users, dataset.n_items)).astype(np.float32)
    )
    ranks = rank_targets(table_scorer(table), dataset, part, batch=7)
    assert len(ranks) == (dataset.split.test >= 0).sum()
    repeats = 0
    for user, target, greater, equal in ranks.itertuples(index=False):
        place = (dataset.split.valid if part == "valid" else dataset.split.test)[user]
        seen = set(dataset.sequences[user][:place].tolist())
        repeats += target in seen
        assert target == dataset.sequences[user][place]
        candidates = [i for i in range(1, dataset.n_items + 1) if i not in seen and i != target]
        own = table[user, target - 1]
        assert greater == sum(table[user, i - 1] > own for i in candidates)
        assert equal == sum(table[user, i - 1] == own for i in candidates)
    assert repeats > 0  # the case that the filter treats apart did occur


def test_batch_size_changes_nothing_and_scores_are_not_written_to() -> None:
    dataset = make_dataset()
    table = np.random.default_rng(2).normal(size=(dataset.n_users, dataset.n_items))
    table.setflags(write=False)
    one, many = (rank_targets(table_scorer(table), dataset, "test", batch=b) for b in (1, 1000))
    pd.testing.assert_frame_equal(one, many)


def test_oracle_is_one_and_constant_is_chance() -> None:
    dataset = make_dataset()
    users, targets = dataset.targets("test")
    oracle = np.zeros((dataset.n_users, dataset.n_items))
    oracle[users, targets - 1] = 1
    ranks = rank_targets(table_scorer(oracle), dataset, "test")
    for name, values in ranking_metrics(ranks["greater"], ranks["equal"], [1, 10]).items():
        assert (values == 1).all(), name

    ranks = rank_targets(lambda users: np.zeros((len(users), dataset.n_items)), dataset, "test")
    assert (ranks["greater"] == 0).all()
    values = ranking_metrics(ranks["greater"], ranks["equal"], [10])
    for row, (user, target) in enumerate(zip(users, targets, strict=True)):
        candidates = dataset.n_items - len(set(dataset.visible(user, "test").tolist()) - {int(target)})
        assert values["recall@10"][row] == pytest.approx(min(1, 10 / candidates), abs=1e-12)


def test_a_better_item_that_was_seen_does_not_count() -> None:
    items = pd.DataFrame({"item_id": list("abcd"), "title": "t", "text": ""})
    rows = pd.DataFrame({"user_id": ["u"] * 3, "item_id": list("abc")})
    dataset = from_frames("toy", items, rows)
    scores = np.array([[9.0, 8.0, 1.0, 0.0]])
    assert rank_targets(table_scorer(scores), dataset, "test")["greater"].tolist() == [0]
    # At validation only `a` is seen, and the test item is a candidate like any other.
    assert rank_targets(table_scorer(-scores), dataset, "valid")["greater"].tolist() == [2]


def test_scores_that_are_not_numbers() -> None:
    dataset = make_dataset()
    table = np.zeros((dataset.n_users, dataset.n_items))
    user = int(dataset.targets("test")[0][3])
    table[user, 5] = np.nan
    with pytest.raises(InputError, match=rf"user 'u{user}' are not numbers .*learning_rate"):
        rank_targets(table_scorer(table), dataset, "test")
    with pytest.raises(ValueError, match="shape"):
        rank_targets(lambda users: np.zeros((len(users), 3)), dataset, "test")


def test_infinite_scores_rank_as_they_should() -> None:
    dataset = make_dataset()
    table = np.full((dataset.n_users, dataset.n_items), -np.inf)
    ranks = rank_targets(table_scorer(table), dataset, "test")
    assert (ranks["greater"] == 0).all() and (ranks["equal"] > 0).all()


def test_lists_and_ranks_tell_the_same_story() -> None:
    """Without ties and repeats the target is among the first k exactly when its rank is at most k."""
    dataset = make_dataset(n_users=80)
    table = np.random.default_rng(3).normal(size=(dataset.n_users, dataset.n_items))
    found = rank_users(table_scorer(table), dataset, "test", top=10, batch=7)
    fresh = 0
    for (user, target, greater, _), best in zip(found.ranks.itertuples(index=False), found.best, strict=True):
        seen = set(dataset.visible(user, "test").tolist())
        assert not seen & set(best.tolist())  # whatever the target is
        if target not in seen:
            fresh += 1
            assert [target in best[:k] for k in (1, 5, 10)] == [greater < k for k in (1, 5, 10)]
    assert fresh > 20
    again = rank_users(table_scorer(table), dataset, "test", top=10)
    assert (again.best == found.best).all() and again.ranks.equals(found.ranks)


def test_one_pass_over_the_scores() -> None:
    dataset = make_dataset()
    asked: list[int] = []

    def score(users: np.ndarray) -> np.ndarray:
        asked.extend(users.tolist())
        return np.zeros((len(users), dataset.n_items))

    rank_users(score, dataset, "test", top=5, sampling=Sampling(10, 0), batch=7)
    assert asked == dataset.targets("test")[0].tolist()


def test_a_large_catalog_is_scored_in_small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("guided_refine.evaluation.ranking.MOST_SCORES", 100)
    dataset = make_dataset(n_items=30)
    sizes: list[int] = []

    def score(users: np.ndarray) -> np.ndarray:
        sizes.append(len(users))
        return np.zeros((len(users), dataset.n_items))

    rank_users(score, dataset, "test", top=5)
    assert max(sizes) == 3
