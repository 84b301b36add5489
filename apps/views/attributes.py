"""What the scores look like: distributions before and after tuning, flat or redundant ones, agreement with truth."""

from typing import Any

import dashboard_charts as charts
import dashboard_ui as ui
import numpy as np
import pandas as pd
import streamlit as st

from guided_refine.evaluation.truth import AVERAGE
from guided_refine.explain.trial_report import FOLDER, PLOTS, read_trial, verdict
from guided_refine.runfolder import RunFolder

BINS = 24


def binned(rows: pd.DataFrame) -> pd.DataFrame:
    """Shares of items per bin: columns label, source, middle, share."""
    edges = np.linspace(0, 1, BINS + 1)
    out = []
    for (source, attribute), part in rows.groupby(["source", "attribute"], sort=False):
        counts, _ = np.histogram(part["value"].dropna().clip(0, 1), edges)
        out.append(
            pd.DataFrame(
                {
                    "label": ui.readable(str(attribute)),
                    "source": source,
                    "middle": (edges[1:] + edges[:-1]) / 2,
                    "share": counts / max(counts.sum(), 1),
                }
            )
        )
    return pd.concat(out, ignore_index=True)


def facts(rows: pd.DataFrame, summary: dict[str, Any]) -> pd.DataFrame:
    """One line per attribute: mean and standard deviation by source, drift, and what to beware of."""
    lines = []
    sources = list(dict.fromkeys(rows["source"]))
    for attribute in dict.fromkeys(rows["attribute"]):
        line: dict[str, Any] = {"attribute": ui.readable(attribute)}
        for source in sources:
            value = rows[(rows["source"] == source) & (rows["attribute"] == attribute)]["value"]
            line |= {f"mean {source}": value.mean(), f"deviation {source}": value.std(ddof=0)}
        drift = summary.get("drift", {}).get(attribute, {})
        if "drift" in summary:
            line["rank correlation of both"] = drift.get("spearman")
        flat = [s for s in sources if attribute in summary.get(s, {}).get("flat", [])]
        twins = [
            ui.readable(next(a for a in pair["attributes"] if a != attribute))
            for pair in summary.get(sources[-1], {}).get("redundant", [])
            if attribute in pair["attributes"]
        ]
        notes = [f"hardly varies ({', '.join(flat)})"] * bool(flat) + [f"close to {t}" for t in twins]
        line["beware"] = "; ".join(notes)
        lines.append(line)
    return pd.DataFrame(lines)


def truth(answer: dict[str, Any]) -> None:
    """Agreement with known values, where the run has them."""
    st.subheader("Agreement with the known truth")
    rows = pd.DataFrame(answer["rows"])
    measures = {
        "spearman": "rank correlation with the truth",
        "auc": "area under the curve",
    }
    known = [m for m in measures if m in rows and rows[m].notna().any()]
    if not known:
        st.caption("No attribute of this truth could be compared.")
        return
    measure = (
        known[0] if len(known) == 1 else st.segmented_control("Measure", known, default=known[0]) or known[0]
    )
    rows = rows.dropna(subset=[measure]).assign(
        label=lambda r: r["attribute"].map(ui.readable),
        value=lambda r: r[measure],
        lower=lambda r: r[f"{measure}_lower"],
        upper=lambda r: r[f"{measure}_upper"],
    )
    average = rows["attribute"] == AVERAGE
    order = [s for s in ("bag_of_words", "untuned", "tuned") if s in set(rows[average]["source"])]
    for column, source in zip(st.columns(max(len(order), 1)), order, strict=False):
        mean = rows[average & (rows["source"] == source)].iloc[0]
        with column:
            st.metric(f"{ui.readable(source)}, mean over attributes", f"{mean['value']:.3f}", border=True)
            st.caption(f"95 % interval {mean['lower']:.3f} to {mean['upper']:.3f}")
    rows = rows[~average]
    st.altair_chart(charts.truth(rows, measure, measures[measure]))
    st.caption("Points: agreement over items; lines: 95 % bootstrap intervals.")


def explained(folder: RunFolder) -> None:
    """Which attributes carry recommendations, and whether explanations are true, where that was tried."""
    st.subheader("What attributes do, and whether explanations are true")
    found = read_trial(ui.explainer_of(folder)) if ui.has_refined(folder) else None
    if found is None:
        st.caption("Not tried yet for this run's refined model. Try it on a sample of users with:")
        st.code(f"guided-refine explain {folder.root}", language="bash")
        return
    st.markdown(ui.plain(verdict(found)))
    captions = (
        "How much each attribute does, on average over users, in both views; lines: 95 % intervals.",
        "The score of the first item while attributes are taken away, or put back.",
        "Each point is a user.",
    )
    for name, caption in zip(PLOTS, captions, strict=True):
        st.image(folder.root / FOLDER / name, width=760)
        st.caption(caption)


def main() -> None:
    """The page."""
    folder = ui.run_folder()
    st.title("Attributes")
    rows = ui.parquet_of(folder.score_table)
    if rows is None:
        ui.nothing_yet("There are no scores yet.", folder)
        return
    rows = rows[rows["kind"] == "item"]
    summary = ui.json_of(folder.summary) or {}
    if summary.get("model"):
        st.caption(f"Items scored by {ui.plain(summary['model'])}.")
    st.subheader("Distribution of item scores")
    st.altair_chart(charts.distributions(binned(rows)), width="content")
    st.dataframe(
        facts(rows, summary),
        hide_index=True,
        column_config={
            c: st.column_config.NumberColumn(format="%.3f")
            for c in (
                "mean untuned",
                "deviation untuned",
                "mean tuned",
                "deviation tuned",
                "rank correlation of both",
            )
        },
    )
    answer = ui.json_of(folder.truth)
    if answer:
        truth(answer)
    explained(folder)


main()
