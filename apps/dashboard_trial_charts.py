"""The charts of a trial of explanations, from its numbers, so that they follow the page from light to dark."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import dashboard_bars as bars
import dashboard_lines as lines
import dashboard_tables as tables
import numpy as np
import pandas as pd
from dashboard_tones import hue, tones

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


def importance(found: dict[str, Any]) -> str:
    """Mean absolute contribution of each attribute with its interval, in both views."""
    order = by_importance(found)
    rows = [
        {"label": name, "view": NAMED[view], **_interval(found["importance"][a][view])}
        for name, a in zip(_names(found, order), order, strict=True)
        for view in ("direct", "encoder")
    ]
    shades = {NAMED[view]: hue(COLOURS[view]) for view in ("direct", "encoder")}
    title = "mean absolute contribution to the score"
    return bars.intervals(pd.DataFrame(rows), title, by="view", shades=shades, zero=True, digits=".3f")


def curve(found: dict[str, Any], kind: str) -> str:
    """The mean score while attributes are taken away (`deletion`) or put back (`insertion`), per order."""
    rows = pd.DataFrame(
        [
            {"count": count, "order": NAMED[name], "score": score}
            for name in ("random", "direct", "encoder")
            for count, score in enumerate(found["curve_means"][f"{kind}_{name}"])
        ]
    )
    return lines.lines(
        rows,
        "count",
        "score",
        "order",
        x_title="how many attributes",
        y_title="mean score of the first item",
        shades={NAMED[name]: hue(COLOURS[name]) for name in ("random", "direct", "encoder")},
        # Both curves of the page on one scale.
        within=[score for scores in found["curve_means"].values() for score in scores],
    )


def swarm(found: dict[str, Any]) -> str:
    """What each attribute did for each user of the sample, through the encoder; full points: the item scores high."""
    order = by_importance(found)
    values = np.array(found["points"]["encoder"], dtype=np.float64)
    scores = found["points"]["item_score"]
    rows = [
        (
            name,
            [
                (value, height, None if scores[user][a] is None else float(scores[user][a]))
                for user, (value, height) in enumerate(
                    zip(values[:, a].tolist(), spread_out(values[:, a]).tolist(), strict=True)
                )
            ],
        )
        for name, a in zip(_names(found, order), order, strict=True)
    ]
    return bars.swarm(rows, "what it did to the score of the first item, through the encoder")


def groups(found: dict[str, Any]) -> str:
    """Share of each attribute in what attributes do through the encoder, for groups of users with enough of them."""
    order = by_importance(found)
    shown = [row for row in found["segments"] if row["encoder"] is not None]
    shares = pd.DataFrame(
        [[row["encoder"][found["importance"][a]["attribute"]]["share"] for a in order] for row in shown],
        index=[f"{group_name(row, 99)} ({row['users']})" for row in shown],
        columns=_names(found, order),
    )
    return tables.shaded(shares, paper=tones().paper, full=hue(BLUE))


def pairs(found: dict[str, Any]) -> str:
    """What two attributes do only together, the pairs that do most."""
    rows = [
        {"label": " with ".join(label(one, 99) for one in row["attributes"]), **_interval(row)}
        for row in found["interactions"][:PAIRS]
    ]
    return _points(rows, "mean absolute interaction, in the score", zero=False)


def response(found: dict[str, Any]) -> str:
    """How much more of an attribute is in the top 10 after one deviation more of it in the user's scores."""
    order = by_importance(found)
    rows = [
        {"label": name, **_interval(found["monotone"][a])}
        for name, a in zip(_names(found, order), order, strict=True)
        if found["monotone"][a]["mean"] is not None
    ]
    return _points(rows, "its mean in the top 10 moves by (deviations)", zero=True)


def _points(rows: Sequence[dict[str, Any]], title: str, *, zero: bool) -> str:
    shown = pd.DataFrame(rows, columns=["label", "mean", "lower", "upper"]).assign(kind=lambda r: r["label"])
    shades = dict.fromkeys(shown["kind"], hue(BLUE))
    return bars.intervals(shown, title, by="kind", shades=shades, zero=zero, digits="+.3f")


def _interval(entry: dict[str, Any]) -> dict[str, Any]:
    return {key: entry[key] for key in ("mean", "lower", "upper")}


def _names(found: dict[str, Any], order: Sequence[int]) -> list[str]:
    return [label(found["importance"][a]["attribute"], 99) for a in order]
