"""`Deck`: negatives dealt from shuffled cards, so that a draw has no repeats and every card has its turn.

A uniform deck holds each item once; a deck by popularity holds one card per training event and one more per item
(without that one, an item that nobody took in training could never be drawn, and no weight could make up for it).
Cards are dealt in their shuffled order, again and again. K cards are a sample without replacement, so an item with
a share q of the cards comes up K q times on average: what the logQ correction divides by is exact, also where K is
no longer small, and K = all cards is the whole catalog. Dealing costs nothing; drawing anew among a million items
would cost more than the loss.

A deck lasts for one epoch. It is shuffled from (seed, epoch), which is why a continued training deals the same cards.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor


class Deck:
    """Negatives for one epoch from `counts` (n_items,), the training events of each item.

    >>> deck = Deck(torch.tensor([5, 0, 2]), "uniform", torch.Generator().manual_seed(0))
    >>> sorted(deck.deal(1, 3)[0].tolist())
    [0, 1, 2]
    """

    def __init__(
        self,
        counts: Tensor,
        sampling: Literal["uniform", "popularity"],
        generator: torch.Generator,
        device: torch.device | None = None,
    ) -> None:
        counts = counts.cpu()
        self.n_items = len(counts)
        held = torch.ones_like(counts) if sampling == "uniform" else counts + 1
        cards = torch.repeat_interleave(torch.arange(self.n_items), held)
        # Shuffled on the CPU whatever the device, so that the negatives are the same everywhere.
        self.cards = cards[torch.randperm(len(cards), generator=generator)].to(device)
        self.share = (held.double() / len(cards)).to(device)
        self.popularity = (counts.double() / counts.sum().clamp(min=1)).to(device)
        self._place = 0

    def deal(self, rows: int, k: int) -> Tensor:
        """The next `k` cards for each row, all cards where there are fewer; item rows, shape (rows, k)."""
        k = min(k, len(self.cards))
        places = torch.arange(self._place, self._place + rows * k, device=self.cards.device)
        self._place = (self._place + rows * k) % len(self.cards)
        return self.cards[places % len(self.cards)].view(rows, k)

    def draw(self, blocks: int, k: int) -> tuple[Tensor, Tensor]:
        """`deal`, and for the logQ correction the logarithm of how often such a draw names each item on average.

        Both (blocks, k), the second in float64.
        """
        items = self.deal(blocks, k)
        return items, torch.log(items.shape[1] * self.share[items])

    def beside(self, targets: Tensor) -> Deck:
        """This deck with a batch's `targets` (places,) in every `draw`, not in `deal`: GRU4Rec's in-batch negatives."""
        return _DeckBeside(self, targets)


class _DeckBeside(Deck):
    """Targets come up by popularity, cards by their share; an item's expected count is the sum of both."""

    def __init__(self, deck: Deck, targets: Tensor) -> None:
        self.deck, self.targets, self.n_items = deck, targets, deck.n_items

    def deal(self, rows: int, k: int) -> Tensor:
        return self.deck.deal(rows, k)

    def draw(self, blocks: int, k: int) -> tuple[Tensor, Tensor]:
        dealt = self.deal(blocks, k)
        items = torch.cat([self.targets.expand(blocks, -1), dealt], dim=1)
        # A place's own target is a hit and never counts, so one target fewer is a draw.
        others = (len(self.targets) - 1) * self.deck.popularity[items]
        return items, torch.log(others + dealt.shape[1] * self.deck.share[items])
