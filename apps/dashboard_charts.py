"""The charts of the dashboard (Altair), in the colours of the report."""

from __future__ import annotations

from typing import Any

import altair as alt
import pandas as pd

from guided_refine.explain.words import COLLABORATIVE
from guided_refine.reporting.palette import AGAINST, BLACK, FOR, GREY, PALE, SOURCES, VARIANTS
from guided_refine.reporting.style import label

ROW = alt.Step(26)
LABELS = 320


def gains(rows: pd.DataFrame, metric: str) -> alt.Chart:
    """Difference to the base with its interval, one row per variant; columns label, variant, mean, lower, upper."""
    base = alt.Chart(rows).encode(
        y=alt.Y("label:N", sort=None, title=None, axis=alt.Axis(labelLimit=LABELS)),
        color=alt.Color(
            "variant:N",
            scale=alt.Scale(domain=list(VARIANTS), range=list(VARIANTS.values())),
            legend=None,
        ),
        tooltip=[
            alt.Tooltip("label:N", title="variant"),
            alt.Tooltip("mean:Q", format="+.4f", title="difference"),
            alt.Tooltip("lower:Q", format="+.4f"),
            alt.Tooltip("upper:Q", format="+.4f"),
        ],
    )
    rule = base.mark_rule(strokeWidth=3).encode(
        x=alt.X("lower:Q", title=f"{metric}, difference to base"), x2="upper:Q"
    )
    point = base.mark_point(filled=True, size=110, opacity=1).encode(x="mean:Q")
    zero = alt.Chart(pd.DataFrame({"x": [0.0]})).mark_rule(color=BLACK, strokeDash=[4, 3]).encode(x="x:Q")
    return (zero + rule + point).properties(height=ROW)


def lines(rows: pd.DataFrame, x: str, y: str, colour: str, *, x_title: str, y_title: str) -> alt.Chart:
    """One line per value of `colour`, in the colour of the variant where it names one."""
    names = list(dict.fromkeys(rows[colour]))
    series = [label(str(n), 99) for n in names]
    hues = [VARIANTS.get(str(n), FOR) for n in names]
    drawn = rows[[x, y]].assign(series=rows[colour].map(dict(zip(names, series, strict=True))))
    return (
        alt.Chart(drawn)
        .mark_line(strokeWidth=2)
        .encode(
            x=alt.X(f"{x}:Q", title=x_title, axis=alt.Axis(tickMinStep=1)),
            y=alt.Y(f"{y}:Q", title=y_title, scale=alt.Scale(zero=False)),
            color=alt.Color(
                "series:N",
                sort=series,
                scale=alt.Scale(domain=series, range=hues),
                legend=alt.Legend(title=None, orient="top", columns=3) if len(series) > 1 else None,
            ),
            tooltip=["series:N", f"{x}:Q", alt.Tooltip(f"{y}:Q", format=".4f")],
        )
        .properties(height=360)
    )


def stacked(items: list[dict[str, Any]]) -> alt.Chart:
    """Recommendations, each a bar of its parts: similar histories, attributes that raise it, attributes that lower it."""
    rows = []
    for item in items:
        label = _ranked(item)
        for part in item["parts"]:
            kind = (
                "similar histories"
                if part["name"] == COLLABORATIVE
                else "attributes that raise it"
                if part["value"] >= 0
                else "attributes that lower it"
            )
            rows.append({"item": label, "part": part["label"], "kind": kind, "value": part["value"]})
    kinds = {"similar histories": GREY, "attributes that raise it": FOR, "attributes that lower it": AGAINST}
    titles = alt.Y("item:N", sort=None, title=None, axis=alt.Axis(labelLimit=LABELS))
    bars = (
        alt.Chart(pd.DataFrame(rows))
        .mark_bar(stroke="white", strokeWidth=0.7)
        .encode(
            y=titles,
            x=alt.X("value:Q", title="parts of the score"),
            color=alt.Color(
                "kind:N",
                scale=alt.Scale(domain=list(kinds), range=list(kinds.values())),
                legend=alt.Legend(title=None, orient="top"),
            ),
            order=alt.Order("kind:N", sort="descending"),
            tooltip=["item:N", "part:N", alt.Tooltip("value:Q", format="+.3f")],
        )
    )
    totals = pd.DataFrame({"item": [_ranked(i) for i in items], "score": [i["score"] for i in items]})
    score = (
        alt.Chart(totals)
        .mark_tick(color=BLACK, thickness=3, size=22)
        .encode(y=titles, x="score:Q", tooltip=["item:N", alt.Tooltip("score:Q", format="+.3f")])
    )
    return (bars + score).properties(height=ROW)


def _ranked(item: dict[str, Any]) -> str:
    return f"{item['rank']}. {item['title'] or item['item_id']}"


def parts(item: dict[str, Any]) -> alt.Chart:
    """One item's parts, largest first, with their values."""
    rows = pd.DataFrame(item["parts"])[["name", "label", "value"]]
    rows["size"] = rows["value"].abs()
    rows = rows.sort_values(["size", "label"], ascending=[False, True])
    rows["kind"] = [
        "behaviour" if n == COLLABORATIVE else "raises" if v >= 0 else "lowers"
        for n, v in zip(rows["name"], rows["value"], strict=True)
    ]
    bars = alt.Chart(rows).encode(
        y=alt.Y("label:N", sort=None, title=None, axis=alt.Axis(labelLimit=LABELS)),
        x=alt.X("value:Q", title=None, scale=alt.Scale(padding=48)),
        tooltip=["label:N", alt.Tooltip("value:Q", format="+.4f")],
    )
    bar = bars.mark_bar().encode(
        color=alt.Color(
            "kind:N",
            scale=alt.Scale(domain=["behaviour", "raises", "lowers"], range=[GREY, FOR, AGAINST]),
            legend=None,
        )
    )
    right = bars.transform_filter("datum.value >= 0").mark_text(align="left", dx=4, color=BLACK)
    left = bars.transform_filter("datum.value < 0").mark_text(align="right", dx=-4, color=BLACK)
    number = alt.Text("value:Q", format="+.3f")
    return (bar + right.encode(text=number) + left.encode(text=number)).properties(height=ROW)


def profile(rows: pd.DataFrame, *, mine: str) -> alt.Chart:
    """Scores beside the catalog: a pale band holds the middle 80 % of the catalog, a tick its median.

    Columns label, score, low, median, high; `mine` names what the point is.
    """
    base = alt.Chart(rows).encode(y=alt.Y("label:N", sort=None, title=None, axis=alt.Axis(labelLimit=LABELS)))
    axis = alt.X("low:Q", title="score, 0 to 1", scale=alt.Scale(domain=[0, 1]))
    band = base.mark_bar(color=PALE, height=12, cornerRadius=3).encode(x=axis, x2="high:Q")
    tick = base.mark_tick(color=GREY, thickness=2, size=14).encode(x="median:Q")
    point = base.mark_point(filled=True, size=120, opacity=1, color=FOR).encode(
        x="score:Q",
        tooltip=[
            alt.Tooltip("label:N", title="attribute"),
            alt.Tooltip("score:Q", format=".3f", title=mine),
            alt.Tooltip("median:Q", format=".3f", title="catalog median"),
        ],
    )
    return (band + tick + point).properties(height=ROW)


def distributions(bins: pd.DataFrame) -> alt.Chart:
    """Small multiples of score distributions; columns label, source, middle (of a bin), share."""
    names = [s for s in SOURCES if s in set(bins["source"])]
    return (
        alt.Chart(bins)
        .mark_area(interpolate="monotone", opacity=0.35, line={"strokeWidth": 2})
        .encode(
            x=alt.X(
                "middle:Q", title=None, scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(values=[0, 0.5, 1])
            ),
            y=alt.Y("share:Q", title=None, stack=None, axis=None),
            color=alt.Color(
                "source:N",
                scale=alt.Scale(domain=names, range=[SOURCES[n] for n in names]),
                legend=alt.Legend(title=None, orient="top"),
            ),
            tooltip=["source:N", alt.Tooltip("middle:Q", format=".2f"), alt.Tooltip("share:Q", format=".1%")],
        )
        .properties(width=205, height=90)
        .facet(
            facet=alt.Facet(
                "label:N",
                title=None,
                sort=list(dict.fromkeys(bins["label"])),
                header=alt.Header(labelFontSize=12),
            ),
            columns=4,
        )
        .resolve_scale(y="independent")
    )


def truth(rows: pd.DataFrame, measure: str, title: str) -> alt.Chart:
    """Agreement with the truth per attribute and source, with intervals; columns label, source, value, lower, upper."""
    names = [s for s in SOURCES if s in set(rows["source"])]
    base = alt.Chart(rows).encode(
        y=alt.Y("label:N", sort=None, title=None, axis=alt.Axis(labelLimit=LABELS)),
        yOffset=alt.YOffset("source:N", sort=names),
        color=alt.Color(
            "source:N",
            scale=alt.Scale(domain=names, range=[SOURCES[n] for n in names]),
            legend=alt.Legend(title=None, orient="top"),
        ),
        tooltip=[
            alt.Tooltip("label:N", title="attribute"),
            "source:N",
            alt.Tooltip("value:Q", format=".3f", title=measure),
            alt.Tooltip("lower:Q", format=".3f"),
            alt.Tooltip("upper:Q", format=".3f"),
        ],
    )
    rule = base.mark_rule(strokeWidth=2).encode(x=alt.X("lower:Q", title=title), x2="upper:Q")
    point = base.mark_point(filled=True, size=80, opacity=1).encode(x="value:Q")
    return (rule + point).properties(height=max(1, rows["label"].nunique()) * 48 + 40)
