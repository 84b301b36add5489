"""Groups of users for whom other attributes may matter: by length of history, popularity and labels of what they get."""

from __future__ import annotations

from typing import Any

import numpy as np

from guided_refine.evaluation.strata import popularity_bounds
from guided_refine.explain.explainer import Explainer

#: Labels shown, the commonest among the first recommendations of the sample.
LABELS = 6
#: A group of fewer users is named, but not described.
FEWEST = 5


def segments(
    explainer: Explainer, users: np.ndarray, items: np.ndarray, labels: dict[str, np.ndarray]
) -> list[tuple[str, str, np.ndarray]]:
    """Kind, name and members, booleans (users,), of every group; `items` are the first recommendations (numbers from 1).

    - `history`: thirds of the sample by events before the prediction; equal lengths stay together.
    - `popularity` of the first recommendation: `head`, `mid`, `tail` hold a third of the training interactions each.
    - `label` of the first recommendation, such as its genre; an item may have several.
    """
    length = np.array([len(explainer.seen(int(user))) for user in users])
    first, second = np.quantile(length, [1 / 3, 2 / 3], method="inverted_cdf")
    counts = explainer.dataset.train_counts()
    head, mid = popularity_bounds(counts)
    popular = counts[items - 1]
    found = [
        ("history", "short", length <= first),
        ("history", "medium", (length > first) & (length <= second)),
        ("history", "long", length > second),
        ("popularity", "head", popular >= head),
        ("popularity", "mid", (popular < head) & (popular >= mid)),
        ("popularity", "tail", popular < mid),
    ]
    held = {name: members[items - 1] for name, members in labels.items()}
    common = sorted(held, key=lambda name: (-int(held[name].sum()), name))[:LABELS]
    return found + [("label", name, held[name]) for name in common]


def by_segment(
    groups: list[tuple[str, str, np.ndarray]], values: dict[str, np.ndarray], attributes: list[str]
) -> list[dict[str, Any]]:
    """Mean absolute contribution per group, view and attribute; `values`: view -> (users, attributes).

    `share` is each attribute's part of all attributes' in the group. Groups of fewer than five users have none.

    >>> row = by_segment([("history", "all", np.ones(5, bool))], {"direct": np.array([[1.0, -3.0]] * 5)}, ["a", "b"])[0]
    >>> row["users"], row["direct"]
    (5, {'a': {'mean': 1.0, 'share': 0.25}, 'b': {'mean': 3.0, 'share': 0.75}})
    """
    rows = []
    for kind, name, members in groups:
        row: dict[str, Any] = {"kind": kind, "name": name, "users": int(members.sum())}
        for view, all_values in values.items():
            if members.sum() < FEWEST:
                row[view] = None
                continue
            sizes = np.abs(all_values[members]).mean(axis=0)
            total = float(sizes.sum()) or 1.0
            row[view] = {
                attribute: {"mean": float(size), "share": float(size) / total}
                for attribute, size in zip(attributes, sizes, strict=True)
            }
        rows.append(row)
    return rows
