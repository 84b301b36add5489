"""Seeds: every random draw follows from (seed, purpose), never from what ran before."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

# Purposes. Their numbers are part of what makes a run repeatable: never renumber.
ITEM_TABLE, ENCODER, BATCHES, DROPOUT, ITEM_SHUFFLE, USER_SHUFFLE, RANDOM_COLUMNS, RANDOM_USERS = range(8)
NEGATIVES, RESTART, DIRECTIONS = 8, 9, 10


def derived_seed(seed: int, *purpose: int) -> int:
    """A seed for one purpose; different purposes give unrelated streams.

    >>> derived_seed(0, ENCODER) == derived_seed(0, ENCODER) != derived_seed(0, DROPOUT, 1)
    True
    """
    return int(np.random.SeedSequence([seed % 2**63, *purpose]).generate_state(1, np.uint64)[0] >> 1)


@contextmanager
def seeded(seed: int, device: torch.device | None = None) -> Iterator[None]:
    """Torch's own generators, the CPU's and a GPU `device`'s, start from `seed` inside and are put back afterwards.

    Other GPUs are left alone: to ask for their state would take memory on each.
    """
    gpu = [device] if device is not None and device.type == "cuda" else []
    with torch.random.fork_rng(devices=gpu):
        if gpu:
            torch.manual_seed(seed)
        else:
            torch.default_generator.manual_seed(seed)
        yield
