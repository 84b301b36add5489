"""BERT4Rec's transformer block: attention in both directions."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, scaled_dot_product_attention

from guided_refine.backbones.dropout import Dropout


class TransformerBlock(nn.Module):
    """x + attention(norm(x)), then x + feed_forward(norm(x)); (batch, length, width) in and out.

    Dropout acts on what each half adds, not on attention weights, which keeps the fused attention kernels
    in use on CPU and GPU alike.
    """

    def __init__(self, width: int, heads: int, inner: int, activation: nn.Module, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(width)
        self.project_in = nn.Linear(width, 3 * width)
        self.project_out = nn.Linear(width, width)
        self.feed_norm = nn.LayerNorm(width)
        self.feed_forward = nn.Sequential(
            nn.Linear(width, inner), activation, Dropout(dropout), nn.Linear(inner, width)
        )
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor | None = None, last: Tensor | None = None) -> Tensor:
        """`mask` (batch, 1, 1, length): True where a place may be read; None reads all.

        With `last` (batch,) only those places are computed: (batch, 1, width).
        """
        batch, length, width = x.shape
        normed = self.attention_norm(x)
        if last is None:
            projected = self.project_in(normed).view(batch, length, 3, self.heads, width // self.heads)
            q, k, v = projected.permute(2, 0, 3, 1, 4)
        else:
            rows = torch.arange(batch, device=x.device)
            x = x[rows, last][:, None]
            weight, bias = self.project_in.weight, self.project_in.bias
            q = linear(normed[rows, last], weight[:width], bias[:width])
            q = q.view(batch, 1, self.heads, width // self.heads).transpose(1, 2)
            k_v = linear(normed, weight[width:], bias[width:])
            k, v = k_v.view(batch, length, 2, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        read = scaled_dot_product_attention(q, k, v, attn_mask=mask)
        x = x + self.dropout(self.project_out(read.transpose(1, 2).reshape(x.shape)))
        fed: Tensor = x + self.dropout(self.feed_forward(self.feed_norm(x)))
        return fed


def initialise(module: nn.Module) -> None:
    """Xavier weights, biases zero. BERT's fixed 0.02 is far too small at the widths of recommenders: attention
    then stays even for dozens of epochs."""
    if isinstance(module, nn.Linear):
        nn.init.xavier_normal_(module.weight)
        nn.init.zeros_(module.bias)
