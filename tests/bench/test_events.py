"""What both sides of a bench read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from synthetic import random_dataset

from guided_refine.bench.events import FEWEST, ML_1M, Shape, generate, read_events, write_events


def test_the_file_gives_back_what_was_written(tmp_path: Path) -> None:
    dataset = random_dataset(12, 9)
    again = read_events(write_events(dataset, tmp_path / "events.npz"))
    assert (again.n_users, again.n_items) == (12, 9)
    for user in range(12):
        for part in ("train", "valid", "test"):
            assert np.array_equal(again.visible(user, part), dataset.visible(user, part))
    for part in ("valid", "test"):
        assert all(
            np.array_equal(a, b) for a, b in zip(again.targets(part), dataset.targets(part), strict=True)
        )


def test_the_default_has_the_shape_of_movielens() -> None:
    dataset = generate(ML_1M)
    lengths = np.array([len(s) for s in dataset.sequences])
    assert (dataset.n_users, dataset.n_items) == (6040, 3416)
    assert lengths.sum() == pytest.approx(999_611, rel=0.03)
    assert np.median(lengths) == pytest.approx(96, rel=0.05)
    assert lengths.max() <= 2314 and lengths.min() >= FEWEST
    assert all(s.min() >= 1 and s.max() <= 3416 for s in dataset.sequences)


def test_an_event_tells_something_of_the_next() -> None:
    shape = Shape(users=300, items=100, median=50, spread=0.3, most=100)
    dataset = generate(shape, seed=1)
    follow = np.zeros((100, 100))
    for sequence in dataset.sequences:
        np.add.at(follow, (sequence[:-1] - 1, sequence[1:] - 1), 1)
    best_after = follow.max(axis=1).sum() / follow.sum()
    most_popular = follow.sum(axis=0).max() / follow.sum()
    assert best_after > 2 * most_popular


def test_a_seed_gives_the_same_data_again() -> None:
    shape = Shape(users=10, items=20, median=8, spread=0.3, most=20)
    one, same, other = generate(shape, 1), generate(shape, 1), generate(shape, 2)
    assert all(np.array_equal(a, b) for a, b in zip(one.sequences, same.sequences, strict=True))
    assert any(len(a) != len(b) for a, b in zip(one.sequences, other.sequences, strict=True))
