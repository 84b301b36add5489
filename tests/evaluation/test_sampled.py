"""Sampled negatives: whose, how many, the same for all models; and what ranking among them gives."""

from __future__ import annotations

import numpy as np
import pytest
from synthetic import make_dataset, random_dataset

from guided_refine.evaluation.metrics import ranking_metrics
from guided_refine.evaluation.ranking import rank_users
from guided_refine.evaluation.sampled import Sampling


@pytest.mark.parametrize(("n_items", "count"), [(40, 10), (40, 100), (5000, 100)])
def test_never_met_distinct_and_fixed(n_items: int, count: int) -> None:
    dataset = random_dataset(users=20, n_items=n_items)
    for user in range(dataset.n_users):
        drawn = Sampling(count, 3).negatives(dataset, user)
        met = set(dataset.sequences[user].tolist())  # held-out items included
        assert len(drawn) == len(set(drawn.tolist())) == min(count, n_items - len(met))
        assert not met & set(drawn.tolist()) and drawn.min() >= 1 and drawn.max() <= n_items
        assert (drawn == Sampling(count, 3).negatives(dataset, user)).all()
    assert set(Sampling(count, 4).negatives(dataset, 0)) != set(Sampling(count, 3).negatives(dataset, 0)) or (
        count >= n_items - len(set(dataset.sequences[0].tolist()))
    )


def test_every_free_item_is_equally_likely() -> None:
    dataset = make_dataset([[1, 2, 3]], 60)
    counts = np.zeros(61)
    for seed in range(2000):
        counts[Sampling(10, seed).negatives(dataset, 0)] += 1
    expected = 2000 * 10 / 57
    assert (counts[:4] == 0).all()
    assert np.abs(counts[4:] - expected).max() < 5 * expected**0.5


def test_counts_against_a_loop_and_chance() -> None:
    dataset = random_dataset(users=40, n_items=300, seed=2)
    table = np.random.default_rng(0).integers(0, 30, (dataset.n_users, dataset.n_items))
    sampling = Sampling(100, 1)
    found = rank_users(lambda users: table[users], dataset, "test", sampling=sampling, batch=7).sampled
    assert found is not None and (found["candidates"] == 101).all()
    for user, target, greater, equal, _ in found.itertuples(index=False):
        drawn = sampling.negatives(dataset, user)
        own = table[user, target - 1]
        assert greater == sum(table[user, i - 1] > own for i in drawn)
        assert equal == sum(table[user, i - 1] == own for i in drawn)
    flat = rank_users(lambda users: np.zeros((len(users), 300)), dataset, "test", sampling=sampling).sampled
    assert flat is not None
    values = ranking_metrics(flat["greater"].to_numpy(), flat["equal"].to_numpy(), [10])
    assert values["recall@10"] == pytest.approx(10 / 101, abs=1e-12)


def test_all_models_meet_the_same_negatives() -> None:
    """With negatives redrawn, the same scorer would get other counts; here only what it scores matters."""
    dataset = random_dataset(users=30, n_items=200, seed=5)
    table = np.random.default_rng(0).random((dataset.n_users, dataset.n_items))
    first, second = (
        rank_users(lambda users: table[users], dataset, "test", sampling=Sampling(50, 0), batch=b).sampled
        for b in (3, 1000)
    )
    assert first is not None and second is not None and first.equals(second)
    # A monotone change of the scores changes no rank.
    third = rank_users(lambda users: 5 * table[users] - 2, dataset, "test", sampling=Sampling(50, 0)).sampled
    assert third is not None and first.equals(third)
