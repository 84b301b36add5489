"""What a step learns from: reproducible, leak-free, and nothing a user likes among his negatives."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pandas as pd
import pytest

from guided_refine.data.dataset import Dataset, from_frames
from guided_refine.errors import InputError
from guided_refine.tuning.batches import Examples, TuneBatch, collate


def make_dataset(seed: int = 0, n_users: int = 30, n_items: int = 40, shortest: int = 3) -> Dataset:
    rng = np.random.default_rng(seed)
    items = pd.DataFrame(
        {
            "item_id": [f"i{i}" for i in range(n_items)],
            "title": "t",
            "text": [f"text {i}" for i in range(n_items)],
        }
    )
    rows = [
        (f"u{u}", f"i{i}")
        for u in range(n_users)
        for i in rng.choice(n_items, size=rng.integers(shortest, 12), replace=False)
    ]
    return from_frames("toy", items, pd.DataFrame(rows, columns=["user_id", "item_id"]))


def make_examples(dataset: Dataset, **changes: object) -> Examples:
    options: dict = {"steps": 8, "batch_size": 6, "negatives": 10, "template_texts": 4, "seed": 3}
    scorable = np.ones(dataset.n_items, dtype=bool)
    return Examples(dataset, changes.pop("scorable", scorable), **{**options, **changes})  # type: ignore[arg-type]


def assert_same(a: TuneBatch, b: TuneBatch) -> None:
    for field in fields(TuneBatch):
        np.testing.assert_array_equal(getattr(a, field.name), getattr(b, field.name), err_msg=field.name)


def test_examples_are_prefixes_of_training_histories() -> None:
    dataset = make_dataset()
    examples = make_examples(dataset)
    batches = [examples[s] for s in range(len(examples))]
    assert len({tuple(b.users) for b in batches}) > 1
    for batch in batches:
        assert len(set(batch.users)) == len(batch.users) == 6
        assert (np.diff(batch.items) > 0).all()
        for row, (user, position) in enumerate(zip(batch.users, batch.positions, strict=True)):
            history = dataset.visible(user, "train")
            assert 1 <= position < len(history)
            assert batch.items[batch.target[row]] == history[position]
            liked = np.isin(batch.items, history)
            liked[batch.target[row]] = False
            np.testing.assert_array_equal(batch.blocked[row], liked)
        assert np.isin(batch.template_items, batch.items).all()
        assert (batch.template_examples < len(batch.users)).all()


def test_a_step_depends_on_seed_and_step_only() -> None:
    dataset = make_dataset()
    one, two = make_examples(dataset), make_examples(dataset, steps=20)
    for step in (5, 0, 5, 7):
        assert_same(one[step], two[step])
    other = make_examples(dataset, seed=4)
    assert not np.array_equal(one[0].users, other[0].users)


def test_held_out_events_are_not_trained_on() -> None:
    dataset = make_dataset(n_users=40, shortest=5)
    examples = make_examples(dataset, steps=200)
    held = examples.held_out()
    assert held is not None and len(held.users) == 4
    kept_out = set(zip(held.users.tolist(), held.positions.tolist(), strict=True))
    for step in range(200):
        batch = examples[step]
        assert not kept_out & set(zip(batch.users.tolist(), batch.positions.tolist(), strict=True))
    assert all(p == len(dataset.visible(u, "train")) - 1 for u, p in kept_out)


def test_validation_and_test_items_change_nothing() -> None:
    dataset = make_dataset()
    sequences = [s.copy() for s in dataset.sequences]
    for user, sequence in enumerate(sequences):
        end = int(dataset.split.n_train[user])
        sequence[end:] = sequence[end:] % dataset.n_items + 1
    changed = Dataset("toy", dataset.items, dataset.user_ids, sequences, None, dataset.split, {})
    assert any((a != b).any() for a, b in zip(sequences, dataset.sequences, strict=True))
    one, two = make_examples(dataset), make_examples(changed)
    for step in range(len(one)):
        assert_same(one[step], two[step])
    held, other = one.held_out(), two.held_out()
    assert held is not None and other is not None
    assert_same(held, other)


def test_items_without_text_are_neither_targets_nor_negatives() -> None:
    dataset = make_dataset()
    scorable = np.arange(dataset.n_items) % 3 > 0
    examples = make_examples(dataset, scorable=scorable, steps=50)
    assert scorable[examples.items_used() - 1].all()


def test_nothing_to_learn_from_is_said() -> None:
    dataset = make_dataset(shortest=3)
    with pytest.raises(InputError, match="nothing to learn from"):
        make_examples(dataset, scorable=np.zeros(dataset.n_items, dtype=bool))


def test_collate_hands_the_step_through() -> None:
    batch = make_examples(make_dataset())[0]
    assert collate([batch])["batch"] is batch
