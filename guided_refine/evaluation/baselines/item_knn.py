"""Item-kNN: items like those a user met, by the users they have in common.

Sarwar et al., "Item-based collaborative filtering recommendation algorithms", WWW 2001, with the shrinkage in the form
that Ferrari Dacrema et al. (RecSys 2019) tuned against neural models:

    sim(i, j) = |U_i and U_j| / (sqrt(|U_i| |U_j|) + shrinkage),    score(u, i) = sum of sim(i, j) over j in N(i)
    that u has met, N(i) the `neighbours` items most similar to i.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from guided_refine.data.dataset import Dataset
from guided_refine.data.split import Part
from guided_refine.evaluation.baselines.baseline import Baseline, Score, choose
from guided_refine.evaluation.matrix import history_matrix, training_matrix

if TYPE_CHECKING:
    from scipy.sparse import csr_array

NEIGHBOURS = (10, 50, 200)
SHRINKAGE = (0.0, 10.0, 100.0, 1000.0)
# Pairs of items in memory at a time.
_PAIRS = 1 << 22


def item_knn(
    dataset: Dataset, *, neighbours: Sequence[int] = NEIGHBOURS, shrinkage: Sequence[float] = SHRINKAGE
) -> Baseline:
    """Item-kNN with neighbourhood and shrinkage chosen on validation; similarities from training only.

    As the sequential models do, it predicts from all that the split lets it see of a user's history.
    """

    def candidates() -> Iterator[tuple[dict[str, float], Score]]:
        matrix = training_matrix(dataset)
        for shrink in shrinkage:
            most = similarities(matrix, max(neighbours), shrink)
            for count in neighbours:
                yield {"neighbours": count, "shrinkage": shrink}, _scorer(_first(most, count), dataset)

    return choose("item-kNN", dataset, candidates())


def similarities(matrix: csr_array, neighbours: int, shrinkage: float) -> csr_array:
    """Each item's most similar items; row i holds N(i), most similar first, of equals the lower item number.

    `matrix`: ones, (users, n_items). Returns float32 (n_items, n_items), at most `neighbours` entries in a row, all
    positive, none on the diagonal. Items are taken in blocks, so memory does not grow with the square of the catalog.
    """
    from scipy.sparse import csr_array, vstack

    n_items = matrix.shape[1]
    by_item = matrix.T.tocsr()
    norm = np.sqrt(np.bincount(matrix.indices, minlength=n_items))
    block = max(1, _PAIRS // max(n_items, 1))
    parts = [csr_array((0, n_items), dtype=np.float32)]
    for start in range(0, n_items, block):
        shared = (by_item[start : start + block] @ matrix).tocsr()
        row = np.repeat(np.arange(shared.shape[0]), np.diff(shared.indptr))
        column, other = shared.indices, row + start != shared.indices
        row, column, common = row[other], column[other], shared.data[other].astype(np.float64)
        value = common / (norm[row + start] * norm[column] + shrinkage)
        # Sorting whole rows would cost most of the time; what cannot be among the first is dropped before.
        kept = value >= _least(value, row, shared.shape[0], neighbours)[row]
        row, column, value = row[kept], column[kept], value[kept]
        order = np.lexsort((column, -value, row))
        row, column, value = row[order], column[order], value[order]
        kept = _place(row, shared.shape[0]) < neighbours
        ends = np.concatenate([[0], np.cumsum(np.bincount(row[kept], minlength=shared.shape[0]))])
        parts.append(
            csr_array((value[kept].astype(np.float32), column[kept], ends), shape=(shared.shape[0], n_items))
        )
    return vstack(parts, format="csr")


def _least(value: np.ndarray, row: np.ndarray, rows: int, count: int) -> np.ndarray:
    """The `count`-th largest value of each row, 0 where a row has fewer; entries are sorted by row."""
    ends = np.searchsorted(row, np.arange(rows + 1))
    least = np.zeros(rows)
    for place in np.flatnonzero(np.diff(ends) > count):
        own = value[ends[place] : ends[place + 1]]
        least[place] = np.partition(own, len(own) - count)[len(own) - count]
    return least


def _place(row: np.ndarray, rows: int) -> np.ndarray:
    """Each entry's place in its row, from 0, where rows are sorted."""
    return np.arange(len(row)) - np.searchsorted(row, np.arange(rows))[row]


def _first(most: csr_array, count: int) -> csr_array:
    from scipy.sparse import csr_array

    row = np.repeat(np.arange(most.shape[0]), np.diff(most.indptr))
    kept = _place(row, most.shape[0]) < count
    ends = np.concatenate([[0], np.cumsum(np.bincount(row[kept], minlength=most.shape[0]))])
    return csr_array((most.data[kept], most.indices[kept], ends), shape=most.shape)


def _scorer(near: csr_array, dataset: Dataset) -> Score:
    from_met = near.T.tocsr()

    def score(users: np.ndarray, part: Part) -> np.ndarray:
        found: np.ndarray = (history_matrix(dataset, users, part) @ from_met).toarray()
        return found

    return score
