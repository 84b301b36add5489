"""`SequenceModel`: encoder, item table and optional user term, joined by one dot product."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from guided_refine.backbones.bert4rec import BERT4Rec
from guided_refine.backbones.encoder import Encoder, Examples
from guided_refine.backbones.gru4rec import GRU4Rec
from guided_refine.backbones.loss import chunked_cross_entropy
from guided_refine.backbones.randomness import ENCODER, derived_seed, seeded
from guided_refine.backbones.sasrec import SASRec
from guided_refine.backbones.tables import ItemTable, UserTerm
from guided_refine.config import TrainConfig
from guided_refine.errors import InputError, nearest

ENCODERS: dict[str, type[GRU4Rec] | type[SASRec] | type[BERT4Rec]] = {
    "gru4rec": GRU4Rec,
    "sasrec": SASRec,
    "bert4rec": BERT4Rec,
}


class SequenceModel(nn.Module):
    """score(user, item) = <encoder(history) + term(user, events seen), vector(item)>.

    >>> import torch
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
        self.precision: torch.dtype = getattr(torch, config.precision)
        self.table = table
        self.term = term

    def loss(self, users: Tensor, examples: Examples) -> tuple[Tensor, int]:
        """Mean cross-entropy over the catalog at the trained places, and how many places there were.

        `users` (batch,) are numbers the user term knows.
        """
        vectors = self.table.matrix()
        trained = examples.targets > 0
        states = self.encoder(examples.inputs, examples.lengths, vectors)[trained]
        if self.term is not None:
            rows = users[:, None].expand_as(trained)[trained]
            states = states + self.term(rows, examples.seen[trained][:, None])[:, 0]
        targets = examples.targets[trained] - 1
        return chunked_cross_entropy(states, vectors, targets, dtype=self.precision), len(targets)

    def state(self, items: Tensor, lengths: Tensor, users: Tensor, seen: Tensor) -> Tensor:
        """What is compared with item vectors to predict the next event, shape (batch, width).

        `items` (batch, length) are the most recent events, `lengths` (batch,) how many are real, `seen` (batch,)
        how many events the user has in all.
        """
        state = self.encoder.last(items, lengths, self.table.matrix())
        if self.term is not None:
            state = state + self.term(users, seen[:, None])[:, 0]
        return state
