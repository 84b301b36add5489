"""Gradient checkpointing for reading by slots: keep each layer's input, compute its inside again on the way back.

transformers' own cannot be used: its second forward runs when nothing says any more what a slot may see.
Chen et al. 2016, Training Deep Nets with Sublinear Memory Cost, https://arxiv.org/abs/1604.06174.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint

from guided_refine.scoring.block_attention import block_attention


@contextmanager
def recomputing(model: Any, wanted: bool = True) -> Iterator[None]:
    """Inside, layers of `model` (a `peft.PeftModel`) that read slots by blocks keep only what goes into them.

    The gradients are the same. Passes over the shared prefix, over whole lines, and those of models whose visibility is
    kept by a mask are computed once as ever. The way back may be taken after leaving.
    """
    if not wanted:
        yield
        return
    from transformers.modeling_layers import GradientCheckpointingLayer

    causal = model.get_base_model()
    layers = [m for m in causal.modules() if isinstance(m, GradientCheckpointingLayer)]
    for layer in layers:
        layer.forward = _twice(layer.forward, causal.config.get_text_config())  # type: ignore[method-assign]
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward  # the class has the plain one


def _twice(plain: Callable[..., Any], config: Any) -> Callable[..., Any]:
    def forward(*inputs: Any, **named: Any) -> Any:
        if not torch.is_grad_enabled() or named.get("slot_blocks") is None:
            return plain(*inputs, **named)

        def inside(*again: Any) -> Any:
            with block_attention(config):
                return plain(*again, **named)

        return checkpoint(inside, *inputs, use_reentrant=False)

    return forward
