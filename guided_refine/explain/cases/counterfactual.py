"""The smallest change of a user's scores that would take an item out of the list, or bring one in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from guided_refine.explain.cases.change_words import change_sentence, most_first
from guided_refine.explain.contributions import Contributions
from guided_refine.explain.explainer import Explainer
from guided_refine.explain.what_if import Change, WhatIf

#: How many changes of one attribute are shown of an item.
SHOWN = 3


def counterfactuals(
    explainer: Explainer, user: int, found: Contributions, k: int, asked: int | None
) -> dict[str, Any]:
    """What would take the first item out of the top `k`, what would bring in the one just below, and the same for `asked`.

    Returns `changes`, one dict per item, and `note`, which says why there is none (else None).
    """
    seen = explainer.seen(user)
    order = found.top(len(found.score), seen)
    scores = len(explainer.scores.attributes)
    if not explainer.reads_users:
        note = (
            f"The refined model reads none of the {scores} user scores, so no change of them moves the list."
        )
        return {"changes": [], "note": note}
    if len(order) <= k:
        note = f"All {len(order)} items that the user has not seen are in the list, so nothing can leave it or come in."
        return {"changes": [], "note": note}
    ranks = found.ranks(seen)
    # Of equal scores the rank is one, so the place behind the list may still hold rank k.
    below = next((int(i) for i in order[k:] if ranks[i - 1] > k), None)
    wanted = [int(order[0]), below, asked if asked is not None and asked not in seen else None]
    what_if = WhatIf(explainer, user)
    changes = [
        smallest_change(what_if, item, int(ranks[item - 1]), k)
        for item in dict.fromkeys(i for i in wanted if i is not None)
    ]
    return {"changes": changes, "note": None}


def smallest_change(what_if: WhatIf, item: int, rank: int, k: int) -> dict[str, Any]:
    """What would take an item number, which has `rank` now, out of the top `k`, or bring it in; `sentence` tells it."""
    out = rank <= k
    alone = what_if.smallest(item, k, out=out)
    together = what_if.smallest_together(item, k, out=out)
    labels = what_if.explainer.labels
    answer = {
        **what_if.explainer.named(item),
        "rank": rank,
        "wanted": "out" if out else "in",
        "alone": [change_row(change, labels) for change in alone[:SHOWN]],
        "together": None if together is None else change_row(together, labels),
    }
    return answer | {"sentence": change_sentence(answer, k, len(what_if.attributes))}


def change_row(change: Change, labels: Mapping[str, str]) -> dict[str, Any]:
    """A change as data: the scores it moves, largest move first, and how far that is."""
    return {
        "scores": most_first(
            {"attribute": name, "label": labels[name], "now": now, "then": then}
            for name, (now, then) in change.scores.items()
        ),
        "size": change.size,
        "feasible": change.feasible,
        "users": change.users,
        "rank": change.rank,
    }
