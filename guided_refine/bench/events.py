"""The data of a bench: one file that both sides read, from a prepared dataset or generated.

The file is a plain NumPy archive, so that a peer's environment needs nothing of this package: `item` (all events, user
after user, oldest first, numbered from 1), `length` (events per user), `n_train`, `valid`, `test` (as in
`data.split.Split`) and `n_items`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from guided_refine.data.dataset import Dataset
from guided_refine.data.split import Split, leave_one_out
from guided_refine.files import atomic_path


@dataclass(frozen=True)
class Shape:
    """Size of a generated dataset: `median` and `most` are history lengths, `spread` the deviation of their logarithm."""

    users: int
    items: int
    median: float
    spread: float
    most: int


ML_1M = Shape(users=6040, items=3416, median=96, spread=1.04, most=2314)
"""Users, items, and the median, mean (165) and largest history length of MovieLens 1M."""

FEWEST = 5
"""Events of the shortest generated history."""

_FOLLOWS, _NEAR = 0.5, 0.2


def generate(shape: Shape, seed: int = 0) -> Dataset:
    """Histories in which half of the events follow from the one before and half are drawn by popularity.

    Popularity falls as 1 / (rank + items / 50); an item is followed by one of a few in a fixed, hidden order. So there
    is something to learn, and a model that learns it rises above popularity.

    >>> dataset = generate(Shape(users=20, items=50, median=10, spread=0.5, most=30))
    >>> dataset.n_users, dataset.n_items, min(map(len, dataset.sequences)) >= FEWEST
    (20, 50, True)
    """
    draw = np.random.default_rng(seed)
    lengths = np.exp(draw.normal(np.log(shape.median), shape.spread, shape.users))
    lengths = np.clip(lengths.astype(np.int64), FEWEST, shape.most)
    weights = np.cumsum(1 / (np.arange(shape.items) + 1 + shape.items / 50))
    total = int(lengths.sum())
    popular = np.searchsorted(weights, draw.random(total) * weights[-1]).clip(max=shape.items - 1)
    follows, jumps = draw.random(total) < _FOLLOWS, draw.geometric(_NEAR, total)
    hidden = draw.permutation(shape.items)
    place = np.argsort(hidden)
    starts = np.cumsum(lengths) - lengths
    items = popular
    # Step by step for all users that have one more event: only so can an event follow from the one before.
    for step in range(1, int(lengths.max())):
        now = starts[lengths > step] + step
        now = now[follows[now]]
        items[now] = hidden[(place[items[now - 1]] + jumps[now]) % shape.items]
    return _dataset("generated", items + 1, lengths, shape.items)


def write_events(dataset: Dataset, path: Path) -> Path:
    """Write the file that both sides read."""
    with atomic_path(path) as part, part.open("wb") as stream:
        np.savez(
            stream,
            item=np.concatenate(dataset.sequences).astype(np.int32),
            length=np.array([len(s) for s in dataset.sequences], dtype=np.int64),
            n_train=dataset.split.n_train,
            valid=dataset.split.valid,
            test=dataset.split.test,
            n_items=dataset.n_items,
        )
    return path


def read_events(path: Path) -> Dataset:
    """The dataset of a file that `write_events` wrote; ids are the numbers."""
    with np.load(path) as file:
        split = _split(file["n_train"], file["valid"], file["test"])
        return _dataset(path.stem, file["item"].astype(np.int64), file["length"], int(file["n_items"]), split)


def _dataset(
    name: str, items: np.ndarray, lengths: np.ndarray, n_items: int, split: Split | None = None
) -> Dataset:
    sequences = np.split(items, np.cumsum(lengths)[:-1])
    frame = pd.DataFrame({"item_id": np.arange(1, n_items + 1).astype(str), "title": "", "text": ""})
    split = split or _split(*leave_one_out(lengths.tolist()))
    return Dataset(name, frame, [str(u) for u in range(len(lengths))], sequences, None, split)


def _split(n_train: np.ndarray, valid: np.ndarray, test: np.ndarray) -> Split:
    # The hash of a split is for artefacts that outlive the process; none here does.
    return Split("leave_one_out", n_train, valid, test, np.where(test >= 0, test, n_train), "")
