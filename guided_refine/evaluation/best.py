"""The best items of each row of scores: the list a user would be shown, ties in a random order.

The order of ties is a fixed hash of (user, item), so it is the same for every model and needs no memory; a scorer that
has collapsed to a constant recommends at random, as its expected metrics say.
"""

from __future__ import annotations

import numpy as np


def best_items(
    scores: np.ndarray, users: np.ndarray, row: np.ndarray, item: np.ndarray, k: int
) -> np.ndarray:
    """Item numbers of the `k` best of each row, best first, shape (batch, k); 0 where a row has fewer candidates.

    `scores`: (batch, n_items), column i belongs to item number i + 1; it is not written to. `users`: (batch,) user
    numbers, which decide the order of ties. `row` and `item`, equal shapes: pairs that are no candidates, such as
    what the user of that row has seen.

    >>> scores = np.array([[3.0, 1.0, 2.0, 0.0]])
    >>> best_items(scores, np.array([7]), np.array([0]), np.array([1]), 4)
    array([[3, 2, 4, 0]])
    """
    n, n_items = scores.shape
    out = np.zeros((n, k), np.int64)
    width = min(k, n_items)
    if not n or not width:
        return out
    # Negated, because NaN, which marks what is no candidate, sorts to the end and compares as false.
    cost = np.negative(scores, dtype=scores.dtype if scores.dtype.kind == "f" else np.dtype(np.float64))
    cost[row, item - 1] = np.nan
    limit = np.partition(cost, width - 1, axis=1)[:, width - 1 : width]
    limit = np.where(np.isnan(limit), np.inf, limit)
    found = cost <= limit
    crowded = np.flatnonzero(np.count_nonzero(found, axis=1) > width)
    if len(crowded):
        found[crowded] = _cut_ties(cost[crowded], limit[crowded], users[crowded], width)
    rows, places = np.nonzero(found)
    order = np.lexsort((_tie_order(users[rows], places), cost[rows, places], rows))
    rows, places = rows[order], places[order]
    rank = np.arange(len(rows)) - np.searchsorted(rows, np.arange(n))[rows]
    kept = rank < k
    out[rows[kept], rank[kept]] = places[kept] + 1
    return out


def _cut_ties(cost: np.ndarray, limit: np.ndarray, users: np.ndarray, width: int) -> np.ndarray:
    """Which items are in the list where more tie at its end than it holds."""
    keys = _tie_order(users[:, None], np.arange(cost.shape[1])[None])
    keys = np.where(cost < limit, -1.0, np.where(cost == limit, keys, np.nan))
    found: np.ndarray = keys <= np.partition(keys, width - 1, axis=1)[:, width - 1 : width]
    return found


def _tie_order(users: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Numbers in [0, 1) that look drawn at random for each pair: the finaliser of SplitMix64."""
    with np.errstate(over="ignore"):
        z = (users.astype(np.uint64) << np.uint64(32)) + places.astype(np.uint64) + np.uint64(1)
        z = z * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return (z >> np.uint64(11)) * 2.0**-53
