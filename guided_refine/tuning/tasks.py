"""What the scores are to be good for: the recommendation term of the loss, one class or function per task.

A task gets the normalised soft scores of one whole step and returns one number to lower. Guided Embedding Refinement
(Jia et al., 2025, arXiv:2504.11658) names the base recommender's own task, a like/dislike task, and any other that the
operator cares about; it publishes no formulas, so the forms here are this project's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from guided_refine.tuning.batches import TuneBatch
from guided_refine.tuning.losses import recommendation_logits, recommendation_loss


@dataclass(frozen=True)
class StepScores:
    """Normalised soft scores of one step: `users` (examples, attributes) and `items` (candidates, attributes).

    Rows follow `batch.users` and `batch.items`. Both carry gradients, but for the side that `tune.side` holds still.
    """

    batch: TuneBatch
    users: Tensor
    items: Tensor

    @property
    def logits(self) -> Tensor:
        """<z_u, z_i> / sqrt(attributes), shape (examples, candidates)."""
        return recommendation_logits(self.users, self.items)

    @property
    def target(self) -> Tensor:
        """Column in `items` of what each example is to predict, shape (examples,)."""
        return torch.as_tensor(self.batch.target, device=self.users.device)

    @property
    def blocked(self) -> Tensor:
        """Candidates that are no negatives for an example: the user has them in his history; (examples, candidates)."""
        return torch.as_tensor(self.batch.blocked, device=self.users.device)


class Task(Protocol):
    """A task of one's own: any callable of this form, given to `tune(..., task=...)`.

    It sees all examples of a step at once, whatever `tune.micro_batch_size` and however many processes tune, and must be
    differentiable in both sides. A changed task is tuned anew: it is known by its attribute `name`, or else by its source
    and all values that it holds (see `guided_refine.tuning.identity`).

    >>> def margin(scores: StepScores) -> Tensor:  # the target one ahead of the best other candidate
    ...     own = scores.logits.gather(1, scores.target[:, None])
    ...     best = scores.logits.masked_fill(scores.blocked, -1e9).scatter(1, scores.target[:, None], -1e9).amax(1)
    ...     return (1 - own[:, 0] + best).clamp(min=0).mean()
    >>> two = np.zeros((1, 2), bool)
    >>> batch = TuneBatch(0, *(np.zeros(1, int),) * 2, np.array([1, 2]), np.array([0]), two, *(np.zeros(0, int),) * 2)
    >>> margin(StepScores(batch, torch.ones(1, 4), torch.tensor([[1.0] * 4, [0.25] * 4]))).item()
    0.0
    """

    def __call__(self, scores: StepScores, /) -> Tensor:
        """The loss of a step, a mean over its examples."""
        ...


def next_item(scores: StepScores) -> Tensor:
    """Softmax cross-entropy of the next item among the step's candidates; see `losses.recommendation_loss`."""
    return recommendation_loss(scores.logits, scores.target, scores.blocked)


@dataclass(frozen=True)
class LikeDislike:
    """Binary cross-entropy of "does this user like this item" on the step's (history, item) pairs.

        mean over e of  -( y_e log p_e + (1 - y_e) log(1 - p_e) ),   p_e = sigmoid(<z_u, z_i> / sqrt(m) + offset)

    `offset` is the log odds of a like in the training part: scores then need not carry how common likes are.
    `labels` of the batch are 1 or 0.
    """

    offset: float

    def __call__(self, scores: StepScores) -> Tensor:
        """The mean over the step's pairs."""
        assert scores.batch.labels is not None
        own = scores.logits.gather(1, scores.target.unsqueeze(1)).squeeze(1) + self.offset
        labels = torch.as_tensor(scores.batch.labels, dtype=own.dtype, device=own.device)
        return functional.binary_cross_entropy_with_logits(own, labels)


class BaseScores(Protocol):
    """What a trained recommender says by itself, as far as the refined model keeps it."""

    @property
    def fingerprint(self) -> str:
        """Hash of what the scores come from."""

    @property
    def weight(self) -> float:
        """What a product of normalised attribute scores counts beside these scores."""

    def __call__(self, users: np.ndarray, positions: np.ndarray, items: np.ndarray) -> np.ndarray:
        """Scores (examples, candidates) for item numbers `items`; user `users[e]` has seen events 0..positions[e]-1."""


@dataclass(frozen=True)
class BaseRecommender:
    """The base recommender's own task: its frozen score plus that of the attributes, softmax over the candidates.

        s[u, i] = base(u, i) + weight * <z_u, z_i>

    which is the dot product of refined vectors [PCA part ; scores]. The gradient reaches the scores only, so they learn
    what the base does not say already.
    """

    base: BaseScores

    def __call__(self, scores: StepScores) -> Tensor:
        """The mean over the step's examples."""
        batch = scores.batch
        said = torch.as_tensor(
            self.base(batch.users, batch.positions, batch.items),
            dtype=scores.users.dtype,
            device=scores.users.device,
        )
        logits = said + self.base.weight * scores.users @ scores.items.T
        return recommendation_loss(logits, scores.target, scores.blocked)
