"""SASRec: self-attention that reads a history from left to right.

Kang and McAuley, "Self-Attentive Sequential Recommendation", ICDM 2018, https://arxiv.org/abs/1808.09781

Differences from the original:

| what           | original                    | here                            | why |
|----------------|-----------------------------|---------------------------------|-----|
| loss           | binary, one random negative | full softmax cross-entropy      | a third more NDCG on ML-1M |
| norm           | of the queries only         | pre-norm for the whole block    | trains more steadily |
| attention drop | on attention weights        | none (dropout on outputs stays) | fused kernels |
| positions      | from the end of the row     | from the window's first event   | training state = prediction |

With positions counted from the first event and padding behind the last, the state after event t of a long
history is exactly the state that the first t events give alone.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from guided_refine.backbones.dropout import Dropout
from guided_refine.backbones.encoder import CausalEncoder, embed, fitting_heads
from guided_refine.backbones.transformer import TransformerBlock, initialise
from guided_refine.config import TrainConfig


class SASRec(CausalEncoder):
    """Causal transformer over item vectors; the output is compared with the same vectors (tied).

    >>> encoder = SASRec(8, TrainConfig(max_length=5)).eval()
    >>> encoder(torch.tensor([[1, 2, 0]]), torch.tensor([2]), torch.randn(3, 8)).shape
    torch.Size([1, 3, 8])
    """

    def __init__(self, width: int, config: TrainConfig) -> None:
        super().__init__(config.max_length)
        heads = fitting_heads(width, config.heads)
        self.positions = nn.Parameter(torch.randn(config.max_length, width) * 0.02)
        self.dropout = Dropout(config.dropout)
        self.blocks = nn.ModuleList(
            TransformerBlock(width, heads, width, nn.ReLU(), config.dropout) for _ in range(config.layers)
        )
        self.norm = nn.LayerNorm(width)
        self.apply(initialise)

    def forward(self, items: Tensor, lengths: Tensor, vectors: Tensor) -> Tensor:
        """States (batch, length, width). Padding stands behind the events, so causality alone hides it."""
        x = embed(items, vectors) * math.sqrt(vectors.shape[1]) + self.positions[: items.shape[1]]
        x = self.dropout(x)
        for block in self.blocks:
            x = block(x, causal=True)
        states: Tensor = self.norm(x)
        return states
