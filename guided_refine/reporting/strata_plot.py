"""The gain over the base, stratum by stratum, with its interval."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from guided_refine.config import VARIANTS as ORDER
from guided_refine.evaluation.metrics import headline_metrics
from guided_refine.reporting.palette import BLACK, GREY, PALE, VARIANTS
from guided_refine.reporting.style import (
    in_order,
    label,
    legend_above,
    metric_label,
    new_figure,
    save,
    styled,
)

KINDS = {
    "popularity": "item to predict, by training interactions",
    "cold": "cold item to predict",
    "history": "events before the one to predict",
}
MOST_SHOWN = 2


def span(row: dict[str, Any]) -> str:
    """A stratum's name with its bounds.

    >>> span({"kind": "popularity", "stratum": "mid", "low": 20, "high": 80})
    'mid: 20–80'
    >>> span({"kind": "cold", "stratum": "never", "low": 0, "high": 0})
    'never: 0'
    """
    return f"{row['stratum']}: {row['low']}" + ("" if row["low"] == row["high"] else f"–{row['high']}")


def compared(rows: list[dict[str, Any]]) -> list[str]:
    """Variants whose gain is shown: refined and its control shuffled, else the first two that there are."""
    there = in_order([row["variant"] for row in rows if row["gain"] is not None])
    wanted: list[str] = [v for v in ("refined", "shuffled") if v in there]
    return (wanted if "refined" in there else there)[:MOST_SHOWN]


def first_backbone(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of the first backbone and the first headline metric; baselines are no backbone."""
    backbone = next((row["backbone"] for row in rows if row["variant"] in ORDER), None)
    metric = headline_metrics([row["metric"] for row in rows])[0] if rows else None
    return [row for row in rows if row["backbone"] == backbone and row["metric"] == metric]


@styled
def plot_strata(rows: list[dict[str, Any]], path: Path) -> Path | None:
    """Gain of the refined and the shuffled variant of the first backbone in every stratum that has an interval.

    `rows`: what `strata.json` holds. None when there is no gain to draw.
    """
    own = [row for row in first_backbone(rows) if row["gain_lower"] is not None]
    variants = compared(own)
    own = [row for row in own if row["variant"] in variants]
    kinds = [kind for kind in KINDS if any(row["kind"] == kind for row in own)]
    if not own:
        return None
    groups = {kind: list(dict.fromkeys(r["stratum"] for r in own if r["kind"] == kind)) for kind in kinds}
    heights = [len(groups[kind]) + 0.9 for kind in kinds]
    figure, axes = new_figure(
        len(kinds), 1, (7.6, 1.0 + 0.38 * sum(heights)), sharex=True, gridspec_kw={"height_ratios": heights}
    )
    handles: dict[str, Any] = {}
    for kind, (axis,) in zip(kinds, axes, strict=True):
        names = []
        for place, stratum in enumerate(groups[kind]):
            at = [row for row in own if (row["kind"], row["stratum"]) == (kind, stratum)]
            names.append(f"{span(at[0])}  ({at[0]['n_users']:,} users)")
            for row in at:
                side = variants.index(row["variant"])
                y, colour = (
                    place + 0.24 * side - 0.12 * (len(variants) - 1),
                    VARIANTS.get(row["variant"], GREY),
                )
                axis.plot(
                    [row["gain_lower"], row["gain_upper"]],
                    [y, y],
                    color=colour,
                    linewidth=2.4,
                    solid_capstyle="round",
                )
                handles[row["variant"]] = axis.plot(
                    row["gain"],
                    y,
                    "o",
                    color=colour,
                    markersize=6,
                    markeredgecolor="white",
                    markeredgewidth=0.8,
                )[0]
        axis.axvline(0, color=BLACK, linewidth=1)
        axis.set_yticks(range(len(names)), names)
        axis.set_ylim(len(names) - 0.4, -0.6)
        axis.tick_params(axis="y", length=0)
        axis.grid(visible=False, axis="y")
        for place in range(1, len(names)):
            axis.axhline(place - 0.5, color=PALE, linewidth=0.8)
        axis.set_title(KINDS[kind])
    confidence = f"{100 * own[0]['confidence']:g} %"
    axes[-1][0].set_xlabel(
        f"{label(own[0]['backbone'])}: {metric_label(own[0]['metric'])} minus base ({confidence} interval)"
    )
    order = in_order(list(handles))
    legend_above(figure, [handles[v] for v in order], [label(v) for v in order])
    return save(figure, path)
