"""SASRec: self-attention that reads a history from left to right.

Kang and McAuley, "Self-Attentive Sequential Recommendation", ICDM 2018, https://arxiv.org/abs/1808.09781

Differences from the original:

| what             | original                    | here                                | why |
|------------------|-----------------------------|-------------------------------------|-----|
| loss             | binary, one random negative | full softmax cross-entropy          | a third more NDCG on ML-1M |
| attention output | the heads side by side      | a linear map of them                | heads can mix |
| attention drop   | on attention weights        | on what attention adds              | fused kernels |
| positions        | from the end of the row     | from the window's first event       | training state = prediction |
| optimiser        | Adam, beta2 0.98            | AdamW, beta2 0.999, warm-up         | same for all |
| regularisation   | L2 on vectors, 0 by default | decay of all weights, 0 by default  | same for all |
| initial weights  | Glorot uniform, vectors too | Xavier normal; vectors normal, 0.02 | same for all |
| epochs           | 201 by default              | until validation stops rising       | same for all |

As in the authors' code queries are normalised, keys and values are not, and what attention adds goes on top of the
normalised queries. A pre-norm block learns far more slowly here: item vectors start small, so what the first block adds to
them drowns them.

With positions counted from the first event and padding behind the last, the state after event t of a history of up to
`train.max_length` events is exactly the state that its first t events give alone. Of a longer one, training reads from the
window's first event on, a prediction as many events as fit.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from guided_refine.backbones.dropout import Dropout
from guided_refine.backbones.encoder import CausalEncoder, embed, fitting_heads
from guided_refine.backbones.transformer import initialise
from guided_refine.config import TrainConfig


class SASRecBlock(nn.Module):
    """Causal attention and a feed-forward layer; (batch, length, width) in and out.

    q = norm(x), y = norm(q + project_out(attention(q, x, x))), out = y + feed_forward(y); but for `project_out` as in the
    authors' code.
    """

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(width)
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.project_out = nn.Linear(width, width)
        self.feed_norm = nn.LayerNorm(width)
        self.feed_forward = nn.Sequential(
            nn.Linear(width, width), nn.ReLU(), Dropout(dropout), nn.Linear(width, width)
        )
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, last: Tensor | None = None) -> Tensor:
        """Place t reads places up to t. With `last` (batch,) only those places are computed: (batch, 1, width)."""
        asked = x if last is None else x[torch.arange(len(x), device=x.device), last][:, None]
        normed = self.attention_norm(asked)
        batch, length, width = x.shape
        q = self.query(normed).view(batch, -1, self.heads, width // self.heads).transpose(1, 2)
        k, v = (
            self.key_value(x).view(batch, length, 2, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        )
        if last is None:
            read = scaled_dot_product_attention(q, k, v, is_causal=True)
        else:
            past = torch.arange(length, device=x.device) <= last[:, None]
            read = scaled_dot_product_attention(q, k, v, attn_mask=past[:, None, None])
        read = self.project_out(read.transpose(1, 2).reshape(asked.shape))
        y = self.feed_norm(normed + self.dropout(read))
        out: Tensor = y + self.dropout(self.feed_forward(y))
        return out


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
        self.blocks = nn.ModuleList(SASRecBlock(width, heads, config.dropout) for _ in range(config.layers))
        self.norm = nn.LayerNorm(width)
        self.apply(initialise)

    def forward(self, items: Tensor, lengths: Tensor, vectors: Tensor) -> Tensor:
        """States (batch, length, width). Padding stands behind the events, so causality alone hides it."""
        x = self._placed(items, vectors)
        for block in self.blocks:
            x = block(x)
        states: Tensor = self.norm(x)
        return states

    def last(self, items: Tensor, lengths: Tensor, vectors: Tensor) -> Tensor:
        """As `CausalEncoder.last`; the last block computes the one place that is read."""
        if items.shape[1] == 0:
            return super().last(items, lengths, vectors)
        x = self._placed(items, vectors)
        for block in self.blocks[:-1]:
            x = block(x)
        state = self.norm(self.blocks[-1](x, (lengths - 1).clamp(min=0)))[:, 0]
        return torch.where((lengths > 0)[:, None], state, 0.0)

    def _placed(self, items: Tensor, vectors: Tensor) -> Tensor:
        x = embed(items, vectors) * math.sqrt(vectors.shape[1]) + self.positions[: items.shape[1]]
        placed: Tensor = self.dropout(x)
        return placed
