"""Where each held-out target stands among the whole catalog: full ranking, seen items filtered.

The rank is kept as two counts, items above and items tied, so that the metrics can take the expectation over
all random orders of the ties: a scorer that has collapsed to a constant gets chance level, not a perfect hit.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from guided_refine.data.dataset import Dataset
from guided_refine.data.split import Part
from guided_refine.errors import InputError
from guided_refine.progress import Progress

Scorer = Callable[[np.ndarray], np.ndarray]
"""User numbers (batch,) -> scores of all items, (batch, n_items); column i belongs to item number i + 1."""


def rank_targets(
    score: Scorer, dataset: Dataset, part: Part, *, batch: int = 256, progress: Progress | None = None
) -> pd.DataFrame:
    """Rank the `part` target of every user that has one against all items of the catalog.

    Candidates are all items except those in `dataset.visible(user, part)`; a target that the user has met
    before stays a candidate (repeated consumption is a legitimate thing to predict), his other seen items go.

    Returns one row per user: `user` (number), `target` (item number), `greater` (candidates scored above the
    target), `equal` (other candidates with exactly the target's score). At most `batch` users' scores are in
    memory at a time.

    Raises `InputError` where a score is not a number, `ValueError` where `score` returns another shape.

    >>> from guided_refine.data.dataset import from_frames
    >>> items = pd.DataFrame({"item_id": list("abcd"), "title": list("ABCD"), "text": [""] * 4})
    >>> rows = pd.DataFrame({"user_id": ["u"] * 3, "item_id": list("abc")})
    >>> rank_targets(lambda users: np.zeros((len(users), 4)), from_frames("tiny", items, rows), "test")
       user  target  greater  equal
    0     0       3        0      1
    """
    users, targets = dataset.targets(part)
    greater, equal = np.zeros(len(users), np.int64), np.zeros(len(users), np.int64)
    with (progress or Progress(quiet=True)).task(f"rank {part}", total=len(users)) as task:
        for start in range(0, len(users), batch):
            rows = slice(start, start + batch)
            scores = np.asarray(score(users[rows]))
            _check(scores, users[rows], dataset)
            pairs = zip(users[rows].tolist(), targets[rows].tolist(), strict=True)
            seen = [np.setdiff1d(dataset.visible(user, part), target) for user, target in pairs]
            greater[rows], equal[rows] = _count(scores, targets[rows], seen)
            task.advance(len(users[rows]))
    return pd.DataFrame({"user": users, "target": targets, "greater": greater, "equal": equal})


def _check(scores: np.ndarray, users: np.ndarray, dataset: Dataset) -> None:
    if scores.shape != (len(users), dataset.n_items):
        raise ValueError(f"scores have shape {scores.shape}, expected {(len(users), dataset.n_items)}")
    # The minimum of a row is NaN exactly when the row holds one; no second matrix is needed to see it.
    lost = np.flatnonzero(np.isnan(scores.min(axis=1)))
    if len(lost):
        raise InputError(
            f"the scores of user '{dataset.user_ids[users[lost[0]]]}' are not numbers (NaN), so nothing can be "
            "ranked; training has probably diverged: lower train.learning_rate and run again"
        )


def _count(scores: np.ndarray, targets: np.ndarray, seen: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Count over the whole row, then take the seen items off: the scorer's matrix is never written to."""
    n = len(targets)
    own = scores[np.arange(n), targets - 1]
    greater = np.count_nonzero(scores > own[:, None], axis=1)
    equal = np.count_nonzero(scores == own[:, None], axis=1) - 1
    row = np.repeat(np.arange(n), [len(s) for s in seen])
    theirs = scores[row, np.concatenate(seen) - 1] if len(row) else np.zeros(0)
    greater -= np.bincount(row[theirs > own[row]], minlength=n)
    equal -= np.bincount(row[theirs == own[row]], minlength=n)
    return greater, equal
