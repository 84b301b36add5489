"""Popularity against counting, and that it never sees what it must not."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from synthetic import random_dataset

from guided_refine.data.dataset import Dataset, from_frames
from guided_refine.evaluation.baselines.popularity import popularity, popularity_last_week, random_order
from guided_refine.evaluation.metrics import ranking_metrics
from guided_refine.evaluation.ranking import rank_targets


def with_times(seed: int = 0) -> Dataset:
    rng = np.random.default_rng(seed)
    items = pd.DataFrame({"item_id": [f"i{i}" for i in range(30)], "title": "t", "text": ""})
    lengths = rng.integers(3, 12, 40)
    rows = pd.DataFrame(
        {
            "user_id": np.repeat([f"u{u}" for u in range(40)], lengths),
            "item_id": [f"i{i}" for i in rng.integers(0, 30, lengths.sum())],
            "timestamp": np.concatenate([np.sort(rng.random(n)) * 3e6 for n in lengths]),
        }
    )
    return from_frames("toy", items, rows)


def test_popularity_counts_training_events_only() -> None:
    dataset = random_dataset()
    naive = np.zeros(dataset.n_items)
    for user in range(dataset.n_users):
        for item in dataset.sequences[user][: dataset.split.n_train[user]]:
            naive[item - 1] += 1
    assert (popularity(dataset).score(np.array([0, 5]), "test") == naive).all()


def test_a_random_order_gets_exactly_chance_level() -> None:
    dataset = random_dataset(users=50, n_items=40, seed=3)
    score = random_order(dataset).score
    ranks = rank_targets(lambda users: score(users, "test"), dataset, "test")
    values = ranking_metrics(ranks["greater"].to_numpy(), ranks["equal"].to_numpy(), [10])
    for row, (user, target) in enumerate(zip(*dataset.targets("test"), strict=True)):
        candidates = dataset.n_items - len(set(dataset.visible(int(user), "test").tolist()) - {int(target)})
        assert values["recall@10"][row] == pytest.approx(10 / candidates, abs=1e-12)
        gains = sum(1 / np.log2(rank + 1) for rank in range(1, 11))
        assert values["ndcg@10"][row] == pytest.approx(gains / candidates, abs=1e-12)
        assert values["mrr"][row] == pytest.approx(sum(1 / r for r in range(1, candidates + 1)) / candidates)


def test_recent_popularity_prefers_the_last_week() -> None:
    dataset = with_times()
    assert dataset.times is not None
    scores = popularity_last_week(dataset).score(np.array([0]), "test")[0]
    train = [
        (s[:n], t[:n])
        for s, t, n in zip(dataset.sequences, dataset.times, dataset.split.n_train, strict=True)
    ]
    items, times = (np.concatenate(parts) for parts in zip(*train, strict=True))
    recent = np.bincount(items[times > times.max() - 7 * 24 * 3600], minlength=31)[1:]
    assert recent.any() and (np.floor(scores) == recent).all()
    overall = dataset.train_counts()
    for a in range(30):
        for b in range(30):
            if recent[a] == recent[b]:
                assert (scores[a] > scores[b]) == (overall[a] > overall[b])
    with pytest.raises(ValueError, match="times"):
        popularity_last_week(random_dataset())
