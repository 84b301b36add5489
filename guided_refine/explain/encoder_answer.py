"""One item through the encoder, as data and as lines for a terminal: what attributes did to its score, and past events."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from guided_refine.explain.cases.words import item_name, item_with_id, parts_told
from guided_refine.explain.cells import bar, pad
from guided_refine.explain.encoder_view import PastView, background, past_events, through_encoder
from guided_refine.explain.explainer import Explainer
from guided_refine.explain.trial import rank_correlation

EVENTS = 10
"""So many past events are shown: those that did most."""

AT_MEAN = "every attribute at its mean"
_TITLE = 48


def encoder_answer(explainer: Explainer, user: int, item: int) -> dict[str, Any]:
    """What attributes and past events did to the score of an item number for a user number, JSON-ready.

    - `item_id`, `title`, `rank`; `score`, and `background`: the score with every attribute at its mean (see `taken_away`).
    - `attributes`: per attribute name, label, `value` (Shapley value through the encoder) and `direct` (its lift in the
      direct view, for comparison). The values sum to `score - background`, checked. `exact`: not of drawn orders.
    - `agreement`: rank correlation of the two views over attributes; None where one of them has no variation.
    - `events`: what the model reads of the history, oldest first: item_id, title, `value`, the score less the score
      without that event, and `rank`, the item's rank then.
    - `sentences`: the same in words.

    Costs 2 ** attributes runs of the encoder (up to 12 attributes). Raises `InputError` for a user without events.
    """
    everything = np.arange(1, explainer.dataset.n_items + 1)
    past = past_events(explainer, user, everything)
    own = past.values[item - 1]
    found = through_encoder(explainer, user, np.array([item]))
    direct = explainer.contributions(user)
    lifts = (direct.values[item - 1] - direct.values.mean(axis=0))[1:]
    agreement = rank_correlation(found.values[0], lifts)
    answer: dict[str, Any] = {
        **explainer.named(item),
        "rank": int(direct.ranks(explainer.seen(user))[item - 1]),
        "score": float(found.score[0]),
        "background": float(found.background[0]),
        "taken_away": background(explainer),
        "exact": found.exact,
        "attributes": [
            {"name": name, "label": explainer.labels[name], "value": float(value), "direct": float(lift)}
            for name, value, lift in zip(found.attributes, found.values[0], lifts, strict=True)
        ],
        "agreement": None if np.isnan(agreement) else agreement,
        "events": [
            {**explainer.named(i), "value": float(value), "rank": rank}
            for i, value, rank in zip(
                past.events.tolist(), own, _ranks_without(past, item, explainer.seen(user)), strict=True
            )
        ],
    }
    return answer | {"sentences": _sentences(answer)}


def _ranks_without(past: PastView, item: int, seen: np.ndarray) -> list[int]:
    """The item's rank without each event; what the user has stays out of the list, the event that is left out too."""
    rivals = np.ones(len(past.score), dtype=bool)
    rivals[seen - 1] = False
    rivals[item - 1] = False
    scores = past.score[:, None] - past.values
    ranks: list[int] = (1 + (scores[rivals] > scores[item - 1]).sum(axis=0)).tolist()
    return ranks


def strongest(events: list[dict[str, Any]], count: int = EVENTS) -> list[dict[str, Any]]:
    """The `count` events that did most, most first; of equal ones the newest.

    >>> strongest([{"value": 0.1}, {"value": -0.3}, {"value": 0.2}], 2)
    [{'value': -0.3}, {'value': 0.2}]
    """
    newest_first = events[::-1]
    return sorted(newest_first, key=lambda event: -abs(event["value"]))[:count]


def _sentences(answer: Mapping[str, Any]) -> list[str]:
    name, score, parts = item_name(answer), answer["score"], answer["attributes"]
    told = [
        f"Through the encoder: with {AT_MEAN}, {name} would score {answer['background']:.3f} instead of {score:.3f}; "
        f"{parts_told(parts)}."
    ]
    events = answer["events"]
    first = strongest(events, 1)[0]
    read = (
        f"the {len(events)} events that the model reads"
        if len(events) > 1
        else "1 event that the model reads"
    )
    told.append(
        f"Of {read}, {item_name(first)} does most to {name}: without it the score would be {score - first['value']:.3f} "
        f"instead of {score:.3f}, and the rank {_instead(first['rank'], answer['rank'])}."
    )
    if answer["agreement"] is not None:
        told.append(
            f"Direct view and view through the encoder order the {len(parts)} attributes of this item with a rank "
            f"correlation of {answer['agreement']:+.2f} (1: alike, 0: unrelated)."
        )
    return told


def _instead(then: int, now: int) -> str:
    return f"{then} instead of {now}" if then != now else f"{now} as it is"


def how_made(answer: Mapping[str, Any]) -> str:
    """How the numbers were made, in a sentence for people."""
    orders = (
        "all combinations of attributes"
        if answer["exact"]
        else "ten random orders of attributes and their reverses"
    )
    return (
        f"Each attribute's fair share of the change (Shapley value), over {orders}; {answer['taken_away']}."
    )


def encoder_lines(answer: Mapping[str, Any]) -> list[str]:
    """The answer as lines for a terminal."""
    parts = sorted(answer["attributes"], key=lambda part: (-abs(part["value"]), part["name"]))
    largest = max((abs(part["value"]) for part in parts), default=1.0) or 1.0
    space = max(len(AT_MEAN), *(len(part["label"]) for part in parts))
    events = strongest(answer["events"])
    furthest = max((abs(event["value"]) for event in events), default=1.0) or 1.0
    return [
        f"{item_with_id(answer, _TITLE)} (rank {answer['rank']}) through the encoder; beside it the "
        "direct view",
        f"   {AT_MEAN:{space}}  {answer['background']:+8.3f}",
        *(
            f"   {part['label']:{space}}  {part['value']:+8.3f} {bar(part['value'], largest, 24)} {part['direct']:+8.3f}"
            for part in parts
        ),
        f"   {'= score':{space}}  {answer['score']:+8.3f}",
        how_made(answer),
        "",
        f"Past events, the score less that without one, and the rank then: {len(events)} of {len(answer['events'])}, those "
        "that do most",
        *(
            f"   {pad(item_with_id(event, _TITLE), _TITLE)}  {event['value']:+8.3f} "
            f"{bar(event['value'], furthest, 12)} {event['rank']:5d}"
            for event in events
        ),
        "",
        *answer["sentences"],
    ]
