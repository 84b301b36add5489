"""GRU4Rec as its authors train it: sessions run side by side in lanes, one step of the network at a time.

Hidasi et al., "Session-based Recommendations with Recurrent Neural Networks", ICLR 2016,
https://arxiv.org/abs/1511.06939, figure 3, and Hidasi and Karatzoglou, CIKM 2018, https://arxiv.org/abs/1706.03847

Each lane reads one user's training window, event by event; its hidden state is carried from step to step, without a
gradient through time, and is zero again before the next user's first event. Every step is a batch of its own: the
lanes' present events predict the next ones. With `train.loss: sampled_softmax` or `bpr_max`, the losses of the papers,
each lane's negatives are the other lanes' targets and `train.negatives` further items, the same for all lanes.

Differences from the original:

| what            | original                         | here                                   | why |
|-----------------|----------------------------------|----------------------------------------|-----|
| sessions        | one visit each, in order of time | a user's window, shuffled              | a history is one session |
| loss of a step  | sum over lanes / all lanes       | sum over lanes / another constant      | Adam ignores the factor |
| logQ            | off by default, on targets too   | always, on negatives only              | unbiased sum |
| extra samples   | by popularity to the power 0.5   | uniform or by popularity               | exact correction |
| optimiser       | Adagrad with momentum            | AdamW                                  | same for all |
| epochs          | 10 by default                    | until validation stops rising          | same for all |
| item vectors    | separate or tied, output bias    | tied, no bias                          | a plain dot product |
| input           | the item vector                  | times the root of the width            | small first vectors |
| initial weights | Glorot uniform, item vectors too | as in `GRU4Rec`                        | same for both |
| dropped states  | carried on to the next event     | read, the whole state is carried on    | a history is long |
| dropout shares  | one for inputs, one for layers   | one for inputs, between layers, states | same for all |

Steps are many and small (ML-1M with 128 lanes: about 7,800 an epoch), so an epoch takes longer than that of the
padded `GRU4Rec`, and longest where a catalog is large: the optimiser visits all items in each step.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from guided_refine.backbones.dropout import Dropout
from guided_refine.backbones.encoder import CausalEncoder, Examples, embed
from guided_refine.backbones.gru4rec import gru_layers
from guided_refine.backbones.histories import Histories
from guided_refine.config import TrainConfig


@dataclass(frozen=True)
class LaneStep(Examples):
    """One step of all lanes: `Examples` of length 1, and `fresh` (lanes,), True where a session begins.

    A lane without a session has target 0, so that nothing is trained there.
    """

    fresh: Tensor


class GRU4RecParallel(CausalEncoder):
    """GRU over item vectors whose state is compared with the same vectors (tied); trained in lanes.

    >>> encoder = GRU4RecParallel(8, TrainConfig(max_length=5)).eval()
    >>> encoder(torch.tensor([[1, 2, 0]]), torch.tensor([2]), torch.randn(3, 8)).shape
    torch.Size([1, 3, 8])
    """

    in_batch_negatives = True

    def __init__(self, width: int, config: TrainConfig) -> None:
        super().__init__(config.max_length)
        self.gru = gru_layers(width, config)
        self.dropout = Dropout(config.dropout)
        self._carried: Tensor | None = None

    def forward(self, items: Tensor, lengths: Tensor, vectors: Tensor) -> Tensor:
        """States (batch, length, width) of whole histories. Padding stands behind the events."""
        states, _ = self._run(embed(items, vectors), None)
        return states

    def _run(self, x: Tensor, hidden: Tensor | None) -> tuple[Tensor, Tensor]:
        read, hidden = self.gru(self.dropout(x * math.sqrt(x.shape[2])), hidden)
        return self.dropout(read), hidden

    def read(self, examples: Examples, vectors: Tensor) -> Tensor:
        """States (lanes, 1, width) after a `LaneStep`; the hidden state goes on to the next call."""
        if not isinstance(examples, LaneStep):
            return super().read(examples, vectors)
        shape = (self.gru.num_layers, len(examples.fresh), self.gru.hidden_size)
        if self._carried is None or self._carried.shape != shape:
            self._carried = vectors.new_zeros(shape)
        hidden = self._carried.masked_fill(examples.fresh[:, None], 0.0)
        states, hidden = self._run(embed(examples.inputs, vectors), hidden)
        self._carried = hidden.detach()
        return states

    def batches(
        self, histories: Histories, users: Tensor, lengths: Tensor, size: int, generator: torch.Generator
    ) -> Iterator[tuple[Tensor, Examples]]:
        """One epoch of lanes: `size` of them, or one per user where there are fewer.

        A lane whose session ends takes the next one waiting. All are over when the last session is: no event
        is left out and none comes twice.
        """
        device = histories.flat.device
        waiting = torch.randperm(len(users), generator=generator)
        users, steps = users[waiting], lengths[waiting] - 1
        skipped = histories.length.cpu()[users] - lengths[waiting]
        start = histories.start.cpu()[users] + skipped
        lanes = min(size, len(users))
        session, place = torch.arange(lanes), torch.zeros(lanes, dtype=torch.long)
        running = fresh = torch.ones(lanes, dtype=torch.bool)
        arrived = lanes
        while bool(running.any()):
            # One tensor, so that a GPU gets one message for each step.
            seen = skipped[session] + place + 1
            told = torch.stack([users[session], start[session] + place, seen, fresh.long(), running.long()])
            rows, at, seen, begins, runs = told.to(device).unbind()
            yield (
                rows,
                LaneStep(
                    inputs=histories.flat[at][:, None],
                    lengths=torch.ones_like(rows),
                    targets=(histories.flat[at + 1] * runs)[:, None],
                    seen=seen[:, None],
                    fresh=begins > 0,
                ),
            )
            place = place + 1
            fresh = running & (place == steps[session])
            ended = torch.nonzero(fresh)[:, 0]
            coming = torch.arange(arrived, min(arrived + len(ended), len(users)))
            arrived += len(coming)
            session[ended[: len(coming)]] = coming
            running = running.clone()
            running[ended[len(coming) :]] = False
            place = torch.where(fresh | ~running, 0, place)

    def n_batches(self, lengths: Tensor, size: int) -> int:
        """No fewer than there are: an even share of all steps, and the longest session begun last."""
        steps = lengths - 1
        return math.ceil(int(steps.sum()) / min(size, len(steps))) + int(steps.max())
