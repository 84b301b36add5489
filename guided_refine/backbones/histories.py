"""Many histories in one flat tensor, so that a batch is cut without a loop over its users."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

# A pool of this many batches is sorted by length: little padding, still well mixed.
POOL = 8


@dataclass(frozen=True)
class Histories:
    """Item numbers of all histories, one after the other: `flat` (events,), `start` and `length` (histories,)."""

    flat: Tensor
    start: Tensor
    length: Tensor

    @classmethod
    def stack(cls, sequences: Sequence[np.ndarray], device: torch.device | None = None) -> Histories:
        """Stack item-number arrays, oldest event first.

        >>> Histories.stack([np.array([4, 5]), np.array([6])]).start.tolist()
        [0, 2]
        """
        length = np.array([len(s) for s in sequences], dtype=np.int64)
        flat = np.concatenate([*sequences, np.zeros(1, np.int64)]).astype(np.int64)
        start = np.cumsum(length) - length
        return cls(*(torch.from_numpy(a).to(device) for a in (flat, start, length)))

    def __len__(self) -> int:
        return len(self.length)

    def sequence(self, row: int) -> Tensor:
        """One whole history, shape (events,)."""
        start = int(self.start[row])
        return self.flat[start : start + int(self.length[row])]

    def recent(self, rows: Tensor, limit: int, longest: int | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """The last `limit` events of each row: events first, zeros behind.

        Returns items (batch, length), how many of them are real (batch,), and how many earlier events were
        left out (batch,). The padding stands BEHIND the events: a causal encoder then never reads it, and the
        place of an event does not depend on who shares its batch. `longest`: the most real events of a row, where
        the caller knows it.

        >>> h = Histories.stack([np.array([1, 2, 3]), np.array([4])])
        >>> [t.tolist() for t in h.recent(torch.tensor([0, 1]), 2)]
        [[[2, 3], [4, 0]], [2, 1], [1, 0]]
        """
        total = self.length[rows]
        real = total.clamp(max=limit)
        skipped = total - real
        if longest is None:
            longest = int(real.max()) if len(rows) else 0
        steps = torch.arange(longest, device=self.flat.device)
        inside = steps < real[:, None]
        index = torch.where(inside, (self.start[rows] + skipped)[:, None] + steps, 0)
        return torch.where(inside, self.flat[index], 0), real, skipped

    def pairs(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """All (place in `rows`, item number) of the whole histories, each of shape (events,)."""
        length = self.length[rows]
        place = torch.repeat_interleave(torch.arange(len(rows), device=self.flat.device), length)
        within = torch.arange(len(place), device=self.flat.device)
        within = within - torch.repeat_interleave(length.cumsum(0) - length, length)
        return place, self.flat[self.start[rows][place] + within]


def shuffled_batches(length: Tensor, size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Rows in random batches of similar length; each row once.

    Rows are shuffled, sorted by length inside pools of several batches, cut, and the batches shuffled.

    >>> batches = list(shuffled_batches(torch.tensor([3, 1, 2]), 2, torch.Generator().manual_seed(0)))
    >>> sorted(torch.cat(batches).tolist())
    [0, 1, 2]
    """
    order = torch.randperm(len(length), generator=generator)
    pools = [pool[torch.argsort(length[pool], stable=True)] for pool in order.split(size * POOL)]
    batches = [batch for pool in pools for batch in pool.split(size)]
    for place in torch.randperm(len(batches), generator=generator).tolist():
        yield batches[place]
