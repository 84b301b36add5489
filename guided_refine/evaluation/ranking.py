"""Where each held-out target stands among the whole catalog: full ranking, seen items filtered.

The rank is kept as two counts, items above and items tied, so that the metrics can take the expectation over
all random orders of the ties: a scorer that has collapsed to a constant gets chance level, not a perfect hit.
One pass over the scores gives the counts, the lists of best items, and, on request, the counts among sampled
negatives.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from guided_refine.data.dataset import Dataset
from guided_refine.data.split import Part
from guided_refine.errors import InputError
from guided_refine.evaluation.best import best_items
from guided_refine.evaluation.sampled import Sampling
from guided_refine.progress import Progress

Scorer = Callable[[np.ndarray], np.ndarray]
"""User numbers (batch,) -> scores of all items, (batch, n_items); column i belongs to item number i + 1."""

# Scores of one batch: 128 MiB in float32, of which at most three copies exist at a time.
MOST_USERS, MOST_SCORES = 256, 1 << 25


@dataclass(frozen=True)
class Ranking:
    """What one pass over the scores of all tested users gave.

    `ranks`: one row per user: `user` (number), `target` (item number), `greater` (candidates scored above the
    target), `equal` (other candidates with exactly the target's score).
    `best`: item numbers of each user's best unseen items, best first, (users, top); 0 where he has fewer.
    `sampled`: as `ranks`, among sampled negatives only, and `candidates`, how many there were with the target.
    """

    ranks: pd.DataFrame
    best: np.ndarray
    sampled: pd.DataFrame | None = None


def rank_users(
    score: Scorer,
    dataset: Dataset,
    part: Part,
    *,
    top: int = 0,
    sampling: Sampling | None = None,
    batch: int | None = None,
    progress: Progress | None = None,
) -> Ranking:
    """Rank the `part` target of every user that has one against all items of the catalog, and keep the `top` best.

    Candidates for the rank are all items except those in `dataset.visible(user, part)`; a target that the user has
    met before stays a candidate (repeated consumption is a legitimate thing to predict), his other seen items go.
    The list of best items knows no target: all seen items go. Ties in it fall in an order that is random but the
    same for all models. Where nothing ties and the target was not seen before, the target is in the first k of
    the list exactly when its rank is at most k.

    `batch`: users scored at a time; by default as many as keep a batch's scores within 128 MiB.

    Raises `InputError` where a score is not a number, `ValueError` where `score` returns another shape.

    >>> from guided_refine.data.dataset import from_frames
    >>> items = pd.DataFrame({"item_id": list("abcd"), "title": list("ABCD"), "text": [""] * 4})
    >>> rows = pd.DataFrame({"user_id": ["u"] * 3, "item_id": list("abc")})
    >>> tiny = from_frames("tiny", items, rows)
    >>> rank_users(lambda users: np.array([[4.0, 3.0, 2.0, 1.0]]), tiny, "test", top=3).best.tolist()
    [[3, 4, 0]]
    """
    users, targets = dataset.targets(part)
    batch = batch or max(1, min(MOST_USERS, MOST_SCORES // max(dataset.n_items, 1)))
    counts = np.zeros((5, len(users)), np.int64)
    best = np.zeros((len(users), top), np.int32)
    with (progress or Progress(quiet=True)).task(f"rank {part}", total=len(users)) as task:
        for start in range(0, len(users), batch):
            rows = slice(start, start + batch)
            some, wanted = users[rows], targets[rows]
            scores = np.asarray(score(some))
            _check(scores, some, dataset)
            own = scores[np.arange(len(some)), wanted - 1]
            row, seen = _pairs([dataset.visible(user, part) for user in some.tolist()], dataset.n_items)
            others = seen != wanted[row]
            theirs = scores[row[others], seen[others] - 1]
            counts[0, rows] = np.count_nonzero(scores > own[:, None], axis=1)
            counts[1, rows] = np.count_nonzero(scores == own[:, None], axis=1) - 1
            # Counted over the whole row, then the seen items are taken off: the scorer's matrix is never written to.
            counts[:2, rows] -= _above_and_level(theirs, row[others], own)
            if top:
                best[rows] = best_items(scores, some, row, seen, top)
            if sampling is not None:
                drawn = [sampling.negatives(dataset, user) for user in some.tolist()]
                row, item = _pairs(drawn, dataset.n_items)
                counts[2:4, rows] = _above_and_level(scores[row, item - 1], row, own)
                counts[4, rows] = [1 + len(d) for d in drawn]
            task.advance(len(some))
    head = {"user": users, "target": targets}
    ranks = pd.DataFrame({**head, "greater": counts[0], "equal": counts[1]})
    if sampling is None:
        return Ranking(ranks, best)
    sampled = pd.DataFrame({**head, "greater": counts[2], "equal": counts[3], "candidates": counts[4]})
    return Ranking(ranks, best, sampled)


def rank_targets(
    score: Scorer, dataset: Dataset, part: Part, *, batch: int | None = None, progress: Progress | None = None
) -> pd.DataFrame:
    """`rank_users(...).ranks`: where the targets stand, without the lists.

    >>> from guided_refine.data.dataset import from_frames
    >>> items = pd.DataFrame({"item_id": list("abcd"), "title": list("ABCD"), "text": [""] * 4})
    >>> rows = pd.DataFrame({"user_id": ["u"] * 3, "item_id": list("abc")})
    >>> rank_targets(lambda users: np.zeros((len(users), 4)), from_frames("tiny", items, rows), "test")
       user  target  greater  equal
    0     0       3        0      1
    """
    return rank_users(score, dataset, part, batch=batch, progress=progress).ranks


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


def _pairs(items: Sequence[np.ndarray], n_items: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows and item numbers of ragged lists, each pair once."""
    row = np.repeat(np.arange(len(items)), [len(i) for i in items])
    every = np.concatenate(items) if len(items) else np.zeros(0, np.int64)
    pairs = np.unique(row * (n_items + 1) + every)
    return pairs // (n_items + 1), pairs % (n_items + 1)


def _above_and_level(theirs: np.ndarray, row: np.ndarray, own: np.ndarray) -> np.ndarray:
    """How many scores of each row are above, and level with, the row's own; shape (2, rows)."""
    return np.stack(
        [
            np.bincount(row[theirs > own[row]], minlength=len(own)),
            np.bincount(row[theirs == own[row]], minlength=len(own)),
        ]
    )
