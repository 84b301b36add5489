"""Explanations as data and as lines for a terminal.

`explain_user` answers with one JSON-ready dict, which the command line, the case studies and the dashboard show;
`format_explanation` prints it. Titles come from outside: they are shown as text, without control characters.
"""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

from guided_refine.explain.cases.glossary import WEIGHT
from guided_refine.explain.cases.words import item_with_id
from guided_refine.explain.cells import bar, clean, pad
from guided_refine.explain.explainer import Explainer
from guided_refine.explain.words import COLLABORATIVE, reason, weight_told
from guided_refine.reporting.style import label

HISTORY = 10
WIDTH = 100
SHOWN = 4


def explain_user(run: Path | str, user: str, item: str | None = None, k: int | None = None) -> dict[str, Any]:
    """Why the refined model of a run recommends what it does to a user, as one JSON-ready dict.

    Keys: `model` (what ranked, what scored), `user`, `events`, `history` (last 10, oldest first), `profile` (one dict
    per attribute: score in [0, 1], percentile in the catalog, weight in the model), `profile_estimated`,
    `recommendations` (best first: item_id, title, rank, score, parts, reason), `asked` (the same for `item`, with its
    rank and whether the user has it already, else None), `next` (what the user took next, with its rank; None where
    nothing was held out). The values of an item's `parts` sum to its score; this is checked on every call.

    Raises `InputError` for an unknown user or item (naming close ids), and for a run without a refined model.
    """
    return explanation(Explainer.open(run), user, item=item, k=k)


def explanation(
    explainer: Explainer, user: str, *, item: str | None = None, k: int | None = None
) -> dict[str, Any]:
    """What `explain_user` answers, from an explainer that is already open."""
    number = explainer.user_number(user)
    asked = explainer.item_number(item) if item is not None else None
    contributions = explainer.contributions(number)
    seen = explainer.seen(number)
    ranks = contributions.ranks(seen)
    profile = explainer.profile(number)
    data = explainer.dataset

    def describe(item_number: int) -> dict[str, Any]:
        parts = contributions.of(item_number)
        for part in parts:
            part["label"] = explainer.labels[part["name"]]
            if part["name"] != COLLABORATIVE:
                part["item_score"] = explainer.item_score(item_number, part["name"])
        return {
            **explainer.named(item_number),
            "rank": int(ranks[item_number - 1]),
            "score": float(contributions.score[item_number - 1]),
            "lead": float(contributions.score[item_number - 1] - contributions.score.mean()),
            "parts": parts,
            "reason": reason(parts, profile.weights, lent=explainer.is_lent(item_number)),
        }

    top = contributions.top(k or explainer.config.explain.k, seen)
    upcoming = explainer.next_item(number)
    return {
        "run": str(explainer.folder.root),
        "dataset": data.name,
        "model": explainer.about,
        "user": user,
        "events": len(seen),
        "candidates": int(data.n_items - len(set(seen.tolist()))),
        "history": [explainer.named(i) for i in seen[-HISTORY:].tolist()],
        "profile": profile.rows,
        "profile_estimated": profile.estimated,
        "recommendations": [describe(i) for i in top.tolist()],
        "asked": None if asked is None else describe(asked) | {"seen": bool(asked in seen)},
        "next": None if upcoming is None else describe(upcoming),
    }


def format_explanation(answer: dict[str, Any]) -> str:
    """The answer of `explain_user` as lines for a terminal, at most 100 columns wide."""
    model = answer["model"]
    lines = [
        f"User {clean(answer['user'])} in {clean(answer['dataset'])}",
        f"Ranked by {label(model['backbone'])} ({model['variant']}); attributes scored by "
        f"{clean(model['scorer'])} ({model['source']})",
        "",
        *_history_lines(answer),
        "",
        "Taste profile: score 0 to 1; share of the catalog with less of it; the model's weight of it",
        *_profile_lines(answer),
        "",
        f"Recommendations, out of {answer['candidates']} items not seen yet; beside each part of a score, how far it is",
        "above the average item of the catalog",
    ]
    for item in answer["recommendations"]:
        lines += ["", *_item_lines(item)]
    if answer["asked"] is not None:
        owned = " (the user has it already)" if answer["asked"]["seen"] else ""
        lines += ["", f"The item asked for{owned}", *_item_lines(answer["asked"])]
    if answer["next"] is not None:
        upcoming = answer["next"]
        lines += [
            "",
            f"What the user really took next: {item_with_id(upcoming, 50)}, "
            f"ranked {upcoming['rank']} of {answer['candidates']}",
        ]
    lines += [
        "",
        "View: direct. The parts of an item sum to its score: nothing else enters the ranking.",
        "What attributes and past events did on their way through the model: --through-encoder",
    ]
    return "\n".join(line.rstrip() for line in lines)


def _history_lines(answer: dict[str, Any]) -> list[str]:
    if not answer["events"]:
        return ["History: the model may see no event of this user; the list is what it recommends to anybody"]
    return [
        f"History: the last {len(answer['history'])} of {answer['events']} events, newest last",
        *(f"   {item_with_id(h, WIDTH - 3)}" for h in answer["history"]),
    ]


def _profile_lines(answer: dict[str, Any]) -> list[str]:
    rows = answer["profile"]
    space = max((len(row["label"]) for row in rows), default=0)
    lines = [
        f"   {row['label']:{space}}  {row['score']:.2f} {bar(row['score'], 1, 12)}  "
        f"more than {row['percentile']:3.0f} %   {row['stance']} ({weight_told(row['weight'])})"
        for row in rows
    ]
    if answer["profile_estimated"]:
        source = "Estimated from the items of the history" if answer["events"] else "The catalog's mean"
        lines.append(f"   {source}; the language model has not scored this user.")
    return [*lines, *(f"   {line}" for line in textwrap.wrap(WEIGHT, WIDTH - 3))]


def _item_lines(item: dict[str, Any]) -> list[str]:
    head = f"{item['rank']:3d}. {item_with_id(item, 70)}"
    lines = [pad(head, WIDTH - 16) + f"score {item['score']:+8.3f}"]
    rows = shown_parts(item["parts"])
    largest = max((abs(row["value"]) for row in rows), default=1.0) or 1.0
    space = max(len(row["label"]) for row in rows)
    lines += [
        f"     {row['label']:{space}}  {row['value']:+8.3f} {bar(row['value'], largest, 24)} {row['lift']:+8.3f}"
        for row in rows
    ]
    return [*lines, *(f"     {line}" for line in textwrap.wrap(clean(item["reason"]), WIDTH - 5))]


def shortened(parts: list[dict[str, Any]], shown: int = SHOWN) -> list[tuple[str, float]]:
    """The collaborative part, the `shown` largest attributes, and the sum of the others, so that all still sum up.

    >>> rows = [("a", 1.0), ("b", -3.0), ("c", 0.5)]
    >>> shortened([{"name": n, "label": n, "value": v} for n, v in rows], shown=1)
    [('b', -3.0), ('2 other attributes', 1.5)]
    """
    return [(row["label"], row["value"]) for row in shown_parts(parts, shown)]


def shown_parts(parts: list[dict[str, Any]], shown: int = SHOWN) -> list[dict[str, Any]]:
    """The same with each row's `lift` beside its `value`, where parts have one."""
    numbers = [key for key in ("value", "lift") if all(key in part for part in parts)]
    behaviour = [part for part in parts if part["name"] == COLLABORATIVE]
    ordered = sorted(
        (part for part in parts if part["name"] != COLLABORATIVE),
        key=lambda part: (-abs(part["value"]), part["name"]),
    )
    kept, rest = behaviour + ordered[:shown], ordered[shown:]
    if len(rest) == 1:
        kept, rest = kept + rest, []
    rows = [{"label": part["label"], **{key: part[key] for key in numbers}} for part in kept]
    if rest:
        sums = {key: sum(part[key] for part in rest) for key in numbers}
        rows.append({"label": f"{len(rest)} other attributes", **sums})
    return rows
