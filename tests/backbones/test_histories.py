"""Flat histories against lists."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from guided_refine.backbones.histories import Histories, shuffled_batches

SEQUENCES = st.lists(st.lists(st.integers(1, 99), max_size=8), min_size=1, max_size=6)


@given(SEQUENCES, st.integers(1, 9))
def test_recent_equals_slicing(sequences: list[list[int]], limit: int) -> None:
    stacked = Histories.stack([np.array(s, dtype=np.int64) for s in sequences])
    rows = torch.arange(len(sequences)).flip(0)
    items, real, skipped = stacked.recent(rows, limit)
    for place, row in enumerate(rows.tolist()):
        expected = sequences[row][-limit:]
        assert items[place].tolist() == expected + [0] * (items.shape[1] - len(expected))
        assert int(real[place]) == len(expected)
        assert int(skipped[place]) == len(sequences[row]) - len(expected)


@given(SEQUENCES)
def test_pairs_name_every_event_once(sequences: list[list[int]]) -> None:
    stacked = Histories.stack([np.array(s, dtype=np.int64) for s in sequences])
    at, items = stacked.pairs(torch.arange(len(sequences)))
    assert list(zip(at.tolist(), items.tolist(), strict=True)) == [
        (row, item) for row, sequence in enumerate(sequences) for item in sequence
    ]


@given(st.lists(st.integers(1, 50), min_size=1, max_size=60), st.integers(1, 7), st.integers(0, 99))
def test_batches_hold_each_row_once_and_repeat_with_the_seed(length: list[int], size: int, seed: int) -> None:
    def draw() -> list[list[int]]:
        generator = torch.Generator().manual_seed(seed)
        return [b.tolist() for b in shuffled_batches(torch.tensor(length), size, generator)]

    batches = draw()
    assert sorted(row for batch in batches for row in batch) == list(range(len(length)))
    assert max(len(batch) for batch in batches) <= size
    assert batches == draw()
