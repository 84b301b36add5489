"""Taking a score apart: the final dot product of a refined model, split exactly by column.

A refined item vector is [PCA of the base embedding | one column per attribute], so the score of item `i` for user
state `h` is `sum_c h[c] * item[i, c]`. Each attribute owns its column; all PCA columns together are the
collaborative part. Nothing is approximated, so the parts must sum to the score, which is checked on every call.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

TOLERANCE = 1e-4


@dataclass(frozen=True)
class Contributions:
    """The scores of all items for one user, and what each part gives.

    `score`: (n_items,), what the model ranks by. `values`: (n_items, parts), the parts named by `names`.
    `user_term`: the share of `values` that the guided user term gives, equal shape; the rest is the encoder's.
    Raises `ArithmeticError` when the parts of an item do not sum to its score.
    """

    names: list[str]
    score: np.ndarray
    values: np.ndarray
    user_term: np.ndarray | None = None

    def __post_init__(self) -> None:
        check_sums(self.values, self.score, np.arange(1, len(self.score) + 1))

    def of(self, item: int) -> list[dict[str, Any]]:
        """Parts of an item number: name, value, lift (value less its mean over the catalog), and, where the model
        has a user term, how much of the value comes from it and from the encoder."""
        row = item - 1
        mean = self.values.mean(axis=0)
        parts = []
        for column, name in enumerate(self.names):
            value = float(self.values[row, column])
            part: dict[str, Any] = {
                "name": name,
                "value": value,
                "lift": float(self.values[row, column] - mean[column]),
            }
            if self.user_term is not None:
                taste = float(self.user_term[row, column])
                part |= {"from_encoder": value - taste, "from_user_term": taste}
            parts.append(part)
        return parts

    def margin(self, item: int, other: int) -> dict[str, float]:
        """By how much an item number is ahead of another, split into parts: why the one and not the other.

        >>> c = Contributions(["a", "b"], np.array([3.0, 2.0]), np.array([[1.0, 2.0], [1.5, 0.5]]))
        >>> c.margin(1, 2)
        {'a': -0.5, 'b': 1.5}
        """
        lead = self.values[item - 1] - self.values[other - 1]
        return {name: float(value) for name, value in zip(self.names, lead, strict=True)}

    def ranks(self, seen: np.ndarray) -> np.ndarray:
        """Place of every item among those not in `seen` (item numbers); a seen item gets the place it would take.

        >>> c = Contributions(["a"], np.array([3.0, 2.0, 1.0]), np.array([[3.0], [2.0], [1.0]]))
        >>> c.ranks(np.array([1])).tolist()
        [1, 1, 2]
        """
        rivals = np.delete(self.score, np.unique(seen) - 1)
        return 1 + len(rivals) - np.searchsorted(np.sort(rivals), self.score, side="right")

    def top(self, k: int, seen: np.ndarray) -> np.ndarray:
        """Item numbers of the best `k` not in `seen`, best first; equal scores in catalog order."""
        order = np.argsort(-self.score, kind="stable") + 1
        return order[~np.isin(order, seen)][:k]


def check_sums(parts: np.ndarray, score: np.ndarray, items: np.ndarray) -> None:
    """Raise `ArithmeticError` unless the parts (n, parts) of every one of `items` (n,) sum to its score (n,)."""
    total = parts.sum(axis=1)
    # float32 rounding of a dot product grows with the size of its terms, not of their sum.
    size = np.maximum(np.abs(parts).sum(axis=1), np.abs(score))
    with np.errstate(invalid="ignore"):
        agree = np.abs(total - score) <= TOLERANCE * np.maximum(size, 1e-3)
    # Endless sums agree with anything, and what is no number with nothing.
    wrong = ~(agree & np.isfinite(total) & np.isfinite(score))
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise ArithmeticError(
            f"the parts of item number {int(items[row])} sum to {total[row]:.6f}, but the model scores it "
            f"{score[row]:.6f}; this explanation would be wrong, so there is none"
        )
