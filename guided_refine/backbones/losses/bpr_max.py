"""BPR-max: pairwise ranking in which a negative counts as much as it threatens to win; GRU4Rec's ranking loss.

Hidasi and Karatzoglou, "Recurrent Neural Networks with Top-k Gains for Session-based Recommendations", CIKM 2018,
equation 10 with the score regularisation of section 3.3, https://arxiv.org/abs/1706.03847. With scores r = elu(z), target t
and s the softmax of r over the negatives,

    loss = -log( sum over j of s_j sigmoid(r_t - r_j) ) + R sum over j of s_j r_j^2

Differences from the original:

| what      | original                              | here                              | why |
|-----------|---------------------------------------|-----------------------------------|-----|
| hits      | only a place's own column is left out | every negative that is its target | a target cannot be both |
| logarithm | of a sum plus 1e-24                   | a difference of log-sum-exps      | exact for any score |

Ranking is by z: elu never falls, so the order is that of r.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import elu, logsigmoid

from guided_refine.backbones.losses.blocks import BLOCK, Span, mean_over_blocks, n_blocks
from guided_refine.backbones.losses.deck import Deck
from guided_refine.config import TrainConfig

# The authors' defaults.
ELU_ALPHA, REGULARISATION = 0.5, 1.0
# Far below any score, yet a number: a place whose negatives are all hits then has a loss of zero, not of NaN.
_NEVER = -1e30


def bpr_max(
    states: Tensor,
    vectors: Tensor,
    targets: Tensor,
    deck: Deck,
    config: TrainConfig,
    span: Span | None = None,
    *,
    block: int = BLOCK,
) -> Tensor:
    """Mean BPR-max of targets over `config.negatives` items drawn for each block of places.

    Shapes as in `chunked_cross_entropy`; `deck` says what is drawn (`config.negative_sampling`).

    >>> s, v, t = torch.zeros(7, 4), torch.randn(9, 4), torch.arange(7)
    >>> deck = Deck(torch.ones(9, dtype=torch.long), "uniform", torch.Generator())
    >>> round(float(bpr_max(s, v, t, deck, TrainConfig(loss="bpr_max", negatives=4))), 4)  # log 2
    0.6931
    """
    assert config.negatives is not None
    items, _ = deck.draw(n_blocks(len(targets), block, span), config.negatives)
    return mean_over_blocks(states, vectors, targets, items, _terms, block=block, span=span)


def _terms(positive: Tensor, negative: Tensor, hit: Tensor) -> Tensor:
    target, others = elu(positive, ELU_ALPHA), elu(negative, ELU_ALPHA)
    log_share = others.masked_fill(hit, _NEVER).log_softmax(dim=-1)
    wins = logsigmoid(target[..., None] - others).masked_fill(hit, 0.0)
    size = (log_share.exp() * others.square().masked_fill(hit, 0.0)).sum(dim=-1)
    return REGULARISATION * size - torch.logsumexp(log_share + wins, dim=-1)
