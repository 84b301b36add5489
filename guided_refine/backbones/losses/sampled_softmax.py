"""Sampled softmax with the logQ correction.

Bengio and Senécal, "Adaptive Importance Sampling to Accelerate Training of a Neural Probabilistic Language Model",
IEEE Transactions on Neural Networks 2008. With logits z, target t and a draw in which item j is expected m_j times,

    loss = -z_t + log( exp(z_t) + sum over drawn j, j != t, of exp(z_j) / m_j )

The target counts in full and only here: where it is drawn as well (an accidental hit) it is left out. So the sum
under the logarithm is, in expectation over draws, exactly the sum over the catalog, whatever the draw prefers.
The loss itself is below the full one in expectation (Jensen) and meets it as negatives grow: with every card of
the deck dealt, it is full cross-entropy.
"""

from __future__ import annotations

import torch
from torch import Tensor

from guided_refine.backbones.losses.blocks import BLOCK, Span, mean_over_blocks, n_blocks
from guided_refine.backbones.losses.deck import Deck
from guided_refine.config import TrainConfig


def sampled_softmax(
    states: Tensor,
    vectors: Tensor,
    targets: Tensor,
    deck: Deck,
    config: TrainConfig,
    span: Span | None = None,
    *,
    block: int = BLOCK,
) -> Tensor:
    """Mean cross-entropy of targets against `config.negatives` items drawn for each block of places.

    Shapes as in `chunked_cross_entropy`; `deck` says what is drawn (`config.negative_sampling`).

    >>> s, v, t = torch.randn(7, 4), torch.randn(9, 4), torch.arange(7)
    >>> deck = Deck(torch.ones(9, dtype=torch.long), "uniform", torch.Generator())
    >>> everything = TrainConfig(loss="sampled_softmax", negatives=9)
    >>> loss = sampled_softmax(s, v, t, deck, everything)
    >>> torch.allclose(loss, torch.nn.functional.cross_entropy(s @ v.T, t))
    True
    """
    assert config.negatives is not None
    items, log_expected = deck.draw(n_blocks(len(targets), block, span), config.negatives)
    return mean_over_blocks(
        states, vectors, targets, items, _terms, offset=-log_expected, block=block, span=span
    )


def _terms(positive: Tensor, negative: Tensor, hit: Tensor) -> Tensor:
    logits = torch.cat([positive[..., None], negative.masked_fill(hit, -torch.inf)], dim=-1)
    # On CPUs log_softmax takes half the time of logsumexp, whose gradient is a slow exp.
    return -logits.log_softmax(dim=-1)[..., 0]
