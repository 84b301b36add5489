"""What the scores look like as a whole: flat attributes, redundancy, and what tuning changed."""

from __future__ import annotations

from typing import Any

import numpy as np

from guided_refine.scoring.scores import AttributeScores

FLAT = 0.02
REDUNDANT = 0.8


def summarise(sources: dict[str, AttributeScores]) -> dict[str, Any]:
    """Per source: mean, standard deviation and mean spread of each attribute over the catalog, which attributes are
    flat (standard deviation below 0.02 on the 0-1 scale), which pairs correlate at 0.8 or more. With both sources:
    drift per attribute, the rank correlation of item scores before and after tuning and the shift of their mean.
    """
    answer: dict[str, Any] = {"model": next(iter(sources.values())).model}
    for name, scores in sources.items():
        value = scores.item_value
        deviation = np.nanstd(value, axis=0)
        flat = [a for a, s in zip(scores.attributes, deviation, strict=True) if not s >= FLAT]
        answer[name] = {
            "mean": _named(scores.attributes, np.nanmean(value, axis=0)),
            "std": _named(scores.attributes, deviation),
            "spread": _named(scores.attributes, np.nanmean(scores.item_spread, axis=0)),
            "flat": flat,
            "redundant": redundant_pairs(value, scores.attributes, skip=set(flat)),
        }
    if {"untuned", "tuned"} <= sources.keys():
        answer["drift"] = drift(sources["untuned"], sources["tuned"])
    return answer


def redundant_pairs(value: np.ndarray, names: list[str], *, skip: set[str]) -> list[dict[str, Any]]:
    """Pairs of attributes whose item scores correlate at 0.8 or more in absolute value; `value` (items, attributes).

    >>> x = np.array([[0.1, 0.1], [0.5, 0.5], [0.9, 0.9]])
    >>> redundant_pairs(x, ["a", "b"], skip=set())
    [{'attributes': ['a', 'b'], 'correlation': 1.0}]
    """
    kept = [i for i, name in enumerate(names) if name not in skip]
    rows = value[~np.isnan(value).any(axis=1)][:, kept]
    if len(kept) < 2 or len(rows) < 3:
        return []
    matrix = np.corrcoef(rows, rowvar=False)
    return [
        {"attributes": [names[kept[i]], names[kept[j]]], "correlation": round(float(matrix[i, j]), 3)}
        for i in range(len(kept))
        for j in range(i + 1, len(kept))
        if abs(matrix[i, j]) >= REDUNDANT
    ]


def drift(before: AttributeScores, after: AttributeScores) -> dict[str, dict[str, float]]:
    """Per attribute: Spearman correlation of item scores before and after tuning, and the shift of the mean."""
    from scipy.stats import spearmanr

    answer = {}
    for column, name in enumerate(before.attributes):
        a, b = before.item_value[:, column], after.item_value[:, column]
        known = ~(np.isnan(a) | np.isnan(b))
        varies = known.sum() > 2 and np.ptp(a[known]) > 0 and np.ptp(b[known]) > 0
        rank = float(spearmanr(a[known], b[known]).statistic) if varies else float("nan")
        answer[name] = {
            "spearman": rank,
            "shift": float(np.mean(b[known] - a[known])) if known.any() else float("nan"),
        }
    return answer


def _named(names: list[str], values: np.ndarray) -> dict[str, float]:
    return {n: round(float(v), 4) for n, v in zip(names, values, strict=True)}
