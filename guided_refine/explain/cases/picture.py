"""A case as one picture."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from guided_refine.explain.cases.words import item_name, item_with_id, provenance_rows
from guided_refine.explain.cells import clip
from guided_refine.explain.text import shortened
from guided_refine.explain.words import COLLABORATIVE
from guided_refine.reporting.palette import AGAINST, BLACK, FOR, GREY
from guided_refine.reporting.style import label, new_figure, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH = 13.0
LINE = 0.19
"""Inches of one line of text."""

LISTED = 15
"""So many places of a list, and so many attributes, are drawn."""

SENTENCE = 170


@styled
def case_picture(case: Mapping[str, Any]) -> bytes:
    """The bytes of a PNG: history, taste, both lists, what carries the first items, and the case's sentences."""
    items = case["recommendations"]
    listed = min(max(len(items), 1), LISTED)
    profile = sorted(case["profile"], key=lambda row: -row["score"])[:LISTED]
    sentences = _sentences(case)
    bars = [("First: " + item_name(one, 50), one["parts"]) for one in items[:1]]
    came = case["moved"]["came"][:1] if case["moved"] else []
    bars += [
        (f"{item_name(one, 32)} ahead of {item_name(one['instead_of'], 32)}", one["parts"]) for one in came
    ]
    if len(bars) < 2:
        bars += [("Then: " + item_name(one, 50), one["parts"]) for one in items[1 : 3 - len(bars)]]
    deepest = max([len(shortened(parts, shown=6)) for _, parts in bars], default=1)
    heights = [
        max(LINE * (len(case["history"]) + 1), 0.24 * len(profile)) + 0.5,
        0.27 * (listed + 1) + 0.4,
        0.24 * deepest + 0.5,
        LINE * len(sentences) + 0.1,
    ]
    figure, axes = new_figure(4, 2, (WIDTH, sum(heights) + 0.7), height_ratios=heights)
    figure.suptitle(
        clip(f"Why these items for user {case['user']}?", 90), fontsize=14, x=0.01, ha="left", weight="bold"
    )
    _text(axes[0][0], f"History: the last {len(case['history'])} of {case['events']} events", _history(case))
    _bars(axes[0][1], [(clip(r["label"], 30), r["score"], FOR) for r in profile], "{:.2f}")
    estimated = ", estimated from the history" if case["profile_estimated"] else ""
    left_out = len(case["profile"]) - len(profile)
    more = f", the {len(profile)} highest of {len(case['profile'])}" if left_out else ""
    axes[0][1].set(xlim=(0, 1.1), title=f"Taste profile, 0 to 1{estimated}{more}")
    _lists(axes[1][0], axes[1][1], case, listed)
    for axis, (title, parts) in zip(axes[2], bars, strict=False):
        _parts(axis, title, parts)
    for axis in axes[2][len(bars) :]:
        axis.axis("off")
    axes[3][1].axis("off")
    _text(axes[3][0], "", sentences)
    out = io.BytesIO()
    figure.savefig(out, format="png", metadata={"Software": None})
    return out.getvalue()


def _history(case: Mapping[str, Any]) -> list[str]:
    return [f"{place}. {item_with_id(item, 62)}" for place, item in enumerate(case["history"], 1)]


def _sentences(case: Mapping[str, Any]) -> list[str]:
    told = [*case["summary"]]
    told += case["through_encoder"]["sentences"] if case["through_encoder"] else []
    told += [change["sentence"] for change in case["counterfactuals"]["changes"][1:]]
    told += [case["confidence"]["sentence"], *(one["sentence"] for one in case["confidence"]["items"][:3])]
    told.append(case["trial"]["sentence"])
    told.append("; ".join(f"{name}: {value}" for name, value in provenance_rows(case)))
    return [line for one in told for line in textwrap.wrap("• " + one, SENTENCE, subsequent_indent="   ")]


def _text(axis: Axes, title: str, lines: Sequence[str]) -> None:
    axis.axis("off")
    axis.set_title(title)
    # Long lines reach beyond their own panel; the layout must not make room for them.
    axis.text(0, 1, "\n".join(lines), va="top", transform=axis.transAxes, linespacing=1.45).set_in_layout(
        False
    )


def _lists(left: Axes, right: Axes, case: Mapping[str, Any], listed: int) -> None:
    """Both lists with a line for each item that is in both; drawn over two panels' width."""
    right.axis("off")
    left.axis("off")
    refined, base = case["recommendations"][:listed], (case["base"] or [])[:listed]
    left.set(xlim=(0, 1), ylim=(listed - 0.4, -0.9))
    old = {item["item_id"]: place for place, item in enumerate(base)}
    columns = ((0.0, "base", base, "refined_rank"), (1.12, "refined", refined, "base_rank"))
    for x, name, items, key in columns if base else columns[1:]:
        left.text(x, -0.75, name, weight="bold", clip_on=False).set_in_layout(False)
        for place, item in enumerate(items):
            other = item[key]
            moved = "" if other in (None, item["rank"]) else f"   ({'now' if x == 0 else 'was'} {other})"
            new = other is None or other > case["k"]
            left.text(
                x,
                place,
                f"{item['rank']}. {item_with_id(item, 46)}{moved}",
                va="center",
                weight="bold" if new and base else "normal",
                clip_on=False,
            ).set_in_layout(False)
    for place, item in enumerate(refined):
        start = old.get(item["item_id"])
        if start is not None:
            colour = FOR if place < start else AGAINST if place > start else GREY
            left.plot([0.86, 1.1], [start, place], color=colour, clip_on=False)


def _parts(axis: Axes, title: str, parts: Sequence[dict[str, Any]]) -> None:
    behaviour = {p["label"] for p in parts if p["name"] == COLLABORATIVE}
    rows = [
        (clip(name, 34), value, GREY if name in behaviour else FOR if value >= 0 else AGAINST)
        for name, value in shortened(list(parts), shown=6)
    ]
    _bars(axis, rows, "{:+.3f}")
    values = [0.0, *(value for _, value, _ in rows)]
    low, high = min(values), max(values)
    room = 0.2 * (high - low) or 1.0
    axis.set_xlim(low - room, high + room)
    axis.axvline(0, color=GREY, linewidth=0.8)
    axis.set_title(f"{title} (direct view: parts of the score)")


def _bars(axis: Axes, rows: Sequence[tuple[str, float, str]], number: str) -> None:
    bars = axis.barh(range(len(rows)), [v for _, v, _ in rows], color=[c for *_, c in rows], height=0.65)
    axis.bar_label(bars, [number.format(v) for _, v, _ in rows], padding=3, fontsize=8, color=BLACK)
    axis.set_yticks(range(len(rows)), [label(name, 40) for name, _, _ in rows])
    axis.invert_yaxis()
    axis.grid(axis="y", visible=False)
    axis.spines["left"].set_visible(False)
    axis.tick_params(length=0)
