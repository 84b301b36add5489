"""What the encoders share: the interface, and the next-item objective of the causal ones."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor, nn

from guided_refine.backbones.histories import Histories, shuffled_batches


@dataclass(frozen=True)
class Examples:
    """A training batch: what the encoder reads and what it should say where.

    `inputs`, `targets`, `seen`: (batch, length); `lengths`: (batch,) real inputs. `targets` is 0 where nothing
    is trained. `seen` counts all of the user's events that the prediction may know of, also those cut off.
    """

    inputs: Tensor
    lengths: Tensor
    targets: Tensor
    seen: Tensor

    def of(self, rows: slice) -> Examples:
        """Some rows of the batch."""
        return replace(self, **{f.name: getattr(self, f.name)[rows] for f in fields(self)})


class Encoder(nn.Module, ABC):
    """Reads a padded batch of item numbers (events first, zeros behind) and gives a state per place.

    A state is compared with item vectors by dot product. `train_events` is how many recent events a training
    window holds, `context` how many a prediction reads; `in_batch_negatives` whether a sampled loss takes the batch's
    other targets as negatives too.
    """

    train_events: int
    context: int
    in_batch_negatives = False

    @abstractmethod
    def examples(
        self, items: Tensor, lengths: Tensor, skipped: Tensor, generator: torch.Generator
    ) -> Examples:
        """Training inputs and targets from windows (batch, length); `skipped` (batch,) events came before them."""

    def batches(
        self, histories: Histories, users: Tensor, lengths: Tensor, size: int, generator: torch.Generator
    ) -> Iterator[tuple[Tensor, Examples]]:
        """One epoch: for each batch of up to `size` users their rows (batch,) and what is trained.

        `users` are rows of `histories`, `lengths` the events of their training windows; both on the CPU.
        """
        for picked in shuffled_batches(lengths, size, generator):
            rows = users[picked].to(histories.flat.device)
            # The longest is known here: asking a GPU for it would wait until the step before is done.
            longest = int(lengths[picked].max())
            yield rows, self.examples(*histories.recent(rows, self.train_events, longest), generator)

    def n_batches(self, lengths: Tensor, size: int) -> int:
        """How many batches an epoch has, for the display of progress."""
        return math.ceil(len(lengths) / size)

    def read(self, examples: Examples, vectors: Tensor) -> Tensor:
        """States at every place of a training batch, shape (batch, length, width)."""
        states: Tensor = self(examples.inputs, examples.lengths, vectors)
        return states

    @abstractmethod
    def forward(self, items: Tensor, lengths: Tensor, vectors: Tensor) -> Tensor:
        """`items` (batch, length), `lengths` (batch,), `vectors` (n_items, width) -> (batch, length, width)."""

    @abstractmethod
    def last(self, items: Tensor, lengths: Tensor, vectors: Tensor) -> Tensor:
        """The state that predicts the event after the last real one, shape (batch, width)."""


class CausalEncoder(Encoder):
    """Next-item objective: the state after event t is trained to name event t + 1, at every real place."""

    def __init__(self, max_length: int) -> None:
        super().__init__()
        self.train_events = max_length + 1
        self.context = max_length

    def examples(
        self, items: Tensor, lengths: Tensor, skipped: Tensor, generator: torch.Generator
    ) -> Examples:
        """Inputs are all events but the last, targets all but the first."""
        inputs, targets = items[:, :-1], items[:, 1:]
        steps = torch.arange(1, items.shape[1], device=items.device)
        return Examples(inputs, lengths - 1, targets, skipped[:, None] + steps)

    def last(self, items: Tensor, lengths: Tensor, vectors: Tensor) -> Tensor:
        """The state at the last real event; zeros for an empty history."""
        if items.shape[1] == 0:
            return vectors.new_zeros(len(items), vectors.shape[1])
        states = self(items, lengths, vectors)
        rows = torch.arange(len(items), device=items.device)
        picked = states[rows, (lengths - 1).clamp(min=0)]
        return torch.where((lengths > 0)[:, None], picked, 0.0)


def embed(items: Tensor, vectors: Tensor) -> Tensor:
    """Item vectors of item numbers: (batch, length) -> (batch, length, width).

    Padding gets some item's vector. A causal encoder never reads it, as it stands behind the events, and a row of
    zeros before the table would cost a copy of a large one in every step.
    """
    return nn.functional.embedding((items - 1).clamp(min=0), vectors)


def fitting_heads(width: int, wanted: int) -> int:
    """The largest number of attention heads up to `wanted` that divides `width`.

    >>> fitting_heads(64, 2), fitting_heads(9, 4), fitting_heads(7, 2)
    (2, 3, 1)
    """
    return next(heads for heads in range(min(wanted, width), 0, -1) if width % heads == 0)
