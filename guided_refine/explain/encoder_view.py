"""The view through the encoder: what attributes and past events did to a score on their way through the model.

The direct view (`contributions`) splits the last dot product by column. But an encoder mixes columns: a funny history can
raise an item through columns that are not called humour. Here an attribute is taken away everywhere it goes in, in the items
of the history and in the user's own scores, and the model runs again. Taking away means putting the background in its
place: the mean over the catalog for items, the mean over users for the user. Item vectors on the other side of the dot
product stay as they are.

Shapley values: Lundberg and Lee, "A Unified Approach to Interpreting Model Predictions", NeurIPS 2017,
https://arxiv.org/abs/1705.07874, computed by the package `shap`.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from guided_refine.errors import InputError
from guided_refine.explain.contributions import check_sums
from guided_refine.explain.explainer import Explainer
from guided_refine.refine.users import GuidedUserTerm

#: Up to this many attributes all coalitions are computed (2 ** 12); beyond, random orders are drawn.
EXACT = 12
#: How many random orders are drawn, each forwards and backwards, beyond `EXACT` attributes.
ORDERS = 10
#: What is known of an attribute that is taken away, and what comes on top where users have scores of their own.
BACKGROUND = "an attribute is taken away by putting the catalog's mean in the history's items"
AND_USERS = " and the mean over users in the user's scores"
# Places times width of one batch through the encoder.
BATCH_ELEMENTS = 1 << 21


@dataclass(frozen=True)
class EncoderView:
    """Scores of some items for one user, split over attributes by Shapley values.

    `items`: (n,) item numbers; `score`: (n,); `background`: (n,), the scores of the same user with every attribute at its
    background; `values`: (n, attributes), which sum to `score - background`. `exact` is False where orders were drawn.
    Raises `ArithmeticError` when they do not.
    """

    attributes: list[str]
    items: np.ndarray
    score: np.ndarray
    background: np.ndarray
    values: np.ndarray
    exact: bool

    def __post_init__(self) -> None:
        check_sums(np.column_stack([self.background, self.values]), self.score, self.items)


@dataclass(frozen=True)
class PastView:
    """What each past event did to the scores of some items: the score less the score without that event.

    `events`: (length,) item numbers that the model reads, oldest first; `values`: (n, length). One event at a time is
    left out, so values need not sum to anything. The user's own scores stay what the language model said.
    """

    items: np.ndarray
    events: np.ndarray
    score: np.ndarray
    values: np.ndarray


def background(explainer: Explainer) -> str:
    """What taking an attribute away means for this run's model, in words."""
    return BACKGROUND + (AND_USERS if explainer.reads_users else "")


def through_encoder(explainer: Explainer, user: int, items: np.ndarray) -> EncoderView:
    """Shapley values of the attributes for the scores of `items` (numbers from 1) for a user number.

    Exact up to 12 attributes, which takes 2 ** attributes runs of the encoder; beyond, ten random orders and their reverses.
    Raises `InputError` when no item is given.
    """
    game = AttributeGame(explainer, user, _checked(explainer, items))
    return shapley_values(game, list(explainer.scores.attributes))


def shapley_values(game: AttributeGame, attributes: list[str]) -> EncoderView:
    """The Shapley values of a game's players; see `through_encoder`."""
    everything, nothing = np.ones((1, game.attributes)), np.zeros((1, game.attributes))
    return EncoderView(
        attributes,
        game.items,
        game(everything)[0],
        game(nothing)[0],
        shares(game),
        game.attributes <= EXACT,
    )


def shares(game: AttributeGame) -> np.ndarray:
    """Shapley values of the attributes for each of the game's targets, (targets, attributes), by the package `shap`."""
    import shap

    m = game.attributes
    everything, nothing = np.ones((1, m)), np.zeros((1, m))
    if m <= EXACT:
        found = shap.explainers.Exact(game, nothing)(everything, max_evals=2**m + 1, silent=True)
    else:
        found = shap.explainers.Permutation(game, nothing, seed=0)(
            everything, max_evals=ORDERS * (2 * m + 1), silent=True
        )
    values: np.ndarray = np.asarray(found.values)[0].reshape(m, -1).T
    return values


def interactions(game: AttributeGame) -> np.ndarray | None:
    """What pairs of attributes do together beyond what each does alone, (targets, attributes, attributes), symmetric.

    The Shapley-Taylor index of order two (Dhamdhere, Agarwal and Sundararajan, ICML 2020, https://arxiv.org/abs/1902.05622),
    by the package `shap`: on the diagonal what an attribute does when it comes first; all entries sum to the score less
    that of the background. None beyond 12 attributes.
    """
    import shap

    m = game.attributes
    if m > EXACT:
        return None
    found = shap.explainers.Exact(game, np.zeros((1, m)))(
        np.ones((1, m)), max_evals=2**m + 1, interactions=True, silent=True
    )
    values: np.ndarray = np.moveaxis(np.asarray(found.values)[0].reshape(m, m, -1), 2, 0)
    return values


def past_events(explainer: Explainer, user: int, items: np.ndarray) -> PastView:
    """What each of the events that the model reads did to the scores of `items`; one run of the encoder per event.

    Raises `InputError` when no item is given, or for a user without events.
    """
    items = _checked(explainer, items)
    seen = explainer.seen(user)
    if not len(seen):
        raise InputError(f"user '{explainer.dataset.user_ids[user]}' has no events, so none can be left out")
    model = explainer.model.model
    context = model.encoder.context
    recent = seen[-context:]
    # Without one of its events the window reaches one further back.
    shortened = [np.delete(seen, len(seen) - len(recent) + t)[-context:] for t in range(len(recent))]
    rows = [seen[-context:], *shortened]
    longest = max(len(row) for row in rows)
    padded = torch.tensor(np.stack([np.pad(row, (0, longest - len(row))) for row in rows]))
    lengths = torch.tensor([len(row) for row in rows])
    vectors = model.table.matrix().detach()
    term = _term(explainer, user)
    with torch.no_grad():
        states = torch.cat(
            [
                model.encoder.last(some, n, vectors)
                for some, n in zip(
                    padded.split(_rows(longest, vectors.shape[1])),
                    lengths.split(_rows(longest, vectors.shape[1])),
                    strict=True,
                )
            ]
        )
        columns = explainer.table.columns()[torch.from_numpy(items) - 1]
        scores = ((explainer.table.read(states) + term) @ columns.T).double().numpy()
    return PastView(items, recent, scores[0], (scores[0] - scores[1:]).T)


class AttributeGame:
    """Scores of `items` for one user when only some attributes are known; what Shapley values are taken of.

    Called with `known` (coalitions, attributes), 1 where an attribute is as it is and 0 where it is at its background;
    returns (coalitions, items). The collaborative columns are always as they are.
    """

    def __init__(
        self, explainer: Explainer, user: int, items: np.ndarray, history: np.ndarray | None = None
    ) -> None:
        """`history`: events in place of the user's own (`items` and `history` are item numbers)."""
        model = explainer.model.model
        self.items = np.asarray(items, dtype=np.int64)
        self._known: dict[bytes, Tensor] = {}
        self.encoder = model.encoder.eval()
        self.table = explainer.table
        columns = self.table.columns().detach()
        self.attributes = len(explainer.scores.attributes)
        recent = (explainer.seen(user) if history is None else history)[-self.encoder.context :]
        unique, places = np.unique(recent, return_inverse=True)
        # Only the history's rows enter the encoder: a coalition needs a small table of its own, not the catalog's.
        self.rows = columns[torch.from_numpy(unique) - 1]
        self.order = torch.from_numpy(places.reshape(-1)) + 1
        self.mean_item = columns[:, -self.attributes :].mean(dim=0)
        self.targets = columns[torch.from_numpy(items) - 1]
        self.term = model.term if isinstance(model.term, GuidedUserTerm) else None
        if self.term is not None:
            self.own = explainer.model_user(user)
            everyone, events = explainer.everyone
            with torch.no_grad():
                every = self.term.scores(everyone, events[:, None])[:, 0]
                self.mean_user = every.mean(dim=0)
                self.taste = torch.from_numpy(explainer.normalised(user)).float()

    def beside(self, targets: Tensor) -> AttributeGame:
        """The same game, scored against other columns (targets, columns); the encoder is not run again for it."""
        other = copy.copy(self)
        other.targets = targets
        return other

    @torch.no_grad()
    def __call__(self, known: np.ndarray) -> np.ndarray:
        masks = np.asarray(known) > 0.5
        # The same coalitions are asked for again by curves and by shap itself.
        new = {row.tobytes(): row for row in masks if row.tobytes() not in self._known}
        if new:
            size = _rows(max(1, len(self.order)), self.rows.shape[1])
            rows = torch.from_numpy(np.stack(list(new.values())))
            states = torch.cat([self._states(some) for some in rows.split(size)])
            self._known.update(zip(new, states, strict=True))
        states = torch.stack([self._known[row.tobytes()] for row in masks])
        scores: np.ndarray = (states @ self.targets.T).double().numpy()
        return scores

    @torch.no_grad()
    def state(self) -> np.ndarray:
        """What the user's state with every attribute known multiplies the columns with, float32 (columns,)."""
        return self._states(torch.ones(1, self.attributes, dtype=torch.bool))[0].numpy()

    def _states(self, masks: Tensor) -> Tensor:
        count, length = len(masks), len(self.order)
        m = self.attributes
        rows = self.rows.expand(count, *self.rows.shape).clone()
        rows[:, :, -m:] = torch.where(masks[:, None], rows[:, :, -m:], self.mean_item)
        items = self.order + len(self.rows) * torch.arange(count)[:, None]
        lengths = torch.full((count,), length)
        states = self.encoder.last(items, lengths, self.table.folded(rows.reshape(-1, rows.shape[2])))
        if self.term is not None:
            taste = torch.where(masks, self.taste, self.mean_user)
            states = states + self.term.of_scores(self.own.expand(count), taste[:, None])[:, 0]
        return self.table.read(states)


def _term(explainer: Explainer, user: int) -> Tensor:
    """What the user term adds to what this user's state multiplies the columns with, (columns,)."""
    term = explainer.user_term(user)
    return torch.zeros(()) if term is None else torch.from_numpy(term)


def _rows(length: int, width: int) -> int:
    return max(1, BATCH_ELEMENTS // (length * width))


def _checked(explainer: Explainer, items: np.ndarray) -> np.ndarray:
    items = np.asarray(items, dtype=np.int64).reshape(-1)
    if not len(items) or items.min() < 1 or items.max() > explainer.dataset.n_items:
        raise InputError(f"give at least one item, numbers from 1 to {explainer.dataset.n_items}")
    return items
