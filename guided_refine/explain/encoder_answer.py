"""One item through the encoder, as data and as lines for a terminal: what attributes did to its score, and past events."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from guided_refine.explain.cases.words import item_name, parts_told
from guided_refine.explain.encoder_view import BACKGROUND, past_events, through_encoder
from guided_refine.explain.explainer import Explainer
from guided_refine.explain.text import bar, clip, pad
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
    - `events`: what the model reads of the history, oldest first: item_id, title and `value`, the score less the score
      without that event.
    - `sentences`: the same in words.

    Costs 2 ** attributes runs of the encoder (up to 12 attributes). Raises `InputError` for a user without events.
    """
    places = np.array([item])
    past = past_events(explainer, user, places)
    found = through_encoder(explainer, user, places)
    direct = explainer.contributions(user)
    lifts = (direct.values[item - 1] - direct.values.mean(axis=0))[1:]
    agreement = rank_correlation(found.values[0], lifts)
    answer: dict[str, Any] = {
        **explainer.named(item),
        "rank": int(direct.ranks(explainer.seen(user))[item - 1]),
        "score": float(found.score[0]),
        "background": float(found.background[0]),
        "taken_away": BACKGROUND,
        "exact": found.exact,
        "attributes": [
            {"name": name, "label": explainer.labels[name], "value": float(value), "direct": float(lift)}
            for name, value, lift in zip(found.attributes, found.values[0], lifts, strict=True)
        ],
        "agreement": None if np.isnan(agreement) else agreement,
        "events": [
            {**explainer.named(i), "value": float(value)}
            for i, value in zip(past.events.tolist(), past.values[0], strict=True)
        ],
    }
    return answer | {"sentences": _sentences(answer)}


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
        f"Of {read}, {item_name(first)} does most: without it the score would be {score - first['value']:.3f}."
    )
    if answer["agreement"] is not None:
        told.append(
            f"Direct view and view through the encoder order the {len(parts)} attributes of this item with a rank "
            f"correlation of {answer['agreement']:+.2f} (1: alike, 0: unrelated)."
        )
    return told


def how_made(answer: Mapping[str, Any]) -> str:
    """How the numbers were made, in a sentence for people."""
    orders = (
        "all combinations of attributes"
        if answer["exact"]
        else "ten random orders of attributes and their reverses"
    )
    return f"Shapley values of {orders}; {answer['taken_away']}."


def encoder_lines(answer: Mapping[str, Any]) -> list[str]:
    """The answer as lines for a terminal."""
    parts = sorted(answer["attributes"], key=lambda part: (-abs(part["value"]), part["name"]))
    largest = max((abs(part["value"]) for part in parts), default=1.0) or 1.0
    space = max(len(AT_MEAN), *(len(part["label"]) for part in parts))
    events = strongest(answer["events"])
    furthest = max((abs(event["value"]) for event in events), default=1.0) or 1.0
    return [
        f"{clip(answer['title'] or answer['item_id'], _TITLE)} (rank {answer['rank']}) through the encoder; beside it the "
        "direct view",
        f"   {AT_MEAN:{space}}  {answer['background']:+8.3f}",
        *(
            f"   {part['label']:{space}}  {part['value']:+8.3f} {bar(part['value'], largest, 24)} {part['direct']:+8.3f}"
            for part in parts
        ),
        f"   {'= score':{space}}  {answer['score']:+8.3f}",
        how_made(answer),
        "",
        f"Past events, the score less that without one: {len(events)} of {len(answer['events'])}, those that do most",
        *(
            f"   {pad(clip(event['title'] or event['item_id'], _TITLE), _TITLE)}  {event['value']:+8.3f} "
            f"{bar(event['value'], furthest, 24)}"
            for event in events
        ),
        "",
        *answer["sentences"],
    ]
