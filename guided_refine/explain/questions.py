"""Questions about one user's list, answered as one JSON-ready dict and as lines for a terminal.

Why this item and not that one; what would be recommended with another taste, or to somebody who wishes for more of
something; what would have to change for an item to be recommended.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from guided_refine.errors import InputError
from guided_refine.explain.cases.change_words import most_first, moves_told, size_told, users_told
from guided_refine.explain.cases.words import item_with_id
from guided_refine.explain.cells import bar, cells, pad
from guided_refine.explain.contributions import Contributions
from guided_refine.explain.encoder_answer import encoder_answer, encoder_lines
from guided_refine.explain.explainer import Explainer
from guided_refine.explain.text import WIDTH
from guided_refine.explain.what_if import WhatIf


@dataclass(frozen=True)
class Question:
    """What is asked: `scores` (attribute -> score in [0, 1]) of another taste, `item_scores`: the same of `item`, `wishes`
    (attribute -> strength), `instead_of`: the item that `item` is held against, `smallest`: what would bring `item` into the
    list or out of it, `encoder`: what attributes and past events did to `item` (by default the first of the list)."""

    item: str | None = None
    instead_of: str | None = None
    scores: Mapping[str, float] = field(default_factory=dict)
    wishes: Mapping[str, float] = field(default_factory=dict)
    smallest: bool = False
    item_scores: Mapping[str, float] = field(default_factory=dict)
    encoder: bool = False

    @property
    def other_list(self) -> bool:
        """True where another list is asked for."""
        return bool(self.scores or self.wishes or self.item_scores)


def ask(explainer: Explainer, user: str, question: Question, k: int) -> dict[str, Any]:
    """The answer. Keys: `margin` (where `instead_of` is given), `list` (where scores or wishes are), `smallest`, `encoder`.

    `margin`: both items with score and rank, their difference and its `parts`, which sum to it. `list`: the top `k` then,
    each with `rank_now`. `smallest`: `wanted` ("in" or "out"), `alone` (changes of one attribute, smallest first) and
    `together`. `encoder`: see `encoder_answer`.
    Raises `InputError` for unknown ids or attributes, scores outside of [0, 1], and for a question that lacks its item.
    """
    number = explainer.user_number(user)
    if question.item is None and (
        question.instead_of is not None or question.smallest or question.item_scores
    ):
        raise InputError("name the item that is asked about: --item I")
    answer: dict[str, Any] = {"user": user, "k": k, "model": explainer.about}
    now = explainer.contributions(number)
    ranks = now.ranks(explainer.seen(number))
    item = None if question.item is None else explainer.item_number(question.item)
    if question.instead_of is not None and item is not None:
        other = explainer.item_number(question.instead_of)
        if other == item:
            raise InputError(
                f"--item and --instead-of name the same item, '{explainer.dataset.item_ids[item - 1]}'; name two"
            )
        margin = now.margin(item, other)
        answer["margin"] = {
            "item": _item(explainer, now, ranks, item),
            "instead_of": _item(explainer, now, ranks, other),
            "lead": float(now.score[item - 1] - now.score[other - 1]),
            "parts": [
                {"name": name, "label": explainer.labels[name], "value": value}
                for name, value in margin.items()
            ],
        }
    if question.other_list:
        what_if = WhatIf(explainer, number)
        then = what_if.changed(question.scores, question.wishes, item=item, item_scores=question.item_scores)
        top = then.top(k, explainer.seen(number))
        places = then.ranks(explainer.seen(number))
        answer["list"] = {
            "scores": dict(question.scores),
            "wishes": dict(question.wishes),
            "item_scores": dict(question.item_scores),
            "item": _moved(explainer, then, places, ranks, item) if question.item_scores and item else None,
            "items": [_moved(explainer, then, places, ranks, i) for i in top.tolist()],
        }
    if question.smallest and item is not None:
        what_if = WhatIf(explainer, number)
        out = bool(ranks[item - 1] <= k)
        together = what_if.smallest_together(item, k, out=out)
        answer["smallest"] = {
            "item": _item(explainer, now, ranks, item),
            "wanted": "out" if out else "in",
            "alone": [change.as_row() for change in what_if.smallest(item, k, out=out)],
            "together": None if together is None else together.as_row(),
        }
    if question.encoder:
        asked = now.top(1, explainer.seen(number)) if item is None else [item]
        if not len(asked):
            raise InputError(
                "the user has the whole catalog, so nothing is recommended; name an item: --item I"
            )
        answer["encoder"] = encoder_answer(explainer, number, int(asked[0]))
    return answer


def _moved(
    explainer: Explainer, found: Contributions, ranks: Any, ranks_now: Any, item: int
) -> dict[str, Any]:
    return {**_item(explainer, found, ranks, item), "rank_now": int(ranks_now[item - 1])}


def _item(explainer: Explainer, found: Contributions, ranks: Any, item: int) -> dict[str, Any]:
    return {
        **explainer.named(item),
        "score": float(found.score[item - 1]),
        "rank": int(ranks[item - 1]),
    }


def format_answer(answer: dict[str, Any]) -> str:
    """The answer of `ask` as lines for a terminal, at most 100 columns wide."""
    lines: list[str] = []
    if "margin" in answer:
        lines += ["", *_margin_lines(answer["margin"])]
    if "list" in answer:
        lines += ["", *_list_lines(answer["list"])]
    if "smallest" in answer:
        lines += ["", *_smallest_lines(answer["smallest"], answer["k"])]
    if "encoder" in answer:
        lines += ["", *encoder_lines(answer["encoder"])]
    return "\n".join(part for line in lines[1:] for part in _wrapped(line.rstrip()))


def _wrapped(line: str) -> list[str]:
    if cells(line) <= WIDTH:
        return [line]
    indent = line[: len(line) - len(line.lstrip())] + "   "
    return textwrap.wrap(line, WIDTH, subsequent_indent=indent, drop_whitespace=True)


def _name(item: Mapping[str, Any], width: int = 60) -> str:
    return item_with_id(item, width)


def _margin_lines(margin: dict[str, Any]) -> list[str]:
    parts = sorted(margin["parts"], key=lambda part: -abs(part["value"]))
    largest = max((abs(part["value"]) for part in parts), default=1.0) or 1.0
    space = max(len(part["label"]) for part in parts)
    ahead = "ahead of" if margin["lead"] >= 0 else "behind"
    return [
        f"{_name(margin['item'], 40)} (rank {margin['item']['rank']}) is {abs(margin['lead']):.3f} {ahead} "
        f"{_name(margin['instead_of'], 40)} (rank {margin['instead_of']['rank']}), direct view:",
        *(
            f"   {part['label']:{space}}  {part['value']:+8.3f} {bar(part['value'], largest, 24)}"
            for part in parts
        ),
        "The parts sum to the difference.",
    ]


def _list_lines(found: dict[str, Any]) -> list[str]:
    told = [f"{name} at {value:.2f}" for name, value in found["scores"].items()]
    told += [
        f"{'more' if value > 0 else 'less'} {name} ({value:+g})" for name, value in found["wishes"].items()
    ]
    if found["item"] is not None:
        changed = ", ".join(f"{name} at {value:.2f}" for name, value in found["item_scores"].items())
        told.append(
            f"{changed} in {_name(found['item'])} (rank {found['item']['rank']}, was {found['item']['rank_now']})"
        )
    lines = [f"With {', '.join(told).replace('_', ' ')}:"]
    for item in found["items"]:
        was = item["rank_now"]
        moved = "" if was == item["rank"] else f"  was {was}"
        lines.append(pad(f"{item['rank']:3d}. {_name(item, 70)}", WIDTH - 14) + moved)
    return lines


def _smallest_lines(found: dict[str, Any], k: int) -> list[str]:
    inside = found["wanted"] == "out"
    title, rank = _name(found["item"]), found["item"]["rank"]
    lines = [
        f"{title} has rank {rank}. "
        + (f"What would take it out of the top {k}:" if inside else f"What would bring it into the top {k}:")
    ]
    for row in found["alone"][:5]:
        lines.append(f"   {_change(row)}")
    if found["together"] is not None:
        lines.append(f"   together: {_change(found['together'])}")
    if len(lines) == 1:
        lines.append("   no change of the user's scores does.")
    return lines


def _change(row: dict[str, Any]) -> str:
    scores = most_first({"label": name.replace("_", " "), **score} for name, score in row["scores"].items())
    moves = ", ".join(moves_told(scores))
    return (
        f"{moves} ({size_told(row['size'])} sd; {users_told(row | {'scores': scores})}; rank {row['rank']})"
    )
