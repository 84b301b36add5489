"""Interactions as sparse matrices of ones: who met what."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from guided_refine.data.dataset import Dataset
from guided_refine.data.split import Part

if TYPE_CHECKING:
    from scipy.sparse import csr_array


def history_matrix(dataset: Dataset, users: Sequence[int] | np.ndarray, part: Part) -> csr_array:
    """1.0 where a user of `users` met an item before the `part` target; float32 (users, n_items), repeats count once.

    >>> import pandas as pd
    >>> from guided_refine.data.dataset import from_frames
    >>> items = pd.DataFrame({"item_id": list("abcd"), "title": "", "text": ""})
    >>> rows = pd.DataFrame({"user_id": ["u"] * 5, "item_id": list("bbacd")})
    >>> history_matrix(from_frames("tiny", items, rows), [0], "test").toarray()
    array([[1., 1., 1., 0.]], dtype=float32)
    """
    from scipy.sparse import csr_array

    met = [np.unique(dataset.visible(int(user), part)) for user in users]
    ends = np.concatenate([[0], np.cumsum([len(m) for m in met])]).astype(np.int64)
    columns = np.concatenate(met) - 1 if met else np.zeros(0, np.int64)
    values = np.ones(len(columns), np.float32)
    return csr_array((values, columns, ends), shape=(len(met), dataset.n_items))


def training_matrix(dataset: Dataset) -> csr_array:
    """1.0 where a user met an item in training; float32 (n_users, n_items)."""
    return history_matrix(dataset, range(dataset.n_users), "train")
