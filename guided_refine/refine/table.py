"""`RefinedTable`: e_i = [trainable columns from the base ; frozen guided columns].

Guided Embedding Refinement, Jia et al. 2025, https://arxiv.org/abs/2504.11658
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from guided_refine.backbones.tables import ItemTable


class RefinedTable(ItemTable):
    """Item vectors whose last columns are normalised attribute scores times one fixed scale.

    `reduced` (n_items, width - attributes) trains and may have no columns at all; `guided`
    (n_items, attributes) never changes.

    >>> table = RefinedTable(torch.zeros(2, 3), torch.tensor([[1.0], [-1.0]]), scale=0.5)
    >>> table.matrix().tolist()
    [[0.0, 0.0, 0.0, 0.5], [0.0, 0.0, 0.0, -0.5]]
    """

    guided: Tensor

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
