"""A trained refined model with further items: their scores are read from text, their place is borrowed from neighbours."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from guided_refine.backbones.backbone import Backbone
from guided_refine.errors import InputError
from guided_refine.refine.table import GuidedTable
from guided_refine.refine.users import GuidedUserTerm

NEIGHBOURS = 20
LENGTH = 0.7
"""How far a borrowed place is from the catalog's middle, as a share of how far its neighbours are."""


def extended(
    backbone: Backbone, item_ids: Sequence[str], scores: np.ndarray, *, counts: np.ndarray | None = None
) -> Backbone:
    """A copy of a trained refined model that also knows `item_ids`, appended to the catalog in this order.

    `scores` (new items, attributes) are a language model's, in [0, 1]. They go through the normalisation that the
    model was trained with, so vectors and scores of the items it knows stay what they are. The columns that
    training would have learned from interactions come from `borrowed`. `counts` (n_items,) are training interactions of
    the items it knows: those without any have learned only to be recommended to nobody, so they lend nothing.

    Raises `InputError` when the model has no guided columns, an item is there already, or the scores do not fit.
    """
    table, term = backbone.table, backbone.term
    if not isinstance(table, GuidedTable) or not isinstance(term, GuidedUserTerm) or not backbone.item_ids:
        raise InputError(
            f"this {backbone.kind} is no trained refined model, so text alone cannot tell it about an item"
        )
    ids = [str(name) for name in item_ids]
    _check(backbone, ids, scores, table.attributes)
    normalised = torch.from_numpy(term.normaliser.apply(np.asarray(scores, dtype=np.float64)))
    guided = normalised * table.scale
    columns, m = table.columns().detach().numpy(), table.attributes
    lenders = columns if counts is None or not counts.any() else columns[counts > 0]
    free = borrowed(lenders[:, :-m], lenders[:, -m:], guided.numpy())
    bigger = table.with_items(torch.from_numpy(free), guided)
    wider = GuidedUserTerm.blank(**{**term.options(), "n_items": bigger.n_items})
    estimate = torch.cat([term.estimate.item_scores, normalised])
    wider.load_state_dict({**term.state_dict(), "estimate.item_scores": estimate})
    model = Backbone(backbone.kind, bigger, wider, backbone.config, backbone.seed)
    model.model.encoder.load_state_dict(backbone.model.encoder.state_dict())
    model.item_ids, model.user_ids = [*backbone.item_ids, *ids], list(backbone.user_ids)
    model.id_types, model.histories = dict(backbone.id_types), backbone.histories
    return model.restarted(backbone.seed)


def _check(backbone: Backbone, ids: list[str], scores: np.ndarray, attributes: int) -> None:
    known = set(backbone.item_ids)
    for name in ids:
        if name in known:
            raise InputError(f"item '{name}' is in the catalog already; leave it out, its vector stays")
        known.add(name)
        if "item_id" in backbone.id_types and not name.lstrip("-").isdecimal():
            raise InputError(f"the catalog's item ids are whole numbers, but '{name}' is none")
    if scores.shape != (len(ids), attributes) or not np.isfinite(scores).all():
        raise InputError(
            f"scores of new items have shape {scores.shape}, expected ({len(ids)}, {attributes}) finite numbers"
        )


def borrowed(
    reduced: np.ndarray, guided: np.ndarray, new_guided: np.ndarray, *, length: float = LENGTH
) -> np.ndarray:
    """Columns of new items that interactions would have taught: a mean over the nearest items, nearly as long as theirs.

    `reduced` (items, kept) and `guided` (items, attributes) are the known items' columns, `new_guided` the new ones'.
    Near is near in guided columns; each of the 20 nearest weighs exp(-d^2 / 2 r^2), r the distance of the farthest
    of them. Returns float32 (new items, kept).

    A mean of vectors is shorter than the vectors, and short vectors are never recommended: its offset from the
    catalog's middle gets 0.7 times the mean length of the neighbours' offsets. That has a price: such items take places
    in the lists of users whose next item is an old one. `experiments/cold_items.py` measures both, on validation; 0.7 is
    from there.

    >>> known = np.array([[1.0], [9.0]]), np.array([[0.0], [2.0]])
    >>> [round(float(borrowed(*known, np.array([[x]]))[0, 0]), 2) for x in (1.0, 0.5)]
    [5.0, 2.2]
    """
    near = min(NEIGHBOURS, len(guided))
    middle = reduced.mean(axis=0, dtype=np.float64)
    offsets = reduced - middle
    lengths = np.linalg.norm(offsets, axis=1)
    answer = np.tile(middle.astype(np.float32), (len(new_guided), 1))
    for row, own in enumerate(new_guided.astype(np.float64)):
        distance = ((guided - own) ** 2).sum(axis=1)
        nearest = np.argsort(distance, kind="stable")[:near]
        reach = max(float(distance[nearest[-1]]), np.finfo(np.float64).tiny)
        weight = np.exp(-distance[nearest] / (2 * reach))
        offset = weight @ offsets[nearest] / weight.sum()
        wanted, found = length * lengths[nearest].mean(), np.linalg.norm(offset)
        # Neighbours that cancel each other out point nowhere.
        if found > 1e-6 * wanted:
            answer[row] = middle + offset * (wanted / found)
    return answer
