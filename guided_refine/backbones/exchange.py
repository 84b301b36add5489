"""One training step of several processes: each reads its rows of the same batch, and their gradients are added up.

Every process draws the whole batch, masks and negatives included, from the same seed, and trains a part of its rows. A
mean over the batch is then the sum of what the parts give, weighed by their places, so that a step is the one that a
single process would take with all the rows.
"""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor, nn

from guided_refine.processes import Processes


class Exchange:
    """Adds up gradients over `processes` after each backward pass; all of `weights` count as used in every step."""

    def __init__(self, weights: Iterable[nn.Parameter], processes: Processes) -> None:
        self.processes = processes
        self.weights = list(weights)
        # One message for all gradients and the loss.
        self._sent = self.weights[0].new_empty(sum(w.numel() for w in self.weights) + 1)
        parts = self._sent.split([*(w.numel() for w in self.weights), 1])
        self._parts = [part.view_as(weight) for part, weight in zip(parts[:-1], self.weights, strict=True)]

    def sum(self, loss: Tensor, count: int, places: int) -> Tensor:
        """Put the sum over processes into every weight's gradient; all processes must call it.

        `loss` is the mean at this process's `count` places of the batch's `places`. Returns the mean over all of them.
        """
        for weight, part in zip(self.weights, self._parts, strict=True):
            if weight.grad is None:
                part.zero_()
            else:
                part.copy_(weight.grad)
            weight.grad = part
        self._sent[-1] = loss.detach() * (count / places) if count else 0.0
        self.processes.sum(self._sent)
        return self._sent[-1].clone()
