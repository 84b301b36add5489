"""Dropout whose random numbers are cheap on a CPU.

torch draws one 32-bit number per element there, a tenth of a training's time at a width of 64. Here four elements share one
64-bit draw, so the share is exact to 1/65,536.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

_LEVELS = 1 << 16


class _Masked(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, keep: Tensor, factor: float) -> Tensor:
        ctx.save_for_backward(keep)
        ctx.factor = factor
        return (x * keep).mul_(factor)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None, None]:
        (keep,) = ctx.saved_tensors
        return (grad_outputs[0] * keep).mul_(ctx.factor), None, None


class Dropout(nn.Module):
    """Zeroes a share of the elements in training and scales the rest up; does nothing in evaluation. Any shape.

    >>> kept = Dropout(0.25)(torch.ones(1000, 100))
    >>> sorted({round(float(v), 3) for v in kept.unique()})
    [0.0, 1.333]
    >>> bool(Dropout(0.25).eval()(torch.ones(9)).eq(1).all())
    True
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, x: Tensor) -> Tensor:
        """The input with a new random mask each call."""
        if not self.training or self.share == 0:
            return x
        if x.device.type != "cpu":
            return nn.functional.dropout(x, self.share)
        draws = torch.empty((x.numel() + 3) // 4, dtype=torch.int64).random_(-(2**63), None).view(torch.int16)
        dropped = min(_LEVELS - 1, round(self.share * _LEVELS))
        keep = (draws[: x.numel()] >= dropped - _LEVELS // 2).view(x.shape)
        out: Tensor = _Masked.apply(x, keep, _LEVELS / (_LEVELS - dropped))
        return out

    def extra_repr(self) -> str:
        """Shown by `print(model)`."""
        return f"share={self.share}"
