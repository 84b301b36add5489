"""One user's case as one JSON-ready dict: everything that any format shows."""

from __future__ import annotations

from typing import Any

from guided_refine.errors import InputError
from guided_refine.explain.cases.confidence import Confidence, with_confidence
from guided_refine.explain.cases.counterfactual import counterfactuals
from guided_refine.explain.cases.moved import moved_of
from guided_refine.explain.cases.shared import Shared
from guided_refine.explain.cases.words import item_name, taste_sentence
from guided_refine.explain.contributions import Contributions
from guided_refine.explain.encoder_answer import encoder_answer
from guided_refine.explain.explainer import Explainer
from guided_refine.explain.text import explanation

SCHEMA_VERSION = 3

_TAKEN = (
    "dataset",
    "model",
    "user",
    "events",
    "candidates",
    "history",
    "profile",
    "profile_estimated",
    "next",
)


def case_study(
    explainer: Explainer, user: str, *, item: str | None = None, k: int | None = None, encoder: bool = True
) -> dict[str, Any]:
    """All that a case study of a user shows, JSON-ready; `schema.json` beside this file describes it key by key.

    `item`: an item that is asked about too; `k`: length of the lists, by default the run's `explain.k`; `encoder`: the
    first recommendation in the view through the encoder too, which runs the model some thousand times. Raises `InputError`
    for an unknown user or item (naming close ids), a user without events, `k` below 1, and where the run's base, truth or
    manifest is damaged.
    """
    return study(Shared(explainer), user, item=item, k=k, encoder=encoder)


def study(
    shared: Shared, user: str, *, item: str | None = None, k: int | None = None, encoder: bool = True
) -> dict[str, Any]:
    """`case_study` for many users of a run: what they share is read once."""
    explainer = shared.explainer
    user = str(user)
    k = length_of(explainer, k)
    number = number_of(explainer, user)
    asked = None if item is None else explainer.item_number(str(item))
    answer = explanation(explainer, user, item=None if item is None else str(item), k=k)
    found = explainer.contributions(number)
    seen = explainer.seen(number)
    base = None if shared.base is None else shared.ranked(shared.base, number)
    confidence = Confidence(explainer, shared.truth)
    base_ranks = None if base is None else base.ranks(seen)

    def whole(described: dict[str, Any]) -> dict[str, Any]:
        its_number = explainer.item_number(described["item_id"])
        before = None if base_ranks is None else int(base_ranks[its_number - 1])
        return with_confidence(described, its_number, confidence) | {"base_rank": before}

    case = {key: answer[key] for key in _TAKEN}
    for row in case["profile"]:
        row["spread"] = None if answer["profile_estimated"] else row["spread"]
    case["recommendations"] = [whole(one) for one in answer["recommendations"]]
    case["asked"] = None if answer["asked"] is None else whole(answer["asked"])
    case["next"] = None if answer["next"] is None else whole(answer["next"])
    case["base"] = None if base is None else _base_list(explainer, base, found, k, seen)
    case["moved"] = None if base is None else moved_of(shared, number, found, base, k)
    first = found.top(1, seen)
    case["through_encoder"] = (
        encoder_answer(explainer, number, int(first[0])) if encoder and len(first) else None
    )
    case["counterfactuals"] = counterfactuals(explainer, number, found, k, asked)
    case["confidence"] = confidence.section(case["profile"], case["recommendations"])
    case["trial"] = shared.trial
    case["provenance"] = shared.provenance
    case["summary"] = _summary(case)
    return {"schema_version": SCHEMA_VERSION, "k": k} | case


def length_of(explainer: Explainer, k: int | None) -> int:
    """How long the lists are: `k`, or the run's `explain.k`; raises `InputError` for one below 1."""
    k = explainer.config.explain.k if k is None else k
    if isinstance(k, bool) or not isinstance(k, int) or k < 1:
        raise InputError(f"k must be a whole number, 1 or more, not {k!r}")
    return k


def number_of(explainer: Explainer, user: str) -> int:
    """Number of a user id that a case can be made of; raises `InputError` for unknown ones and ones without history."""
    number = explainer.user_number(user)
    if number < 0:
        raise InputError(
            "a case study is of a user of the run: the base has no list for somebody who is not in the data"
        )
    if not len(explainer.seen(number)):
        raise InputError(
            f"user '{user}' has no event before the test of {explainer.dataset.name}, so there is no history to explain a "
            "list from; choose another user"
        )
    return number


def _base_list(
    explainer: Explainer, base: Contributions, refined: Contributions, k: int, seen: Any
) -> list[dict[str, Any]]:
    ranks, then = base.ranks(seen), refined.ranks(seen)
    return [
        {
            **explainer.named(i),
            "rank": int(ranks[i - 1]),
            "score": float(base.score[i - 1]),
            "refined_rank": int(then[i - 1]),
        }
        for i in base.top(k, seen).tolist()
    ]


def _summary(case: dict[str, Any]) -> list[str]:
    """The case in a few sentences, each with its number."""
    lines = []
    if case["moved"] is not None:
        lines.append(case["moved"]["sentence"])
    if case["recommendations"]:
        first = case["recommendations"][0]
        lines.append(f"First: {item_name(first)}, {first['reason']}")
    lines.append(taste_sentence(case["profile"], case["profile_estimated"]))
    lines += _changes(case)
    upcoming = case["next"]
    if upcoming is not None:
        before = "" if upcoming["base_rank"] is None else f", by the base {upcoming['base_rank']}"
        lines.append(
            f"What the user took next, {item_name(upcoming)}, is ranked {upcoming['rank']} of {case['candidates']}{before}."
        )
    return lines


def _changes(case: dict[str, Any]) -> list[str]:
    """What would change the first item's place. A score that no user has says little, so then it is the past event that
    does most, where that is known."""
    changes, view = case["counterfactuals"]["changes"], case["through_encoder"]
    past = [] if view is None else [view["sentences"][1]]
    if not changes:
        return [case["counterfactuals"]["note"], *past]
    rows = [*changes[0]["alone"], *([changes[0]["together"]] if changes[0]["together"] else [])]
    told = [] if past and not any(row["feasible"] for row in rows) else [changes[0]["sentence"]]
    return told + past
