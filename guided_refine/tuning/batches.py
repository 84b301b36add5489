"""What is learned from in each step: (history prefix, next item) pairs out of training prefixes, and negatives.

Every step is drawn from (seed, step) alone, so a resumed run sees what the uninterrupted one would have seen,
however the step is cut into micro-batches or spread over processes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch.utils.data

from guided_refine.data.dataset import Dataset
from guided_refine.errors import InputError

#: Users whose last training event is kept out of tuning, to watch whether what is learned carries over.
HELD_OUT_USERS = 64
#: Random candidates that a held-out event is ranked against.
HELD_OUT_CANDIDATES = 64
_DRAW, _HELD_OUT, _TEMPLATE = 0, 1, 2


@dataclass(frozen=True)
class TuneBatch:
    """One step's examples.

    `users` and `positions` (examples,): user u has read his events 0..p-1 and is to predict event p. `items`
    (candidates,): sorted item numbers that all examples are ranked over. `target` (examples,): column of event p
    in `items`. `blocked` (examples, candidates): items of the user's training history other than the target.
    `labels` (examples,): 1 where the user liked event p, 0 where not; None where no ratings are asked for.
    `template_items` and `template_examples`: item numbers and rows of `users` whose lines the template term reads.
    """

    step: int
    users: np.ndarray
    positions: np.ndarray
    items: np.ndarray
    target: np.ndarray
    blocked: np.ndarray
    template_items: np.ndarray
    template_examples: np.ndarray
    labels: np.ndarray | None = None


class Examples(torch.utils.data.Dataset[TuneBatch]):
    """Steps 0..steps-1 as a map-style dataset; element `step` is that step's whole batch.

    Reads interactions through `dataset.visible(user, "train")` only. `scorable` (n_items,) says which items have a
    text and an untuned score; events with others are never targets or negatives, but stay in histories. With `likes`
    (per user, one for each training event: 1, 0, or NaN for one without a rating) examples are rated events only.

    Raises `InputError` when no user has two training events to learn from.
    """

    def __init__(
        self,
        dataset: Dataset,
        scorable: np.ndarray,
        *,
        steps: int,
        batch_size: int,
        negatives: int,
        template_texts: int,
        seed: int,
        likes: list[np.ndarray] | None = None,
    ) -> None:
        self._likes = likes
        self._histories = [dataset.visible(user, "train") for user in range(dataset.n_users)]
        self._steps, self._batch_size, self._negatives = steps, batch_size, negatives
        self._template_texts, self._seed = template_texts, seed
        self._pool = np.flatnonzero(scorable) + 1
        self._places = [
            np.array(
                [p for p in range(1, len(h)) if scorable[h[p] - 1] and self._rated(user, p)], dtype=np.int64
            )
            for user, h in enumerate(self._histories)
        ]
        users = np.flatnonzero([len(p) > 0 for p in self._places])
        if len(users) == 0 or len(self._pool) < 2:
            raise InputError(
                "tuning has nothing to learn from: it needs users with two training events and at least two "
                "items with text; lower data.k_core or set tune.enabled=false"
            )
        # Withhold an event only from users who keep another one, and from at most a tenth of all.
        rich = users[[len(self._places[u]) > 1 for u in users]]
        count = min(HELD_OUT_USERS, len(rich), max(1, len(users) // 10))
        self._held = np.sort(self._rng(_HELD_OUT, 0).choice(rich, size=count, replace=False))
        self._held_places = np.array([self._places[u][-1] for u in self._held], dtype=np.int64)
        for user in self._held:
            self._places[user] = self._places[user][:-1]
        self._users = users

    def __len__(self) -> int:
        return self._steps

    def __getitem__(self, step: int) -> TuneBatch:
        rng = self._rng(_DRAW, step)
        users = rng.choice(self._users, size=min(self._batch_size, len(self._users)), replace=False)
        positions = np.array([rng.choice(self._places[u]) for u in users], dtype=np.int64)
        negatives = self._negatives if self._likes is None else 0
        return self._batch(step, users, positions, negatives, rng)

    def held_out(self) -> TuneBatch | None:
        """Last training events that no step trains on, ranked against random items; None for tiny data.

        Where there are ratings to learn from, those that their users liked: an item that was disliked is no right answer.
        """
        users, places = self._held, self._held_places
        if self._likes is not None:
            liked = [self._likes[u][p] == 1 for u, p in zip(users, places, strict=True)]
            users, places = users[liked], places[liked]
        if len(users) == 0:
            return None
        rng = self._rng(_HELD_OUT, 1)
        return self._batch(-1, users, places, HELD_OUT_CANDIDATES, rng)

    def items_used(self) -> np.ndarray:
        """Sorted numbers of the items that some step scores."""
        return np.unique(np.concatenate([self[step].items for step in range(self._steps)]))

    def _rated(self, user: int, position: int) -> bool:
        return self._likes is None or not np.isnan(self._likes[user][position])

    def _batch(
        self, step: int, users: np.ndarray, positions: np.ndarray, negatives: int, rng: np.random.Generator
    ) -> TuneBatch:
        wanted = np.array([self._histories[u][p] for u, p in zip(users, positions, strict=True)])
        drawn = rng.choice(self._pool, size=min(negatives, len(self._pool)), replace=False)
        items = np.union1d(wanted, drawn)
        target = np.searchsorted(items, wanted)
        blocked = np.stack([np.isin(items, self._histories[u]) for u in users])
        blocked[np.arange(len(users)), target] = False
        # Half of the template texts are items, half histories: the two prompts differ.
        texts = self._rng(_TEMPLATE, max(step, 0))
        n_items = min((self._template_texts + 1) // 2, len(items))
        n_users = min(self._template_texts // 2, len(users))
        return TuneBatch(
            step,
            users,
            positions,
            items,
            target,
            blocked,
            texts.choice(items, size=n_items, replace=False),
            texts.choice(len(users), size=n_users, replace=False),
            self._labels(users, positions),
        )

    def _labels(self, users: np.ndarray, positions: np.ndarray) -> np.ndarray | None:
        if self._likes is None:
            return None
        return np.array([self._likes[u][p] for u, p in zip(users, positions, strict=True)])

    def _rng(self, stream: int, step: int) -> np.random.Generator:
        return np.random.default_rng([self._seed, stream, step])


def collate(batches: Sequence[TuneBatch]) -> dict[str, TuneBatch]:
    """The trainer's collator: a step is already a batch, so there is exactly one."""
    (batch,) = batches
    return {"batch": batch}
