"""BERT4Rec: attention in both directions, trained to fill in masked events (cloze).

Sun et al., "BERT4Rec: Sequential Recommendation with Bidirectional Encoder Representations from Transformer",
CIKM 2019, https://arxiv.org/abs/1904.06690

Differences from the original:

| what            | original                          | here                           | why |
|-----------------|-----------------------------------|--------------------------------|-----|
| norm            | after each half, and of the input | before each half (pre-norm)    | trains more steadily |
| positions       | from the window's first event     | from its last                  | [mask] always asks from place 0 |
| input           | the item vector                   | times the root of the width    | small first vectors |
| last layer      | dense, GELU, norm                 | none: the last block's states  | leaves the popular items sooner |
| output bias     | one per item                      | none                           | a score is a plain dot product |
| dropout         | also on attention weights         | instead after the activation   | fused kernels |
| long histories  | windows slide over all of it      | the most recent window trains  | one epoch reads each user once |
| how many masks  | a fixed share, up to a cap        | each place drawn for itself    | a share is all there is to set |
| masks           | 10 copies of each row, fixed      | drawn anew in each epoch       | none is learned by heart |
| last-item masks | an extra copy beside the ten      | a tenth of the rows            | one epoch reads each user once |
| initial weights | normal, 0.02                      | Xavier for linear maps         | 0.02 is too small at width 64 |
| optimiser       | decay 0.01, clipped, rate falls   | AdamW, no decay by default     | same for all |
| steps           | fixed                             | until validation stops rising  | fixed budgets undertrain it |

As in the original a masked event is always replaced by [mask], and every row has at least one.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from guided_refine.backbones.dropout import Dropout
from guided_refine.backbones.encoder import Encoder, Examples, fitting_heads
from guided_refine.backbones.transformer import TransformerBlock, initialise
from guided_refine.config import TrainConfig

# Stands for a masked event among item numbers; never an item, so never a recommendation.
MASK = -1
# Share of training windows in which only the last event is masked: that is what prediction looks like.
LAST_ONLY = 0.1


class BERT4Rec(Encoder):
    """Bidirectional transformer over item vectors and the encoder's own [mask] vector; tied output.

    To predict, [mask] is appended to the history and read there, so only the prefix is ever seen.

    >>> encoder = BERT4Rec(8, TrainConfig(max_length=5)).eval()
    >>> encoder.last(torch.tensor([[1, 2, 0]]), torch.tensor([2]), torch.randn(3, 8)).shape
    torch.Size([1, 8])
    """

    def __init__(self, width: int, config: TrainConfig) -> None:
        super().__init__()
        self.train_events = config.max_length
        self.context = config.max_length - 1
        self.mask_share = config.mask_share
        heads = fitting_heads(width, config.heads)
        self.mask_vector = nn.Parameter(torch.randn(1, width) * 0.02)
        self.positions = nn.Parameter(torch.randn(config.max_length, width) * 0.02)
        self.dropout = Dropout(config.dropout)
        self.blocks = nn.ModuleList(
            TransformerBlock(width, heads, 4 * width, nn.GELU(), config.dropout) for _ in range(config.layers)
        )
        self.apply(initialise)

    def examples(
        self, items: Tensor, lengths: Tensor, skipped: Tensor, generator: torch.Generator
    ) -> Examples:
        """Mask a random share of events, in some windows the last one only, in every window at least one.

        A masked event at place t may be predicted with what is known of the user after `skipped + t` events.
        """
        # Drawn on the CPU whatever the device, so that the masks are the same everywhere.
        chance = torch.rand(items.shape, generator=generator).to(items.device)
        only_last = (torch.rand(len(items), generator=generator) < LAST_ONLY).to(items.device)
        steps = torch.arange(items.shape[1], device=items.device)
        masked = (chance < self.mask_share) & (steps < lengths[:, None])
        only_last = only_last | ~masked.any(dim=1)
        masked = torch.where(only_last[:, None], steps == lengths[:, None] - 1, masked)
        return Examples(
            torch.where(masked, MASK, items),
            lengths,
            torch.where(masked, items, 0),
            skipped[:, None] + steps,
        )

    def forward(self, items: Tensor, lengths: Tensor, vectors: Tensor) -> Tensor:
        """The last block's states, not normed, (batch, length, width); `items` may hold MASK. Padding is not read."""
        x, mask = self._placed(items, lengths, vectors)
        for block in self.blocks:
            x = block(x, mask)
        return x

    def last(self, items: Tensor, lengths: Tensor, vectors: Tensor) -> Tensor:
        """The state at a [mask] appended to the history, shape (batch, width). The last block computes no other."""
        rows = torch.arange(len(items), device=items.device)
        asked = torch.nn.functional.pad(items, (0, 1))
        asked[rows, lengths] = MASK
        x, mask = self._placed(asked, lengths + 1, vectors)
        for block in self.blocks[:-1]:
            x = block(x, mask)
        state: Tensor = self.blocks[-1](x, mask, lengths)[:, 0]
        return state

    def _placed(self, items: Tensor, lengths: Tensor, vectors: Tensor) -> tuple[Tensor, Tensor | None]:
        """What the first block reads, and which places may be read: (batch, 1, 1, length), None for all."""
        n, width = vectors.shape
        rows = torch.cat([vectors.new_zeros(1, width), vectors, self.mask_vector])
        x = nn.functional.embedding(torch.where(items == MASK, n + 1, items), rows) * math.sqrt(width)
        steps = torch.arange(items.shape[1], device=items.device)
        from_end = (lengths[:, None] - 1 - steps).clamp(min=0)
        x = self.dropout(x + self.positions[from_end])
        # An empty row reads its own padding: attention over nothing would be undefined.
        readable = (steps < lengths[:, None]) | (steps == 0)
        # On a CPU a batch without padding is read faster without a mask; on a GPU the question costs more than it saves.
        unpadded = readable.device.type == "cpu" and bool(readable.all())
        return x, None if unpadded else readable[:, None, None, :]
