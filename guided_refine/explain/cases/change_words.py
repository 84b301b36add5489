"""Changes of a user's scores in words: what moves, how far that is, and whether any user is that far."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from guided_refine.explain.cases.words import item_name, percent

#: How many moves of a change are told.
SHOWN = 3

#: By how much further one score may go than all together and still be the change that is told.
PLAINER = 1.5


def change_sentence(answer: Mapping[str, Any], k: int, attributes: int) -> str:
    """The smallest change that some user's scores reach, in one sentence; where none does, the smallest within 0 to 1, else
    what it would take, or that none was found."""
    verb = "leave" if answer["wanted"] == "out" else "enter"
    subject = f"{item_name(answer)} (rank {answer['rank']})"
    rows = [*answer["alone"], *([answer["together"]] if answer["together"] else [])]
    feasible = [row for row in rows if row["feasible"]]
    told = feasible or [row for row in rows if _within(row)]
    if told:
        # One score is the plainer answer where it need not go much further than all together.
        best = min(told, key=lambda row: row["size"] * (1 if len(row["scores"]) == 1 else PLAINER))
        return (
            f"{subject} would {verb} the top {k}, for rank {best['rank']}, had the language model read "
            f"{scores_told(best['scores'])}: a change of {size_told(best['size'])} standard deviations over users; "
            f"{users_told(best)}."
        )
    if rows:
        best = min(rows, key=lambda row: row["size"])
        label, size = best["scores"][0]["label"], size_told(best["size"])
        return (
            f"No score between 0 and 1 was found with which {subject} would {verb} the top {k}: the smallest change of one "
            f"score alone, of {label}, is {size} standard deviations over users, beyond any score."
        )
    scores = "the one user score" if attributes == 1 else f"the {attributes} user scores"
    return f"No change of {scores} was found with which {subject} would {verb} the top {k}."


def _within(row: Mapping[str, Any]) -> bool:
    return all(score["then"] is not None for score in row["scores"])


def users_told(row: Mapping[str, Any]) -> str:
    """How many users are as far as a change goes: with all its scores at once, which is rarer than with each.

    >>> move = {"label": "humour", "now": 0.5, "then": 0.75}
    >>> users_told({"scores": [move], "users": 0.25}), users_told({"scores": [move, move], "users": 0.0})
    ('25 % of users are that far', 'no user is that far with all 2 at once')
    """
    who = f"{percent(row['users'])} of users are" if row["users"] > 0 else "no user is"
    count = len(row["scores"])
    return f"{who} that far" + (f" with all {count} at once" if count > 1 else "")


def size_told(size: float) -> str:
    """The length of a change, never 0 for what is not.

    >>> size_told(1.204), size_told(0.003)
    ('1.20', 'less than 0.01')
    """
    return "less than 0.01" if 0 < size < 0.005 else f"{size:.2f}"


def most_first(scores: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Moves of scores in the order of their size; one beyond any score counts as one to the end."""
    return sorted(scores, key=lambda row: -abs((1.0 if row["then"] is None else row["then"]) - row["now"]))


def move_told(now: float, then: float | None) -> tuple[str, str]:
    """A score now and then, with as many digits as it takes to tell them apart (two to four), else in words.

    >>> move_told(0.5, 0.75), move_told(0.5012, 0.5031), move_told(0.5, None)
    (('0.50', '0.75'), ('0.501', '0.503'), ('0.50', 'beyond any score'))
    >>> move_told(0.67, 0.670001), move_told(0.67, 0.669999)
    (('0.67', 'just above 0.67'), ('0.67', 'just below 0.67'))
    """
    if then is None:
        return f"{now:.2f}", "beyond any score"
    for digits in (2, 3, 4):
        told = f"{now:.{digits}f}", f"{then:.{digits}f}"
        if told[0] != told[1]:
            return told
    side = "just above" if then > now else "just below" if then < now else "hardly other than"
    return f"{now:.2f}", f"{side} {now:.2f}"


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
        far = "less than 0.01" if max(rest) < 0.01 else f"at most {math.ceil(100 * max(rest)) / 100:.2f}"
        told.append(f"{len(rest)} more by {far}")
    return " and ".join([", ".join(told[:-1]), told[-1]]) if len(told) > 1 else told[0]
