"""The charts of attribute scores: profiles, distributions, agreement with the truth, redundancy."""

from __future__ import annotations

import altair as alt
import numpy as np
import pandas as pd
from dashboard_charts import DARK, LIGHT, hue, names_beside, tones

from guided_refine.reporting.palette import BLACK, BLUE, ORANGE, SOURCES

# As few numbers on a wide page as on a phone.
TENTHS = alt.Axis(values=[0, 0.2, 0.4, 0.6, 0.8, 1], format=".1f")


def source_colour(found: pd.Series) -> alt.Color:
    """Colours of where scores come from, for the sources in a column."""
    names = [s for s in SOURCES if s in set(found)]
    return alt.Color(
        "source:N",
        scale=alt.Scale(domain=names, range=[hue(SOURCES[n]) for n in names]),
        legend=alt.Legend(title=None, orient="top", labelExpr="replace(datum.label, /_/g, ' ')"),
    )


def by_source(rows: pd.DataFrame, *told: alt.Tooltip) -> alt.Chart:
    """A row per attribute, in it a line per source; `told` stands beside both names where one points."""
    names = [s for s in SOURCES if s in set(rows["source"])]
    return alt.Chart(rows).encode(
        y=alt.Y("label:N", sort=None, title=None, axis=names_beside()),
        yOffset=alt.YOffset("source:N", sort=names),
        color=source_colour(rows["source"]),
        tooltip=[alt.Tooltip("label:N", title="attribute"), "source:N", *told],
    )


def truth(rows: pd.DataFrame, measure: str, title: str) -> alt.Chart:
    """Agreement with the truth per attribute and source, with intervals; columns label, source, value, lower, upper."""
    base = by_source(
        rows,
        alt.Tooltip("value:Q", format=".3f", title=measure),
        alt.Tooltip("lower:Q", format=".3f"),
        alt.Tooltip("upper:Q", format=".3f"),
    )
    rule = base.mark_rule(strokeWidth=2).encode(x=alt.X("lower:Q", title=title), x2="upper:Q")
    point = base.mark_point(filled=True, size=80, opacity=1).encode(x="value:Q")
    return (rule + point).properties(height=max(1, rows["label"].nunique()) * 48 + 40)


def ranges(rows: pd.DataFrame) -> alt.Chart:
    """Where scores lie, one row per attribute: thin the middle 80 %, thick the middle half, a dot at the median.

    Columns label, source, p10, p25, median, p75, p90.
    """
    base = by_source(
        rows, *(alt.Tooltip(f"{c}:Q", format=".2f") for c in ("p10", "p25", "median", "p75", "p90"))
    )
    across = alt.X("p10:Q", title="score, 0 to 1", scale=alt.Scale(domain=[0, 1]), axis=TENTHS)
    thin = base.mark_rule(strokeWidth=1.5).encode(x=across, x2="p90:Q")
    thick = base.mark_rule(strokeWidth=6, opacity=0.55).encode(x="p25:Q", x2="p75:Q")
    dot = base.mark_point(filled=True, size=55, opacity=1).encode(x="median:Q")
    row = 34 if rows["label"].nunique() <= 24 else 24
    return (thin + thick + dot).properties(height=rows["label"].nunique() * row + 40)


def histogram(bins: pd.DataFrame) -> alt.Chart:
    """One attribute's distribution by source; columns source, middle (of a bin), share."""
    return (
        alt.Chart(bins)
        .mark_area(interpolate="monotone", opacity=0.35, line={"strokeWidth": 2})
        .encode(
            x=alt.X("middle:Q", title="score, 0 to 1", scale=alt.Scale(domain=[0, 1]), axis=TENTHS),
            y=alt.Y("share:Q", title="share of items", stack=None, axis=alt.Axis(format="%")),
            color=source_colour(bins["source"]),
            tooltip=["source:N", alt.Tooltip("middle:Q", format=".2f"), alt.Tooltip("share:Q", format=".1%")],
        )
        .properties(height=320)
    )


def heat_map(matrix: pd.DataFrame) -> alt.Chart:
    """Rank correlations of all pairs, (attributes, attributes) with names on both sides; -1 orange, 0 paper, 1 blue."""
    now = tones()
    names = [str(n) for n in matrix.index]
    many = len(names) > 14
    rows = pd.DataFrame(
        {
            "one": np.repeat(names, len(names)),
            "other": np.tile(names, len(names)),
            "value": matrix.to_numpy().ravel(),
        }
    )
    size = 9 if many else 12
    cells = alt.Chart(rows).encode(
        x=alt.X(
            "other:N",
            sort=names,
            title=None,
            axis=alt.Axis(labelAngle=-90, labelLimit=110, labelFontSize=size, labelOverlap=False),
        ),
        y=alt.Y(
            "one:N",
            sort=names,
            title=None,
            axis=alt.Axis(labelLimit=120, labelFontSize=size, labelOverlap=False),
        ),
        tooltip=["one:N", "other:N", alt.Tooltip("value:Q", format="+.2f", title="rank correlation")],
    )
    squares = cells.mark_rect().encode(
        color=alt.Color(
            "value:Q",
            scale=alt.Scale(
                interpolate="rgb",
                domain=[-1, 0, 1],
                range=[ORANGE, now.paper, now.raised if now is DARK else BLUE],
            ),
            legend=alt.Legend(title=None, orient="top", gradientLength=160, format="+.1f"),
        )
    )
    height = len(names) * (15 if many else 34) + 150
    if many:
        return squares.properties(height=height)
    # Numbers are hidden by the cell's own colour unless they turn with it.
    strong = "white" if now is LIGHT else BLACK
    number = cells.mark_text(fontSize=11).encode(
        text=alt.Text("value:Q", format=".2f"),
        color=alt.condition("abs(datum.value) > 0.6", alt.value(strong), alt.value(now.ink)),
    )
    return (squares + number).properties(height=height)
