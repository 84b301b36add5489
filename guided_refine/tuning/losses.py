"""The terms of the tuning loss, each a pure function.

    loss = w_rec * recommendation + w_fmt * (template + digit mass) + w_anchor * anchor

Recommendation and format loss follow the description of Guided Embedding Refinement (Jia et al., 2025,
arXiv:2504.11658), which publishes no formulas; the forms below are this project's. The anchor is our addition.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

#: Standard deviations below this (scores lie in [0, 1]) are not divided by: such an attribute hardly tells items
#: apart, and blowing its noise up to unit variance would let it rule the ranking.
SMALLEST_STD = 0.02


@dataclass(frozen=True)
class CatalogScale:
    """Mean and standard deviation of the untuned item scores, shape (attributes,) each; fixed while tuning.

    Fixed, because statistics that move with the tuned scores would hide a collapse of all scores to one value.

    >>> scale = catalog_scale(np.array([[0.0, 0.5], [1.0, 0.5]]))
    >>> scale.mean.tolist(), scale.std.round(2).tolist()
    ([0.5, 0.5], [0.5, 0.02])
    """

    mean: np.ndarray
    std: np.ndarray

    def apply(self, value: Tensor) -> Tensor:
        """z = (value - mean) / std for items and users alike; any shape (..., attributes)."""
        mean = torch.as_tensor(self.mean, dtype=value.dtype, device=value.device)
        std = torch.as_tensor(self.std, dtype=value.dtype, device=value.device)
        return (value - mean) / std


def catalog_scale(item_value: np.ndarray) -> CatalogScale:
    """Statistics of `item_value`, shape (items, attributes); rows with NaN (items without text) are left out."""
    known = item_value[~np.isnan(item_value).any(axis=1)].astype(np.float64)
    if not len(known):
        raise ValueError("no item has a score")
    return CatalogScale(known.mean(axis=0), np.maximum(known.std(axis=0), SMALLEST_STD))


def recommendation_logits(user: Tensor, items: Tensor, temperature: float = 1.0) -> Tensor:
    """<z_u, z_i> / (sqrt(m) * temperature); user (users, m), items (items, m) -> (users, items).

    The root of the number of attributes keeps the logits' variance at one for unrelated unit-variance scores.

    >>> recommendation_logits(torch.ones(1, 4), torch.ones(1, 4)).item()
    2.0
    """
    return user @ items.T / (user.shape[1] ** 0.5 * temperature)


def recommendation_loss(logits: Tensor, target: Tensor, blocked: Tensor) -> Tensor:
    """Softmax cross-entropy of each user's target among the shared candidates.

        mean over u of  -log( exp(l[u, t_u]) / sum over j not blocked for u of exp(l[u, j]) )

    `logits` and `blocked` (bool) have shape (users, items), `target` (users,) holds columns. Blocked candidates
    are accidental hits: items the user has in his training history, which therefore are no negatives.

    >>> loss = recommendation_loss(torch.zeros(1, 3), torch.tensor([0]), torch.tensor([[False, False, True]]))
    >>> round(loss.exp().item(), 4)
    2.0
    """
    return functional.cross_entropy(logits.masked_fill(blocked, float("-inf")), target)


def digit_mass_loss(inside: Tensor) -> Tensor:
    """Minus the mean log probability that a slot's next token is one of the nine digits; any shape.

    >>> round(digit_mass_loss(torch.tensor([0.5, 0.5]).log()).item(), 4)
    0.6931
    """
    return -inside.mean()


def anchor_loss(tuned: Tensor, untuned: Tensor) -> Tensor:
    """KL(tuned || untuned) between digit distributions, mean over reads and attributes, in nats.

        mean over (r, a) of  sum over d of  p[r, a, d] * (log p[r, a, d] - log q[r, a, d])

    Both are logits of shape (reads, attributes, 9); `untuned` gets no gradient. In this direction a tuned score
    is free to grow certain where the untuned model allowed it, but not to move to a digit that it ruled out.

    >>> anchor_loss(torch.zeros(1, 1, 9), torch.zeros(1, 1, 9)).item()
    0.0
    """
    log_p = tuned.float().log_softmax(dim=-1)
    log_q = untuned.detach().float().log_softmax(dim=-1)
    return (log_p.exp() * (log_p - log_q)).sum(dim=-1).mean()
