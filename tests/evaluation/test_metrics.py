"""Metrics against ir-measures, against averaging over every order of the ties, and the inequality between them."""

from __future__ import annotations

import itertools

import ir_measures
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ir_measures import AP, RR, R, nDCG
from sklearn.metrics import ndcg_score

from guided_refine.evaluation.metrics import (
    average_precision_names,
    impossible_pairs,
    metric_names,
    ranking_metrics,
)

KS = [1, 3, 5, 10]


def test_against_ir_measures() -> None:
    rng = np.random.default_rng(0)
    users, n_items = 60, 40
    scores = rng.permuted(np.tile(np.arange(n_items), (users, 1)), axis=1)
    targets = rng.integers(n_items, size=users)
    own = scores[np.arange(users), targets]
    ours = ranking_metrics((scores > own[:, None]).sum(1), np.zeros(users), KS)

    run = {str(u): {str(i): float(scores[u, i]) for i in range(n_items)} for u in range(users)}
    qrels = {str(u): {str(targets[u]): 1} for u in range(users)}
    measures = [m for k in KS for m in (R @ k, nDCG @ k, RR @ k, AP @ k)] + [RR]
    names = {"R": "recall", "nDCG": "ndcg", "RR": "mrr", "AP": "map"}
    equal = average_precision_names(list(ours))
    checked = set()
    for value in ir_measures.iter_calc(measures, qrels, run):
        name, _, k = str(value.measure).partition("@")
        key = names[name] + (f"@{k}" if k else "")
        assert ours[equal.get(key, key)][int(value.query_id)] == pytest.approx(value.value, abs=1e-9), key
        checked.add(key)
    assert checked == {*metric_names(KS), *equal}


@pytest.mark.parametrize("k", [1, 3, 10, 40])
def test_ties_against_scikit_learn(k: int) -> None:
    """Its NDCG averages over the orders of ties too."""
    rng = np.random.default_rng(1)
    scores = rng.integers(0, 6, (50, 40))
    targets = rng.integers(40, size=50)
    own = scores[np.arange(50), targets]
    greater, equal = (scores > own[:, None]).sum(1), (scores == own[:, None]).sum(1) - 1
    ours = ranking_metrics(greater, equal, [k])[f"ndcg@{k}"]
    for user in range(50):
        theirs = ndcg_score(np.eye(40)[targets[user]][None], scores[user][None], k=k)
        assert ours[user] == pytest.approx(theirs, abs=1e-12)


@pytest.mark.parametrize(("greater", "equal"), [(0, 3), (1, 2), (2, 5), (4, 0), (9, 3), (12, 4)])
def test_ties_equal_the_average_over_all_orders(greater: int, equal: int) -> None:
    sums: dict[str, list[float]] = {}
    for order in itertools.permutations(range(equal + 1)):
        rank = greater + 1 + order.index(0)
        for k in [*KS, 10**9]:
            for name, gain in (("recall", 1.0), ("ndcg", 1 / np.log2(rank + 1)), ("mrr", 1 / rank)):
                sums.setdefault(f"{name}@{k}", []).append(gain if rank <= k else 0.0)
        sums.setdefault("rank", []).append(rank)
    values = ranking_metrics(np.array([greater]), np.array([equal]), KS)
    for name, value in values.items():
        expected = np.mean(sums["mrr@1000000000" if name == "mrr" else name])
        assert value[0] == pytest.approx(expected, abs=1e-12), name


def test_oracle_constant_and_empty() -> None:
    assert all(v[0] == 1 for v in ranking_metrics(np.array([0]), np.array([0]), KS).values())
    constant = ranking_metrics(np.array([0]), np.array([100]), [10])
    assert constant["recall@10"][0] == pytest.approx(10 / 101, abs=1e-15)
    assert constant["rank"][0] == 51
    assert all(len(v) == 0 for v in ranking_metrics(np.zeros(0), np.zeros(0), [10]).values())
    with pytest.raises(ValueError, match="negative"):
        ranking_metrics(np.array([-1]), np.array([0]), [10])


counts = st.lists(st.tuples(st.integers(0, 200), st.integers(0, 50)), min_size=1, max_size=20)


@given(counts, st.booleans())
def test_inequality_holds_for_every_ranking(pairs: list[tuple[int, int]], ties: bool) -> None:
    greater, equal = np.array(pairs).T
    values = ranking_metrics(greater, equal if ties else equal * 0, [2, 5, 10, 20])
    assert impossible_pairs({name: float(v.mean()) for name, v in values.items()}) == []


@given(counts)
def test_bounds_and_monotony(pairs: list[tuple[int, int]]) -> None:
    greater, equal = np.array(pairs).T
    values = ranking_metrics(greater, equal, KS)
    for name in metric_names(KS):
        assert ((values[name] >= 0) & (values[name] <= 1 + 1e-12)).all()
    for metric in ("recall", "ndcg", "mrr"):
        for a, b in itertools.pairwise(KS):
            assert (values[f"{metric}@{a}"] <= values[f"{metric}@{b}"] + 1e-12).all()
    assert (values["mrr@10"] <= values["ndcg@10"] + 1e-12).all()
    assert (values["ndcg@10"] <= values["recall@10"] + 1e-12).all()
    assert (values["mrr@10"] <= values["mrr"] + 1e-12).all()


def test_published_rows_that_cannot_be_right_are_found() -> None:
    names = ("recall@5", "recall@10", "ndcg@5", "ndcg@10")
    for numbers, wrong in [
        ((0.2636, 0.3639, 0.1836, 0.2160), False),
        ((0.5066, 0.6053, 0.3957, 0.4268), False),
        ((0.4218, 0.4998, 0.3067, 0.3244), True),
        ((0.5654, 0.7069, 0.4126, 0.4892), True),
    ]:
        assert bool(impossible_pairs(dict(zip(names, numbers, strict=True)), tolerance=2e-4)) == wrong
