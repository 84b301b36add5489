"""The best k items per user, exactly, in bounded memory, without sorting a row of scores.

Scores are made for a few users and a few thousand items at a time, so that they are read again while they still lie in
the processor's cache. A chunk whose largest score does not beat what a user already has is passed over: with items in
no special order that is nearly every chunk but the first ones.
"""

from __future__ import annotations

import torch
from torch import Tensor

from guided_refine.backbones.histories import Histories
from guided_refine.errors import InputError

# Users at once, and scores of one chunk: 4 MiB.
ROWS, ELEMENTS = 256, 1 << 20


def stable_top(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The first `k` columns of a stable descending sort: values and places, each (rows, min(k, columns)).

    `scores` is (rows, columns). Equal scores keep the order of their columns. torch.topk, some forty times faster than
    the sort, takes any of them; hence a row is sorted only when two of its k + 1 best are equal.

    >>> stable_top(torch.tensor([[1.0, 3.0, 3.0, 3.0]]), 2)[1].tolist()
    [[1, 2]]
    """
    if k >= scores.shape[1]:
        values, places = scores.sort(dim=1, descending=True, stable=True)
        return values, places
    values, places = scores.topk(k + 1, dim=1)
    tied = (values[:, 1:] == values[:, :-1]).any(dim=1).nonzero()[:, 0]
    values, places = values[:, :k].contiguous(), places[:, :k].contiguous()
    if len(tied):
        in_order = scores[tied].sort(dim=1, descending=True, stable=True)
        values[tied], places[tied] = (found[:, :k] for found in in_order)
    return values, places


def top_items(
    states: Tensor,
    vectors: Tensor,
    k: int,
    seen: Histories | None = None,
    *,
    rows: int = ROWS,
    items: int | None = None,
) -> tuple[Tensor, Tensor]:
    """The `k` items with the largest dot product for each user; equal scores in catalog order.

    Args:
        states: (users, width).
        vectors: (n_items, width).
        k: 1 or more; a catalog of fewer items gives all of them.
        seen: one history per user whose items are no candidates; they come last, with the score -inf.
        rows, items: users and items of one chunk; default: what stays in a processor's cache.

    Returns scores and places in the catalog (from 0), each (users, min(k, n_items)), best first. Memory beyond inputs
    and result: `rows` x `items` scores. Raises `InputError` where a score is not a number.

    >>> scores, places = top_items(torch.ones(1, 1), torch.tensor([[1.0], [5.0], [5.0]]), k=2)
    >>> scores.tolist(), places.tolist()
    ([[5.0, 5.0]], [[1, 2]])
    """
    k = min(k, len(vectors))
    rows = max(1, min(rows, len(states)))
    items = items or max(1, ELEMENTS // rows)
    values = states.new_empty(len(states), k)
    places = torch.empty(len(states), k, dtype=torch.long, device=states.device)
    buffer = states.new_empty(rows * min(items, len(vectors)))
    for first in range(0, len(states), rows):
        batch = torch.arange(first, min(first + rows, len(states)), device=states.device)
        values[batch], places[batch] = _best_of_batch(
            states[batch], vectors, k, None if seen is None else seen.pairs(batch), items, buffer
        )
    if bool(values.isnan().any()):
        raise InputError(
            "the scores are not numbers (NaN), so nothing can be ranked; training has probably diverged: lower "
            "train.learning_rate and train again"
        )
    return values, places


def _best_of_batch(
    states: Tensor, vectors: Tensor, k: int, seen: tuple[Tensor, Tensor] | None, items: int, buffer: Tensor
) -> tuple[Tensor, Tensor]:
    starts = range(0, len(vectors), items)
    hidden = _by_chunk(seen, starts, items)
    values = places = states.new_empty(len(states), 0)
    for start, (row, column) in zip(starts, hidden, strict=True):
        chunk = vectors[start : start + items]
        scores = buffer[: len(states) * len(chunk)].view(len(states), len(chunk))
        torch.mm(states, chunk.T, out=scores)
        scores[row, column] = -torch.inf
        if values.shape[1] < k:
            # Not k candidates yet: every row takes part.
            found, at = stable_top(scores, k)
            values, places = _merged(values, places.long(), found, at + start, k)
            continue
        # Written so that a score that is not a number takes part too, and is then noticed. An equal score does not:
        # it stands later in the catalog.
        better = (~(scores.amax(dim=1) <= values[:, -1])).nonzero()[:, 0]
        if len(better):
            found, at = stable_top(scores if len(better) == len(scores) else scores[better], k)
            values[better], places[better] = _merged(values[better], places[better], found, at + start, k)
    return values, places


def _merged(values: Tensor, places: Tensor, more: Tensor, at: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The best k of two ranked lists; where scores are equal the first list's items stand first."""
    values, order = stable_top(torch.cat([values, more], dim=1), k)
    return values, torch.cat([places, at], dim=1).gather(1, order)


def _by_chunk(seen: tuple[Tensor, Tensor] | None, starts: range, items: int) -> list[tuple[Tensor, Tensor]]:
    """Per chunk of items: rows and columns of the scores that are no candidates. `seen` holds rows and item numbers."""
    if seen is None:
        nothing = torch.empty(0, dtype=torch.long)
        return [(nothing, nothing)] * len(starts)
    row, place = seen[0], seen[1] - 1
    if len(starts) == 1:
        return [(row, place)]
    place, order = place.sort()
    row = row[order]
    bounds = torch.searchsorted(place, place.new_tensor([*starts, starts[-1] + items])).tolist()
    return [
        (row[low:high], place[low:high] - start)
        for start, low, high in zip(starts, bounds[:-1], bounds[1:], strict=True)
    ]
