"""GRU4Rec: a recurrent network over the whole padded history, trained by cross-entropy at every step.

Hidasi et al., "Session-based Recommendations with Recurrent Neural Networks", ICLR 2016,
https://arxiv.org/abs/1511.06939, and Hidasi and Karatzoglou, CIKM 2018, https://arxiv.org/abs/1706.03847

This is the form used for long user histories in recent comparisons; the official session-parallel trainer is
`gru4rec_parallel`.

Differences from the original:

| what            | original                                | here                                | why |
|-----------------|-----------------------------------------|-------------------------------------|-----|
| batches         | session-parallel, state carried over    | one padded row per user             | a history is one row |
| gradients       | cut after each step                     | through the whole window            | long histories gain |
| loss            | BPR-max or cross-entropy, sampled items | full softmax (`train.loss`)         | same loss for all |
| optimiser       | Adagrad with momentum                   | AdamW                               | same for all |
| epochs          | 10 by default                           | until validation stops rising       | same for all |
| item vectors    | separate or tied, output bias           | tied, no bias                       | one refined table |
| input           | the item vector                         | times the root of the width         | small first vectors |
| initial GRU     | Glorot uniform per gate                 | state to state orthogonal           | states keep their size |
| initial vectors | Glorot uniform                          | normal, 0.02                        | same for all |
| dropped states  | carried on to the next event            | read, the whole state is carried on | a history is long |
| output          | the state itself                        | a linear map of the state           | leaves (-1, 1) |
| order           | sessions by time, never shuffled        | users shuffled                      | rows are histories |
"""

from __future__ import annotations

import math

from torch import Tensor, nn

from guided_refine.backbones.dropout import Dropout
from guided_refine.backbones.encoder import CausalEncoder, embed
from guided_refine.config import TrainConfig


def gru_layers(width: int, config: TrainConfig) -> nn.GRU:
    """`config.layers` GRU layers from `width` to `width`; (batch, length, width) in and out."""
    between = config.dropout if config.layers > 1 else 0.0
    gru = nn.GRU(width, width, config.layers, batch_first=True, dropout=between)
    for name, weight in gru.named_parameters():
        if "weight" in name:
            # One block per gate, each as orthogonal or Xavier as its role asks.
            for gate in weight.data.chunk(3):
                (nn.init.orthogonal_ if "hh" in name else nn.init.xavier_uniform_)(gate)
        else:
            nn.init.zeros_(weight)
    return gru


class GRU4Rec(CausalEncoder):
    """GRU over item vectors; a linear map of its state is compared with the same vectors (tied).

    >>> import torch
    >>> encoder = GRU4Rec(8, TrainConfig(max_length=5)).eval()
    >>> encoder(torch.tensor([[1, 2, 0]]), torch.tensor([2]), torch.randn(3, 8)).shape
    torch.Size([1, 3, 8])
    """

    def __init__(self, width: int, config: TrainConfig) -> None:
        super().__init__(config.max_length)
        self.gru = gru_layers(width, config)
        self.dropout = Dropout(config.dropout)
        self.project = nn.Linear(width, width)

    def forward(self, items: Tensor, lengths: Tensor, vectors: Tensor) -> Tensor:
        """States (batch, length, width). Padding stands behind the events and is read after all of them."""
        x = self.dropout(embed(items, vectors) * math.sqrt(vectors.shape[1]))
        read, _ = self.gru(x)
        states: Tensor = self.project(self.dropout(read))
        return states
