"""Recall, NDCG and reciprocal rank with one target per user, as expectations over random orders of ties.

With `greater` candidates above the target and `equal` others tied with it, the target's rank is uniform on
greater + 1 .. greater + equal + 1. The expectation of a metric is then a difference of two cumulative sums of
its gain per rank; no order is ever drawn.

Both splits give every tested user exactly one target (`data/split.py`). Then average precision is 1 / rank where the
target is in the list and 0 elsewhere, so MAP@k is MRR@k; it is written under both names, computed once.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np


def metric_names(ks: Sequence[int]) -> list[str]:
    """Names of all metrics for the given cut-offs, in the order of every table.

    >>> metric_names([10])
    ['recall@10', 'ndcg@10', 'mrr@10', 'mrr']
    """
    return [f"{name}@{k}" for name in ("recall", "ndcg", "mrr") for k in sorted(ks)] + ["mrr"]


def average_precision_names(names: Sequence[str]) -> dict[str, str]:
    """MAP's names and the metric that each equals with one target per user.

    >>> average_precision_names(metric_names([5, 10]))
    {'map@5': 'mrr@5', 'map@10': 'mrr@10'}
    """
    return {f"map@{k}": f"mrr@{k}" for k in cut_offs(names) if f"mrr@{k}" in names}


def headline_metrics(names: Sequence[str]) -> list[str]:
    """The metrics that claims are made about (and corrected for): NDCG and recall at 10, uncut MRR.

    Where 10 was not evaluated the largest cut-off takes its place.

    >>> headline_metrics(metric_names([5, 10, 20])), headline_metrics(metric_names([5]))
    (['ndcg@10', 'recall@10', 'mrr'], ['ndcg@5', 'recall@5', 'mrr'])
    """
    ks = cut_offs(names)
    k = 10 if 10 in ks else max(ks)
    return [f"ndcg@{k}", f"recall@{k}", "mrr"]


def cut_offs(names: Sequence[str]) -> list[int]:
    """Cut-offs that occur in metric names, ascending.

    >>> cut_offs(["ndcg@10", "recall@5", "mrr", "rank"])
    [5, 10]
    """
    return sorted({int(name.rpartition("@")[2]) for name in names if "@" in name})


def ranking_metrics(greater: np.ndarray, equal: np.ndarray, ks: Sequence[int]) -> dict[str, np.ndarray]:
    """Expected metrics per user, each of shape (users,), and `rank`, the expected rank (1 is best).

    With one relevant item, recall@k is the hit rate, NDCG@k is 1 / log2(1 + rank) and MRR@k is 1 / rank, both
    zero beyond k; `mrr` is uncut.

    >>> values = ranking_metrics(np.array([0, 0]), np.array([0, 3]), [2])
    >>> values["rank"].tolist(), values["recall@2"].tolist(), values["mrr@2"].tolist()
    ([1.0, 2.5], [1.0, 0.5], [1.0, 0.375])
    """
    greater, equal = np.asarray(greater, np.int64), np.asarray(equal, np.int64)
    if (greater < 0).any() or (equal < 0).any():
        raise ValueError("greater and equal count items and cannot be negative")
    out = {"rank": greater + 1 + equal / 2}
    ranks = np.arange(1, int((greater + equal).max(initial=0)) + 2)
    gains = {"recall": np.ones(len(ranks)), "ndcg": 1 / np.log2(ranks + 1), "mrr": 1 / ranks}
    for name in metric_names(ks):
        metric, _, k = name.partition("@")
        gain = np.where(ranks <= int(k), gains[metric], 0.0) if k else gains[metric]
        total = np.concatenate([[0.0], np.cumsum(gain)])
        out[name] = (total[greater + equal + 1] - total[greater]) / (equal + 1)
    return out


def impossible_pairs(row: Mapping[str, float], *, tolerance: float = 1e-9) -> list[str]:
    """Pairs of NDCG and recall in one row that no ranking with one target per user can give.

    Hits at ranks a+1..b add between 1/log2(b+1) and 1/log2(a+2) of NDCG each, so for every two cut-offs a < b
    (and a = 0)  (R@b - R@a) / log2(b+1) <= N@b - N@a <= (R@b - R@a) / log2(a+2).  It also holds for means over
    users and seeds and for expectations over ties. A row that breaks it was computed or copied wrongly. Set
    `tolerance` to the rounding of a printed table (0.0002 for four decimals).

    >>> impossible_pairs({"recall@5": .5734, "recall@10": .7080, "ndcg@5": .4074, "ndcg@10": .4791}, tolerance=2e-4)
    ['ndcg@10 - ndcg@5 is 0.0717, outside [0.0389, 0.0479] that recall allows']
    """
    found = []
    ks = [0, *(k for k in cut_offs(list(row)) if f"ndcg@{k}" in row and f"recall@{k}" in row)]
    for a, b in itertools.pairwise(ks):
        hits = row[f"recall@{b}"] - (row[f"recall@{a}"] if a else 0.0)
        gain = row[f"ndcg@{b}"] - (row[f"ndcg@{a}"] if a else 0.0)
        low, high = float(hits / np.log2(b + 1)), float(hits / np.log2(a + 2))
        if not low - tolerance <= gain <= high + tolerance:
            name = f"ndcg@{b}" + (f" - ndcg@{a}" if a else "")
            found.append(f"{name} is {gain:.4f}, outside [{low:.4f}, {high:.4f}] that recall allows")
    return found
