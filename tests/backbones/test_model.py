"""A batch trained in shares: loss and gradients of all rows are what the shares give together."""

from __future__ import annotations

import pytest
import torch
from synthetic import random_dataset

from guided_refine.backbones.histories import Histories
from guided_refine.backbones.losses.deck import Deck
from guided_refine.backbones.model import ENCODERS, SequenceModel
from guided_refine.backbones.tables import IdTable
from guided_refine.config import TrainConfig

OBJECTIVES = {"cross_entropy": {}, "sampled_softmax": {"negatives": 5}, "bpr_max": {"negatives": 5}}


@pytest.mark.parametrize("loss", OBJECTIVES)
@pytest.mark.parametrize("kind", ENCODERS)
def test_shares_of_a_batch_add_up_to_the_batch(kind: str, loss: str) -> None:
    data = random_dataset(users=20)
    sequences = [data.visible(u, "train") for u in range(data.n_users)]
    histories = Histories.stack(sequences)
    lengths = histories.length.clamp(max=7)
    config = TrainConfig(width=8, max_length=6, dropout=0, loss=loss, **OBJECTIVES[loss])

    def gradients(shares: list[slice | None]) -> tuple[float, torch.Tensor]:
        """Mean loss and gradient over all places of the first steps of an epoch."""
        total, places = 0.0, 0
        summed: list[torch.Tensor] = []
        for share in shares:
            model = SequenceModel(kind, IdTable(data.n_items, 8, seed=3, std=0.5), None, config, seed=1)
            deck = Deck(
                torch.ones(data.n_items, dtype=torch.long), "uniform", torch.Generator().manual_seed(2)
            )
            draws = torch.Generator().manual_seed(4)
            batches = model.encoder.batches(histories, torch.arange(data.n_users), lengths, 9, draws)
            for (rows, examples), _ in zip(batches, range(5), strict=False):
                mean, count = model.loss(rows, examples, deck, share)
                if count:
                    (mean * count).backward()
                    total, places = total + float(mean.detach()) * count, places + count
            summed.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
        return total / places, torch.stack(summed).sum(0) / places

    loss_of_all, gradient_of_all = gradients([None])
    loss_of_parts, gradient_of_parts = gradients([slice(0, 4), slice(4, 6), slice(6, 9)])
    assert loss_of_parts == pytest.approx(loss_of_all, rel=1e-5)
    torch.testing.assert_close(gradient_of_parts, gradient_of_all, rtol=1e-4, atol=1e-6)
