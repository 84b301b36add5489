"""Plots of results: gains with intervals, gains by how popular the target is, recovery of a known truth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from guided_refine.evaluation.metrics import headline_metrics
from guided_refine.evaluation.statistics import bootstrap_means
from guided_refine.reporting.palette import BLACK, GREY, PALE, SOURCES, VARIANTS
from guided_refine.reporting.style import (
    SOURCE_NAMES,
    in_order,
    label,
    legend_above,
    metric_label,
    new_figure,
    save,
    styled,
)

BINS = 10
#: A change that surely loses more than this, in per cent, would squash all others: it is named at the edge instead.
COLLAPSED = -20.0
FEWEST_USERS = 20


@styled
def plot_gains(differences: list[dict[str, Any]], path: Path) -> Path | None:
    """Gain over the base in per cent of the base's value, with its interval: a dot per variant, a row per backbone.

    `differences`: rows of `differences.json`. None when there is nothing to draw.
    """
    rows = [d for d in differences if d["base"]]
    if not rows:
        return None
    metrics = headline_metrics(list(dict.fromkeys(d["metric"] for d in rows)))
    backbones = list(dict.fromkeys(d["backbone"] for d in rows))
    variants = {b: in_order([d["variant"] for d in rows if d["backbone"] == b]) for b in backbones}
    heights = [len(variants[b]) + 1.2 for b in backbones]
    figure, axes = new_figure(
        len(backbones),
        len(metrics),
        (10, 0.9 + 0.32 * sum(heights)),
        sharex="col",
        gridspec_kw={"height_ratios": heights},
    )
    for backbone, line in zip(backbones, axes, strict=True):
        for metric, axis in zip(metrics, line, strict=True):
            own = {d["variant"]: d for d in rows if d["backbone"] == backbone and d["metric"] == metric}
            for place, variant in enumerate(variants[backbone]):
                if variant in own:
                    _dot(axis, place, own[variant], VARIANTS.get(variant, GREY))
            axis.axvline(0, color=BLACK, linewidth=1)
            names = [label(v, 20) for v in variants[backbone]] if metric == metrics[0] else []
            axis.set_yticks(range(len(variants[backbone])), names or [""] * len(variants[backbone]))
            axis.set_ylim(len(variants[backbone]) - 0.4, -0.6)
            axis.tick_params(axis="y", length=0)
            axis.set_title(f"{label(backbone)}: {metric_label(metric)}")
    for axis in axes[-1]:
        axis.set_xlabel(f"change against base, % ({100 * rows[0]['confidence']:g} % interval)")
    return save(figure, path)


def _dot(axis: Any, place: int, row: dict[str, Any], colour: str) -> None:
    low, middle, high = (100 * row[key] / row["base"] for key in ("lower", "mean", "upper"))
    if high < COLLAPSED:
        note = f"\N{BLACK LEFT-POINTING TRIANGLE} {middle:.0f} %"
        axis.text(0.02, place, note, color=colour, va="center", transform=axis.get_yaxis_transform())
        return
    axis.plot([low, high], [place, place], color=colour, linewidth=2.4, solid_capstyle="round")
    axis.plot(middle, place, "o", color=colour, markersize=6.5, markeredgecolor="white", markeredgewidth=0.8)


@styled
def plot_deciles(per_user: pd.DataFrame, popularity: pd.Series, metric: str, path: Path) -> Path | None:
    """Gain of the refined and the shuffled variant over the base, by how often the test target occurs in training.

    `popularity`: training count of each user's target, indexed by user_id. Users are cut into (up to) ten groups of
    about equal size; groups with fewer than 20 users are not drawn. None when no variant can be compared.
    """
    wide = per_user.groupby(["backbone", "variant", "user_id"])[metric].mean().unstack("variant")
    shown = [v for v in ("refined", "shuffled") if v in wide]
    if "base" not in wide or not shown:
        return None
    backbones = [b for b in dict.fromkeys(per_user["backbone"]) if wide.loc[b, shown].notna().any(axis=None)]
    bins = pd.qcut(popularity, BINS, duplicates="drop")
    groups = [(c, bins.index[bins == c]) for c in bins.cat.categories]
    groups = [(c, users) for c, users in groups if len(users) >= FEWEST_USERS]
    if not groups or not backbones:
        return None
    figure, axes = new_figure(
        1, len(backbones), (max(5.0, min(4.2 * len(backbones), 12.5)), 3.6), sharey=True
    )
    handles: dict[str, Any] = {}
    for backbone, axis in zip(backbones, axes[0], strict=True):
        table = wide.loc[backbone]
        axis.axhline(0, color=BLACK, linewidth=1)
        for side, variant in enumerate(v for v in shown if table[v].notna().any()):
            deltas = (table[variant] - table["base"]).dropna()
            for place, (_, users) in enumerate(groups):
                values = deltas.reindex(users).dropna().to_numpy()
                if not len(values):
                    continue
                found = bootstrap_means(values[:, None], samples=1000)[0]
                x, colour = place + 0.22 * side - 0.11 * (len(shown) - 1), VARIANTS[variant]
                axis.plot(
                    [x, x], [found.lower, found.upper], color=colour, linewidth=2.2, solid_capstyle="round"
                )
                handles[variant] = axis.plot(x, found.mean, "o", color=colour, markersize=5.5)[0]
        axis.set_xticks(
            range(len(groups)), [_span(popularity[users]) for _, users in groups], rotation=40, ha="right"
        )
        axis.grid(visible=False, axis="x")
        axis.set_title(label(backbone))
        axis.set_xlabel("training events of the target item")
    axes[0][0].set_ylabel(f"{metric_label(metric)} minus base")
    legend_above(figure, list(handles.values()), [label(v) for v in handles])
    return save(figure, path)


def _span(counts: pd.Series) -> str:
    low, high = int(counts.min()), int(counts.max())
    return f"{low}" if low == high else f"{low}–{high}"


@styled
def plot_recovery(truth: dict[str, Any], path: Path) -> Path | None:
    """How well each source of scores recovers the truth, one group of bars per attribute, with intervals.

    `truth`: what `truth.json` holds. Binary truths are shown as the area under the curve, real ones as Spearman's
    correlation, each in a panel of its own. Bars start at chance. None when nothing could be computed.
    """
    rows = pd.DataFrame(truth["rows"])
    if rows.empty:
        return None
    binary = rows["auc"].notna()
    panels: list[tuple[str, pd.DataFrame, list[str]]] = []
    for measure, part in (("auc", rows[binary]), ("spearman", rows[~binary & rows["spearman"].notna()])):
        names = [n for n in dict.fromkeys(rows["attribute"]) if (part["attribute"] == n).any()]
        if names and not (len(names) == 1 and len(panels) and names[0] == rows["attribute"].iloc[-1]):
            panels.append((measure, part, names))
    if not panels:
        return None
    sources = [s for s in SOURCE_NAMES if (rows["source"] == s).any()]
    thick = 0.8 / len(sources)
    height = 0.9 + max(len(names) for _, _, names in panels) * (0.2 + 0.15 * len(sources))
    figure, axes = new_figure(1, len(panels), (6.8 if len(panels) == 1 else 11, height))
    handles: dict[str, Any] = {}
    for (measure, part, names), axis in zip(panels, axes[0], strict=True):
        chance = 0.5 if measure == "auc" else 0.0
        for order, source in enumerate(sources):
            own = part[part["source"] == source].set_index("attribute").reindex(names)
            value = own[measure].to_numpy(dtype=float)
            bounds = own[[f"{measure}_lower", f"{measure}_upper"]].to_numpy(dtype=float)
            places = np.arange(len(names)) + (order - (len(sources) - 1) / 2) * thick
            handles[source] = axis.barh(
                places, value - chance, thick * 0.9, left=chance, color=SOURCES[source]
            )
            axis.hlines(places, bounds[:, 0], bounds[:, 1], color=BLACK, linewidth=1.1)
        axis.axvline(chance, color=BLACK, linewidth=1)
        axis.set_yticks(range(len(names)), [label(n, 26) for n in names])
        axis.set_ylim(len(names) - 0.45, -0.55)
        axis.tick_params(axis="y", length=0)
        axis.grid(visible=False, axis="y")
        for place in range(1, len(names)):
            axis.axhline(place - 0.5, color=PALE, linewidth=0.8)
        axis.set_xlabel(
            "area under the curve (0.5 = chance)" if measure == "auc" else "Spearman with the truth"
        )
    legend_above(figure, list(handles.values()), [SOURCE_NAMES[s] for s in handles])
    return save(figure, path)
