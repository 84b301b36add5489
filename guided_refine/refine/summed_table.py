"""`SummedTable`: e_i = v_i + z_i D, attributes added to free vectors instead of put in the place of some columns.

v (n_items, width) and D (attributes, width) train, z (n_items, attributes) are normalised scores and stay. What it serves
has `width` columns, however many attributes there are. A score h.e_i is h.v_i + sum_a z_ia (h.D_a), so it still splits
exactly: the user's weight on attribute a is h.D_a.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from guided_refine.refine.table import GuidedTable


class SummedTable(GuidedTable):
    """Item vectors that are a trained linear map of `guided`, plus free vectors where there are any.

    `guided` (n_items, attributes) stays what it is, unless it is `trainable`; `adapter` (attributes, width) and `free`
    (n_items, width) train. The scale of the scores is 1: the map has its own.

    >>> guided = torch.tensor([[1.0], [-1.0]])
    >>> table = SummedTable(guided, adapter=torch.tensor([[0.5, 0.0]]), free=torch.ones(2, 2))
    >>> table.matrix().tolist()
    [[1.5, 1.0], [0.5, 1.0]]
    >>> state = torch.tensor([2.0, 1.0])
    >>> table.read(state).tolist(), torch.equal(table.columns() @ table.read(state), table.matrix() @ state)
    ([2.0, 1.0, 1.0], True)
    """

    def __init__(
        self, guided: Tensor, adapter: Tensor, free: Tensor | None, *, trainable: bool = False
    ) -> None:
        super().__init__()
        self.n_items, self.attributes = guided.shape
        self.width, self.scale, self.trainable = adapter.shape[1], 1.0, trainable
        self.free = None if free is None else nn.Parameter(free.detach().float().clone())
        self.adapter = nn.Parameter(adapter.detach().float().clone())
        # A parameter even where it is frozen, so that the weights' names do not depend on `trainable`.
        self.guided = nn.Parameter(guided.detach().float().clone(), requires_grad=trainable)

    def matrix(self) -> Tensor:
        """Vectors of all items, shape (n_items, width)."""
        mapped = self.guided @ self.adapter
        return mapped if self.free is None else self.free + mapped

    def columns(self) -> Tensor:
        """[free vectors ; scores], shape (n_items, width + attributes); without free vectors only the scores."""
        return self.guided if self.free is None else torch.cat([self.free, self.guided], dim=1)

    def read(self, states: Tensor) -> Tensor:
        """[state ; state times each attribute's direction], shape (..., width + attributes)."""
        weights = states @ self.adapter.T
        return weights if self.free is None else torch.cat([states, weights], dim=-1)

    def folded(self, columns: Tensor) -> Tensor:
        """The vectors (..., width) of items with these columns."""
        mapped = columns[..., -self.attributes :] @ self.adapter
        return mapped if self.free is None else columns[..., : self.width] + mapped

    @torch.no_grad()
    def put_free(self, rows: Tensor, free: Tensor) -> None:
        """Free vectors; there must be some."""
        assert self.free is not None, "a table without free vectors has none to put"
        self.free[rows] = free

    def with_items(self, free: Tensor, guided: Tensor) -> SummedTable:
        """This table with further items behind its own."""
        own = None if self.free is None else torch.cat([self.free.detach(), free])
        both = torch.cat([self.guided.detach(), guided])
        return SummedTable(both, self.adapter, own, trainable=self.trainable)

    def options(self) -> dict[str, Any]:
        """Sizes, whether there are free vectors, and whether the scores train."""
        return {
            "n_items": self.n_items,
            "attributes": self.attributes,
            "width": self.width,
            "free": self.free is not None,
            "trainable": self.trainable,
        }

    @classmethod
    def blank(cls, **options: Any) -> SummedTable:
        """A table whose values are loaded next."""
        n, m, width = options["n_items"], options["attributes"], options["width"]
        free = torch.zeros(n, width) if options["free"] else None
        return cls(torch.zeros(n, m), torch.zeros(m, width), free, trainable=options["trainable"])


def fresh_sum(guided: Tensor, width: int, *, seed: int, free: bool, std: float = 0.02) -> SummedTable:
    """A table to be trained from nothing: free vectors as an `IdTable` draws them, a map that adds as much spread (`std`).

    >>> table = fresh_sum(torch.randn(5, 12), width=4, seed=0, free=True)
    >>> table.matrix().shape, sorted(name for name, p in table.named_parameters() if p.requires_grad)
    (torch.Size([5, 4]), ['adapter', 'free'])
    """
    generator = torch.Generator().manual_seed(seed)
    own = torch.randn(len(guided), width, generator=generator) * std if free else None
    return SummedTable(guided, directions(guided.shape[1], width, std, generator), own)


def directions(attributes: int, width: int, spread: float, generator: torch.Generator) -> Tensor:
    """A random map (attributes, width) that gives normalised scores columns with a standard deviation of `spread`."""
    drawn = torch.randn(attributes, width, generator=generator)
    return drawn * (spread / max(1, attributes) ** 0.5)
