"""Somebody whom no model and no language model has seen: a history of items, picked one by one.

The encoder reads the history as it reads any other. What the guided user term adds is estimated from the attribute scores
of the history's items, by the map that was fitted on the training part (`refine/estimate.py`), and there is no residual:
this is what `Backbone.recommend_for_history` ranks by. Everything that can be asked about a user of the run can be asked
about a newcomer too.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from guided_refine.errors import InputError
from guided_refine.explain.contributions import Contributions
from guided_refine.explain.explainer import Explainer
from guided_refine.explain.what_if import WhatIf
from guided_refine.refine.normalise import column_means
from guided_refine.refine.users import GuidedUserTerm
from guided_refine.scoring.scores import AttributeScores

NOBODY = -1
"""The number of the one user that a `Newcomer` knows."""


class Newcomer(Explainer):
    """An open explainer, seen by one person who is in no data: `explanation`, `ask` and `WhatIf` take it as it is.

    Whatever user is named to it, the answer is about this person. The person's scores are estimated, so `profile` says
    `estimated`, in [0, 1]: what the model's estimate is before normalisation.

    `Newcomer(Explainer.open("runs/shop"), ["i3", "i11"]).contributions(NOBODY)` splits all items' scores for the person.
    """

    def __init__(self, explainer: Explainer, item_ids: Sequence[str]) -> None:
        """`item_ids`: what the person has, oldest first. Raises `InputError` for none, and for an unknown item; a title of
        one item will do for its id."""
        super().__init__(
            explainer.folder,
            explainer.config,
            explainer.dataset,
            explainer.backbone,
            explainer.model,
            explainer.seed,
        )
        if not len(item_ids):
            raise InputError("somebody new needs a history: give at least one item id")
        self.opened = explainer
        self.history = np.array([explainer.item_number(str(item)) for item in item_ids], dtype=np.int64)
        self.item_ids = [str(explainer.dataset.item_ids[number - 1]) for number in self.history]

    # ---------------------------------------------------------------- who this is

    def user_number(self, user: str) -> int:
        """`NOBODY`: there is one user only, whatever the name."""
        return NOBODY

    def seen(self, user: int) -> np.ndarray:
        """Item numbers of the history, oldest first."""
        return self.history

    def next_item(self, user: int) -> int | None:
        """Nothing was held out."""
        return None

    def model_user(self, user: int) -> Tensor:
        """Unknown to the model."""
        return torch.tensor([NOBODY])

    # ---------------------------------------------------------------- what the model makes of it

    def contributions(self, user: int) -> Contributions:
        """All items' scores as `Backbone.recommend_for_history` gives them, split by column and checked."""
        return self._contributions

    @cached_property
    def _contributions(self) -> Contributions:
        everything = self.model.recommend_for_history(
            self.item_ids, k=self.dataset.n_items, filter_viewed=False
        )
        number = self.opened.item_number
        rows = np.array([number(str(item)) for item in everything["item_id"]]) - 1
        score = np.empty(self.dataset.n_items)
        score[rows] = everything["score"].to_numpy()
        taste = self.user_term(NOBODY)
        return Contributions(
            self.parts, score, self._grouped(self._state), None if taste is None else self._grouped(taste)
        )

    def state(self, user: int) -> np.ndarray:
        """What multiplies the items' columns, float32 (columns,)."""
        return self._state

    @cached_property
    def _state(self) -> np.ndarray:
        model = self.model.model
        recent = torch.from_numpy(self.history[-model.encoder.context :])[None]
        with torch.no_grad():
            vectors = model.table.matrix()
            read = model.encoder.eval().last(recent, torch.tensor([recent.shape[1]]), vectors)[0].numpy()
        taste, weights = self.user_term(NOBODY), self.read(read)
        return weights if taste is None else weights + taste

    def user_term(self, user: int) -> np.ndarray | None:
        """What the user term adds for somebody it does not know, shape (columns,)."""
        if self.model.term is None:
            return None
        with torch.no_grad():
            term: np.ndarray = self.model.term.unknown(torch.from_numpy(self.history)[None])[0].numpy()
        return self.read(term)

    # ---------------------------------------------------------------- estimated scores

    def normalised(self, user: int) -> np.ndarray:
        """The estimated scores as the model takes them, normalised, (attributes,)."""
        term = self.model.term
        assert isinstance(term, GuidedUserTerm)
        with torch.no_grad():
            estimated: np.ndarray = term.estimate(torch.from_numpy(self.history)[None])[0].double().numpy()
        return estimated

    def _user_scores(self, user: int) -> tuple[np.ndarray, np.ndarray, bool]:
        if isinstance(self.model.term, GuidedUserTerm):
            back = WhatIf(self, user).score_of
            values = np.array([back(a, z) for a, z in enumerate(self.normalised(user))])
        else:
            values = column_means(self.scores.item_value[self.history - 1])
        return values, np.zeros_like(values), True

    # ---------------------------------------------------------------- read once, by the explainer that is open

    @cached_property
    def scores(self) -> AttributeScores:
        """The scores that the refined model was built from."""
        return self.opened.scores

    @cached_property
    def everyone(self) -> tuple[Tensor, Tensor]:
        """The users of the run, among whom this person is not."""
        return self.opened.everyone

    @cached_property
    def vectors(self) -> np.ndarray:
        """All items as columns, float64 (n_items, columns)."""
        return self.opened.vectors

    def item_number(self, item: str) -> int:
        """Number (from 1) of an item id, or of the one item with this title; raises `InputError` naming what is nearest."""
        return self.opened.item_number(item)
