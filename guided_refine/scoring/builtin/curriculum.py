"""What the builtin model reads while it is pre-trained: texts with something left out, and invented histories.

Everything is drawn from (seed, epoch), so a resumed training sees what the uninterrupted one would have seen. No
interaction is read: histories are invented from the catalog, some at random, some by a taste.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from guided_refine.scoring.builtin.words import stem

Kind = Literal["item", "user", "text"]

_SENTENCE_END = re.compile(r"(?<=[.;!?])\s+")
_KEPT_WORDS = 45
_WORD_DROPOUT = 0.1
_WHOLE = 0.3
_POLES_HIDDEN = 0.2
_CLUSTERED = 0.7
_RECENCY = 0.9
_SHORTEST_HISTORY = 2
# Rounds of (kind, with definitions).
_EARLY: tuple[tuple[Kind, bool], ...] = (("item", False), ("item", False), ("item", False), ("text", False))
_LATER: tuple[tuple[Kind, bool], ...] = (
    ("item", True), ("user", False), ("item", False), ("text", False),
    ("user", True), ("item", False), ("user", False), ("text", True),
)  # fmt: skip


@dataclass(frozen=True)
class Step:
    """One batch: `kind` says what is learned, `definitions` whether the prompt holds the attributes' definitions.

    `items` are rows of the catalog. For "item" and "text": `texts[b]` is what is read of `items[b]`. For "user":
    `histories[b]` are catalog rows, oldest first, and `reads[b]` says after how many events slots hang.
    """

    kind: Kind
    definitions: bool
    items: list[int]
    texts: list[str]
    histories: list[list[int]]
    reads: list[list[int]]


@dataclass(frozen=True)
class Curriculum:
    """Draws the steps of every epoch.

    An epoch has `steps` steps; the first `items_only` epochs learn to read items before histories come in. Definitions
    cost as much to encode as a batch of texts, so most steps leave them out.

    `texts`: the catalog's; `values` (n_items, attributes): labels in [0, 1]; `pole_stems`: words that are now and then
    hidden.
    """

    texts: Sequence[str]
    values: np.ndarray
    pole_stems: frozenset[str]
    steps: int
    items_only: int
    batch: int
    history_events: int
    reads: int
    seed: int

    def epoch(self, number: int) -> Iterator[Step]:
        """The steps of epoch `number`, which depend on the seed and this number alone."""
        rng = np.random.default_rng([self.seed, number])
        known = np.flatnonzero([bool(t) for t in self.texts])
        queue: list[int] = []
        plan = _EARLY if number < self.items_only else _LATER
        for place in range(self.steps):
            kind, definitions = plan[place % len(plan)]
            if kind == "user":
                # One length for the whole batch, so that little of it is padding.
                length = self._length(rng, len(known))
                histories = [self._history(rng, known, length) for _ in range(max(1, self.batch // 2))]
                reads = [self._reads(rng, len(h)) for h in histories]
                yield Step(kind, definitions, [], [], histories, reads)
                continue
            while len(queue) < self.batch:
                queue += rng.permutation(known).tolist()
            items, queue = queue[: self.batch], queue[self.batch :]
            whole = kind == "item" and rng.random() < _WHOLE
            texts = [self.texts[i] if whole else self._shortened(rng, self.texts[i]) for i in items]
            yield Step(kind, definitions, items, texts, [], [])

    def _shortened(self, rng: np.random.Generator, text: str) -> str:
        """Whole sentences and single words left out; now and then every pole word."""
        sentences = _SENTENCE_END.split(text)
        keep = min(0.8, _KEPT_WORDS / max(1, text.count(" ") + 1))
        kept = [s for s in sentences if rng.random() < keep] or [sentences[int(rng.integers(len(sentences)))]]
        words = " ".join(kept).split(" ")
        dropped = rng.random(len(words)) < _WORD_DROPOUT
        hide = rng.random() < _POLES_HIDDEN
        left = [
            word
            for word, gone in zip(words, dropped, strict=True)
            if not gone and not (hide and stem(word.strip(".,;:!?()\"'").lower()) in self.pole_stems)
        ]
        return " ".join(left) or words[0]

    def _length(self, rng: np.random.Generator, known: int) -> int:
        """Events in a history: short ones are as likely as long ones on a log scale."""
        longest = max(1, min(self.history_events, known))
        return int(np.exp(rng.uniform(np.log(min(_SHORTEST_HISTORY, longest)), np.log(longest + 1))))

    def _history(self, rng: np.random.Generator, known: np.ndarray, length: int) -> list[int]:
        """Catalog rows, oldest first, without repeats."""
        if rng.random() > _CLUSTERED:
            return rng.choice(known, size=length, replace=False).tolist()
        # A taste: a direction in label space on which a few attributes weigh.
        width = self.values.shape[1]
        taste = rng.standard_normal(width) * (rng.random(width) < rng.uniform(0.2, 0.8))
        pull = rng.uniform(1, 4) * (2 * self.values[known] - 1) @ taste
        return known[np.argsort(-(pull + rng.gumbel(size=len(known))), kind="stable")[:length]].tolist()

    def _reads(self, rng: np.random.Generator, events: int) -> list[int]:
        points = set(rng.integers(1, events + 1, size=self.reads - 1).tolist()) | {events}
        return sorted(points)

    def taste_value(self, history: Sequence[int], read: int) -> np.ndarray:
        """What a user who chose `history[:read]` wants: the recency-weighted mean of the items' labels, (attributes,)."""
        weights = _RECENCY ** np.arange(read - 1, -1, -1)
        return weights @ self.values[list(history[:read])] / weights.sum()
