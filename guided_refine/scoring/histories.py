"""A user's history as text: which events are read, at which points it is scored, and what one pass can share.

A user's score at position p reads events 0..p-1 and nothing later. How far back it reads depends on p alone, so that
a slot hung into a longer history gives the same score as that prefix on its own.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from guided_refine.config import LLMOptions
from guided_refine.data.dataset import Dataset
from guided_refine.errors import InputError
from guided_refine.scoring.prompt import segment_ids, token_rows

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

NO_TEXT = "something without a description"


@dataclass(frozen=True)
class HistoryPass:
    """One text and the points in it at which a user is scored: `reads[k]` tokens are events before `positions[k]`."""

    user: int
    positions: list[int]
    text: array[int]
    reads: list[int]


def snapshot_positions(n_train: int, n_seen: int, snapshots: int) -> list[int]:
    """Positions at which a user is scored: `snapshots` points spread over his training events, the last of which is all of
    them, and `n_seen`, all that the test split lets him have seen. Position 0 (no event) is never scored. With 0
    `snapshots` there is none.

    >>> snapshot_positions(8, 9, 4)
    [2, 4, 6, 8, 9]
    >>> snapshot_positions(2, 3, 4), snapshot_positions(0, 0, 4), snapshot_positions(8, 9, 0)
    ([1, 2, 3], [], [])
    """
    if not snapshots:
        return []
    spread = {-(-n_train * k // snapshots) for k in range(1, snapshots + 1)}
    return sorted(position for position in spread | {n_seen} if position > 0)


def window_start(position: int, history_events: int) -> int:
    """First event that a score at `position` reads, so that it reads the last `history_events` or fewer.

    Starts move in hops of half the window: a score reads more than half a window of events (all, where there are
    fewer), and positions of one hop share their start and with it one pass.

    >>> [window_start(p, 10) for p in (1, 10, 11, 15, 16)]
    [0, 0, 5, 5, 10]
    """
    hop = max(history_events // 2, 1)
    return max(0, hop * (-(-position // hop) - 2))


class HistoryTexts:
    """Histories of a dataset's users as token ids, oldest event first, one event a line.

    An event is its item's text, title first, cut to `options.event_tokens` tokens; a window holds at most
    `options.history_events` events, fewer where `room` tokens (see `PromptPlan.text_room`) hold no more; `events` is
    the number in use, and `events_cut` counts items whose text was longer than a line. Raises `InputError` when two
    events do not fit.
    """

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, dataset: Dataset, options: LLMOptions, room: int
    ) -> None:
        self._dataset = dataset
        self._newline = array("I", segment_ids(tokenizer, "\n"))
        self.events = min(options.history_events, room // (options.event_tokens + len(self._newline)))
        if self.events < 2:
            raise InputError(
                f"{room} tokens of context are left for a history, too few for two events of "
                f"{options.event_tokens} tokens; lower llm_options.event_tokens or use a model with a longer context"
            )
        self._items: list[array[int]] = []
        self.events_cut = 0
        texts = (event_text(title, text) for title, text in zip(dataset.titles, dataset.texts, strict=True))
        for ids, cut in token_rows(tokenizer, texts, options.event_tokens):
            self._items.append(ids)
            self.events_cut += cut

    def tokens(self, user: int, position: int) -> list[int]:
        """The text that a score of `user` at `position` reads: events before `position` only."""
        return self._join(user, window_start(position, self.events), [position])[0].tolist()

    def passes(self, user: int, positions: Sequence[int]) -> list[HistoryPass]:
        """Passes that cover `positions` (each 1 or more): those with one window start share a text."""
        groups: dict[int, list[int]] = {}
        for position in positions:
            groups.setdefault(window_start(position, self.events), []).append(position)
        answer = []
        for start, group in groups.items():
            text, reads = self._join(user, start, group)
            answer.append(HistoryPass(user, group, text, reads))
        return answer

    def _join(self, user: int, start: int, positions: Sequence[int]) -> tuple[array[int], list[int]]:
        events = self._dataset.sequences[user][start : max(positions)]
        text = array("I")
        ends = [0]
        for event in events:
            if text:
                text += self._newline
            text += self._items[int(event) - 1]
            ends.append(len(text))
        return text, [ends[position - start] for position in positions]


def event_text(title: str, text: str) -> str:
    """One line about an item, title first.

    >>> event_text("Heat", "A thief.\\nA cop."), event_text("Heat", "Heat. A thief."), event_text("Heat", "")
    ('Heat. A thief. A cop.', 'Heat. A thief.', 'Heat')
    """
    title, text = " ".join(title.split()), " ".join(text.split())
    if not text or text.casefold().startswith(title.casefold()):
        return text or title or NO_TEXT
    return f"{title}. {text}"


def all_snapshots(dataset: Dataset, snapshots: int) -> list[list[int]]:
    """`snapshot_positions` of every user, from the split's own idea of what each may have seen."""
    return [
        snapshot_positions(int(dataset.split.n_train[u]), len(dataset.visible(u, "test")), snapshots)
        for u in range(dataset.n_users)
    ]


def flat_positions(positions: Sequence[Sequence[int]]) -> tuple[np.ndarray, np.ndarray]:
    """Users and positions as flat arrays of shape (snapshots,), sorted by user then position.

    >>> flat_positions([[1, 2], [], [4]])
    (array([0, 0, 2]), array([1, 2, 4]))
    """
    users = np.repeat(np.arange(len(positions)), [len(p) for p in positions])
    return users, np.array([p for row in positions for p in row], dtype=np.int64)
