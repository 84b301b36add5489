"""Likes and dislikes out of ratings, from training events only."""

from __future__ import annotations

import math

import numpy as np

from guided_refine.data.dataset import Dataset
from guided_refine.errors import InputError


def likes(dataset: Dataset, threshold: float | None) -> list[np.ndarray]:
    """Per user one number for each training event: 1 for a like, 0 for a dislike, NaN where there is no rating.

    A rating of `threshold` or more is a like; with None, one that is not below the user's own mean over his training
    events. Events beyond `dataset.visible(user, "train")` are not looked at.

    Raises `InputError` when the dataset has no ratings, or all of them fall on one side.
    """
    if dataset.ratings is None:
        raise InputError(
            f"tune.task=like_dislike needs ratings, but {dataset.name} has none; add a column rating to the "
            "interactions, or use tune.task=next_item"
        )
    answer = []
    for user in range(dataset.n_users):
        given = dataset.ratings[user][: len(dataset.visible(user, "train"))]
        known = ~np.isnan(given)
        least = threshold if threshold is not None else (given[known].mean() if known.any() else 0.0)
        # A mean of equal ratings may differ from them in the last bit.
        answer.append(np.where(known, (given >= least - 1e-9).astype(np.float64), np.nan))
    every = np.concatenate(answer) if answer else np.zeros(0)
    if not 0 < np.nansum(every) < np.count_nonzero(~np.isnan(every)):
        raise InputError(
            f"all ratings of {dataset.name} in the training part fall on one side of "
            f"{'the users own means' if threshold is None else threshold}, so there is nothing to tell apart; "
            "set tune.like_threshold to a value between them"
        )
    return answer


def log_odds(labels: list[np.ndarray]) -> float:
    """Log odds of a like among all rated events of `likes`.

    >>> log_odds([np.array([1.0, 0.0, np.nan]), np.array([1.0, 1.0])]) == math.log(3)
    True
    """
    share = float(np.nanmean(np.concatenate(labels)))
    return math.log(share / (1 - share))
