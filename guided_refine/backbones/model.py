"""`SequenceModel`: encoder, item table and optional user term, joined by one dot product."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from guided_refine.backbones.bert4rec import BERT4Rec
from guided_refine.backbones.encoder import Encoder, Examples
from guided_refine.backbones.gru4rec import GRU4Rec
from guided_refine.backbones.gru4rec_parallel import GRU4RecParallel
from guided_refine.backbones.losses.bce import bce
from guided_refine.backbones.losses.blocks import Span
from guided_refine.backbones.losses.bpr_max import bpr_max
from guided_refine.backbones.losses.deck import Deck
from guided_refine.backbones.losses.full_cross_entropy import full_cross_entropy
from guided_refine.backbones.losses.gbce import gbce
from guided_refine.backbones.losses.sampled_softmax import sampled_softmax
from guided_refine.backbones.randomness import ENCODER, derived_seed, seeded
from guided_refine.backbones.sasrec import SASRec
from guided_refine.backbones.tables import ItemTable, UserTerm
from guided_refine.config import TrainConfig
from guided_refine.errors import InputError, nearest

ENCODERS: dict[str, type[GRU4Rec] | type[GRU4RecParallel] | type[SASRec] | type[BERT4Rec]] = {
    "gru4rec": GRU4Rec,
    "gru4rec_parallel": GRU4RecParallel,
    "sasrec": SASRec,
    "bert4rec": BERT4Rec,
}

#: (states (places, width), item vectors, targets (places,), deck, config, span) -> mean loss.
LOSSES: dict[str, Callable[[Tensor, Tensor, Tensor, Deck, TrainConfig, Span | None], Tensor]] = {
    "cross_entropy": full_cross_entropy,
    "sampled_softmax": sampled_softmax,
    "gbce": gbce,
    "bce": bce,
    "bpr_max": bpr_max,
}


class SequenceModel(nn.Module):
    """score(user, item) = <encoder(history) + term(user, events seen), vector(item)>.

    >>> from guided_refine.backbones.tables import IdTable
    >>> model = SequenceModel("sasrec", IdTable(5, 8), None, TrainConfig(max_length=4), seed=0)
    >>> model.state(torch.tensor([[1, 2]]), torch.tensor([2]), torch.tensor([0]), torch.tensor([2])).shape
    torch.Size([1, 8])
    """

    def __init__(
        self, kind: str, table: ItemTable, term: UserTerm | None, config: TrainConfig, seed: int
    ) -> None:
        super().__init__()
        if kind not in ENCODERS:
            raise InputError(f"no backbone '{kind}': {nearest(kind, ENCODERS)}")
        with seeded(derived_seed(seed, ENCODER)):
            self.encoder: Encoder = ENCODERS[kind](table.width, config)
        self.config = config
        self.table = table
        self.term = term

    def loss(
        self, users: Tensor, examples: Examples, deck: Deck, share: slice | None = None
    ) -> tuple[Tensor, int]:
        """Mean of `config.loss` at the trained places, and how many places there were.

        `users` (batch,) are numbers the user term knows; `deck` deals the negatives of a sampled loss. With `share` only
        these rows of the batch are trained, with the negatives that they have in the whole batch; where that is no place
        at all the mean is no number.
        """
        vectors = self.table.matrix()
        batch, span = examples, None
        if share is not None:
            at_all = batch.targets > 0
            before, places = torch.stack([at_all[: share.start].sum(), at_all.sum()]).tolist()
            span = Span(before, places)
            users, examples = users[share], examples.of(share)
        # Looked up once: each look makes a GPU tell how many there are.
        at = (examples.targets > 0).nonzero(as_tuple=True)
        if len(examples.targets):
            states = self.encoder.read(examples, vectors)[at]
        else:
            states = vectors.new_zeros(0, self.table.width)
        if self.term is not None:
            states = states + self.term(users[at[0]], examples.seen[at][:, None])[:, 0]
        targets = examples.targets[at] - 1
        if self.encoder.in_batch_negatives:
            deck = deck.beside(targets if share is None else batch.targets[at_all] - 1)
        return LOSSES[self.config.loss](states, vectors, targets, deck, self.config, span), len(targets)

    def state(self, items: Tensor, lengths: Tensor, users: Tensor, seen: Tensor) -> Tensor:
        """What is compared with item vectors to predict the next event, shape (batch, width).

        `items` (batch, length) are the most recent events, `lengths` (batch,) how many are real, `seen` (batch,)
        how many events the user has in all.
        """
        state = self.encoder.last(items, lengths, self.table.matrix())
        if self.term is not None:
            state = state + self.term(users, seen[:, None])[:, 0]
        return state
