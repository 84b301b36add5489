"""The charts that follow every click on the page of recommendations, as Vega-Lite itself.

Building and checking such a chart with Altair takes a tenth of a second, more than all else that a click does.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import streamlit as st
from dashboard_charts import LABELS, PARTS, TITLES, tones

from guided_refine.explain.text import shortened
from guided_refine.explain.words import COLLABORATIVE
from guided_refine.reporting.palette import AGAINST

ROW = {"step": 26}


def draw(spec: dict[str, Any]) -> None:
    """Put a chart on the page, as wide as its place."""
    st.vega_lite_chart(spec)


def number(field: str, **more: Any) -> dict[str, Any]:
    """A channel of numbers."""
    return {"field": field, "type": "quantitative", **more}


def name(field: str, **more: Any) -> dict[str, Any]:
    """A channel of names."""
    return {"field": field, "type": "nominal", **more}


def stacked(items: list[dict[str, Any]]) -> dict[str, Any]:
    """Recommendations, each a bar of its parts under its title, which so has the whole width of the page."""
    now = tones()
    kinds = {
        "similar histories": now.muted,
        "attributes that raise it": now.raised,
        "attributes that lower it": AGAINST,
    }
    behaviour, raising, lowering = kinds
    titles = [f"{item['rank']}. {item['title'] or item['item_id']}" for item in items]
    parts = [
        {
            "place": item["rank"],
            "item": title,
            "part": part["label"],
            "kind": behaviour
            if part["name"] == COLLABORATIVE
            else raising
            if part["value"] >= 0
            else lowering,
            "value": part["value"],
        }
        for item, title in zip(items, titles, strict=True)
        for part in item["parts"]
    ]
    heads = [
        {"place": item["rank"], "item": title, "score": item["score"]}
        for item, title in zip(items, titles, strict=True)
    ]
    place = {"field": "place", "type": "ordinal"}
    band = {**place, "title": None, "axis": None, "scale": {"paddingInner": 0.55, "paddingOuter": 0.55}}
    said = [name("item"), number("score", format="+.3f")]
    return {
        "height": {"step": 44},
        "layer": [
            {
                "data": {"values": parts},
                "mark": {"type": "bar", "stroke": now.paper, "strokeWidth": 0.7},
                "encoding": {
                    "y": band,
                    "x": number("value", title="parts of the score"),
                    "color": name(
                        "kind",
                        scale={"domain": list(kinds), "range": list(kinds.values())},
                        legend={"title": None, "orient": "top", "columns": 2, "labelLimit": 200},
                    ),
                    "order": name("kind", sort="descending"),
                    "tooltip": [name("item"), name("part"), number("value", format="+.3f")],
                },
            },
            {
                "data": {"values": heads},
                "mark": {"type": "tick", "color": now.ink, "thickness": 3, "size": 22},
                "encoding": {"y": band, "x": number("score"), "tooltip": said},
            },
            {
                "data": {"values": heads},
                **_title_above(place, "item", said, now.ink),
            },
        ],
    }


def _title_above(place: dict[str, Any], field: str, tooltip: Any, colour: str) -> dict[str, Any]:
    """The layer that writes each row's title above its bar, from the chart's left edge on."""
    return {
        "mark": {
            "type": "text",
            "align": "left",
            "baseline": "bottom",
            "dy": -3,
            "limit": TITLES,
            "color": colour,
            "fontSize": 13,
        },
        "encoding": {
            "y": {**place, "bandPosition": 0},
            "x": {"value": 0},
            "text": name(field),
            "tooltip": tooltip,
        },
    }


def waterfall(parts: list[dict[str, Any]], result: float, *, total: str) -> dict[str, Any]:
    """From zero to the result, part by part: similar histories, then attributes from the largest to the smallest.

    Of many attributes the smallest are one bar, so that all bars still end where the last one does.
    """
    now = tones()
    behaviour = {p["label"] for p in parts if p["name"] == COLLABORATIVE}
    told = shortened(parts, shown=PARTS)
    ends = [float(end) for end in np.cumsum([value for _, value in told])]
    rows = [
        {
            "label": label,
            "value": value,
            "start": start,
            "end": end,
            "left": min(start, end),
            "right": max(start, end),
            "kind": "behaviour" if label in behaviour else "raises" if value >= 0 else "lowers",
        }
        for (label, value), start, end in zip(told, [0.0, *ends], ends, strict=False)
    ]
    last = {"label": f"= {total}", "value": result, "start": 0.0, "end": result, "kind": "total"}
    rows.append({**last, "left": min(0.0, result), "right": max(0.0, result)})
    order = [row["label"] for row in rows]
    steps = [{**row, "next": after} for row, after in zip(rows, order[1:], strict=False)]
    y = name("label", sort=order, title=None, axis={"labelLimit": LABELS})
    tooltip = [name("label"), number("value", format="+.4f")]

    def numbers(sign: str, align: str, end: str, shift: int) -> dict[str, Any]:
        return {
            "data": {"values": rows},
            "transform": [{"filter": f"datum.value {sign} 0"}],
            "mark": {"type": "text", "align": align, "dx": shift, "color": now.ink},
            "encoding": {
                "y": y,
                "x": number(end),
                "text": number("value", format="+.3f"),
                "tooltip": tooltip,
            },
        }

    return {
        "height": ROW,
        "layer": [
            {
                "data": {"values": steps},
                "mark": {"type": "rule", "color": now.muted, "strokeDash": [2, 2]},
                "encoding": {
                    "x": number("end"),
                    "y": name("label", sort=order, bandPosition=0.5),
                    "y2": {"field": "next", "bandPosition": 0.5},
                },
            },
            {
                "data": {"values": rows},
                "mark": {"type": "bar"},
                "encoding": {
                    "y": y,
                    "x": number("left", title=None, scale={"padding": 52}),
                    "x2": {"field": "right"},
                    "color": name(
                        "kind",
                        scale={
                            "domain": ["behaviour", "raises", "lowers", "total"],
                            "range": [now.muted, now.raised, AGAINST, now.ink],
                        },
                        legend=None,
                    ),
                    "tooltip": tooltip,
                },
            },
            numbers(">=", "left", "right", 4),
            numbers("<", "right", "left", -4),
        ],
    }


def signed(rows: list[tuple[str, float]]) -> dict[str, Any]:
    """Titles, each with a bar to the right for what raises and to the left for what lowers, in the order given."""
    now = tones()
    values = [
        {"place": place, "item": title, "value": value, "kind": "raises" if value >= 0 else "lowers"}
        for place, (title, value) in enumerate(rows)
    ]
    place = {"field": "place", "type": "ordinal"}
    said = [name("item"), number("value", format="+.4f")]
    return {
        "height": {"step": 40},
        "data": {"values": values},
        "layer": [
            {
                "mark": {"type": "bar"},
                "encoding": {
                    "y": {
                        **place,
                        "title": None,
                        "axis": None,
                        "scale": {"paddingInner": 0.6, "paddingOuter": 0.6},
                    },
                    "x": number("value", title=None),
                    "color": name(
                        "kind",
                        scale={"domain": ["raises", "lowers"], "range": [now.raised, AGAINST]},
                        legend=None,
                    ),
                    "tooltip": said,
                },
            },
            {
                "transform": [
                    {"calculate": "datum.item + '   ' + format(datum.value, '+.3f')", "as": "told"}
                ],
                **_title_above(place, "told", said, now.ink),
            },
        ],
    }


def profile(rows: pd.DataFrame, *, mine: str) -> dict[str, Any]:
    """Scores beside the catalog: a pale band holds the middle 80 % of the catalog, a tick its median.

    Columns label, score, low, median, high; `mine` names what the point is.
    """
    now = tones()
    y = name("label", sort=None, title=None, axis={"labelLimit": LABELS})
    shown = rows[["label", "score", "low", "median", "high"]].to_dict("records")
    return {
        "height": ROW,
        "data": {"values": shown},
        "layer": [
            {
                "mark": {"type": "bar", "color": now.pale, "height": 12, "cornerRadius": 3},
                "encoding": {
                    "y": y,
                    "x": number(
                        "low",
                        title="score, 0 to 1",
                        scale={"domain": [0, 1]},
                        # As few numbers on a wide page as on a phone.
                        axis={"values": [0, 0.2, 0.4, 0.6, 0.8, 1], "format": ".1f"},
                    ),
                    "x2": {"field": "high"},
                },
            },
            {
                "mark": {"type": "tick", "color": now.muted, "thickness": 2, "size": 14},
                "encoding": {"y": y, "x": number("median")},
            },
            {
                "mark": {"type": "point", "filled": True, "size": 120, "opacity": 1, "color": now.raised},
                "encoding": {
                    "y": y,
                    "x": number("score"),
                    "tooltip": [
                        name("label", title="attribute"),
                        number("score", format=".3f", title=mine),
                        number("median", format=".3f", title="catalog median"),
                    ],
                },
            },
        ],
    }
