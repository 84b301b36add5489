"""Ranking by scores alone, against a loop over users and items; nothing that is held out moves it."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from guided_refine.data.dataset import Dataset, from_frames
from guided_refine.evaluation.scores_alone import CHANCE, CHANGE, rank_by_scores
from guided_refine.scoring.scores import AttributeScores, UserScores


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    rng = np.random.default_rng(3)
    ids = [f"i{i}" for i in range(60)]
    items = pd.DataFrame({"item_id": ids, "title": ids, "text": ids})
    rows = [(f"u{u}", ids[i]) for u in range(30) for i in rng.choice(60, rng.integers(3, 9), replace=False)]
    return from_frames("drawn", items, pd.DataFrame(rows, columns=["user_id", "item_id"]))


def make_scores(dataset: Dataset, source: str, seed: int) -> AttributeScores:
    """Every user but the first at one point after all his training events and at one that has seen his validation item."""
    rng = np.random.default_rng(seed)
    points = [
        (user, len(dataset.visible(user, "train")) + later)
        for user in range(1, dataset.n_users)
        for later in (0, 1)
    ]
    user, position = (np.array(column) for column in zip(*points, strict=True))
    items = rng.random((dataset.n_items, 2))
    items[4] = np.nan
    value = rng.random((len(points), 2))
    users = UserScores(user, position, value, np.zeros_like(value))
    return AttributeScores(source, ["a", "b"], items, np.zeros_like(items), users, "m", dataset.split.cut_off)


def naive(scores: AttributeScores, dataset: Dataset) -> tuple[float, float]:
    """NDCG@10 and recall@10 over users, expected over the order of ties."""
    mean, sd = np.nanmean(scores.item_value, axis=0), np.nanstd(scores.item_value, axis=0)

    def z(value: np.ndarray) -> np.ndarray:
        return np.clip(np.nan_to_num((value - mean) / sd), -3, 3)

    gains, hits = [], []
    for user, target in zip(*dataset.targets("valid"), strict=True):
        seen = dataset.visible(int(user), "valid").tolist()
        own = [
            scores.users.value[row]
            for row in range(len(scores.users.user))
            if scores.users.user[row] == user and scores.users.position[row] <= len(seen)
        ]
        taste = z(own[-1]) if own else np.zeros(2)
        score = {
            item: float(np.float32(taste @ z(scores.item_value[item - 1])))
            for item in range(1, dataset.n_items + 1)
        }
        others = [item for item in score if item != target and item not in seen]
        above = sum(score[item] > score[target] for item in others)
        level = sum(score[item] == score[target] for item in others)
        ranks = range(above + 1, above + level + 2)
        gains.append(sum(1 / math.log2(1 + rank) for rank in ranks if rank <= 10) / len(ranks))
        hits.append(sum(rank <= 10 for rank in ranks) / len(ranks))
    return float(np.mean(gains)), float(np.mean(hits))


def test_equals_a_loop(dataset: Dataset) -> None:
    sources = {name: make_scores(dataset, name, seed) for seed, name in enumerate(("untuned", "tuned"))}
    rows = rank_by_scores(sources, dataset)
    assert list(rows) == ["untuned", "tuned", CHANCE, CHANGE]
    for name, scores in sources.items():
        ndcg, recall = naive(scores, dataset)
        assert rows[name]["ndcg@10"] == pytest.approx(ndcg) and rows[name]["recall@10"] == pytest.approx(
            recall
        )
        assert rows[name]["low"] <= ndcg <= rows[name]["high"]
    change = rows["tuned"]["ndcg@10"] - rows["untuned"]["ndcg@10"]
    assert rows[CHANGE]["ndcg@10"] == pytest.approx(change)


def test_without_points_there_is_chance_only(dataset: Dataset) -> None:
    scores = make_scores(dataset, "untuned", 0)
    none = UserScores(np.zeros(0, int), np.zeros(0, int), np.zeros((0, 2)), np.zeros((0, 2)))
    rows = rank_by_scores({"untuned": replace(scores, users=none)}, dataset)
    assert rows["untuned"] == rows[CHANCE] and CHANGE not in rows


def test_points_that_saw_the_validation_item_are_not_read(dataset: Dataset) -> None:
    scores = make_scores(dataset, "untuned", 0)
    seen = np.array([len(dataset.visible(int(user), "valid")) for user in scores.users.user])
    value = np.where((scores.users.position > seen)[:, None], 1 - scores.users.value, scores.users.value)
    assert (value != scores.users.value).any()
    moved = replace(scores, users=replace(scores.users, value=value))
    assert rank_by_scores({"untuned": moved}, dataset) == rank_by_scores({"untuned": scores}, dataset)
