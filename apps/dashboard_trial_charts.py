"""The charts of a trial of explanations, from its numbers, so that they follow the page from light to dark."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from dashboard_charts import name, number
from dashboard_tones import LABELS, hue, tones

from guided_refine.explain.trial_report import COLOURS, NAMED, group_name, spread_out
from guided_refine.reporting.palette import BLUE
from guided_refine.reporting.style import label

MOST = 20
"""So many attributes are drawn, the most important ones first; a page with all of many would not be read."""
PAIRS = 12


def by_importance(found: dict[str, Any], most: int = MOST) -> list[int]:
    """Places of the attributes in the trial, the most important through the encoder first."""
    sizes = [row["encoder"]["mean"] for row in found["importance"]]
    return [int(place) for place in np.argsort(-np.array(sizes), kind="stable")[:most]]


def importance(found: dict[str, Any]) -> dict[str, Any]:
    """Mean absolute contribution of each attribute with its interval, a bar per view."""
    order = by_importance(found)
    names = _names(found, order)
    rows = [
        {"label": names[place], "view": NAMED[view], **_interval(found["importance"][a][view])}
        for place, a in enumerate(order)
        for view in ("direct", "encoder")
    ]
    views = [NAMED["direct"], NAMED["encoder"]]
    y = {
        "y": name("label", sort=names, title=None, axis={"labelLimit": LABELS}),
        "yOffset": name("view", sort=views),
    }
    tooltip = [name("label"), name("view"), *(number(c, format=".3f") for c in ("mean", "lower", "upper"))]
    colour = name(
        "view",
        scale={"domain": views, "range": [hue(COLOURS["direct"]), hue(COLOURS["encoder"])]},
        legend={"title": None, "orient": "top"},
    )
    return {
        "height": 34 * len(names) + 110,
        "data": {"values": rows},
        "layer": [
            {
                "mark": {"type": "bar"},
                "encoding": {
                    **y,
                    "x": number("mean", title="mean absolute contribution to the score"),
                    "color": colour,
                    "tooltip": tooltip,
                },
            },
            {
                "mark": {"type": "rule", "color": tones().ink},
                "encoding": {**y, "x": number("lower"), "x2": {"field": "upper"}, "tooltip": tooltip},
            },
        ],
    }


def curve(found: dict[str, Any], kind: str) -> dict[str, Any]:
    """The mean score while attributes are taken away (`deletion`) or put back (`insertion`), per order."""
    shown = ("random", "direct", "encoder")
    curves = {name: found["curve_means"][f"{kind}_{name}"] for name in shown}
    rows = [
        {"count": count, "order": NAMED[name], "score": score}
        for name, scores in curves.items()
        for count, score in enumerate(scores)
    ]
    # Both curves of the page on one scale.
    every = [score for scores in found["curve_means"].values() for score in scores]
    room = 0.05 * (max(every) - min(every)) or 1.0
    return {
        "height": 340,
        "data": {"values": rows},
        "mark": {"type": "line", "point": True, "strokeWidth": 2},
        "encoding": {
            "x": number("count", title="how many attributes", axis={"tickMinStep": 1}),
            "y": number(
                "score",
                title="mean score of the first item",
                scale={"domain": [min(every) - room, max(every) + room], "nice": False},
            ),
            "color": name(
                "order",
                sort=None,
                scale={"domain": [NAMED[n] for n in shown], "range": [hue(COLOURS[n]) for n in shown]},
                legend={"title": None, "orient": "top", "columns": 2, "labelLimit": 160},
            ),
            "tooltip": [name("order"), number("count"), number("score", format=".3f")],
        },
    }


def swarm(found: dict[str, Any]) -> dict[str, Any]:
    """What each attribute did for each user of the sample, through the encoder, coloured by the item's score."""
    order = by_importance(found)
    names = _names(found, order)
    values = np.array(found["points"]["encoder"], dtype=np.float64)
    scores = found["points"]["item_score"]
    rows = [
        {"label": names[place], "value": value, "height": height, "score": scores[user][a]}
        for place, a in enumerate(order)
        for user, (value, height) in enumerate(
            zip(values[:, a].tolist(), spread_out(values[:, a]).tolist(), strict=True)
        )
    ]
    now = tones()
    y = name("label", sort=names, title=None, axis={"labelLimit": LABELS})
    return {
        "height": 40 * len(names) + 150,
        "layer": [
            {
                "data": {"values": [{"x": 0}]},
                "mark": {"type": "rule", "color": now.muted},
                "encoding": {"x": number("x")},
            },
            {
                "data": {"values": rows},
                "mark": {"type": "circle", "size": 22, "opacity": 1},
                "encoding": {
                    "y": y,
                    "yOffset": number("height", scale={"domain": [-0.4, 0.4]}),
                    "x": number(
                        "value", title="what it did to the score of the first item, through the encoder"
                    ),
                    "color": {
                        "condition": {
                            "test": "isValid(datum.score)",
                            **number(
                                "score",
                                scale={"domain": [0, 1], "scheme": "viridis"},
                                legend={"title": "the item's score", "orient": "top", "gradientLength": 160},
                            ),
                        },
                        "value": now.muted,
                    },
                    "tooltip": [
                        name("label"),
                        number("value", format="+.3f"),
                        number("score", format=".2f", title="the item's score"),
                    ],
                },
            },
        ],
    }


def groups(found: dict[str, Any]) -> dict[str, Any]:
    """Share of each attribute in what attributes do through the encoder, for groups of users with enough of them."""
    order = by_importance(found)
    names = _names(found, order)
    shown = [row for row in found["segments"] if row["encoder"] is not None]
    titles = [f"{group_name(row, 99)} ({row['users']})" for row in shown]
    rows = [
        {
            "group": title,
            "label": names[place],
            "share": row["encoder"][found["importance"][a]["attribute"]]["share"],
        }
        for title, row in zip(titles, shown, strict=True)
        for place, a in enumerate(order)
    ]
    return {
        "height": 24 * len(titles) + 210,
        "data": {"values": rows},
        "mark": {"type": "rect"},
        "encoding": {
            "x": name(
                "label",
                sort=names,
                title=None,
                axis={"labelAngle": -90, "labelLimit": 110, "labelOverlap": False},
            ),
            "y": name("group", sort=titles, title=None, axis={"labelLimit": LABELS, "labelOverlap": False}),
            "color": number(
                "share",
                scale={"scheme": "cividis", "domainMin": 0},
                legend={
                    "title": "share of what attributes do",
                    "orient": "top",
                    "format": ".0%",
                    "gradientLength": 160,
                },
            ),
            "tooltip": [name("group"), name("label"), number("share", format=".1%")],
        },
    }


def pairs(found: dict[str, Any]) -> dict[str, Any]:
    """What two attributes do only together, the pairs that do most."""
    rows = [
        {"label": " with ".join(label(one, 99) for one in row["attributes"]), **_interval(row)}
        for row in found["interactions"][:PAIRS]
    ]
    return _dots(rows, "mean absolute interaction, in the score", limit=200)


def response(found: dict[str, Any]) -> dict[str, Any]:
    """How much more of an attribute is in the top 10 after one deviation more of it in the user's scores."""
    order = by_importance(found)
    names = _names(found, order)
    rows = [
        {"label": names[place], **_interval(found["monotone"][a])}
        for place, a in enumerate(order)
        if found["monotone"][a]["mean"] is not None
    ]
    return _dots(rows, "its mean in the top 10 moves by (deviations)", zero=True)


def _dots(
    rows: Sequence[dict[str, Any]], title: str, *, limit: int = LABELS, zero: bool = False
) -> dict[str, Any]:
    y = name("label", sort=None, title=None, axis={"labelLimit": limit})
    tooltip = [name("label"), *(number(c, format="+.3f") for c in ("mean", "lower", "upper"))]
    colour = hue(BLUE)
    layers: list[dict[str, Any]] = [
        {
            "data": {"values": rows},
            "mark": {"type": "rule", "strokeWidth": 3, "color": colour},
            "encoding": {
                "y": y,
                "x": number("lower", title=title),
                "x2": {"field": "upper"},
                "tooltip": tooltip,
            },
        },
        {
            "data": {"values": rows},
            "mark": {"type": "point", "filled": True, "size": 90, "opacity": 1, "color": colour},
            "encoding": {"y": y, "x": number("mean"), "tooltip": tooltip},
        },
    ]
    if zero:
        line = {
            "data": {"values": [{"x": 0}]},
            "mark": {"type": "rule", "color": tones().ink, "strokeDash": [4, 3]},
            "encoding": {"x": number("x")},
        }
        layers.insert(0, line)
    return {"height": 26 * len(rows) + 80, "layer": layers}


def _interval(entry: dict[str, Any]) -> dict[str, Any]:
    return {key: entry[key] for key in ("mean", "lower", "upper")}


def _names(found: dict[str, Any], order: Sequence[int]) -> list[str]:
    return [label(found["importance"][a]["attribute"], 99) for a in order]
