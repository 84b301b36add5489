"""The charts that follow every click, as plain HTML: rows of text with bars on them.

A browser without a graphics processor takes a twentieth of a second for each Vega chart, and hardly any for these; their
names and numbers are text, which a screen reader says and a narrow page breaks. Colours and sizes are in `bars.css`. All
text from outside is escaped here.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from dashboard_scale import Scale, signs
from dashboard_tones import PARTS, hue, tones

from guided_refine.explain.text import shortened
from guided_refine.explain.words import COLLABORATIVE
from guided_refine.reporting.palette import AGAINST, VARIANTS

# As few numbers on a wide page as on a phone.
TENTHS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
SHEET = Path(__file__).with_name("bars.css")


def style() -> str:
    """The style sheet, with the colours of the page as it is now."""
    now = tones()
    colours = {
        "ink": now.ink,
        "muted": now.muted,
        "pale": now.pale,
        "paper": now.paper,
        "raised": now.raised,
        "lowered": AGAINST,
    }
    named = " ".join(f"--gr-{name}: {colour};" for name, colour in colours.items())
    return f":root {{ {named} }} {SHEET.read_text(encoding='utf-8')}"


def _mark(kind: str, place: str, content: str = "") -> str:
    return f'<i class="{kind}" style="{place}">{content}</i>'


def _row(name: str, track: str, said: str, number: str = "") -> str:
    """A name, what is drawn beside it, and its number; `said` is what a reader who points at it is told."""
    shown = f'<span class="gr-number">{escape(number)}</span>' if number else ""
    return (
        f'<div class="gr-row" title="{escape(said)}"><span class="gr-name">{escape(name)}</span>'
        f'<span class="gr-track">{track}</span>{shown}</div>'
    )


def _axis(scale: Scale, ticks: Sequence[float], title: str, *, number: bool) -> str:
    marks = "".join(_mark("gr-tick", f"left:{scale.at(t):.4g}%", signs(f"{t:g}")) for t in ticks)
    side = '<span class="gr-number"></span>' if number else ""
    return (
        f'<div class="gr-row gr-axis"><span class="gr-name"></span><span class="gr-track">{marks}</span>{side}</div>'
        f'<div class="gr-row"><span class="gr-name"></span><span class="gr-title">{escape(title)}</span>{side}</div>'
    )


def _chart(kind: str, *rows: str) -> str:
    return f'<div class="gr {kind}">{"".join(rows)}</div>'


# ------------------------------------------------------------------------------------------------ charts


def stacked(items: list[dict[str, Any]]) -> str:
    """Recommendations, each a bar of its parts under its title, which so has the whole width of the page.

    From zero to the right what raises the score, to the left what lowers it; the mark is the score itself.
    """
    ends = [
        [sum(max(p["value"], 0.0) for p in item["parts"]), sum(min(p["value"], 0.0) for p in item["parts"])]
        for item in items
    ]
    scale = Scale.over([end for pair in ends for end in pair] + [item["score"] for item in items])
    legend = "".join(
        f'<span><i class="gr-key gr-{kind}"></i>{text}</span>'
        for kind, text in (
            ("behaviour", "similar histories"),
            ("raises", "attributes that raise it"),
            ("lowers", "attributes that lower it"),
        )
    )
    rows = [f'<div class="gr-legend">{legend}</div>']
    for item in items:
        title = f"{item['rank']}. {item['title'] or item['item_id']}"
        # Similar histories lie next to zero, then attributes from the largest to the smallest.
        parts = sorted(item["parts"], key=lambda p: (p["name"] != COLLABORATIVE, -abs(p["value"])))
        right = left = 0.0
        bars = []
        for part in parts:
            value = part["value"]
            start, end = (right, right + value) if value >= 0 else (left, left + value)
            right, left = (end, left) if value >= 0 else (right, end)
            bars.append(
                f'<i class="gr-bar gr-part gr-{_kind(part)}" style="{scale.span(start, end)}" '
                f'title="{escape(part["label"])} {value:+.3f}"></i>'
            )
        told = ", ".join(f"{part['label']} {part['value']:+.3f}" for part in parts)
        zero = _mark("gr-zero", f"left:{scale.at(0.0):.4g}%")
        score = _mark("gr-end", f"left:{scale.at(item['score']):.4g}%")
        rows.append(
            f'<div class="gr-head"><span>{escape(title)}</span><b>{_signed(item["score"])}</b></div>'
            f'<div class="gr-track" role="img" aria-label="{escape(told)}">{zero}{"".join(bars)}{score}</div>'
        )
    return _chart("gr-stacked", *rows)


def waterfall(parts: list[dict[str, Any]], result: float, *, total: str) -> str:
    """From zero to the result, part by part: similar histories, then attributes from the largest to the smallest.

    Of many attributes the smallest are one bar, so that all bars still end where the last one does.
    """
    behaviour = {p["label"] for p in parts if p["name"] == COLLABORATIVE}
    told = shortened(parts, shown=PARTS)
    ends = [0.0, *np.cumsum([value for _, value in told]).tolist()]
    scale = Scale.over([*ends, result])
    zero = _mark("gr-zero", f"left:{scale.at(0.0):.4g}%")
    rows = []
    for (name, value), start, end in zip(told, ends, ends[1:], strict=False):
        kind = "behaviour" if name in behaviour else "raises" if value >= 0 else "lowers"
        bar = _mark(f"gr-bar gr-{kind}", scale.span(start, end))
        onward = _mark("gr-onward", f"left:{scale.at(end):.4g}%")
        rows.append(_row(name, zero + onward + bar + _beside(scale, end, value), f"{name} {value:+.4f}"))
    bar = _mark("gr-bar gr-total", scale.span(0.0, result))
    rows.append(_row(f"= {total}", zero + bar + _beside(scale, result, result), f"{total} {result:+.4f}"))
    return _chart("gr-waterfall", *rows)


def signed(rows: list[tuple[str, float]]) -> str:
    """Titles, each with a bar to the right for what raises and to the left for what lowers, in the order given."""
    scale = Scale.over([value for _, value in rows])
    zero = _mark("gr-zero", f"left:{scale.at(0.0):.4g}%")
    drawn = [
        f'<div class="gr-head"><span>{escape(title)}</span><b>{_signed(value)}</b></div>'
        f'<div class="gr-track">{zero}'
        f"{_mark('gr-bar gr-' + ('raises' if value >= 0 else 'lowers'), scale.span(0.0, value))}</div>"
        for title, value in rows
    ]
    return _chart("gr-stacked", *drawn)


def profile(rows: pd.DataFrame, *, mine: str) -> str:
    """Scores beside the catalog: a pale band holds the middle 80 % of the catalog, a tick its median.

    Columns label, score, low, median, high; `mine` names what the point is.
    """
    scale = Scale(0.0, 1.0)
    drawn = []
    for row in rows[["label", "score", "low", "median", "high"]].to_dict("records"):
        known = pd.notna(row["score"])
        marks = [
            _mark("gr-band", scale.span(row["low"], row["high"])) if pd.notna(row["low"]) else "",
            _mark("gr-median", f"left:{scale.at(row['median']):.4g}%") if pd.notna(row["median"]) else "",
            _mark("gr-dot", f"left:{scale.at(row['score']):.4g}%") if known else "",
        ]
        score = f"{row['score']:.2f}" if known else "–"
        said = f"{row['label']}: {mine} {score}"
        if pd.notna(row["median"]):
            said += f", median of the catalog {row['median']:.2f}"
        drawn.append(_row(str(row["label"]), "".join(marks), said, score))
    axis = _axis(scale, TENTHS, "score, 0 to 1", number=True)
    return _chart("gr-profile", *drawn, axis)


def gains(rows: pd.DataFrame, metric: str) -> str:
    """Difference to the base with its interval, one row per variant; columns label, variant, mean, lower, upper."""
    shades = {name: hue(VARIANTS.get(name, tones().ink)) for name in rows["variant"]}
    return intervals(
        rows, f"{metric}, difference to base", by="variant", shades=shades, zero=True, digits="+.4f"
    )


def intervals(
    rows: pd.DataFrame, title: str, *, by: str, shades: dict[str, str], zero: bool, digits: str
) -> str:
    """Points with their intervals; columns label, mean, lower, upper, and `by`, which says the colour.

    Rows that follow each other with one label stand together under it; a legend says whose colours they have. `zero`: the
    scale holds zero, which is marked.
    """
    every = rows[["mean", "lower", "upper"]].to_numpy(dtype=float).ravel()
    every = every[~np.isnan(every)]
    scale = Scale.over(every.tolist()) if zero else Scale.between(every.tolist() or [0.0], room=0.03)
    line_at_zero = _mark("gr-zero", f"left:{scale.at(0.0):.4g}%") if zero else ""
    drawn, before = [], None
    for row in rows.to_dict("records"):
        shade = shades[row[by]]
        marks = [line_at_zero]
        if pd.notna(row["lower"]):
            marks.append(_mark("gr-line", f"{scale.span(row['lower'], row['upper'])};background:{shade}"))
        marks.append(_mark("gr-dot", f"left:{scale.at(row['mean']):.4g}%;background:{shade}"))
        number, low, high = (signs(format(row[c], digits)) for c in ("mean", "lower", "upper"))
        whose = "" if row[by] == row["label"] else f", {row[by]}"
        said = f"{row['label']}{whose}: {number}"
        if pd.notna(row["lower"]):
            said += f", interval {low} to {high}"
        drawn.append(_row("" if row["label"] == before else str(row["label"]), "".join(marks), said, number))
        before = row["label"]
    together = rows["label"].duplicated().any()
    axis = _axis(scale, scale.ticks(), title, number=True)
    return _chart(
        "gr-gains gr-close" if together else "gr-gains", _legend(shades) if together else "", *drawn, axis
    )


def ranges(rows: pd.DataFrame, shades: dict[str, str]) -> str:
    """Where scores lie, a row per attribute and source: thin the middle 80 %, thick the middle half, a dot at the median.

    Columns label, source, p10, p25, median, p75, p90; `shades`: the colour of each source.
    """
    scale = Scale(0.0, 1.0)
    drawn, before = [], None
    for row in rows.to_dict("records"):
        shade = shades[row["source"]]
        marks = (
            _mark("gr-thin", f"{scale.span(row['p10'], row['p90'])};background:{shade}")
            + _mark("gr-thick", f"{scale.span(row['p25'], row['p75'])};background:{shade}")
            + _mark("gr-dot", f"left:{scale.at(row['median']):.4g}%;background:{shade}")
        )
        told = ", ".join(f"{c} {row[c]:.2f}" for c in ("p10", "p25", "median", "p75", "p90"))
        said = f"{row['label']}, {row['source']}: {told}"
        name = "" if row["label"] == before else str(row["label"])
        drawn.append(_row(name, marks, said, f"{row['median']:.2f}"))
        before = row["label"]
    axis = _axis(scale, TENTHS, "score, 0 to 1", number=True)
    return _chart("gr-profile gr-close", _legend(shades) if len(shades) > 1 else "", *drawn, axis)


def swarm(rows: list[tuple[str, list[tuple[float, float, float | None]]]], title: str) -> str:
    """A row of points per attribute: value, height within the row (-0.4 to 0.4) and a score that makes the point fuller.

    A score is 0 to 1, or None where there is none.
    """
    scale = Scale.over(value for _, points in rows for value, _, _ in points)
    zero = _mark("gr-zero", f"left:{scale.at(0.0):.4g}%")
    drawn = []
    for name, points in rows:
        marks = "".join(
            f'<i class="gr-point{"" if score is not None else " gr-none"}" '
            f'style="left:{scale.at(value):.4g}%;top:{50 + 100 * height:.4g}%'
            f'{"" if score is None else f";opacity:{0.15 + 0.85 * score:.2f}"}" title="{escape(name)} {value:+.3f}"></i>'
            for value, height, score in points
        )
        drawn.append(_row(name, zero + marks, name))
    legend = '<span><i class="gr-key gr-raises"></i>full: the item scores high on it, pale: low</span>'
    axis = _axis(scale, scale.ticks(), title, number=False)
    return _chart("gr-swarm", f'<div class="gr-legend">{legend}</div>', *drawn, axis)


def _legend(shades: dict[str, str]) -> str:
    keys = "".join(
        f'<span><i class="gr-key" style="background:{shade}"></i>{escape(str(name))}</span>'
        for name, shade in shades.items()
    )
    return f'<div class="gr-legend">{keys}</div>'


def _kind(part: dict[str, Any]) -> str:
    if part["name"] == COLLABORATIVE:
        return "behaviour"
    return "raises" if part["value"] >= 0 else "lowers"


def _signed(value: float) -> str:
    return signs(f"{value:+.3f}")


def _beside(scale: Scale, end: float, value: float) -> str:
    """The number of a bar, outside of it at the end that it leads to."""
    side = "left" if value >= 0 else "right"
    place = scale.at(end) if value >= 0 else 100 - scale.at(end)
    return f'<b class="gr-value" style="{side}:calc({place:.4g}% + 4px)">{_signed(value)}</b>'
