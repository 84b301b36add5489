"""Histories: windows that depend on the position alone, and texts that never show a later event."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import make_dataset
from transformers import AutoTokenizer

from guided_refine.config import LLMOptions
from guided_refine.errors import InputError
from guided_refine.scoring.histories import (
    HistoryTexts,
    all_snapshots,
    snapshot_positions,
    window_start,
)


@pytest.fixture(scope="module")
def tokenizer(shared: Path) -> Any:
    return AutoTokenizer.from_pretrained(shared / "tokenizers" / "qwen3")


@given(n=st.integers(0, 400), more=st.integers(0, 5), snapshots=st.integers(1, 12))
def test_snapshots_end_in_what_validation_and_test_may_see(n: int, more: int, snapshots: int) -> None:
    positions = snapshot_positions(n, n + more, snapshots)
    assert positions == sorted(set(positions))
    assert len(positions) <= snapshots + 1
    if n > 0:
        assert n in positions
    if n + more > 0:
        assert positions[-1] == n + more
        assert positions[0] > 0


@given(position=st.integers(1, 2000), events=st.integers(2, 60))
def test_a_window_reads_between_half_and_all_of_its_events(position: int, events: int) -> None:
    start = window_start(position, events)
    read = position - start
    assert 0 <= start < position
    assert read <= events
    assert read == position if position <= events // 2 else read > events // 2
    assert start <= window_start(position + 1, events)


def test_texts_join_the_events_before_the_position(tokenizer: Any) -> None:
    dataset = make_dataset()
    texts = HistoryTexts(tokenizer, dataset, LLMOptions(event_tokens=5, history_events=4), 300)
    for user in range(dataset.n_users):
        for position in range(1, len(dataset.sequences[user]) + 1):
            start = window_start(position, 4)
            written = tokenizer.decode(texts.tokens(user, position))
            titles = [dataset.titles[i - 1] for i in dataset.sequences[user][start:position]]
            assert [line.split(".")[0] for line in written.split("\n")] == titles


def test_a_pass_reads_each_prefix_as_if_alone(tokenizer: Any) -> None:
    dataset = make_dataset()
    texts = HistoryTexts(tokenizer, dataset, LLMOptions(event_tokens=6, history_events=6), 300)
    for user, positions in enumerate(all_snapshots(dataset, 4)):
        seen = []
        for one in texts.passes(user, positions):
            for position, read in zip(one.positions, one.reads, strict=True):
                assert one.text[:read].tolist() == texts.tokens(user, position)
                seen.append(position)
        assert sorted(seen) == positions


def test_later_events_never_change_an_earlier_text(tokenizer: Any) -> None:
    dataset = make_dataset()
    texts = HistoryTexts(tokenizer, dataset, LLMOptions(history_events=6), 500)
    before = {(u, p): texts.tokens(u, p) for u in range(dataset.n_users) for p in range(1, 6)}
    for sequence in dataset.sequences:
        sequence[5:] = np.roll(sequence[5:], 1) % dataset.n_items + 1
    assert before == {(u, p): texts.tokens(u, p) for u, p in before}


def test_snapshots_follow_the_split() -> None:
    dataset = make_dataset()
    for user, positions in enumerate(all_snapshots(dataset, 3)):
        assert positions[-1] == dataset.split.test[user]
        assert dataset.split.n_train[user] in positions


def test_a_short_context_shortens_the_window_or_says_so(tokenizer: Any) -> None:
    dataset = make_dataset()
    options = LLMOptions(event_tokens=10, history_events=30)
    assert HistoryTexts(tokenizer, dataset, options, 60).events == 5
    with pytest.raises(InputError, match="too few for two events of 10 tokens"):
        HistoryTexts(tokenizer, dataset, options, 20)


def test_an_item_without_words_still_counts_as_an_event(tokenizer: Any) -> None:
    dataset = make_dataset()
    dataset.items.loc[:, ["title", "text"]] = pd.NA
    dataset.items.loc[:, ["title", "text"]] = ""
    written = tokenizer.decode(HistoryTexts(tokenizer, dataset, LLMOptions(), 500).tokens(0, 3))
    assert written.split("\n") == ["something without a description"] * 3
