"""Models some of whose layers see only the last tokens: what that means for our masks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

_SLIDING = "sliding_attention"


@dataclass(frozen=True)
class Windows:
    """Sliding layers see `width` positions, the token's own among them. `kinds`: the kinds of layers of a model that takes
    a mask for each; empty where all layers are alike and take one.
    """

    width: int
    kinds: tuple[str, ...]

    @staticmethod
    def of(config: Any) -> Windows | None:
        """What a model's text configuration says; None where every layer sees everything."""
        if not getattr(config, "use_sliding_window", True):
            return None
        width = getattr(config, "sliding_window", None)
        if not isinstance(width, int) or width <= 0:
            return None
        kinds = tuple(sorted(set(getattr(config, "layer_types", None) or ())))
        return Windows(width, kinds) if not kinds or _SLIDING in kinds else None

    def masks(self, mask: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor) -> Any:
        """What a model is given for an additive `mask` (batch or 1, 1, rows, columns): the mask for layers that see all, and
        one without keys `width` or more positions back for the others. `rows`, `columns`: positions (batch or 1, tokens).
        """
        far = rows.unsqueeze(-1) - columns.unsqueeze(-2) >= self.width
        near = mask.masked_fill(far.unsqueeze(1), torch.finfo(mask.dtype).min)
        return {kind: near if kind == _SLIDING else mask for kind in self.kinds} if self.kinds else near
