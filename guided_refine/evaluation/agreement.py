"""Rank correlation and area under the curve, for many bootstrap samples of the items at once.

A bootstrap sample is a vector of weights, how often each item was drawn. With the items sorted once, the ranks
within every sample are cumulative sums of its weights, so nothing is sorted again; results equal those of
scipy.stats.spearmanr and sklearn.metrics.roc_auc_score on the drawn rows.
"""

from __future__ import annotations

import numpy as np


class WeightedRanks:
    """Mid-ranks of fixed values under changing weights.

    >>> WeightedRanks(np.array([0.3, 0.1, 0.3]))(np.ones((1, 3)))
    array([[2. , 0.5, 2. ]])
    """

    def __init__(self, values: np.ndarray) -> None:
        self._order = np.argsort(values, kind="stable")
        ordered = values[self._order]
        first = np.r_[True, ordered[1:] != ordered[:-1]] if len(values) else np.zeros(0, bool)
        self._starts = np.flatnonzero(first)
        # Group of each value in its original place.
        self._group = np.empty(len(values), np.int64)
        self._group[self._order] = np.cumsum(first) - 1

    def __call__(self, weights: np.ndarray) -> np.ndarray:
        """Weight below each value plus half the weight tied with it; `weights` and result (samples, items)."""
        grouped = np.add.reduceat(weights[:, self._order], self._starts, axis=1)
        below = np.cumsum(grouped, axis=1) - grouped
        return (below + grouped / 2)[:, self._group]


def weighted_correlation(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Pearson correlation of rows of `x` and `y` under `weights`, all (samples, items); (samples,), NaN if flat."""
    total = weights.sum(axis=1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        dx = x - (weights * x).sum(axis=1, keepdims=True) / total
        dy = y - (weights * y).sum(axis=1, keepdims=True) / total
        vx, vy = (weights * dx * dx).sum(axis=1), (weights * dy * dy).sum(axis=1)
        # A constant side leaves rounding dust instead of a clean zero.
        flat = (vx <= 1e-12 * total[:, 0] ** 3) | (vy <= 1e-12 * total[:, 0] ** 3)
        return np.where(flat, np.nan, (weights * dx * dy).sum(axis=1) / np.sqrt(vx * vy))


def spearman(scores: WeightedRanks, truth: WeightedRanks, weights: np.ndarray) -> np.ndarray:
    """Spearman's rank correlation in every sample, shape (samples,)."""
    return weighted_correlation(scores(weights), truth(weights), weights)


def area_under_curve(scores: WeightedRanks, positive: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Chance that a positive item scores above a negative one, ties half; (samples,), NaN if a class is missing.

    `positive`: (items,) booleans.

    >>> scores = np.array([0.9, 0.2, 0.4, 0.1])
    >>> area_under_curve(WeightedRanks(scores), np.array([True, True, False, False]), np.ones((1, 4)))
    array([0.75])
    """
    high, low = weights[:, positive].sum(axis=1), weights[:, ~positive].sum(axis=1)
    ranks = (weights * scores(weights))[:, positive].sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where((high > 0) & (low > 0), (ranks - high**2 / 2) / (high * low), np.nan)
