"""Runs a loss over a few negatives block by block, in memory that does not grow with the number of places.

Negatives are shared by a block of neighbouring places. One shared by all places of a batch would be the cheapest, but
then a step learns from a few hundred items only; drawn for each place they would have to be gathered for each place, and
a matrix product would become a pass over memory. Shared by a block the product stays one, every block meets other
items, and the logits of a block fit a processor's cache.

The loss is a mean, so gradients are taken in the forward pass, as in `full_cross_entropy`: a block is forgotten
before the next one starts, and the item table gets one gradient instead of one per lookup.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

# Places that share their negatives. The same on every device, so that a training is, too.
BLOCK = 256
# Logits that are handled at once.
CPU_ELEMENTS, GPU_ELEMENTS = 1 << 19, 1 << 26

Terms = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(positive (blocks, block), negative (blocks, block, k), hit (blocks, block, k)) -> loss of each place (blocks, block).
The first two are logits; `hit` marks negatives that are the place's own target."""


@dataclass(frozen=True)
class Span:
    """The places of one process in a batch that several share: `first` and those behind it, of `places` in all.

    Blocks are cut, and negatives dealt, for the whole batch: a place meets the same ones whoever trains it.
    """

    first: int
    places: int


class _Blockwise(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        states: Tensor,
        vectors: Tensor,
        targets: Tensor,
        items: Tensor,
        offset: Tensor | None,
        terms: Terms,
        block: int,
        first: int,
    ) -> Tensor:
        n, width = states.shape
        need_states, need_vectors = ctx.needs_input_grad[:2]
        grad_states = torch.empty_like(states) if need_states else None
        grad_vectors = torch.zeros_like(vectors) if need_vectors else None
        total = states.new_zeros((), dtype=torch.float64)
        elements = GPU_ELEMENTS if states.is_cuda else CPU_ELEMENTS
        for places, rows in _pieces(n, block, max(1, elements // (block * items.shape[1])), first):
            target, drawn = targets[places], items[rows]
            shape = (len(drawn), -1, width)
            leaves = [
                states[places].view(shape).detach().requires_grad_(need_states),
                vectors[target].view(shape).detach().requires_grad_(need_vectors),
                vectors[drawn].detach().requires_grad_(need_vectors),
            ]
            state, own, others = leaves
            with torch.enable_grad():
                logits = state @ others.mT
                if offset is not None:
                    logits = logits + offset[rows, None].to(logits.dtype)
                hit = drawn[:, None] == target.view(len(drawn), -1, 1)
                loss = terms((state * own).sum(dim=-1), logits, hit).sum()
            total += loss.detach()
            if grad_states is None and grad_vectors is None:
                continue
            grads = iter(torch.autograd.grad(loss, [leaf for leaf in leaves if leaf.requires_grad]))
            if grad_states is not None:
                grad_states[places] = next(grads).reshape(-1, width)
            if grad_vectors is not None:
                for index, grad in ((target, next(grads)), (drawn.view(-1), next(grads))):
                    # Several times faster on a CPU than index_add_.
                    grad_vectors.scatter_add_(0, index[:, None].expand(-1, width), grad.reshape(-1, width))
        ctx.grads = (grad_states, grad_vectors, n)
        return (total / n).to(states.dtype)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        grad_states, grad_vectors, n = ctx.grads
        # What follows is in place, since a copy of a large table's gradient would cost more than the loss.
        ctx.grads = None
        factor = grad_outputs[0] / n
        return (
            None if grad_states is None else grad_states.mul_(factor),
            None if grad_vectors is None else grad_vectors.mul_(factor),
            None,
            None,
            None,
            None,
            None,
            None,
        )


def _pieces(n: int, block: int, at_once: int, first: int) -> Iterator[tuple[slice, slice]]:
    """Slices of `n` places, the first of them number `first` of its batch, and of the blocks they are in: whole blocks
    together, a shorter one at either end apart."""
    begun, lead = divmod(first, block)
    if lead:
        # What is left of a block whose beginning another process has.
        lead = min(n, block - lead)
        yield slice(0, lead), slice(begun, begun + 1)
        begun += 1
    whole = (n - lead) // block
    for start in range(0, whole, at_once):
        stop = min(whole, start + at_once)
        yield slice(lead + start * block, lead + stop * block), slice(begun + start, begun + stop)
    if (n - lead) % block:
        yield slice(lead + whole * block, n), slice(begun + whole, begun + whole + 1)


def n_blocks(places: int, block: int, span: Span | None = None) -> int:
    """How many draws `places` need, or the whole batch where they are a `span` of one.

    >>> n_blocks(5, 2), n_blocks(5, 2, Span(first=3, places=8))
    (3, 4)
    """
    return -(-(places if span is None else span.places) // block)


def mean_over_blocks(
    states: Tensor,
    vectors: Tensor,
    targets: Tensor,
    items: Tensor,
    terms: Terms,
    *,
    offset: Tensor | None = None,
    block: int = BLOCK,
    span: Span | None = None,
) -> Tensor:
    """Mean of `terms` over all places.

    Args:
        states: (positions, width), real positions only.
        vectors: (n_items, width).
        targets: (positions,), rows of `vectors`.
        items: negatives of each block, rows of `vectors`, (blocks, k).
        terms: the loss of each place from its logits.
        offset: added to the logits of `items`, (blocks, k).
        block: places that share a row of `items`.
        span: where the places stand in a batch that several processes share; `items` and `offset` are the whole batch's.

    Once differentiable, and backward runs once. Memory beside the gradients: some blocks of logits, however many
    positions there are.
    """
    loss: Tensor = _Blockwise.apply(
        states.contiguous(),
        vectors.contiguous(),
        targets,
        items,
        offset,
        terms,
        block,
        0 if span is None else span.first,
    )
    return loss
