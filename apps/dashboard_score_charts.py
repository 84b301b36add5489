"""The charts of attribute scores: distributions, agreement with the truth, redundancy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from dashboard_charts import name, number, values
from dashboard_tones import DARK, LABELS, LIGHT, hue, tones

from guided_refine.reporting.palette import BLACK, BLUE, ORANGE, SOURCES

# As few numbers on a wide page as on a phone.
ZERO_TO_ONE = {
    "title": "score, 0 to 1",
    "scale": {"domain": [0, 1]},
    "axis": {"values": [0, 0.2, 0.4, 0.6, 0.8, 1], "format": ".1f"},
}


def source_colour(found: pd.Series) -> dict[str, Any]:
    """Colours of where scores come from, for the sources in a column."""
    names = [s for s in SOURCES if s in set(found)]
    return name(
        "source",
        scale={"domain": names, "range": [hue(SOURCES[n]) for n in names]},
        legend={"title": None, "orient": "top", "labelExpr": "replace(datum.label, /_/g, ' ')"},
    )


def _by_source(rows: pd.DataFrame, *told: dict[str, Any]) -> dict[str, Any]:
    """A row per attribute, in it a line per source; `told` stands beside both names where one points."""
    names = [s for s in SOURCES if s in set(rows["source"])]
    return {
        "y": name("label", sort=None, title=None, axis={"labelLimit": LABELS}),
        "yOffset": name("source", sort=names),
        "color": source_colour(rows["source"]),
        "tooltip": [name("label", title="attribute"), name("source"), *told],
    }


def truth(rows: pd.DataFrame, measure: str, title: str) -> dict[str, Any]:
    """Agreement with the truth per attribute and source, with intervals; columns label, source, value, lower, upper."""
    same = _by_source(
        rows,
        number("value", format=".3f", title=measure),
        number("lower", format=".3f"),
        number("upper", format=".3f"),
    )
    return {
        "height": max(1, rows["label"].nunique()) * 48 + 40,
        "data": values(rows),
        "layer": [
            {
                "mark": {"type": "rule", "strokeWidth": 2},
                "encoding": {**same, "x": number("lower", title=title), "x2": {"field": "upper"}},
            },
            {
                "mark": {"type": "point", "filled": True, "size": 80, "opacity": 1},
                "encoding": {**same, "x": number("value")},
            },
        ],
    }


def ranges(rows: pd.DataFrame) -> dict[str, Any]:
    """Where scores lie, one row per attribute: thin the middle 80 %, thick the middle half, a dot at the median.

    Columns label, source, p10, p25, median, p75, p90.
    """
    same = _by_source(rows, *(number(c, format=".2f") for c in ("p10", "p25", "median", "p75", "p90")))
    row = 34 if rows["label"].nunique() <= 24 else 24

    def rule(low: str, high: str, **look: Any) -> dict[str, Any]:
        return {
            "mark": {"type": "rule", **look},
            "encoding": {**same, "x": number(low, **ZERO_TO_ONE), "x2": {"field": high}},
        }

    return {
        "height": rows["label"].nunique() * row + 40,
        "data": values(rows),
        "layer": [
            rule("p10", "p90", strokeWidth=1.5),
            rule("p25", "p75", strokeWidth=6, opacity=0.55),
            {
                "mark": {"type": "point", "filled": True, "size": 55, "opacity": 1},
                "encoding": {**same, "x": number("median")},
            },
        ],
    }


def histogram(bins: pd.DataFrame) -> dict[str, Any]:
    """One attribute's distribution by source; columns source, middle (of a bin), share."""
    return {
        "height": 320,
        "data": values(bins),
        "mark": {"type": "area", "interpolate": "monotone", "opacity": 0.35, "line": {"strokeWidth": 2}},
        "encoding": {
            "x": number("middle", **ZERO_TO_ONE),
            "y": number("share", title="share of items", stack=None, axis={"format": "%"}),
            "color": source_colour(bins["source"]),
            "tooltip": [name("source"), number("middle", format=".2f"), number("share", format=".1%")],
        },
    }


def heat_map(matrix: pd.DataFrame) -> dict[str, Any]:
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
    axis = {"labelFontSize": 9 if many else 12, "labelOverlap": False}
    same = {
        "x": name("other", sort=names, title=None, axis={**axis, "labelAngle": -90, "labelLimit": 110}),
        "y": name("one", sort=names, title=None, axis={**axis, "labelLimit": 120}),
        "tooltip": [
            name("one"),
            name("other"),
            number("value", format="+.2f", title="rank correlation"),
        ],
    }
    colours = [ORANGE, now.paper, now.raised if now is DARK else BLUE]
    squares = {
        "mark": {"type": "rect"},
        "encoding": {
            **same,
            "color": number(
                "value",
                scale={"interpolate": "rgb", "domain": [-1, 0, 1], "range": colours},
                legend={"title": None, "orient": "top", "gradientLength": 160, "format": "+.1f"},
            ),
        },
    }
    chart = {"height": len(names) * (15 if many else 34) + 150, "data": values(rows)}
    if many:
        return {**chart, **squares}
    # Numbers are hidden by the cell's own colour unless they turn with it.
    strong = "white" if now is LIGHT else BLACK
    numbers = {
        "mark": {"type": "text", "fontSize": 11},
        "encoding": {
            **same,
            "text": number("value", format=".2f"),
            "color": {
                "condition": {"test": "abs(datum.value) > 0.6", "value": strong},
                "value": now.ink,
            },
        },
    }
    return {**chart, "layer": [squares, numbers]}
