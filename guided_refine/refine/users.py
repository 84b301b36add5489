"""`GuidedUserTerm`: what the language model said of a user, calibrated, plus a free residual.

h = encoder state + [0 ; W z_u(seen) + r_u], where z_u(seen) are the normalised scores at the latest snapshot
that has read at most `seen` events, W is trained from user_weight * I, and r_u is trained from 0. Where attributes are
directions D instead of columns it is h = encoder state + (W z_u(seen) + r_u) D, and D is trained too.
Guided Embedding Refinement, Jia et al. 2025, https://arxiv.org/abs/2504.11658: item scores frozen, user side trained.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from guided_refine.backbones.tables import UserTerm
from guided_refine.errors import InputError
from guided_refine.refine.estimate import HistoryEstimate
from guided_refine.refine.normalise import Normaliser


@dataclass(frozen=True)
class Snapshots:
    """Normalised user scores at points of the histories, sorted by (user, position).

    `user`, `position` (snapshots,) and `value` (snapshots, attributes); position counts events read.
    """

    user: np.ndarray
    position: np.ndarray
    value: np.ndarray


class GuidedUserTerm(UserTerm):
    """Adds to the last columns of a state of `width`, and nothing to the others; or along `directions`.

    Users are numbered 0..n_users-1; -1 is unknown and gets nothing in `forward`, and in `unknown` an estimate
    (or a language model's scores of the moment) but no residual.
    """

    key: Tensor
    value: Tensor
    knots_x: Tensor
    knots_y: Tensor
    fill: Tensor

    def __init__(
        self,
        width: int,
        n_users: int,
        snapshots: Snapshots,
        normaliser: Normaliser,
        estimate: HistoryEstimate,
        *,
        user_weight: float = 1.0,
        residual: bool = True,
        directions: Tensor | None = None,
        silent: bool = False,
    ) -> None:
        """`directions` (attributes, width): where a `SummedTable`'s attributes point at the start; they train.

        A `silent` term adds nothing to any state and learns nothing: it only keeps what scores of new items and users are
        normalised with.
        """
        super().__init__()
        m = snapshots.value.shape[1]
        self.width, self.n_users, self.attributes = width, n_users, m
        self.span = int(snapshots.position.max(initial=0)) + 2
        self.silent = silent
        start = 0.0 if silent else user_weight
        self.weight = nn.Parameter(start * torch.eye(m), requires_grad=not silent)
        self.residual = nn.Parameter(torch.zeros(n_users, m)) if residual and not silent else None
        if silent:
            directions = None
        self.directions = None if directions is None else nn.Parameter(directions.detach().float().clone())
        # One sorted key per snapshot, so that the latest one is found by a single binary search.
        key = snapshots.user.astype(np.int64) * self.span + snapshots.position
        self.register_buffer("key", torch.from_numpy(key))
        self.register_buffer("value", torch.from_numpy(np.asarray(snapshots.value, dtype=np.float32)))
        self.register_buffer("knots_x", torch.from_numpy(normaliser.x))
        self.register_buffer("knots_y", torch.from_numpy(normaliser.y))
        self.register_buffer("fill", torch.from_numpy(normaliser.fill))
        self.estimate = estimate

    @property
    def normaliser(self) -> Normaliser:
        """The map from scores in [0, 1] to normalised ones, fitted on the catalog that the model was trained with."""
        return Normaliser(self.knots_x.numpy(), self.knots_y.numpy(), self.fill.numpy())

    def latest(self, users: Tensor, seen: Tensor) -> Tensor:
        """Row of the latest snapshot that has read at most `seen` events, -1 where there is none.

        `users` (batch, 1) or as `seen` (batch, length); returns the shape of `seen`.
        """
        wanted = users * self.span + seen.clamp(max=self.span - 1)
        row = torch.searchsorted(self.key, wanted, right=True) - 1
        if len(self.key) == 0:
            return row
        own = (row >= 0) & (users >= 0) & (self.key[row.clamp(min=0)] // self.span == users)
        return torch.where(own, row, -1)

    def scores(self, users: Tensor, seen: Tensor) -> Tensor:
        """Normalised scores z_u(seen), zeros where there is no snapshot; (batch, length, attributes)."""
        row = self.latest(users[:, None], seen)
        padded = torch.cat([self.value.new_zeros(1, self.attributes), self.value])
        return padded[row + 1]

    def forward(self, users: Tensor, seen: Tensor) -> Tensor:
        """`users` (batch,), `seen` (batch, length) -> (batch, length, width)."""
        return self.of_scores(users, self.scores(users, seen))

    def of_scores(self, users: Tensor, normalised: Tensor) -> Tensor:
        """The term that users (batch,) would have with these normalised scores (batch, length, attributes)."""
        guided = normalised @ self.weight.T
        if self.residual is not None:
            known = (users >= 0)[:, None]
            guided = guided + torch.where(known, self.residual[users.clamp(min=0)], 0.0)[:, None]
        return self.widened(guided)

    def unknown(self, items: Tensor, given: Tensor | None = None) -> Tensor:
        """Term of users never seen, (batch, width): calibrated scores, `given` or estimated; no residual."""
        if given is None:
            normalised = self.estimate(items)
        else:
            if given.shape[-1] != self.attributes:
                raise InputError(
                    f"{given.shape[-1]} user scores were given, expected {self.attributes}, one per attribute"
                )
            normalised = torch.from_numpy(self.normaliser.apply(given.numpy()))
        return self.widened(normalised @ self.weight.T)

    def widened(self, guided: Tensor) -> Tensor:
        """Calibrated scores (..., attributes) as they are added to a state, (..., width)."""
        if self.directions is not None:
            return guided @ self.directions
        return nn.functional.pad(guided, (self.width - self.attributes, 0))

    def options(self) -> dict[str, Any]:
        """Sizes."""
        return {
            "width": self.width,
            "n_users": self.n_users,
            "attributes": self.attributes,
            "snapshots": len(self.key),
            "span": self.span,
            "knots": self.knots_x.shape[1],
            "n_items": len(self.estimate.item_scores),
            "residual": self.residual is not None,
            "directions": self.directions is not None,
            "silent": self.silent,
        }

    @classmethod
    def blank(cls, **options: Any) -> GuidedUserTerm:
        """A term whose values are loaded next."""
        m, k, s = options["attributes"], options["knots"], options["snapshots"]
        nothing = np.zeros(s, dtype=np.int64)
        term = cls(
            options["width"],
            options["n_users"],
            Snapshots(nothing, nothing, np.zeros((s, m))),
            Normaliser(np.zeros((m, k)), np.zeros((m, k)), np.zeros(m)),
            HistoryEstimate(torch.zeros(options["n_items"], m), torch.zeros(m, m), torch.zeros(m)),
            residual=options["residual"],
            # Not in models of before there was a choice.
            directions=torch.zeros(m, options["width"]) if options.get("directions") else None,
            silent=options.get("silent", False),
        )
        term.span = options["span"]
        return term
