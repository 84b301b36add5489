"""Leaving out work whose results nobody looks at: the last layer's feed-forward part for all but the slots' ends.

Behind the last attention no token hears of another any more, and digits are read at the ends of slots only.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.nn import Module, ModuleList


@contextmanager
def only_rows(decoder: Module, rows: torch.Tensor, shape: torch.Size) -> Iterator[None]:
    """Inside, the last layer's feed-forward part computes only the flat indices `rows` of `shape`, (batch, length).

    The other rows of the decoder's last states are worth nothing then. A decoder whose last layer has no part named `mlp`,
    or one whose first argument is not states (batch, length, dim), is left as it is. The layers are taken to be the last
    list of modules; `SlotReader` compares with the whole before it relies on this.
    """
    layers = [m for m in decoder.children() if isinstance(m, ModuleList) and len(m) > 0]
    part = getattr(layers[-1][-1], "mlp", None) if layers else None
    if not isinstance(part, Module):
        yield
        return

    def before(module: Module, given: tuple[Any, ...]) -> tuple[Any, ...]:
        if not given or given[0].ndim != 3 or given[0].shape[:2] != shape:
            return given
        return (given[0].flatten(0, 1)[rows].unsqueeze(0), *given[1:])

    def after(module: Module, given: tuple[Any, ...], found: Any) -> Any:
        # Parts that choose among experts also hand on how they chose.
        if isinstance(found, tuple):
            return (back(found[0]), *found[1:])
        return back(found)

    def back(found: torch.Tensor) -> torch.Tensor:
        if found.shape[:-1] != (1, len(rows)) or shape == (1, len(rows)):
            return found
        whole = found.new_zeros(shape.numel(), found.shape[-1])
        return whole.index_copy(0, rows, found[0]).unflatten(0, shape)

    hooks = [part.register_forward_pre_hook(before), part.register_forward_hook(after)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
