"""BERT4Rec's transformer block: attention in both directions."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

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

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """`mask` (batch, 1, 1, length): True where a place may be read; None reads all."""
        batch, length, width = x.shape
        projected = self.project_in(self.attention_norm(x)).view(
            batch, length, 3, self.heads, width // self.heads
        )
        q, k, v = projected.permute(2, 0, 3, 1, 4)
        read = scaled_dot_product_attention(q, k, v, attn_mask=mask)
        x = x + self.dropout(self.project_out(read.transpose(1, 2).reshape(batch, length, width)))
        fed: Tensor = x + self.dropout(self.feed_forward(self.feed_norm(x)))
        return fed


def initialise(module: nn.Module) -> None:
    """Xavier weights, biases zero. BERT's fixed 0.02 is far too small at the widths of recommenders: attention
    then stays even for dozens of epochs."""
    if isinstance(module, nn.Linear):
        nn.init.xavier_normal_(module.weight)
        nn.init.zeros_(module.bias)
