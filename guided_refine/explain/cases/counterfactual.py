"""The smallest change of a user's scores that would take an item out of the list, or bring one in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from guided_refine.explain.cases.words import item_name, percent
from guided_refine.explain.contributions import Contributions
from guided_refine.explain.explainer import Explainer
from guided_refine.explain.what_if import Change, WhatIf
from guided_refine.refine.users import GuidedUserTerm

#: How many changes of one attribute are shown of an item, and how many moves of a change are told in a sentence.
SHOWN = 3

#: By how much further one score may go than all together and still be the change that is told.
PLAINER = 1.5


def counterfactuals(
    explainer: Explainer, user: int, found: Contributions, k: int, asked: int | None
) -> dict[str, Any]:
    """What would take the first item out of the top `k`, what would bring in the one just below, and the same for `asked`.

    Returns `changes`, one dict per item, and `note`, which says why there is none (else None).
    """
    seen = explainer.seen(user)
    order = found.top(len(found.score), seen)
    scores = len(explainer.scores.attributes)
    if not isinstance(explainer.model.term, GuidedUserTerm):
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
        _smallest(what_if, item, int(ranks[item - 1]), k)
        for item in dict.fromkeys(i for i in wanted if i is not None)
    ]
    return {"changes": changes, "note": None}


def _smallest(what_if: WhatIf, item: int, rank: int, k: int) -> dict[str, Any]:
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
    moves = sorted(
        change.scores.items(), key=lambda move: -abs((1.0 if move[1][1] is None else move[1][1]) - move[1][0])
    )
    return {
        "scores": [
            {"attribute": name, "label": labels[name], "now": now, "then": then}
            for name, (now, then) in moves
        ],
        "size": change.size,
        "feasible": change.feasible,
        "users": change.users,
        "rank": change.rank,
    }


def change_sentence(answer: Mapping[str, Any], k: int, attributes: int) -> str:
    """The smallest feasible change in one sentence; where none is, what it would take, or that none was found."""
    verb = "leave" if answer["wanted"] == "out" else "enter"
    subject = f"{item_name(answer)} (rank {answer['rank']})"
    rows = [*answer["alone"], *([answer["together"]] if answer["together"] else [])]
    feasible = [row for row in rows if row["feasible"]]
    if feasible:
        # One score is the plainer answer where it need not go much further than all together.
        best = min(feasible, key=lambda row: row["size"] * (1 if len(row["scores"]) == 1 else PLAINER))
        return (
            f"{subject} would {verb} the top {k}, for rank {best['rank']}, had the language model read "
            f"{scores_told(best['scores'])}: a change of {best['size']:.2f} standard deviations over users; "
            f"{percent(best['users'])} of users are that far."
        )
    if rows:
        best = min(rows, key=lambda row: row["size"])
        what = best["scores"][0]["label"] if len(best["scores"]) == 1 else f"{len(best['scores'])} scores"
        return (
            f"{subject} would not {verb} the top {k} with scores that any user has: the smallest change found, of "
            f"{what}, is {best['size']:.2f} standard deviations over users."
        )
    scores = "the one user score" if attributes == 1 else f"the {attributes} user scores"
    return f"No change of {scores} was found with which {subject} would {verb} the top {k}."


def move_told(now: float, then: float | None) -> tuple[str, str]:
    """A score now and then, with as many digits as it takes to tell them apart (two to four).

    >>> move_told(0.5, 0.75), move_told(0.5012, 0.5031), move_told(0.5, None)
    (('0.50', '0.75'), ('0.501', '0.503'), ('0.50', 'beyond any score'))
    """
    if then is None:
        return f"{now:.2f}", "beyond any score"
    digits = next((d for d in (2, 3) if f"{now:.{d}f}" != f"{then:.{d}f}"), 4)
    return f"{now:.{digits}f}", f"{then:.{digits}f}"


def _shown(scores: Sequence[Mapping[str, Any]]) -> list[tuple[Mapping[str, Any], tuple[str, str]]]:
    return [(row, move_told(row["now"], row["then"])) for row in scores[:SHOWN]]


def moves_told(scores: Sequence[Mapping[str, Any]]) -> list[str]:
    """The largest moves of a change, one each, and how many there are beside.

    >>> moves_told([{"label": "humour", "now": 0.5, "then": 0.75}])
    ['humour 0.50 → 0.75']
    """
    told = [f"{row['label']} {now} → {then}" for row, (now, then) in _shown(scores)]
    return told + ([f"{len(scores) - SHOWN} more, smaller"] if len(scores) > SHOWN else [])


def scores_told(scores: Sequence[Mapping[str, Any]]) -> str:
    """The largest moves of a change.

    >>> scores_told([{"label": "humour", "now": 0.5, "then": 0.75}, {"label": "gore", "now": 0.25, "then": 0.125}])
    'humour as 0.75 instead of 0.50 and gore as 0.12 instead of 0.25'
    """
    told = [f"{row['label']} as {then} instead of {now}" for row, (now, then) in _shown(scores)]
    rest = [abs(row["then"] - row["now"]) for row in scores[SHOWN:] if row["then"] is not None]
    if rest:
        told.append(f"{len(rest)} more by at most {max(rest):.2g}")
    return " and ".join([", ".join(told[:-1]), told[-1]]) if len(told) > 1 else told[0]
