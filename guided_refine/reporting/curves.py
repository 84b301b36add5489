"""Plots of how the scores are distributed and how training went."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from guided_refine.reporting.palette import CYCLE, GREY, SOURCES, VARIANTS
from guided_refine.reporting.style import DASHES, in_order, label, legend_above, new_figure, save, styled

MOST_ATTRIBUTES = 64
MOST_COLUMNS = {6: 3, 16: 4, 30: 6, MOST_ATTRIBUTES: 8}
BINS = np.linspace(0, 1, 33)


@styled
def plot_distributions(scores: pd.DataFrame, path: Path) -> Path | None:
    """Distribution of item scores (filled) and user scores (line) per attribute, before and after tuning.

    `scores`: rows of `scores.parquet`; of the users only what the test split allows them (position -1) is shown.
    At most 64 attributes. None when there is no score.
    """
    shown = scores[(scores["position"] == -1) & scores["value"].notna()]
    names = list(dict.fromkeys(shown["attribute"]))[:MOST_ATTRIBUTES]
    if not names:
        return None
    columns = min(len(names), next(c for most, c in MOST_COLUMNS.items() if len(names) <= most))
    lines = -(-len(names) // columns)
    width = 11 if columns <= 4 else 14
    figure, axes = new_figure(lines, columns, (width, 0.8 + 1.45 * lines), sharex=True)
    groups = {key: part["value"].to_numpy() for key, part in shown.groupby(["attribute", "kind", "source"])}
    handles: dict[tuple[str, str], Any] = {}
    for place in range(lines * columns):
        axis = axes[place // columns][place % columns]
        if place >= len(names):
            axis.set_visible(False)
            continue
        for kind in ("item", "user"):
            for source in ("untuned", "tuned"):
                values = groups.get((names[place], kind, source))
                if values is not None:
                    handles[kind, source] = _histogram(axis, values, kind, SOURCES[source])
        axis.set_title(label(names[place], 26 if columns <= 4 else 18), fontsize=9, fontweight="normal")
        axis.set_yticks([])
        axis.grid(visible=False)
        axis.spines["left"].set_visible(False)
        axis.set_xlim(0, 1)
        axis.set_xticks([0, 0.5, 1], ["0", "½", "1"])
        axis.tick_params(labelbottom=place + columns >= len(names))
    order = [
        k
        for k in (("item", "untuned"), ("item", "tuned"), ("user", "untuned"), ("user", "tuned"))
        if k in handles
    ]
    legend_above(figure, [handles[k] for k in order], [f"{kind}s, {source}" for kind, source in order])
    return save(figure, path)


def _histogram(axis: Any, values: np.ndarray, kind: str, colour: str) -> Any:
    """Shares per bin on a common scale of area, so that many items and few users can be laid over each other."""
    share = np.histogram(np.clip(values, 0, 1), BINS)[0] / len(values)
    if kind == "item":
        return axis.stairs(share, BINS, fill=True, color=colour, alpha=0.45, linewidth=0)
    return axis.stairs(share, BINS, color=colour, linewidth=1.5)


@styled
def plot_training(curves: dict[tuple[str, str, int], pd.DataFrame], path: Path) -> Path | None:
    """Loss and validation NDCG by epoch, a row per backbone, a line per variant; further seeds are drawn thin.

    `curves`: (backbone, variant, seed) -> rows of `curve.csv`. None when no curve has a point.
    """
    curves = {key: frame for key, frame in curves.items() if len(frame)}
    if not curves:
        return None
    backbones = list(dict.fromkeys(b for b, _, _ in curves))
    figure, axes = new_figure(len(backbones), 2, (11, 0.7 + 2.5 * len(backbones)))
    handles: dict[str, Any] = {}
    for backbone, line in zip(backbones, axes, strict=True):
        for variant in in_order([v for b, v, _ in curves if b == backbone]):
            seeds = sorted(s for b, v, s in curves if (b, v) == (backbone, variant))
            for seed in seeds:
                frame = curves[backbone, variant, seed]
                style: dict[str, Any] = {"color": VARIANTS.get(variant, GREY), "linestyle": _dash(variant)}
                style["linewidth"] = 1.7 if seed == seeds[0] else 0.7
                for axis, column in zip(line, (_column(frame, "loss"), _column(frame, "ndcg")), strict=True):
                    if column is not None:
                        drawn = axis.plot(_steps(frame), frame[column], **style)[0]
                        if seed == seeds[0]:
                            handles.setdefault(variant, drawn)
        line[0].set_title(f"{label(backbone)}: training loss")
        line[1].set_title(f"{label(backbone)}: validation NDCG@10")
    for axis in axes[-1]:
        axis.set_xlabel("epoch")
    order = in_order(list(handles))
    legend_above(figure, [handles[v] for v in order], [label(v) for v in order], columns=5)
    return save(figure, path)


def _dash(variant: str) -> str:
    """A second sign beside colour, so that a dozen lines stay apart."""
    place = list(VARIANTS).index(variant) if variant in VARIANTS else 0
    return DASHES[place % 2 if variant != "refined" else 0]


@styled
def plot_tuning(curves: pd.DataFrame, path: Path) -> Path | None:
    """Every column of `tuning/curves.csv` by step, a panel each; a running mean over the noisy single steps.

    None when the file has no number to draw.
    """
    numbers = curves.select_dtypes("number")
    skipped = {"step", "epoch", "learning_rate", "grad_norm"}
    names = [str(c) for c in numbers if c not in skipped and numbers[c].notna().sum() > 1]
    if not names:
        return None
    columns = min(4, len(names))
    lines = -(-len(names) // columns)
    figure, axes = new_figure(lines, columns, (2.9 * columns + 0.3, 0.4 + 2.3 * lines))
    for place in range(lines * columns):
        axis = axes[place // columns][place % columns]
        if place >= len(names):
            axis.set_visible(False)
            continue
        known = numbers[names[place]].notna()
        steps, values = _steps(curves)[known], numbers.loc[known, names[place]]
        colour = CYCLE[place % len(CYCLE)]
        if len(values) > 30:
            axis.plot(steps, values, color=colour, linewidth=0.7, alpha=0.35)
            values = values.rolling(max(5, len(values) // 20), center=True, min_periods=1).mean()
        axis.plot(steps, values, color=colour, marker="o" if len(values) < 15 else None, markersize=4)
        axis.set_title(label(names[place], 30))
        if place + columns >= len(names):
            axis.set_xlabel("step")
    return save(figure, path)


def _steps(frame: pd.DataFrame) -> pd.Series:
    for name in ("epoch", "step"):
        if name in frame and frame[name].is_monotonic_increasing and frame[name].nunique() == len(frame):
            return frame[name]
    return pd.Series(np.arange(1, len(frame) + 1), index=frame.index)


def _column(frame: pd.DataFrame, word: str) -> str | None:
    """The first column of a curve whose name holds `word`: `loss`, `ndcg@10`, `valid_ndcg`."""
    return next((str(c) for c in frame if word in str(c).lower()), None)
