"""Item tables and user terms: all that a backbone knows about items and about who the user is.

A backbone reads item vectors from an `ItemTable` and adds whatever an optional `UserTerm` gives for
(user, events seen). New ways to make item vectors are new subclasses beside their siblings.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn


class ItemTable(nn.Module, ABC):
    """Vectors of all items. Subclasses implement `matrix`.

    `width` is the length of a vector, `n_items` the size of the catalog.
    """

    width: int
    n_items: int

    @abstractmethod
    def matrix(self) -> Tensor:
        """Vectors of items 1..n_items, shape (n_items, width); row 0 is item number 1."""

    def lookup(self, items: Tensor) -> Tensor:
        """Vectors of the given item numbers, zeros for padding (0); shape (..., width)."""
        padded = torch.cat([self.matrix().new_zeros(1, self.width), self.matrix()])
        return nn.functional.embedding(items, padded)


class UserTerm(nn.Module, ABC):
    """What is added to the encoder's state before the dot product with the item vectors."""

    @abstractmethod
    def forward(self, users: Tensor, seen: Tensor) -> Tensor:
        """`users` (batch,), `seen` (batch, length) events read so far -> (batch, length, width).

        `seen[b, t]` counts the events of user `users[b]` that the state at `t` has read, so a term may use
        only what is known after that many events. Users numbered -1 are unknown: they get no residual.
        """
