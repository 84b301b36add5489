"""Weighted statistics against scikit-learn and scipy on the drawn rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from guided_refine.evaluation.agreement import WeightedRanks, area_under_curve, spearman


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([2, 5, 1000]))
def test_equals_the_statistic_of_the_drawn_rows(seed: int, levels: int) -> None:
    rng = np.random.default_rng(seed)
    n = 40
    scores, truth = rng.integers(levels, size=n) / levels, rng.normal(size=n)
    truth[rng.random(n) < 0.3] = 0
    positive = rng.random(n) < 0.4
    drawn = rng.integers(n, size=(3, n))
    weights = np.stack([np.bincount(row, minlength=n) for row in drawn]).astype(float)
    ranks = WeightedRanks(scores)
    ours = spearman(ranks, WeightedRanks(truth), weights)
    curve = area_under_curve(ranks, positive, weights)
    for row, rho, auc in zip(drawn, ours, curve, strict=True):
        assert rho == pytest.approx(spearmanr(scores[row], truth[row]).statistic, abs=1e-9, nan_ok=True)
        if 0 < positive[row].sum() < n:
            assert auc == pytest.approx(roc_auc_score(positive[row], scores[row]), abs=1e-12)
        else:
            assert np.isnan(auc)


def test_flat_scores_say_nothing() -> None:
    ones = np.ones((1, 30))
    flat = WeightedRanks(np.full(30, 0.3))
    assert np.isnan(spearman(flat, WeightedRanks(np.arange(30.0)), ones)).all()
    assert area_under_curve(flat, np.arange(30) < 9, ones) == 0.5
