"""Which events train, which one validates, which one tests: leave-one-out or one global moment in time.

Both splits name at most one validation and one test target per user, the next event after what that
prediction may see. Everything that learns reads `train` only; see `Dataset.visible`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from guided_refine.errors import InputError

SplitKind = Literal["leave_one_out", "global_time"]
Part = Literal["train", "valid", "test"]


@dataclass(frozen=True)
class Split:
    """Per user: how many events train, and the places of the two targets (-1 where the user has none).

    All have shape (users,). Events before `valid[u]` may be seen when `valid[u]` is predicted; the first `n_known[u]`
    when `test[u]` is, or would be if the user had one.
    """

    kind: SplitKind
    n_train: np.ndarray
    valid: np.ndarray
    test: np.ndarray
    n_known: np.ndarray
    sha256: str

    @property
    def cut_off(self) -> str:
        """The name every artefact that learned from interactions must carry."""
        return f"{self.kind}:{self.sha256[:16]}"


def leave_one_out(lengths: Sequence[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Last event tests, the one before validates, the rest trains; users with fewer than three only train.

    >>> leave_one_out([5, 2])
    (array([3, 2]), array([ 3, -1]), array([ 4, -1]))
    """
    n = np.asarray(lengths, dtype=np.int64)
    enough = n >= 3
    return np.where(enough, n - 2, n), np.where(enough, n - 2, -1), np.where(enough, n - 1, -1)


def global_time(
    times: Sequence[np.ndarray], *, valid_share: float = 0.1, test_share: float = 0.1
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two moments in time cut all users at once, so that nobody's training reaches past another's test.

    The cuts are quantiles of all event times. Events before the first cut train. A user's first event between
    the cuts is his validation target, his first event after the second cut his test target, both only when he
    has at least one earlier event to predict from.

    Raises `InputError` where an event has no time.
    """
    first, second = _cuts(times, valid_share, test_share)
    n_train, valid, test = [], [], []
    for t in times:
        a, b = int(np.searchsorted(t, first, side="left")), int(np.searchsorted(t, second, side="left"))
        n_train.append(a)
        valid.append(a if 0 < a < b else -1)
        test.append(b if 0 < b < len(t) else -1)
    return np.array(n_train), np.array(valid), np.array(test)


def _cuts(times: Sequence[np.ndarray], valid_share: float, test_share: float) -> tuple[float, float]:
    every = np.concatenate(list(times)) if len(times) else np.zeros(0)
    if every.size == 0 or np.isnan(every).any():
        raise InputError(
            "split global_time needs a timestamp on every interaction; "
            "use split: leave_one_out, or prepare the data with times"
        )
    first, second = np.quantile(every, [1 - valid_share - test_share, 1 - test_share], method="higher")
    return float(first), float(second)


def make_split(
    kind: SplitKind,
    user_ids: Sequence[str],
    item_ids: np.ndarray,
    sequences: Sequence[np.ndarray],
    times: Sequence[np.ndarray] | None,
    *,
    valid_share: float = 0.1,
    test_share: float = 0.1,
) -> Split:
    """Split and hash. The hash covers ids, order and places: equal hashes mean the same train and test sets."""
    if kind == "leave_one_out":
        n_train, valid, test = leave_one_out([len(s) for s in sequences])
        n_known = np.where(test >= 0, test, n_train)
    else:
        if times is None:
            raise InputError(
                "split global_time needs a timestamp on every interaction; "
                "these data have only an order, so use split: leave_one_out"
            )
        n_train, valid, test = global_time(times, valid_share=valid_share, test_share=test_share)
        _, second = _cuts(times, valid_share, test_share)
        n_known = np.array([int(np.searchsorted(t, second, side="left")) for t in times])
    if not (test >= 0).any():
        reason = (
            "every history is too short (three events are needed); lower k_core or bring more interactions"
            if kind == "leave_one_out"
            else "nobody has an event before and one after the cut in time; use split: leave_one_out"
        )
        raise InputError(f"the split leaves no user to test: {reason}")
    digest = hashlib.sha256(kind.encode())
    places = np.stack([n_train, valid, test], axis=1)
    if kind == "global_time":
        # Here the cuts also say what is known of users without a test target; elsewhere it follows from the rest.
        places = np.concatenate([places, n_known[:, None]], axis=1)
    for user, sequence, own in zip(user_ids, sequences, places, strict=True):
        ids = "\x1f".join(item_ids[sequence - 1])
        digest.update(f"{user}\x1e{ids}\x1e{','.join(map(str, own))}\n".encode())
    n_train, valid, test, n_known = (part.astype(np.int64) for part in (n_train, valid, test, n_known))
    return Split(kind, n_train, valid, test, n_known, digest.hexdigest())
