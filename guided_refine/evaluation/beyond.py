"""What lists of recommendations are like beside being right: coverage, novelty, popularity bias, diversity.

All are computed from the lists of best unseen items that the test kept, and from training interactions only.

| name | definition | source |
| --- | --- | --- |
| coverage@k | share of the catalog that is in at least one user's list | Ge et al., RecSys 2010 |
| novelty@k | mean over users and list of log2(users / users who met the item) | Zhou et al., PNAS 2010 |
| popularity@k | mean over users and list of the item's training interactions (ARP) | Yin et al., VLDB 2012 |
| gini@k | Gini index of how often each item of the catalog is shown | Shani and Gunawardana, 2011 |
| diversity@k | mean over users and pairs in the list of 1 - cosine | Zhang and Hurley, RecSys 2008 |
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from guided_refine.data.dataset import Dataset
from guided_refine.evaluation.matrix import training_matrix

NAMES = ("coverage", "novelty", "popularity", "gini", "diversity")
_USERS = 256


@dataclass(frozen=True)
class Likeness:
    """What says how alike two items are, the same for all models of a run.

    `vectors`: unit rows, or zero where nothing is known, (n_items, dim), dense or sparse; `of` names them.
    """

    of: str
    vectors: Any


def likeness_by_attributes(values: np.ndarray) -> Likeness:
    """Cosine of attribute scores, each attribute standardised over the catalog.

    `values`: (n_items, attributes), NaN where an item was not scored. Standardised, a pair of items is as often
    unlike (cosine -1, distance 2) as alike, and a list drawn at random has a diversity near 1; raw scores are
    all positive and would make every pair look alike.

    >>> likeness_by_attributes(np.array([[0.0, 1.0], [1.0, 0.0], [np.nan, np.nan]])).vectors.round(2).tolist()
    [[-0.71, 0.71], [0.71, -0.71], [0.0, 0.0]]
    """
    known = np.isfinite(values)
    count = np.maximum(known.sum(axis=0), 1)
    filled = np.where(known, values, 0.0)
    centred = np.where(known, filled - filled.sum(axis=0) / count, 0.0)
    spread = np.sqrt((centred**2).sum(axis=0) / count)
    # A flat attribute leaves rounding dust, which dividing would blow up.
    standard = np.where(spread > 1e-9, centred / np.maximum(spread, 1e-9), 0.0)
    length = np.linalg.norm(standard, axis=1, keepdims=True)
    unit = np.where(length > 0, standard / np.where(length > 0, length, 1.0), 0.0)
    return Likeness("untuned attribute scores, standardised", unit)


def likeness_by_users(dataset: Dataset) -> Likeness:
    """Cosine of the sets of users who met two items in training: for runs without attribute scores."""
    columns = training_matrix(dataset).T.tocsr().astype(np.float64)
    met = np.maximum(columns.sum(axis=1), 1.0)
    columns.data /= np.sqrt(np.repeat(met, np.diff(columns.indptr)))
    return Likeness("users in common in training", columns)


def beyond_accuracy(
    best: np.ndarray, dataset: Dataset, ks: Sequence[int], likeness: Likeness
) -> dict[str, float]:
    """The five measures at every cut-off, keys `coverage@5` ...

    `best`: item numbers of each tested user's list, best first, (users, at least max(ks)), 0 where it is shorter.
    An item that nobody met in training counts as met by one user in novelty, which keeps it finite, and as a
    distance of 1 to all others in diversity. Users without any candidate (for diversity: without a pair) are
    left out; NaN where nobody is left.

    >>> import pandas as pd
    >>> from guided_refine.data.dataset import from_frames
    >>> items = pd.DataFrame({"item_id": list("abcd"), "title": "", "text": ""})
    >>> rows = pd.DataFrame({"user_id": list("uuuvvv"), "item_id": list("abcacd")})
    >>> data = from_frames("tiny", items, rows)
    >>> beyond_accuracy(np.array([[2, 1], [2, 3]]), data, [2], likeness_by_users(data))["coverage@2"]
    0.75
    """
    matrix = training_matrix(dataset)
    people = np.concatenate([[1], np.maximum(np.bincount(matrix.indices, minlength=dataset.n_items), 1)])
    surprise = np.log2(max(dataset.n_users, 1) / people)
    events = np.concatenate([[0], dataset.train_counts()]).astype(np.float64)
    out: dict[str, float] = {}
    for k in ks:
        first = best[:, :k]
        there = first > 0
        length = there.sum(axis=1)
        shown = np.bincount(first[there], minlength=dataset.n_items + 1)[1:]
        out[f"coverage@{k}"] = float(np.count_nonzero(shown)) / dataset.n_items
        out[f"novelty@{k}"] = _mean((surprise[first] * there).sum(axis=1), length)
        out[f"popularity@{k}"] = _mean((events[first] * there).sum(axis=1), length)
        out[f"gini@{k}"] = gini(shown)
        out[f"diversity@{k}"] = _mean(*_distances(first, likeness.vectors))
    return {f"{name}@{k}": out[f"{name}@{k}"] for name in NAMES for k in ks}


def _mean(total: np.ndarray, count: np.ndarray) -> float:
    kept = count > 0
    return float((total[kept] / count[kept]).mean()) if kept.any() else float("nan")


def gini(shown: np.ndarray) -> float:
    """Gini index of non-negative counts: 0 when all are equal, towards 1 when one item has everything.

    >>> gini(np.array([2, 2, 2])), gini(np.array([0, 0, 3]))
    (0.0, 0.6666666666666666)
    """
    total, n = float(shown.sum()), len(shown)
    if total == 0:
        return float("nan")
    weight = 2 * np.arange(1, n + 1) - n - 1
    return float((weight * np.sort(shown)).sum() / (n * total))


def _distances(best: np.ndarray, vectors: Any) -> tuple[np.ndarray, np.ndarray]:
    """Sum of 1 - cosine over the pairs of each list, and the number of pairs; both (users,).

    The sum over pairs of v.w is half of |sum v|^2 - sum |v|^2, so no pair is formed.
    """
    from scipy.sparse import csr_array, issparse

    sparse = issparse(vectors)
    own = vectors.multiply(vectors).sum(axis=1) if sparse else (vectors**2).sum(axis=1)
    own = np.asarray(own, np.float64).ravel()
    total = np.zeros(len(best))
    for start in range(0, len(best), _USERS):
        part = best[start : start + _USERS]
        row, place = np.nonzero(part)
        chosen = csr_array((np.ones(len(row)), (row, part[row, place] - 1)), shape=(len(part), len(own)))
        joined = chosen @ vectors
        squared = joined.multiply(joined).sum(axis=1) if sparse else (joined**2).sum(axis=1)
        total[start : start + _USERS] = (np.asarray(squared).ravel() - chosen @ own) / 2
    length = (best > 0).sum(axis=1)
    pairs = length * (length - 1) // 2
    return pairs - total, pairs
