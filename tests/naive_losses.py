"""Losses as their papers write them, one place and one item at a time, in plain Python numbers."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from guided_refine.backbones.losses.deck import Deck


@dataclass
class Case:
    """Random states, vectors and targets in float64, and a deck that can be made twice."""

    states: Tensor
    vectors: Tensor
    targets: Tensor
    counts: Tensor
    sampling: str
    seed: int

    @classmethod
    def draw(cls, places: int, items: int, width: int, sampling: str, seed: int) -> Case:
        generator = torch.Generator().manual_seed(seed)
        states, vectors = (
            torch.randn(n, width, dtype=torch.float64, generator=generator).requires_grad_()
            for n in (places, items)
        )
        targets = torch.randint(items, (places,), generator=generator)
        counts = torch.randint(0, 6, (items,), generator=generator)
        return cls(states, vectors, targets, counts, sampling, seed)

    def deck(self) -> Deck:
        return Deck(self.counts, self.sampling, torch.Generator().manual_seed(self.seed))  # type: ignore[arg-type]

    def gradients(self, loss: Tensor) -> tuple[Tensor, ...]:
        # The factor 3 makes sure that what comes from above is passed on.
        return torch.autograd.grad(3 * loss, (self.states, self.vectors))

    def mean(
        self, dealt: Tensor, block: int, loss_of: Callable[[float, list[float], list[int]], float]
    ) -> float:
        """Mean over places of loss_of(logit of the target, logits of its negatives, their items), hits left out."""
        total = 0.0
        for place, target in enumerate(self.targets.tolist()):
            negatives = [j for j in dealt[place // block].tolist() if j != target]
            state = self.states[place].tolist()
            logit = [
                math.fsum(a * b for a, b in zip(state, row, strict=True)) for row in self.vectors.tolist()
            ]
            total += loss_of(logit[target], [logit[j] for j in negatives], negatives)
        return total / len(self.targets)


def assert_slope(case: Case, loss: Callable[[], Tensor], value: Callable[[], float]) -> None:
    """The gradient of `loss`, along a random direction, is how fast the naive `value` grows there."""
    gradients = torch.autograd.grad(loss(), (case.states, case.vectors))
    step, slope = 1e-5, 0.0
    moves = []
    for tensor, gradient in zip((case.states, case.vectors), gradients, strict=True):
        direction = torch.randn(
            tensor.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(case.seed)
        )
        slope += float((gradient * direction).sum())
        moves.append((tensor.data, direction * step))
    values = []
    for sign in (1, -2):
        for data, move in moves:
            data += sign * move
        values.append(value())
    for data, move in moves:
        data += move
    assert math.isclose((values[0] - values[1]) / (2 * step), slope, rel_tol=1e-5, abs_tol=1e-7)


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))
