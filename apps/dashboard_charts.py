"""The charts of the dashboard (Altair), in the colours of the report, on a light page and on a dark one."""

from __future__ import annotations

from dataclasses import dataclass

import altair as alt
import pandas as pd
import streamlit as st

from guided_refine.dashboard import DARK_PAGE
from guided_refine.reporting.palette import (
    BLACK,
    BLUE,
    FOR,
    GREY,
    ORANGE,
    PALE,
    SKY,
    VARIANTS,
)
from guided_refine.reporting.style import label

ROW = alt.Step(26)
LABELS = 150
"""Pixels that a name may take beside a chart; the whole name stands where one points."""
TITLES = 330
"""Pixels that a title above its bar may take: what a phone has."""
PARTS = 14


@dataclass(frozen=True)
class Tones:
    """What has to differ between a light page and a dark one; hues that carry a meaning stay."""

    ink: str
    muted: str
    pale: str
    paper: str
    raised: str


LIGHT = Tones(ink=BLACK, muted=GREY, pale=PALE, paper="#ffffff", raised=FOR)
DARK = Tones(ink=PALE, muted="#9aa0aa", pale="#353a44", paper=DARK_PAGE, raised="#3a9bdc")


def tones() -> Tones:
    """Those of the page as it is shown now."""
    return DARK if st.context.theme.type == "dark" else LIGHT


def hue(colour: str) -> str:
    """A colour of the palette where it can be seen on this page: black is no line on black, deep blue hardly one."""
    now = tones()
    return {BLACK: now.ink, GREY: now.muted, PALE: now.pale, BLUE: now.raised}.get(colour, colour)


def names_beside(limit: int = LABELS, size: int | None = None) -> alt.Axis:
    """The axis of names at the left of a chart."""
    return alt.Axis(labelLimit=limit, **({} if size is None else {"labelFontSize": size}))


def gains(rows: pd.DataFrame, metric: str) -> alt.Chart:
    """Difference to the base with its interval, one row per variant; columns label, variant, mean, lower, upper."""
    base = alt.Chart(rows).encode(
        y=alt.Y("label:N", sort=None, title=None, axis=names_beside(190)),
        color=alt.Color(
            "variant:N",
            scale=alt.Scale(domain=list(VARIANTS), range=[hue(c) for c in VARIANTS.values()]),
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
    zero = (
        alt.Chart(pd.DataFrame({"x": [0.0]})).mark_rule(color=tones().ink, strokeDash=[4, 3]).encode(x="x:Q")
    )
    return (zero + rule + point).properties(height=ROW)


def lines(rows: pd.DataFrame, x: str, y: str, colour: str, *, x_title: str, y_title: str) -> alt.Chart:
    """One line per value of `colour`, in the colour of the variant where it names one."""
    names = list(dict.fromkeys(rows[colour]))
    series = [label(str(n), 99) for n in names]
    hues = [hue(VARIANTS.get(str(n), FOR)) for n in names]
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
                legend=alt.Legend(title=None, orient="top", columns=2, labelLimit=130)
                if len(series) > 1
                else None,
            ),
            tooltip=["series:N", f"{x}:Q", alt.Tooltip(f"{y}:Q", format=".4f")],
        )
        .properties(height=360)
    )


def beside_each_other(rows: pd.DataFrame, metric: str, runs: list[str]) -> alt.Chart:
    """One metric of several runs, a group of dots per model; columns label, run, value, lower, upper."""
    hues = [hue(c) for c in (BLUE, ORANGE, "#009E73", "#CC79A7", SKY)][: len(runs)]
    base = alt.Chart(rows).encode(
        y=alt.Y("label:N", sort=None, title=None, axis=names_beside(190)),
        yOffset=alt.YOffset("run:N", sort=runs),
        color=alt.Color(
            "run:N",
            sort=runs,
            scale=alt.Scale(domain=runs, range=hues),
            legend=alt.Legend(title=None, orient="top", columns=2, labelLimit=160),
        ),
        tooltip=[
            alt.Tooltip("label:N", title="model"),
            "run:N",
            *(alt.Tooltip(f"{c}:Q", format=".4f") for c in ("value", "lower", "upper")),
        ],
    )
    rule = base.mark_rule(strokeWidth=3).encode(
        x=alt.X("lower:Q", title=metric, scale=alt.Scale(zero=False)), x2="upper:Q"
    )
    point = base.mark_point(filled=True, size=90, opacity=1).encode(x="value:Q")
    return (rule + point).properties(height=rows["label"].nunique() * (16 * len(runs) + 14) + 60)
