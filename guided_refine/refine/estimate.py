"""Scores of users that no language model has read: estimated from the scores of their items."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

# Ridge strength per fitted user: enough to keep the map steady with a handful of users, nothing with hundreds.
RIDGE = 1.0


class HistoryEstimate(nn.Module):
    """user scores = mean of the history's item scores times `map`, plus `offset`; all normalised.

    `item_scores` (n_items, attributes), `map` (attributes, attributes), `offset` (attributes,).
    """

    item_scores: Tensor
    map: Tensor
    offset: Tensor

    def __init__(self, item_scores: Tensor, map_: Tensor, offset: Tensor) -> None:
        super().__init__()
        self.register_buffer("item_scores", item_scores.float())
        self.register_buffer("map", map_.float())
        self.register_buffer("offset", offset.float())

    def forward(self, items: Tensor) -> Tensor:
        """Histories (batch, length), 0 for padding -> normalised scores (batch, attributes)."""
        real = (items > 0)[..., None].to(self.item_scores.dtype)
        read = self.item_scores[(items - 1).clamp(min=0)] * real
        mean = read.sum(dim=1) / real.sum(dim=1).clamp(min=1)
        estimated: Tensor = mean @ self.map.T + self.offset
        return estimated


def fit_estimate(item_scores: np.ndarray, histories: list[np.ndarray], known: np.ndarray) -> HistoryEstimate:
    """Ridge regression from the mean item scores of `histories` to the users' scores `known`.

    `item_scores` (n_items, attributes) and `known` (histories, attributes) are normalised; histories hold item
    numbers from training prefixes. Without any history every estimate is 0, the catalog's middle.

    >>> scores = np.eye(3)
    >>> estimate = fit_estimate(scores, [np.array([1]), np.array([2]), np.array([3])] * 99, np.tile(scores, (99, 1)))
    >>> estimate(torch.tensor([[2, 0]])).argmax().item()
    1
    """
    from sklearn.linear_model import Ridge

    m = item_scores.shape[1]
    rows = [i for i, history in enumerate(histories) if len(history)]
    table = torch.from_numpy(np.asarray(item_scores, dtype=np.float32))
    if not rows:
        return HistoryEstimate(table, torch.zeros(m, m), torch.zeros(m))
    means = np.stack([item_scores[histories[i] - 1].mean(axis=0) for i in rows])
    ridge = Ridge(alpha=RIDGE).fit(means, known[rows])
    coefficients = np.asarray(ridge.coef_).reshape(m, m)
    return HistoryEstimate(
        table, torch.from_numpy(coefficients), torch.from_numpy(np.atleast_1d(ridge.intercept_))
    )
