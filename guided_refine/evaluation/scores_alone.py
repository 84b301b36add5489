"""How well attribute scores rank by themselves: no recommender, no training, only taste times item."""

from __future__ import annotations

from typing import Any

import numpy as np

from guided_refine.data.dataset import Dataset
from guided_refine.evaluation.metrics import ranking_metrics
from guided_refine.evaluation.ranking import Scorer, rank_targets
from guided_refine.evaluation.statistics import bootstrap_means
from guided_refine.progress import Progress
from guided_refine.refine.normalise import Method, Normaliser
from guided_refine.scoring.scores import AttributeScores

CHANCE = "chance"
CHANGE = "tuned - untuned"


def rank_by_scores(
    sources: dict[str, AttributeScores],
    dataset: Dataset,
    *,
    method: Method = "zscore",
    clip: float = 3.0,
    progress: Progress | None = None,
) -> dict[str, dict[str, Any]]:
    """Validation ranking of the whole catalog by <z_u, z_i>: a row per source, `CHANCE`, and `CHANGE` where both are given.

    z are scores as refined embeddings have them, normalised on the source's own catalog. A user's are those of his latest
    point that has read training events only; where he has none, and in `CHANCE`, all items tie. Rows have `ndcg@10`, its
    bootstrap interval over users (`low`, `high`, 95 %) and `recall@10`; `CHANGE` is paired by user. No rows without users
    to validate.
    """
    if not len(dataset.targets("valid")[0]):
        return {}
    values = {
        name: _per_user(_scorer(scores, dataset, method, clip), dataset, progress)
        for name, scores in sources.items()
    }
    values[CHANCE] = _by_chance(dataset)
    if {"untuned", "tuned"} <= values.keys():
        values[CHANGE] = values["tuned"] - values["untuned"]
    rows = {}
    for name, columns in values.items():
        ndcg = bootstrap_means(columns[:, :1])[0]
        rows[name] = {
            "ndcg@10": ndcg.mean,
            "low": ndcg.lower,
            "high": ndcg.upper,
            "recall@10": float(columns[:, 1].mean()),
        }
    return rows


def _scorer(scores: AttributeScores, dataset: Dataset, method: Method, clip: float) -> Scorer:
    normaliser = Normaliser.fit(scores.item_value, method, clip)
    items = normaliser.apply(scores.item_value)
    # Row -1, the last one, is that of users without any point.
    points = np.vstack([normaliser.apply(scores.users.value), np.zeros((1, items.shape[1]), np.float32)])

    def score(users: np.ndarray) -> np.ndarray:
        seen = np.array([len(dataset.visible(user, "valid")) for user in users.tolist()])
        return points[scores.users.latest(users, seen)] @ items.T

    return score


def _per_user(score: Scorer, dataset: Dataset, progress: Progress | None) -> np.ndarray:
    """NDCG@10 and recall@10, shape (users, 2)."""
    ranks = rank_targets(score, dataset, "valid", progress=progress)
    return _ndcg_and_recall(ranks["greater"].to_numpy(), ranks["equal"].to_numpy())


def _by_chance(dataset: Dataset) -> np.ndarray:
    """The same where every candidate ties."""
    users, targets = dataset.targets("valid")
    seen = [
        len(set(dataset.visible(user, "valid").tolist()) - {target})
        for user, target in zip(users.tolist(), targets.tolist(), strict=True)
    ]
    equal = dataset.n_items - 1 - np.array(seen)
    return _ndcg_and_recall(np.zeros_like(equal), equal)


def _ndcg_and_recall(greater: np.ndarray, equal: np.ndarray) -> np.ndarray:
    values = ranking_metrics(greater, equal, [10])
    return np.stack([values["ndcg@10"], values["recall@10"]], axis=1)
