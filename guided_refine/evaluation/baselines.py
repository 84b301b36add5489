"""Scorers that learn (almost) nothing: what any recommender has to beat."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from guided_refine.data.dataset import Dataset
from guided_refine.evaluation.metrics import ranking_metrics
from guided_refine.evaluation.ranking import Scorer, rank_targets

WEEK = 7 * 24 * 3600.0


def random_scorer(dataset: Dataset) -> Scorer:
    """A random order for everybody: all items tie, and ties are evaluated in expectation, so nothing is drawn."""
    return _same_for_all(np.zeros(dataset.n_items))


def popularity_scorer(dataset: Dataset) -> Scorer:
    """Everybody gets the items most frequent in training; ties stay ties.

    >>> import pandas as pd
    >>> from guided_refine.data.dataset import from_frames
    >>> items = pd.DataFrame({"item_id": list("abc"), "title": list("ABC"), "text": [""] * 3})
    >>> rows = pd.DataFrame({"user_id": ["u"] * 4, "item_id": list("aabc")})
    >>> popularity_scorer(from_frames("tiny", items, rows))(np.array([0]))
    array([[2., 0., 0.]])
    """
    return _same_for_all(dataset.train_counts())


def recent_popularity_scorer(dataset: Dataset, seconds: float = WEEK) -> Scorer:
    """Items most frequent in the last week of training, popularity overall as the tie-break.

    A strong reference under a global-time split. Raises `ValueError` where the data have no times.
    """
    if dataset.times is None:
        raise ValueError("recent popularity needs times; these data have only an order")
    length = [len(dataset.visible(u, "train")) for u in range(dataset.n_users)]
    items = np.concatenate([s[:n] for s, n in zip(dataset.sequences, length, strict=True)])
    times = np.concatenate([t[:n] for t, n in zip(dataset.times, length, strict=True)])
    recent = items[times > times.max() - seconds]
    overall = dataset.train_counts()
    counts = np.bincount(recent, minlength=dataset.n_items + 1)[1:].astype(np.float64)
    return _same_for_all(counts + overall / (overall.max() + 1))


def _same_for_all(values: np.ndarray) -> Scorer:
    row = values.astype(np.float64)
    return lambda users: np.broadcast_to(row, (len(users), len(row)))


def reference_rows(dataset: Dataset, ks: Sequence[int]) -> list[dict[str, Any]]:
    """Test metrics of the scorers above, keys `dataset, scorer, n_users, split_sha256` and the metrics."""
    scorers = {"random order": random_scorer(dataset), "popularity": popularity_scorer(dataset)}
    if dataset.times is not None:
        scorers["popularity, last week of training"] = recent_popularity_scorer(dataset)
    rows = []
    for name, scorer in scorers.items():
        ranks = rank_targets(scorer, dataset, "test")
        values = ranking_metrics(ranks["greater"].to_numpy(), ranks["equal"].to_numpy(), ks)
        head = {"dataset": dataset.name, "scorer": name, "n_users": len(ranks)}
        means = {metric: float(v.mean()) for metric, v in values.items() if metric != "rank"}
        rows.append({**head, "split_sha256": dataset.split.sha256, **means})
    return rows
