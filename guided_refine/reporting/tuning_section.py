"""The report's section on what tuning did to the scores: ranking by scores alone, lines, drift, spread, redundancy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from guided_refine.files import read_json
from guided_refine.reporting.markdown import escape, number, signed, table
from guided_refine.reporting.palette import GREY, SOURCES
from guided_refine.reporting.runfiles import RunFiles
from guided_refine.reporting.style import label, legend_above, new_figure, save, styled

#: Share of lines that a tuned model should write as the template has them.
WELL_FORMED = 0.99
MOST_ATTRIBUTES = 32


def change_of_scores(scores: pd.DataFrame) -> pd.DataFrame | None:
    """One row per attribute, in the order of the scores: what became of them, or None without both sources.

    `scores` are rows of `scores.parquet`. Columns: `item_rank`, `user_rank`, Spearman correlations of untuned and tuned
    scores (NaN where one does not vary); `shift`, of the mean item score; `std_untuned`, `std_tuned` over the catalog;
    `spread_untuned`, `spread_tuned`, the mean standard deviation of the digit; `redundancy_untuned`, `redundancy_tuned`,
    the largest absolute correlation with another attribute over the catalog.
    """
    if not {"untuned", "tuned"} <= set(scores["source"]):
        return None
    names = list(dict.fromkeys(scores["attribute"]))
    shown = scores[scores["position"] == -1]
    wide = {
        (kind, source, what): part.pivot(index="id", columns="attribute", values=what).reindex(columns=names)
        for (kind, source), part in shown.groupby(["kind", "source"])
        for what in ("value", "spread")
    }
    rows = []
    matrices = {s: correlations(wide["item", s, "value"]) for s in ("untuned", "tuned")}
    for place, name in enumerate(names):
        row: dict[str, Any] = {"attribute": name}
        for kind in ("item", "user"):
            row[f"{kind}_rank"] = (
                _rank(*(wide[kind, s, "value"][name] for s in ("untuned", "tuned")))
                if (kind, "tuned", "value") in wide
                else float("nan")
            )
        before, after = (wide["item", s, "value"][name] for s in ("untuned", "tuned"))
        row["shift"] = float((after - before).mean())
        for source in ("untuned", "tuned"):
            row[f"std_{source}"] = float(wide["item", source, "value"][name].std(ddof=0))
            row[f"spread_{source}"] = float(wide["item", source, "spread"][name].mean())
            others = np.delete(np.abs(matrices[source][place]), place)
            row[f"redundancy_{source}"] = (
                float(np.nanmax(others)) if np.isfinite(others).any() else float("nan")
            )
        rows.append(row)
    return pd.DataFrame(rows)


def correlations(values: pd.DataFrame) -> np.ndarray:
    """Pearson correlations of the columns over rows without a gap, (columns, columns); NaN where one does not vary."""
    known = values.dropna().to_numpy(dtype=np.float64)
    if len(known) < 3:
        return np.full((values.shape[1],) * 2, np.nan)
    varies = known.std(axis=0) > 1e-12
    matrix = np.full((values.shape[1],) * 2, np.nan)
    if varies.any():
        matrix[np.ix_(varies, varies)] = np.corrcoef(known[:, varies], rowvar=False)
    return matrix


def _rank(before: pd.Series, after: pd.Series) -> float:
    both = pd.concat([before, after], axis=1).dropna().rank()
    if len(both) < 3 or (both.nunique() < 2).any():
        return float("nan")
    return float(np.corrcoef(both.to_numpy(), rowvar=False)[0, 1])


def tuning_section(run: RunFiles) -> list[str]:
    """Numbers of `tuning/report.json`, and a row per attribute; nothing where nothing was tuned."""
    found = run.root / "tuning" / "report.json"
    changes = None if run.scores is None else change_of_scores(run.scores)
    if changes is None and not found.exists():
        return []
    lines = ["## What tuning did", ""]
    if found.exists():
        lines += _told(read_json(found))
    if changes is not None:
        head = ["attribute", "rank correlation, items", "users", "shift of the mean", "sd over the catalog"]
        head += ["spread of the digit", "closest other attribute"]
        body = [
            [
                escape(label(str(row["attribute"]), 80)),
                number(row["item_rank"], 2),
                number(row["user_rank"], 2),
                signed(row["shift"], 2),
                *(
                    f"{number(row[f'{w}_untuned'], 2)} → {number(row[f'{w}_tuned'], 2)}"
                    for w in ("std", "spread", "redundancy")
                ),
            ]
            for row in changes.to_dict("records")
        ]
        lines += [
            "Scores before and after, by attribute. A low rank correlation says that an attribute no longer orders items as "
            "it did; spread is the model's own doubt about a digit; the last column, the largest absolute correlation with "
            "another attribute over the catalog.",
            "",
            *table(head, body),
        ]
    return lines


def _told(report: dict[str, Any]) -> list[str]:
    lines = []
    held = report.get("held_out", {}).get("held_out")
    if held:
        # Older reports of task like_dislike took disliked events too, and do not say so.
        liked = " that its user liked" if report["held_out"].get("of") == "likes" else ""
        lines.append(
            f"- Ranking by the scores alone: a held-out training event{liked} beats {100 * held['before']:.1f} % of random "
            f"items before and {100 * held['after']:.1f} % after (50 % is chance)."
        )
    share = report.get("well_formed")
    if share is not None:
        verdict = (
            "" if share >= WELL_FORMED else f", **below the {100 * WELL_FORMED:.0f} % that it should reach**"
        )
        lines.append(
            f"- Well-formed lines when the tuned model writes freely{_about(report)}: {100 * share:.1f} %{verdict}"
            f"{_apart(report)}."
        )
    if report.get("tokens_per_second"):
        lines.append(f"- {report['steps']} steps, {report['tokens_per_second']:,.0f} tokens per second.")
    return [*lines, ""] if lines else []


def _about(report: dict[str, Any]) -> str:
    if "answers_written" not in report:
        return ""
    # Older reports tell of items only.
    what = "items and histories" if "well_formed_users" in report else "items"
    return f" about {report['answers_written']} {what}"


def _apart(report: dict[str, Any]) -> str:
    """The same share of parts of the answers, and of the model as it came."""
    parts = [("items", "of items"), ("users", "of histories"), ("untuned", "of the untuned model")]
    said = [
        f"{100 * report[f'well_formed_{name}']:.1f} % {words}"
        for name, words in parts
        if f"well_formed_{name}" in report and (name != "items" or "well_formed_users" in report)
    ]
    return f" ({', '.join(said)})" if said else ""


@styled
def plot_change(scores: pd.DataFrame, path: Path) -> Path | None:
    """Rank correlation, shift, spread and redundancy per attribute (at most 32), untuned against tuned."""
    changes = change_of_scores(scores)
    if changes is None:
        return None
    changes = changes.iloc[:MOST_ATTRIBUTES]
    places = np.arange(len(changes))
    figure, (axes,) = new_figure(1, 4, (12, 1.1 + 0.32 * len(changes)), sharey=True)
    axes[0].plot(changes["item_rank"], places, "o", color=SOURCES["tuned"])
    axes[0].plot(changes["user_rank"], places, "o", color=GREY, markerfacecolor="none")
    axes[0].set_title("rank correlation\n(full: items, open: users)")
    axes[0].axvline(1, color=GREY, linewidth=0.8)
    axes[1].barh(places, changes["shift"], color=SOURCES["tuned"], height=0.6)
    axes[1].axvline(0, color=GREY, linewidth=0.8)
    axes[1].set_title("shift of the mean")
    handles = {}
    for axis, what, title in (
        (axes[2], "spread", "spread of the digit"),
        (axes[3], "redundancy", "closest other attribute,\nabsolute correlation"),
    ):
        axis.hlines(places, changes[f"{what}_untuned"], changes[f"{what}_tuned"], color=GREY, linewidth=1)
        for source in ("untuned", "tuned"):
            (handles[source],) = axis.plot(changes[f"{what}_{source}"], places, "o", color=SOURCES[source])
        axis.set_title(title)
    axes[3].set_xlim(0, 1)
    axes[0].set_yticks(places, [label(str(name)) for name in changes["attribute"]])
    axes[0].set_ylim(len(changes) - 0.5, -0.5)
    legend_above(figure, list(handles.values()), list(handles))
    return save(figure, path)
