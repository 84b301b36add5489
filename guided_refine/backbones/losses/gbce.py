"""gBCE: binary cross-entropy whose positives are weighed down as far as the sampling of negatives overstates them.

Petrov and Macdonald, "gSASRec: Reducing Overconfidence in Sequential Recommendation Trained with Negative Sampling",
RecSys 2023, https://arxiv.org/abs/2308.07192. With k negatives out of a catalog of n, alpha = k / (n - 1), and

    loss = -( beta log sigmoid(z_t) + sum over negatives j of log(1 - sigmoid(z_j)) ) / (k + 1)
    beta = alpha (t (1 - 1/alpha) + 1/alpha) = 1 - t (1 - alpha)

`t` = 0 gives beta = 1, plain binary cross-entropy; `t` = 1 gives beta = alpha, calibrated probabilities.

Differences from the original:

| what      | original                          | here                             | why |
|-----------|-----------------------------------|----------------------------------|-----|
| negatives | drawn for each place              | shared by a block of places      | a matrix product instead of gathering |
| hits      | a target may be its own negative  | left out                         | a target cannot be both |
| positives | logits transformed in float64     | beta softplus(-z_t)              | the same value, no clamps needed |
"""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import softplus

from guided_refine.backbones.losses.blocks import BLOCK, Span, mean_over_blocks, n_blocks
from guided_refine.backbones.losses.deck import Deck
from guided_refine.config import TrainConfig


def gbce(
    states: Tensor,
    vectors: Tensor,
    targets: Tensor,
    deck: Deck,
    config: TrainConfig,
    span: Span | None = None,
    *,
    block: int = BLOCK,
) -> Tensor:
    """Mean gBCE with `config.negatives` items drawn for each block of places and calibration `config.gbce_t`.

    Shapes as in `chunked_cross_entropy`; `deck` is a uniform one.

    >>> import torch
    >>> s, v, t = torch.zeros(7, 4), torch.randn(9, 4), torch.zeros(7, dtype=torch.long)
    >>> deck = Deck(torch.ones(9, dtype=torch.long), "uniform", torch.Generator())
    >>> config = TrainConfig(loss="gbce", negatives=9, gbce_t=1)  # all: eight negatives, alpha = beta = 1
    >>> round(float(gbce(s, v, t, deck, config)), 4)  # 9 log 2 / 10
    0.6238
    """
    assert config.negatives is not None and config.gbce_t is not None
    items = deck.deal(n_blocks(len(targets), block, span), config.negatives)
    beta = calibration(config.negatives, deck.n_items, config.gbce_t)

    def terms(positive: Tensor, negative: Tensor, hit: Tensor) -> Tensor:
        wrong = softplus(negative).masked_fill(hit, 0.0).sum(dim=-1)
        return (beta * softplus(-positive) + wrong) / (negative.shape[-1] + 1)

    return mean_over_blocks(states, vectors, targets, items, terms, block=block, span=span)


def calibration(negatives: int, n_items: int, t: float) -> float:
    """The exponent beta, in (0, 1].

    >>> calibration(250, 1001, 0.0), calibration(250, 1001, 1.0), calibration(5000, 1001, 0.5)
    (1.0, 0.25, 1.0)
    """
    alpha = min(1.0, negatives / max(1, n_items - 1))
    return 1 - t * (1 - alpha)
