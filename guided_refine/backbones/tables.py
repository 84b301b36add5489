"""Item tables and user terms: all that a backbone knows about items and about who the user is.

A backbone reads item vectors from an `ItemTable` and adds whatever an optional `UserTerm` gives for
(user, events seen). New ways to make item vectors are new subclasses beside their siblings.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn


class ItemTable(nn.Module, ABC):
    """Vectors of all items. Subclasses implement `matrix`, `options` and `blank`.

    `width` is the length of a vector, `n_items` the size of the catalog.
    """

    width: int
    n_items: int

    @abstractmethod
    def matrix(self) -> Tensor:
        """Vectors of items 1..n_items, shape (n_items, width); row 0 is item number 1."""

    @abstractmethod
    def options(self) -> dict[str, Any]:
        """JSON-ready sizes from which `blank` makes a table of the same shape."""

    @classmethod
    @abstractmethod
    def blank(cls, **options: Any) -> ItemTable:
        """A table of the right shape whose values are loaded next."""

    def lookup(self, items: Tensor) -> Tensor:
        """Vectors of the given item numbers, zeros for padding (0); shape (..., width)."""
        vectors = self.matrix()
        padded = torch.cat([vectors.new_zeros(1, self.width), vectors])
        return nn.functional.embedding(items, padded)


class IdTable(ItemTable):
    """One free vector per item, drawn from a normal distribution: the table of an ordinary recommender.

    >>> IdTable(5, 4).lookup(torch.tensor([[0, 3]])).shape
    torch.Size([1, 2, 4])
    """

    def __init__(self, n_items: int, width: int, *, seed: int = 0, std: float = 0.02) -> None:
        super().__init__()
        self.n_items, self.width = n_items, width
        generator = torch.Generator().manual_seed(seed)
        self.weight = nn.Parameter(torch.randn(n_items, width, generator=generator) * std)

    def matrix(self) -> Tensor:
        """The free vectors, shape (n_items, width)."""
        return self.weight

    def options(self) -> dict[str, Any]:
        """Catalog size and width."""
        return {"n_items": self.n_items, "width": self.width}

    @classmethod
    def blank(cls, **options: Any) -> IdTable:
        """A table whose values are loaded next."""
        return cls(options["n_items"], options["width"])


class VectorTable(ItemTable):
    """Given vectors, shape (n_items, width), that training may move (`trainable`) or not.

    >>> VectorTable(torch.eye(3), trainable=False).matrix().requires_grad
    False
    """

    def __init__(self, vectors: Tensor, *, trainable: bool = True) -> None:
        super().__init__()
        self.n_items, self.width = vectors.shape
        self.trainable = trainable
        # Frozen vectors are a parameter too, so that the weights' names do not depend on `trainable`.
        self.weight = nn.Parameter(vectors.detach().float().clone(), requires_grad=trainable)

    def matrix(self) -> Tensor:
        """The vectors, shape (n_items, width)."""
        return self.weight

    def options(self) -> dict[str, Any]:
        """Catalog size, width, and whether the vectors train."""
        return {"n_items": self.n_items, "width": self.width, "trainable": self.trainable}

    @classmethod
    def blank(cls, **options: Any) -> VectorTable:
        """A table whose values are loaded next."""
        return cls(torch.zeros(options["n_items"], options["width"]), trainable=options["trainable"])


class UserTerm(nn.Module, ABC):
    """What is added to the encoder's state before the dot product with the item vectors."""

    @abstractmethod
    def forward(self, users: Tensor, seen: Tensor) -> Tensor:
        """`users` (batch,), `seen` (batch, length) events read so far -> (batch, length, width).

        `seen[b, t]` counts the events of user `users[b]` that the state at `t` has read, so a term may use
        only what is known after that many events. Users numbered -1 are unknown: they get no residual.
        """

    @abstractmethod
    def unknown(self, items: Tensor, given: Tensor | None = None) -> Tensor:
        """The term of users never seen, from their histories alone.

        `items` (batch, length) item numbers with 0 for padding; `given` (batch, attributes) in [0, 1] is what
        a language model said of them, where one was at hand. Returns (batch, width).
        """

    @abstractmethod
    def options(self) -> dict[str, Any]:
        """JSON-ready sizes from which `blank` makes a term of the same shape."""

    @classmethod
    @abstractmethod
    def blank(cls, **options: Any) -> UserTerm:
        """A term of the right shape whose values are loaded next."""
