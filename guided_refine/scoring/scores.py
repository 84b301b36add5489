"""`AttributeScores`: value and spread per item and per (user, position), as arrays and as the contract's table.

Positions count events seen: the score of user `u` at position `p` has read events 0..p-1 and nothing later, so
it may be used to predict event `p` and any later one. Position -1 in the table means "all the test split
allows" (the prefix before the test target).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from guided_refine.errors import InputError
from guided_refine.files import atomic_path

COLUMNS = ["kind", "id", "position", "attribute", "source", "value", "spread"]


@dataclass(frozen=True)
class UserScores:
    """Scores of users at several points of their histories, flat.

    `user` and `position` have shape (snapshots,), sorted by (user, position); `value` and `spread` have shape
    (snapshots, attributes), value in [0, 1]. `position` here is always the real count of events seen (>= 0).
    """

    user: np.ndarray
    position: np.ndarray
    value: np.ndarray
    spread: np.ndarray

    def latest(self, users: np.ndarray, seen: np.ndarray) -> np.ndarray:
        """Row of the latest snapshot of each user that has read at most `seen` events; -1 where there is none.

        Shapes: `users` and `seen` are broadcastable; the result has their broadcast shape.

        >>> scores = UserScores(np.array([0, 0]), np.array([2, 5]), np.zeros((2, 1)), np.zeros((2, 1)))
        >>> scores.latest(np.array([0, 0, 0]), np.array([1, 4, 9])).tolist()
        [-1, 0, 1]
        """
        users, seen = np.broadcast_arrays(np.asarray(users, np.int64), np.asarray(seen, np.int64))
        span = int(max(self.position.max(initial=0), seen.max(initial=0))) + 2
        keys = self.user.astype(np.int64) * span + self.position
        row = np.searchsorted(keys, users * span + seen, side="right") - 1
        hit = (
            (row >= 0) & (self.user[np.maximum(row, 0)] == users)
            if len(keys)
            else np.zeros(users.shape, bool)
        )
        return np.where(hit, row, -1)


@dataclass(frozen=True)
class AttributeScores:
    """All scores of one source ("untuned" or "tuned") for one dataset.

    `item_value` and `item_spread`: (n_items, attributes), catalog order, value in [0, 1], NaN where an item
    could not be scored (no text). `model` names the language model that gave them.
    """

    source: str
    attributes: list[str]
    item_value: np.ndarray
    item_spread: np.ndarray
    users: UserScores
    model: str
    cut_off: str

    def to_frame(
        self, item_ids: Sequence[str], user_ids: Sequence[str], test_position: np.ndarray
    ) -> pd.DataFrame:
        """The long table of `scores.parquet`. `test_position[u]` is the position written as -1 for user `u`."""
        m = len(self.attributes)
        names = np.array(self.attributes, dtype=object)
        n = len(item_ids)
        items = pd.DataFrame(
            {
                "kind": "item",
                "id": np.repeat(np.asarray(item_ids, dtype=object), m),
                "position": -1,
                "attribute": np.tile(names, n),
                "source": self.source,
                "value": self.item_value.reshape(-1),
                "spread": self.item_spread.reshape(-1),
            }
        )
        u = self.users
        shown = np.where(u.position == test_position[u.user], -1, u.position)
        users = pd.DataFrame(
            {
                "kind": "user",
                "id": np.repeat(np.asarray(user_ids, dtype=object)[u.user], m),
                "position": np.repeat(shown, m),
                "attribute": np.tile(names, len(u.user)),
                "source": self.source,
                "value": u.value.reshape(-1),
                "spread": u.spread.reshape(-1),
            }
        )
        return pd.concat([items, users], ignore_index=True)[COLUMNS]


def save_scores(scores: AttributeScores, path: Path) -> None:
    """Write to one safetensors file with the names in its header."""
    from safetensors.numpy import save_file

    u = scores.users
    arrays = {
        "item_value": scores.item_value,
        "item_spread": scores.item_spread,
        "user": u.user,
        "position": u.position,
        "value": u.value,
        "spread": u.spread,
    }
    header = {
        "source": scores.source,
        "attributes": json.dumps(scores.attributes),
        "model": scores.model,
        "cut_off": scores.cut_off,
    }
    with atomic_path(path) as part:
        save_file({k: np.ascontiguousarray(v) for k, v in arrays.items()}, part, metadata=header)


def load_scores(path: Path, *, cut_off: str | None = None) -> AttributeScores:
    """Read what `save_scores` wrote.

    Raises `InputError` when the file is damaged or was made under another split than `cut_off`.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            header = file.metadata()
            arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path} is not a readable score file ({error}); delete it and run again") from error
    if cut_off is not None and header["cut_off"] != cut_off:
        raise InputError(
            f"{path} was made under split {header['cut_off']}, but this run's split is {cut_off}; "
            "score again so that no held-out interaction leaks in"
        )
    users = UserScores(arrays["user"], arrays["position"], arrays["value"], arrays["spread"])
    return AttributeScores(
        header["source"],
        json.loads(header["attributes"]),
        arrays["item_value"],
        arrays["item_spread"],
        users,
        header["model"],
        header["cut_off"],
    )
