"""Charts with two axes, as Vega-Lite itself: building and checking one with Altair takes a tenth of a second."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st
from dashboard_tones import hue

from guided_refine.reporting.palette import BLUE, ORANGE, SKY


def draw(spec: dict[str, Any]) -> None:
    """Put a chart on the page, as wide as its place."""
    st.vega_lite_chart(spec)


def number(field: str, **more: Any) -> dict[str, Any]:
    """A channel of numbers."""
    return {"field": field, "type": "quantitative", **more}


def name(field: str, **more: Any) -> dict[str, Any]:
    """A channel of names."""
    return {"field": field, "type": "nominal", **more}


def values(rows: pd.DataFrame) -> dict[str, Any]:
    """A table as a chart's data; what is missing is null."""
    return {"values": rows.astype(object).where(rows.notna(), None).to_dict("records")}


def beside_each_other(rows: pd.DataFrame, metric: str, runs: list[str]) -> dict[str, Any]:
    """One metric of several runs, a group of dots per model; columns label, run, value, lower, upper."""
    hues = [hue(c) for c in (BLUE, ORANGE, "#009E73", "#CC79A7", SKY)][: len(runs)]
    same = {
        "y": name("label", sort=None, title=None, axis={"labelLimit": 190}),
        "yOffset": name("run", sort=runs),
        "color": name(
            "run",
            sort=runs,
            scale={"domain": runs, "range": hues},
            legend={"title": None, "orient": "top", "columns": 2, "labelLimit": 160},
        ),
        "tooltip": [
            name("label", title="model"),
            name("run"),
            *(number(c, format=".4f") for c in ("value", "lower", "upper")),
        ],
    }
    across = number("lower", title=metric, scale={"zero": False})
    return {
        "height": rows["label"].nunique() * (16 * len(runs) + 14) + 60,
        "data": values(rows),
        "layer": [
            {
                "mark": {"type": "rule", "strokeWidth": 3},
                "encoding": {**same, "x": across, "x2": {"field": "upper"}},
            },
            {
                "mark": {"type": "point", "filled": True, "size": 90, "opacity": 1},
                "encoding": {**same, "x": number("value")},
            },
        ],
    }
