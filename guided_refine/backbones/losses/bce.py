"""BCE: binary cross-entropy against one random negative per place, the loss of the original SASRec.

Kang and McAuley, "Self-Attentive Sequential Recommendation", ICDM 2018, equation 6, https://arxiv.org/abs/1808.09781.
It is the known-weak control: half of what it sees are positives, so it learns probabilities far too high.

    loss = -( log sigmoid(z_t) + log(1 - sigmoid(z_j)) ) / 2

Differences from the original:

| what      | original                     | here                       | why |
|-----------|------------------------------|----------------------------|-----|
| negatives | none of the user's own items | any item but the target    | needs no look at histories |
| draws     | independent                  | dealt from a shuffled deck | every item has its turn |
| terms     | their sum                    | their mean                 | gBCE with t = 0; Adam ignores the factor |
"""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import softplus

from guided_refine.backbones.losses.blocks import Span, mean_over_blocks, n_blocks
from guided_refine.backbones.losses.deck import Deck
from guided_refine.config import TrainConfig


def bce(
    states: Tensor,
    vectors: Tensor,
    targets: Tensor,
    deck: Deck,
    config: TrainConfig,
    span: Span | None = None,
) -> Tensor:
    """Mean binary cross-entropy of each target and one item dealt for its place; shapes as in `chunked_cross_entropy`.

    >>> import torch
    >>> s, v, t = torch.zeros(7, 4), torch.randn(9, 4), torch.zeros(7, dtype=torch.long)
    >>> deck = Deck(torch.ones(9, dtype=torch.long), "uniform", torch.Generator().manual_seed(1))
    >>> loss = bce(s, v, t, deck, TrainConfig(loss="bce"))  # log 2 but where the target was dealt
    >>> bool(loss > 0.9 * torch.tensor(2.0).log())
    True
    """
    items = deck.deal(n_blocks(len(targets), 1, span), 1)
    return mean_over_blocks(states, vectors, targets, items, _terms, block=1, span=span)


def _terms(positive: Tensor, negative: Tensor, hit: Tensor) -> Tensor:
    return (softplus(-positive) + softplus(negative[..., 0]).masked_fill(hit[..., 0], 0.0)) / 2
