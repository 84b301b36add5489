"""Small datasets and scores with known structure, for tests."""

from __future__ import annotations

import numpy as np
import pandas as pd

from guided_refine.data.dataset import Dataset, from_frames
from guided_refine.scoring.scores import AttributeScores, UserScores


def make_dataset(sequences: list[list[int]], n_items: int, name: str = "synthetic") -> Dataset:
    """Item numbers 1..n_items as ids i1..; user numbers as ids u0.."""
    items = pd.DataFrame({"item_id": [f"i{i}" for i in range(1, n_items + 1)], "title": "", "text": ""})
    rows = pd.DataFrame(
        [(f"u{u}", f"i{item}") for u, sequence in enumerate(sequences) for item in sequence],
        columns=["user_id", "item_id"],
    )
    return from_frames(name, items, rows)


def ring(n_items: int = 30, walks: int = 5) -> Dataset:
    """Everybody walks the same ring, 6 to 12 steps: after item i only item i + 1 is right."""
    walk = [
        [(start + step) % n_items + 1 for step in range(6 + (start + lap) % 7)]
        for lap in range(walks)
        for start in range(n_items)
    ]
    return make_dataset(walk, n_items, "ring")


def random_dataset(users: int = 30, n_items: int = 25, seed: int = 0) -> Dataset:
    """Histories of 3 to 15 events without structure."""
    draw = np.random.default_rng(seed)
    return make_dataset(
        [draw.integers(1, n_items + 1, draw.integers(3, 16)).tolist() for _ in range(users)], n_items
    )


def random_scores(
    dataset: Dataset, attributes: int = 3, *, source: str = "untuned", seed: int = 0
) -> AttributeScores:
    """Scores of all items, and of all users after 1 event, after all training events, and before the test target."""
    draw = np.random.default_rng(seed)
    user, position = [], []
    for u in range(dataset.n_users):
        for p in sorted({1, int(dataset.split.n_train[u]), len(dataset.visible(u, "test"))}):
            user.append(u)
            position.append(p)
    value = draw.random((len(user), attributes))
    users = UserScores(np.array(user), np.array(position), value, np.zeros_like(value))
    items = draw.random((dataset.n_items, attributes))
    return AttributeScores(
        source,
        [f"a{i}" for i in range(attributes)],
        items,
        np.zeros_like(items),
        users,
        "synthetic",
        dataset.split.cut_off,
    )
