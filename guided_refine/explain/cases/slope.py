"""The base's list beside the refined one, with a line for each item that is in both; for the HTML page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from html import escape
from typing import Any

from guided_refine.explain.cases.words import item_name
from guided_refine.explain.cells import clip

TITLE = 120


def slope(case: Mapping[str, Any]) -> list[str]:
    """The comparison as HTML lines; a sentence where the run has no base.

    Lines go up where an item rose (blue) and down where it fell (vermilion).
    """
    if case["base"] is None:
        return [
            "<h2>Base against refined</h2>\n<p>The run has 0 trained bases of this backbone, so there is no list to compare "
            "with.</p>"
        ]
    base, refined = case["base"], case["recommendations"]
    rows = max(len(base), len(refined), 1)
    shared = {item["item_id"] for item in base} & {item["item_id"] for item in refined}
    left = "".join(_row(item, item["refined_rank"], shared, "now") for item in base)
    right = "".join(_row(item, item["base_rank"], shared, "was") for item in refined)
    return [
        f'<h2>Base against refined, top {len(refined)}</h2>\n<p class="note">Bold: in one of the lists only. Lines join '
        "what is in both; small numbers are ranks in the other list's model.</p>",
        f'<div class="slope"><b>base</b><b></b><b>refined</b><ol>{left}</ol>',
        f'<svg viewBox="0 0 100 {rows}" preserveAspectRatio="none" aria-hidden="true">{_lines(base, refined)}</svg>',
        f"<ol>{right}</ol></div>",
    ]


def _row(item: Mapping[str, Any], other_rank: int, shared: Set[str], word: str) -> str:
    moved = "" if other_rank == item["rank"] else f"<small>{word} {other_rank}</small>"
    kind = "" if item["item_id"] in shared else " class=new"
    its_id = f' <small class="id">[{escape(clip(item["item_id"], 40))}]</small>' if item["title"] else ""
    name = f"<span><bdi>{escape(item_name(item, TITLE))}</bdi>{its_id}</span>"
    return f"<li{kind}><em>{item['rank']}</em>{name}{moved}</li>"


def _lines(base: Sequence[Mapping[str, Any]], refined: Sequence[Mapping[str, Any]]) -> str:
    after = {item["item_id"]: place for place, item in enumerate(refined)}
    drawn = []
    for start, item in enumerate(base):
        end = after.get(item["item_id"])
        if end is not None:
            kind = ' class="up"' if end < start else ' class="down"' if end > start else ""
            drawn.append(f'<line{kind} x1="0" y1="{start + 0.5:g}" x2="100" y2="{end + 0.5:g}"/>')
    return "".join(drawn)
