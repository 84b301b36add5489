"""Scorers that learn (almost) nothing: a random order, popularity, popularity of the last week of training."""

from __future__ import annotations

import numpy as np

from guided_refine.data.dataset import Dataset
from guided_refine.data.split import Part
from guided_refine.evaluation.baselines.baseline import Baseline, Score

WEEK = 7 * 24 * 3600.0


def random_order(dataset: Dataset) -> Baseline:
    """A random order for everybody: all items tie, and ties are evaluated in expectation, so nothing is drawn."""
    return Baseline("random order", _same_for_all(np.zeros(dataset.n_items)))


def popularity(dataset: Dataset) -> Baseline:
    """Everybody gets the items most frequent in training; ties stay ties.

    >>> import pandas as pd
    >>> from guided_refine.data.dataset import from_frames
    >>> items = pd.DataFrame({"item_id": list("abc"), "title": list("ABC"), "text": [""] * 3})
    >>> rows = pd.DataFrame({"user_id": ["u"] * 4, "item_id": list("aabc")})
    >>> popularity(from_frames("tiny", items, rows)).score(np.array([0]), "test")
    array([[2., 0., 0.]])
    """
    return Baseline("popularity", _same_for_all(dataset.train_counts()))


def popularity_last_week(dataset: Dataset, seconds: float = WEEK) -> Baseline:
    """Items most frequent in the last week of training, popularity overall as the tie-break.

    A strong reference under a global-time split. Raises `ValueError` where the data have no times.
    """
    if dataset.times is None:
        raise ValueError("recent popularity needs times; these data have only an order")
    length = [len(dataset.visible(u, "train")) for u in range(dataset.n_users)]
    items = np.concatenate([s[:n] for s, n in zip(dataset.sequences, length, strict=True)])
    times = np.concatenate([t[:n] for t, n in zip(dataset.times, length, strict=True)])
    recent = items[times > times.max(initial=-np.inf) - seconds]
    overall = dataset.train_counts()
    counts = np.bincount(recent, minlength=dataset.n_items + 1)[1:].astype(np.float64)
    label = "popularity, last week of training"
    return Baseline(label, _same_for_all(counts + overall / (overall.max(initial=0) + 1)))


def _same_for_all(values: np.ndarray) -> Score:
    row = values.astype(np.float64)

    def score(users: np.ndarray, part: Part) -> np.ndarray:
        return np.broadcast_to(row, (len(users), len(row)))

    return score
