"""What would change a recommendation: other tastes, other item scores, and wishes.

The user term adds W z to the state, where z are the user's normalised attribute scores, so with another taste every item's
score moves by the same linear map and the new ranking is known at once, without running the encoder. What the encoder read
from the history stays.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch

from guided_refine.errors import InputError, nearest
from guided_refine.explain.contributions import Contributions
from guided_refine.explain.explainer import Explainer, Profile
from guided_refine.explain.reach import Reach, reach_alone, reach_together
from guided_refine.refine.table import GuidedTable
from guided_refine.refine.users import GuidedUserTerm


@dataclass(frozen=True)
class Change:
    """A change of a user's scores that brings an item into the top k, or out of it.

    `scores`: attribute -> (score now, score then), both in [0, 1], or None for then where no score gives so much;
    `size`: length of the change in standard deviations over users; `users`: share of users who are at least that far with
    all of the moved scores at once, each in the direction in which it moves; `feasible`: True when every score stays in
    [0, 1] and there is such a user; `rank`: the item's rank then.
    """

    scores: dict[str, tuple[float, float | None]]
    size: float
    feasible: bool
    users: float
    rank: int

    def as_row(self) -> dict[str, Any]:
        """JSON-ready."""
        scores = {name: {"now": now, "then": then} for name, (now, then) in self.scores.items()}
        return {
            "scores": scores,
            "size": self.size,
            "feasible": self.feasible,
            "users": self.users,
            "rank": self.rank,
        }


class WhatIf:
    """One user of an explainer, whose taste can be changed.

    Raises `InputError` for a model without a user term: what a language model said of users does not enter it.
    """

    def __init__(self, explainer: Explainer, user: int) -> None:
        term, table = explainer.model.term, explainer.model.table
        if not isinstance(term, GuidedUserTerm) or not isinstance(table, GuidedTable):
            raise InputError(
                f"the refined model of {explainer.folder.root} reads no user scores, so none can be changed"
            )
        self.explainer, self.user, self.term, self.table = explainer, user, term, table
        self.attributes = list(explainer.scores.attributes)

    def scores_now(self) -> dict[str, float]:
        """The user's scores in [0, 1]: the language model's, and the catalog's mean where it has not scored the user."""
        return {name: self._said(a) for a, name in enumerate(self.attributes)}

    # ---------------------------------------------------------------- another taste

    def with_scores(self, scores: Mapping[str, float]) -> Contributions:
        """All items' scores if the language model had read these scores, in [0, 1], from the user's history.

        Attributes that are not named stay. Raises `InputError` for an unknown attribute or a score out of range.
        """
        return self.shifted(self._shift_to(scores))

    def changed(
        self,
        scores: Mapping[str, float],
        wishes: Mapping[str, float],
        *,
        item: int | None = None,
        item_scores: Mapping[str, float] | None = None,
    ) -> Contributions:
        """Another taste, wishes, and other scores of an item number at once; see `with_scores`, `steered`, `with_item`."""
        state = self._wished(self._state_after(self._shift_to(scores)), wishes)
        vectors = None if item is None else self._vectors_with(item, item_scores or {})
        return self.explainer.contributions_of(state, vectors)

    def _shift_to(self, scores: Mapping[str, float]) -> np.ndarray:
        if scores:
            self._need_scores()
        then = self.now.copy()
        for name, value in scores.items():
            then[self._column(name)] = self._normalised(name, value)
        return then - self.now

    @cached_property
    def _state(self) -> np.ndarray:
        """The user's state as it is, float64 (width,); read once, as many changes may be asked about."""
        return self.explainer.state(self.user).astype(np.float64)

    def _need_scores(self) -> None:
        if not self.explainer.reads_users:
            raise InputError(
                f"the refined model of {self.explainer.folder.root} reads no user scores (refine.users: false), so none can "
                "be changed; ask with wishes (--more, --less) or another score of an item"
            )

    def _state_after(self, shift: np.ndarray) -> np.ndarray:
        return self._state + self.pull @ shift

    def shifted(self, shift: np.ndarray) -> Contributions:
        """All items' scores after the user's normalised scores moved by `shift` (attributes,)."""
        return self.explainer.contributions_of(self._state_after(shift))

    def with_item(self, item: int, scores: Mapping[str, float]) -> Contributions:
        """All items' scores if an item number had other attribute scores in [0, 1], all else equal.

        Only the candidate changes: where the item is also in the history, the encoder has read it as it is. Raises
        `InputError` for an unknown attribute or a score out of range.
        """
        return self.changed({}, {}, item=item, item_scores=scores)

    def _vectors_with(self, item: int, scores: Mapping[str, float]) -> np.ndarray:
        vectors = self.explainer.vectors
        if not scores:
            return vectors
        vectors = vectors.copy()
        for name, value in scores.items():
            place = vectors.shape[1] - len(self.attributes) + self._column(name)
            vectors[item - 1, place] = self._normalised(name, value) * self.table.scale
        return vectors

    # ---------------------------------------------------------------- wishes

    def steered(self, wishes: Mapping[str, float]) -> Contributions:
        """All items' scores when more (above 0) or less (below 0) of attributes is wished for.

        A wish of 1 weighs as much as all else together: one standard deviation of the attribute over the catalog is then
        worth one standard deviation of the user's scores. Unlike another taste this acts on the ranking directly, so more
        of a wish never means less of the attribute.
        """
        return self.explainer.contributions_of(self._wished(self._state, wishes))

    def _wished(self, state: np.ndarray, wishes: Mapping[str, float]) -> np.ndarray:
        vectors = self.explainer.vectors
        worth = float((vectors @ state).std())
        state = state.copy()
        for name, strength in wishes.items():
            place = vectors.shape[1] - len(self.attributes) + self._column(name)
            spread = float(vectors[:, place].std())
            if not np.isfinite(strength):
                raise InputError(f"the wish for '{name}' must be a number, not {strength}")
            if spread > 0:
                state[place] += strength * worth / spread
        return state

    # ---------------------------------------------------------------- the smallest change

    def smallest(self, item: int, k: int, *, out: bool = False) -> list[Change]:
        """Changes of one attribute each that bring an item into the top `k` (with `out`: out of it), smallest first.

        Exact: the first point on the line at which the rank is reached. Attributes that cannot do it are left out; for an
        item that is there already the list is empty.
        """
        race = self._race(item, k, out)
        found = []
        for column in range(len(self.attributes)):
            reached = reach_alone(race, column)
            if reached is not None:
                found.append(self._change(reached, item))
        return sorted(found, key=lambda change: (not change.feasible, change.size))

    def smallest_together(self, item: int, k: int, *, out: bool = False) -> Change | None:
        """The smallest change found when all attributes may move, within [0, 1]; None where none does it.

        The smallest for a fixed choice of the rivals to pass; the choice is improved step by step, so a shorter one is not
        ruled out (`reach_together`).
        """
        race = self._race(item, k, out)
        shift = reach_together(race, self._lowest - self.now, self._highest - self.now)
        return None if shift is None else self._change(shift, item)

    def _race(self, item: int, k: int, out: bool) -> Reach:
        self._need_scores()
        seen = self.explainer.seen(self.user)
        if np.isin(item, seen):
            raise InputError("the user has this item already, so it is not recommended; choose another")
        if k < 1:
            raise InputError(f"k must be a whole number, 1 or more, not {k}")
        rivals = np.ones(self.explainer.dataset.n_items, dtype=bool)
        rivals[seen - 1] = False
        rivals[item - 1] = False
        score, slopes = self._lines
        return Reach(score[rivals] - score[item - 1], slopes[rivals] - slopes[item - 1], self.spread, k, out)

    @cached_property
    def _lines(self) -> tuple[np.ndarray, np.ndarray]:
        """All items' scores now, (n_items,), and how fast they move with each normalised score, (n_items, attributes)."""
        vectors = self.explainer.vectors
        score: np.ndarray = vectors @ self._state
        return score, vectors @ self.pull

    def _change(self, shift: np.ndarray, item: int) -> Change:
        then = self.now + shift
        moved = np.flatnonzero(np.abs(shift) > 1e-9)
        inside = (then >= self._lowest - 1e-6) & (then <= self._highest + 1e-6)
        others, far = self.everyone[:, moved], then[moved]
        there = np.where(shift[moved] > 0, others >= far, others <= far)
        # Users who are far with one score each are nobody's example of a change of all of them.
        users = float(there.all(axis=1).mean())
        scores = {
            self.attributes[a]: (self._said(a), self.score_of(a, then[a]) if inside[a] else None)
            for a in moved.tolist()
        }
        rank = self._rank_after(shift, item)
        size = float(np.linalg.norm(shift / self.spread))
        return Change(scores, size, bool(inside[moved].all()) and users > 0, users, rank)

    def _rank_after(self, shift: np.ndarray, item: int) -> int:
        """Place of one item as `shifted(shift).ranks` gives it; the parts of all other items are not asked for."""
        score = self.explainer.vectors @ self._state_after(shift)
        rivals = np.delete(score, np.unique(self.explainer.seen(self.user)) - 1)
        return 1 + int((rivals > score[item - 1]).sum())

    # ---------------------------------------------------------------- scores and their normalised form

    @cached_property
    def pull(self) -> np.ndarray:
        """How a normalised user score moves what the state multiplies the columns with, (columns, attributes)."""
        with torch.no_grad():
            added = self.table.read(self.term.widened(self.term.weight.T))
        return added.double().numpy().T

    @cached_property
    def everyone(self) -> np.ndarray:
        """Normalised scores of all users when the test is made, (users, attributes)."""
        users, events = self.explainer.everyone
        return self.term.scores(users, events[:, None])[:, 0].double().numpy()

    @cached_property
    def now(self) -> np.ndarray:
        """The user's normalised scores, (attributes,)."""
        return self.explainer.normalised(self.user)

    @cached_property
    def spread(self) -> np.ndarray:
        """Standard deviation of the normalised scores over users; 1 where all have the same."""
        spread = self.everyone.std(axis=0)
        return np.where(spread > 1e-9, spread, 1.0)

    @property
    def _lowest(self) -> np.ndarray:
        return self._ends[0]

    @property
    def _highest(self) -> np.ndarray:
        return self._ends[1]

    @cached_property
    def _ends(self) -> np.ndarray:
        m = len(self.attributes)
        return self.term.normaliser.apply(np.stack([np.zeros(m), np.ones(m)])).astype(np.float64)

    def _normalised(self, name: str, value: float) -> float:
        column = self._column(name)
        if not 0 <= value <= 1:
            raise InputError(f"a score lies between 0 and 1, but '{name}' is {value}")
        row = np.full(len(self.attributes), np.nan)
        row[column] = value
        return float(self.term.normaliser.apply(row[None])[0, column])

    def _said(self, column: int) -> float:
        profile = self._profile
        # Beyond the ends of the normalisation many scores are one, so the way back would not give what was said.
        return self.score_of(column, self.now[column]) if profile.estimated else profile.rows[column]["score"]

    @cached_property
    def _profile(self) -> Profile:
        return self.explainer.profile(self.user)

    def score_of(self, column: int, normalised: float) -> float:
        """The score in [0, 1] that has this normalised form; the nearest end beyond the map's ends."""
        x, y = self.term.normaliser.x[column], self.term.normaliser.y[column]
        return float(np.clip(np.interp(normalised, y, x), 0.0, 1.0)) if y[0] < y[-1] else float(x[0])

    def _column(self, name: str) -> int:
        if name not in self.attributes:
            raise InputError(f"no attribute '{name}': {nearest(name, self.attributes)}")
        return self.attributes.index(name)
