"""Item vectors that attribute scores are part of, and the way they are in the paper.

`RefinedTable`: e_i = [trainable columns from the base ; frozen guided columns].

Guided Embedding Refinement, Jia et al. 2025, https://arxiv.org/abs/2504.11658
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

from guided_refine.backbones.tables import ItemTable


class GuidedTable(ItemTable):
    """A table whose vectors can be written as columns, of which the last `attributes` are one attribute each.

    The dot product of a state with a vector is that of `read(state)` with the item's row of `columns()`, so a score splits
    by attribute however the attributes were joined with the rest. `scale` times a normalised score is what stands in an
    attribute's column.
    """

    attributes: int
    scale: float
    guided: Tensor

    @abstractmethod
    def columns(self) -> Tensor:
        """All items as columns, shape (n_items, free + attributes)."""

    @abstractmethod
    def read(self, states: Tensor) -> Tensor:
        """What states (..., width) multiply the columns with, shape (..., free + attributes)."""

    @abstractmethod
    def folded(self, columns: Tensor) -> Tensor:
        """The vectors (..., width) of items with these columns (..., free + attributes)."""

    @abstractmethod
    def put_free(self, rows: Tensor, free: Tensor) -> None:
        """Put free columns (rows, free) in the place of those of some rows; nothing trains by it."""

    @abstractmethod
    def with_items(self, free: Tensor, guided: Tensor) -> GuidedTable:
        """This table with further items behind its own: `free` (new, free), `guided` (new, attributes), scaled."""


class RefinedTable(GuidedTable):
    """Item vectors whose last columns are normalised attribute scores times one fixed scale.

    `reduced` (n_items, width - attributes) trains and may have no columns at all; `guided`
    (n_items, attributes) never changes.

    >>> table = RefinedTable(torch.zeros(2, 3), torch.tensor([[1.0], [-1.0]]), scale=0.5)
    >>> table.matrix().tolist()
    [[0.0, 0.0, 0.0, 0.5], [0.0, 0.0, 0.0, -0.5]]
    """

    def __init__(self, reduced: Tensor, guided: Tensor, scale: float) -> None:
        super().__init__()
        self.n_items = len(reduced)
        self.attributes = guided.shape[1]
        self.width = reduced.shape[1] + self.attributes
        self.scale = float(scale)
        self.reduced = nn.Parameter(reduced.detach().float().clone(), requires_grad=reduced.shape[1] > 0)
        self.register_buffer("guided", guided.detach().float() * self.scale)

    def matrix(self) -> Tensor:
        """Vectors of all items, shape (n_items, width)."""
        return torch.cat([self.reduced, self.guided], dim=1)

    def columns(self) -> Tensor:
        """The vectors themselves."""
        return self.matrix()

    def read(self, states: Tensor) -> Tensor:
        """The states themselves."""
        return states

    def folded(self, columns: Tensor) -> Tensor:
        """The columns themselves."""
        return columns

    @torch.no_grad()
    def put_free(self, rows: Tensor, free: Tensor) -> None:
        """Columns of the reduced base."""
        self.reduced[rows] = free

    def with_items(self, free: Tensor, guided: Tensor) -> RefinedTable:
        """This table with further items behind its own."""
        more = RefinedTable.blank(**{**self.options(), "n_items": self.n_items + len(free)})
        parts = {
            "reduced": torch.cat([self.reduced.detach(), free]),
            "guided": torch.cat([self.guided, guided]),
        }
        more.load_state_dict(parts)
        return more

    def options(self) -> dict[str, Any]:
        """Sizes and the scale of the guided columns."""
        return {
            "n_items": self.n_items,
            "width": self.width,
            "attributes": self.attributes,
            "scale": self.scale,
        }

    @classmethod
    def blank(cls, **options: Any) -> RefinedTable:
        """A table whose values are loaded next."""
        n, m = options["n_items"], options["attributes"]
        return cls(torch.zeros(n, options["width"] - m), torch.zeros(n, m), options["scale"])


def guided_scale(reduced: Tensor, guided: Tensor, wanted: float) -> float:
    """The factor that gives guided columns `wanted` times the mean standard deviation of the reduced columns.

    Both sides are means over columns with any variation. 1 where either side has none.

    >>> guided_scale(torch.tensor([[0.0], [4.0]]), torch.tensor([[-1.0], [1.0]]), wanted=0.5)
    1.0
    """

    def spread(columns: Tensor) -> float:
        std = columns.double().std(dim=0, unbiased=False)
        return float(std[std > 0].mean()) if bool((std > 0).any()) else 0.0

    base, own = spread(reduced), spread(guided)
    return wanted * base / own if base > 0 and own > 0 else 1.0
