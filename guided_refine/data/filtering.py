"""Order, duplicates, repeats and cores of an event log, as masks over its rows."""

from __future__ import annotations

from typing import Literal

import numpy as np

from guided_refine.data.raw import Arrays


def history_order(rows: Arrays) -> np.ndarray:
    """Places that sort rows by user (first appearance), time, position; equal ones keep the file's order."""
    keys = [key for key in (rows.position, rows.time) if key is not None]
    return np.lexsort([*keys, rows.user])


def exact_duplicates(rows: Arrays) -> np.ndarray:
    """True for every row that says again what an earlier row says (user, item, rating, time, position).

    Where rows carry neither time nor position nothing tells a copy from a true second event: none is marked.
    """
    twin = np.zeros(len(rows), dtype=bool)
    moments = [key for key in (rows.time, rows.position) if key is not None]
    if not moments or not len(rows):
        return twin
    keys = [np.nan_to_num(key, nan=-np.inf) for key in (rows.rating, *moments)] + [rows.item, rows.user]
    order = np.lexsort(keys)
    same = np.ones(len(rows) - 1, dtype=bool)
    for key in keys:
        ordered = key[order]
        same &= ordered[1:] == ordered[:-1]
    twin[order[1:][same]] = True
    return twin


def repeats(user: np.ndarray, item: np.ndarray) -> np.ndarray:
    """True for every event with an item that the same user had before; rows in history order, shape (rows,).

    >>> repeats(np.array([0, 0, 0, 1]), np.array([5, 6, 5, 5])).tolist()
    [False, False, True, False]
    """
    order = np.lexsort([item, user])
    again = np.zeros(len(user), dtype=bool)
    if len(user):
        same = (user[order][1:] == user[order][:-1]) & (item[order][1:] == item[order][:-1])
        again[order[1:][same]] = True
    return again


def k_core(
    user: np.ndarray, item: np.ndarray, k: int, mode: Literal["iterated", "one_pass"] = "iterated"
) -> np.ndarray:
    """Rows to keep so that users and items have at least `k` events, shape (rows,), bool.

    `iterated` repeats until every user and item that is left has `k`; `one_pass` compares raw counts once, as
    LLMEmb does (arXiv 2409.19925, data_process.py), which may leave shorter histories.

    >>> user, item = np.array([0, 0, 1, 1, 2]), np.array([0, 1, 0, 1, 0])
    >>> k_core(user, item, 2).tolist()
    [True, True, True, True, False]
    """
    keep = np.ones(len(user), dtype=bool)
    while k > 1 and keep.any():
        enough_user = np.bincount(user[keep], minlength=int(user.max()) + 1) >= k
        enough_item = np.bincount(item[keep], minlength=int(item.max()) + 1) >= k
        smaller = keep & enough_user[user] & enough_item[item]
        if mode == "one_pass" or (smaller == keep).all():
            return smaller
        keep = smaller
    return keep
