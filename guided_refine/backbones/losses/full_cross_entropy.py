"""Full softmax cross-entropy over a large catalog without ever holding the positions x items matrix.

With logits z = s V^T the gradients are dL/ds = (p - y) V and dL/dV = (p - y)^T s, where p = softmax(z) and y is
one-hot. The loss is a mean, so both are known in the forward pass: each chunk of positions makes its logits,
adds to both gradients, and is forgotten. Nothing is computed twice. Powers are of two, not of e: on CPUs torch's exp2
takes a quarter of the time of its exp.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from guided_refine.backbones.losses.blocks import Span
from guided_refine.backbones.losses.deck import Deck
from guided_refine.config import TrainConfig

# Elements of one chunk of logits: small enough to stay in a CPU's cache, large enough to fill a GPU.
CPU_ELEMENTS, GPU_ELEMENTS = 1 << 21, 1 << 26
MIN_ROWS = 128
# Narrow products are made in rows of a multiple of this many: torch keeps compiled code for every shape that it has met
# in bfloat16 (60 MiB more in every epoch of MovieLens 1M, without end), so shapes have to come back.
NARROW_BLOCK = 128
_LOG2_E = 1 / math.log(2)


class _ChunkedCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, states: Tensor, vectors: Tensor, targets: Tensor, rows: int, dtype: torch.dtype
    ) -> Tensor:
        n = states.shape[0]
        need_states, need_vectors = ctx.needs_input_grad[:2]
        grad_states = torch.empty_like(states) if need_states else None
        grad_vectors = torch.zeros_like(vectors) if need_vectors else None
        total = states.new_zeros((), dtype=torch.float64)
        v = vectors.to(dtype)
        low = v.dtype != vectors.dtype
        block = NARROW_BLOCK if low else 1
        buffer = v.new_empty(min(rows, math.ceil(n / block) * block), v.shape[0])
        wide = torch.empty_like(buffer, dtype=vectors.dtype) if low else buffer
        for start in range(0, n, rows):
            s, t = states[start : start + rows], targets[start : start + rows, None]
            real = len(s)
            spare = min(-real % block, len(buffer) - real)
            if spare:  # states of zeros: they add nothing to the vectors' gradient
                s, t = nn.functional.pad(s, (0, 0, 0, spare)), nn.functional.pad(t, (0, 0, 0, spare))
            narrow, z = buffer[: len(s)], wide[: len(s)]
            torch.mm((s * _LOG2_E).to(dtype), v.T, out=narrow)
            if low:
                z.copy_(narrow)
            z -= z.amax(dim=1, keepdim=True)
            at_target = z.gather(1, t)
            torch.exp2(z, out=z)
            norm = z.sum(dim=1, keepdim=True)
            total += (norm.log2() - at_target)[:real].sum(dtype=torch.float64)
            # From here on z / norm is p - y; dividing the narrow factors by norm spares a pass over z.
            z.scatter_add_(1, t, -norm)
            if low:
                narrow.copy_(z)
            if grad_states is not None:
                torch.div(torch.mm(narrow, v)[:real], norm[:real], out=grad_states[start : start + real])
            if grad_vectors is not None:
                _add_product(grad_vectors, narrow.T, (s / norm).to(dtype))
        ctx.grads = (grad_states, grad_vectors, n)
        return (total / (n * _LOG2_E)).to(states.dtype)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        grad_states, grad_vectors, n = ctx.grads
        factor = grad_outputs[0] / n
        return (
            None if grad_states is None else grad_states * factor,
            None if grad_vectors is None else grad_vectors * factor,
            None,
            None,
            None,
        )


def _add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """total += left @ right, summed over chunks in the precision of `total`."""
    if left.dtype == total.dtype:
        total.addmm_(left, right)
    else:
        total += torch.mm(left, right)


def chunked_cross_entropy(
    states: Tensor,
    vectors: Tensor,
    targets: Tensor,
    *,
    rows: int | None = None,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """Mean cross-entropy of `targets` under softmax(states @ vectors.T).

    Args:
        states: (positions, width), real positions only.
        vectors: (n_items, width).
        targets: (positions,), rows of `vectors`.
        rows: positions per chunk; default: what fits the processor's cache.
        dtype: what the matrix products take in (default: what `states` have). With bfloat16 the softmax, the loss and
            the sums over chunks stay as wide as `states`.

    Memory: rows x n_items for the logits, however many positions there are. Once differentiable.

    >>> s, v, t = torch.randn(7, 4), torch.randn(9, 4), torch.arange(7)
    >>> torch.allclose(chunked_cross_entropy(s, v, t), torch.nn.functional.cross_entropy(s @ v.T, t))
    True
    """
    if rows is None:
        elements = GPU_ELEMENTS if states.is_cuda else CPU_ELEMENTS
        rows = max(MIN_ROWS, elements // max(1, vectors.shape[0]))
    loss: Tensor = _ChunkedCrossEntropy.apply(
        states.contiguous(), vectors.contiguous(), targets, rows, dtype or states.dtype
    )
    return loss


def full_cross_entropy(
    states: Tensor,
    vectors: Tensor,
    targets: Tensor,
    deck: Deck | None,
    config: TrainConfig,
    span: Span | None = None,
) -> Tensor:
    """`chunked_cross_entropy` as `SequenceModel` calls a loss; no negatives are drawn, so `span` makes no difference.

    >>> s, v, t = torch.randn(7, 4), torch.randn(9, 4), torch.arange(7)
    >>> torch.equal(full_cross_entropy(s, v, t, None, TrainConfig()), chunked_cross_entropy(s, v, t))
    True
    """
    return chunked_cross_entropy(states, vectors, targets, dtype=getattr(torch, config.precision))
