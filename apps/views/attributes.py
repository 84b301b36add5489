"""What the scores look like: distributions before and after tuning, flat or redundant ones, agreement with truth."""

import shlex
from collections.abc import Iterable
from typing import Any

import dashboard_bars as bars
import dashboard_blocks as blocks
import dashboard_data as data
import dashboard_lines as lines
import dashboard_tables as tables
import dashboard_trial_charts as trial_charts
import dashboard_ui as ui
import numpy as np
import pandas as pd
import streamlit as st
from dashboard_tones import hue

from guided_refine.evaluation.truth import AVERAGE
from guided_refine.explain.trial_report import findings, read_trial, verdict
from guided_refine.reporting.palette import SOURCES
from guided_refine.runfolder import RunFolder

DETAILS = {
    "On average": (
        trial_charts.importance,
        "How much each attribute does, on average over users, in both views; lines: 95 % intervals.",
    ),
    "User by user": (
        trial_charts.swarm,
        "Each point is a user: what the attribute did to the score of the user's first item, through the encoder.",
    ),
    "Groups": (
        trial_charts.groups,
        "Which attributes matter to which users: by length of history, popularity and labels of their first recommendation.",
    ),
    "Pairs": (
        trial_charts.pairs,
        "What two attributes do only together, beyond what each does alone; lines: 95 % intervals.",
    ),
    "Asked for more": (
        trial_charts.response,
        "One standard deviation more of an attribute in the user's scores: how much more of it is in the top 10? Lines: 95 "
        "% intervals.",
    ),
}
BINS = 24
CLOSE = 12
SHOWN = 24  # rows of a table before it scrolls
QUANTILES = {"p10": 0.1, "p25": 0.25, "median": 0.5, "p75": 0.75, "p90": 0.9}


def shades(sources: Iterable[str]) -> dict[str, str]:
    """Colours of where scores come from, by their readable names."""
    found = set(sources)
    return {ui.readable(name): hue(colour) for name, colour in SOURCES.items() if name in found}


@st.cache_data(show_spinner=False, max_entries=4)
def _ranges(_scores: dict[str, pd.DataFrame], path: str, content: str) -> pd.DataFrame:
    """Quantiles per attribute and source: columns attribute, label, source, p10 ... p90."""
    frames = []
    for source, wide in _scores.items():
        found = wide.quantile(list(QUANTILES.values())).T.set_axis(list(QUANTILES), axis=1)
        labels = [ui.readable(str(a)) for a in found.index]
        frames.append(found.assign(attribute=found.index, label=labels, source=ui.readable(source)))
    # An attribute's sources stand together.
    names = list(next(reversed(_scores.values())).columns)
    together = pd.concat(frames, ignore_index=True)
    return together.sort_values(
        "attribute", kind="stable", key=lambda c: c.map(names.index), ignore_index=True
    )


@st.cache_data(show_spinner=False, max_entries=8)
def _correlations(_wide: pd.DataFrame, path: str, content: str, source: str) -> pd.DataFrame:
    """Rank correlations over items between all attributes, by their readable names."""
    names = [ui.readable(str(a)) for a in _wide.columns]
    ranks = _wide.rank()
    # Pearson of ranks is Spearman; one matrix product where pandas would go pair by pair.
    complete = ranks.dropna()
    with np.errstate(invalid="ignore", divide="ignore"):
        values = (
            np.corrcoef(complete.to_numpy().T) if len(complete) > 1 else np.full((len(names),) * 2, np.nan)
        )
    return pd.DataFrame(np.atleast_2d(values), index=names, columns=names)


def binned(scores: dict[str, pd.DataFrame], attribute: str) -> pd.DataFrame:
    """Shares of items per bin: columns source, score (the middle of a bin), share."""
    edges = np.linspace(0, 1, BINS + 1)
    out = []
    for source, wide in scores.items():
        if attribute not in wide:
            continue
        counts, _ = np.histogram(wide[attribute].dropna().clip(0, 1), edges)
        middle = (edges[1:] + edges[:-1]) / 2
        out.append(
            pd.DataFrame(
                {"source": ui.readable(source), "score": middle, "share": counts / max(counts.sum(), 1)}
            )
        )
    return pd.concat(out, ignore_index=True)


def facts(scores: dict[str, pd.DataFrame], summary: dict[str, Any]) -> pd.DataFrame:
    """One line per attribute: mean and standard deviation by source, drift, and what to beware of."""
    lines = []
    sources = list(scores)
    for attribute in scores[sources[-1]].columns:
        line: dict[str, Any] = {"attribute": ui.readable(attribute), "beware": ""}
        for source in sources:
            value = scores[source][attribute]
            line |= {f"mean {source}": value.mean(), f"sd {source}": value.std(ddof=0)}
        drift = summary.get("drift", {}).get(attribute, {})
        if "drift" in summary:
            line["rank corr."] = drift.get("spearman")
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


def distributions(folder: RunFolder, scores: dict[str, pd.DataFrame]) -> None:
    """Where the scores of all attributes lie, and one attribute in full."""
    st.subheader("Distribution of item scores")
    path = folder.score_table
    left, right = st.columns([3, 2])
    with left:
        blocks.draw(
            bars.ranges(_ranges(scores, str(path), data.content(path)), shades(scores)),
            blocks.note("Thin: the middle 80 % of the items; thick: the middle half; dot: the median."),
        )
    with right:
        names = list(next(reversed(scores.values())).columns)
        attribute = st.selectbox("One attribute in full", names, format_func=ui.readable, key="in full")
        bins = binned(scores, attribute)
        blocks.draw(
            lines.lines(
                bins,
                "score",
                "share",
                "source",
                x_title="score, 0 to 1",
                y_title="share of items",
                shades=shades(scores),
                whole=False,
            )
        )


def redundancy(folder: RunFolder, scores: dict[str, pd.DataFrame]) -> None:
    """Which attributes say the same."""
    st.subheader("Redundancy")
    sources = list(scores)
    source = sources[-1]
    if len(sources) > 1:
        source = (
            st.segmented_control(
                "Scores", sources, default=source, format_func=ui.readable, key="redundancy of"
            )
            or source
        )
    path = folder.score_table
    matrix = _correlations(scores[source], str(path), data.content(path), source)
    if len(matrix) < 2:
        st.caption("There is one attribute only.")
        return
    one, other = np.triu_indices(len(matrix), k=1)
    pairs = pd.DataFrame(
        {
            "attribute": matrix.index[one],
            "other attribute": matrix.index[other],
            "correlation": matrix.to_numpy()[one, other],
        }
    ).dropna()
    pairs = pairs.iloc[np.argsort(-pairs["correlation"].abs().to_numpy(), kind="stable")].head(CLOSE)
    closest = tables.table(pairs, text=("attribute", "other attribute"), formats={"correlation": "+.2f"})
    told = "Rank correlation over items. Two attributes near 1 or -1 say the same in other words."
    blocks.draw(
        blocks.beside(
            tables.heat_map(matrix) + blocks.note(told),
            blocks.strong("Closest pairs") + closest,
            shares=(5, 4),
        )
    )


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
        mean=lambda r: r[measure],
        lower=lambda r: r[f"{measure}_lower"],
        upper=lambda r: r[f"{measure}_upper"],
    )
    average = rows["attribute"] == AVERAGE
    order = [s for s in ("bag_of_words", "untuned", "tuned") if s in set(rows[average]["source"])]
    for column, source in zip(st.columns(max(len(order), 1)), order, strict=False):
        over_all = rows[average & (rows["source"] == source)].iloc[0]
        with column:
            st.metric(f"{ui.readable(source)}, mean over attributes", f"{over_all['mean']:.3f}", border=True)
            st.caption(f"95 % interval {over_all['lower']:.3f} to {over_all['upper']:.3f}")
    rows = rows[~average]
    colours = shades(rows["source"])
    together = rows.sort_values("attribute", kind="stable", key=lambda c: c.map(list(dict.fromkeys(c)).index))
    shown = together.assign(source=together["source"].map(ui.readable))
    blocks.draw(
        bars.intervals(shown, measures[measure], by="source", shades=colours, zero=False, digits=".3f"),
        blocks.note("Points: agreement over items; lines: 95 % bootstrap intervals."),
    )


def explained(folder: RunFolder) -> None:
    """Which attributes carry recommendations, and whether explanations are true, where that was tried."""
    st.subheader("What attributes do, and whether explanations are true")
    found = read_trial(data.explainer_of(folder)) if data.has_refined(folder) else None
    if found is None:
        st.caption("Not tried yet for this run's refined model. Try it on a sample of users with:")
        st.code(f"guided-refine explain {shlex.quote(str(folder.root))}", language="bash")
        return
    st.markdown(ui.plain(verdict(found)))
    curves = [
        trial_charts.curve(found, kind)
        + blocks.note(
            f"The score of the first item while its attributes are {title}; {better} than in random order is better."
        )
        for kind, title, better in (
            ("deletion", "taken away", "lower"),
            ("insertion", "put back", "higher"),
        )
    ]
    blocks.draw(blocks.beside(*curves))
    with st.expander("What else the trial found"):
        for sentence in findings(found):
            st.markdown(ui.plain(sentence))
    _in_detail(found)


@st.fragment
def _in_detail(found: dict[str, Any]) -> None:
    """What attributes do, one chart at a time."""
    with ui.in_words():
        shown = st.segmented_control(
            "What attributes do", list(DETAILS), default=next(iter(DETAILS)), key="trial detail"
        )
        draw, caption = DETAILS[shown or next(iter(DETAILS))]
        if shown == "Pairs" and not found["interactions"]:
            st.caption("Interactions are not computed beyond 12 attributes.")
            return
        count = len(found["importance"])
        some = f" The {trial_charts.MOST} that do most of {count}." if count > trial_charts.MOST else ""
        blocks.draw(draw(found), blocks.note(caption + ("" if shown == "Pairs" else some)))


def main() -> None:
    """The page."""
    folder = data.run_folder()
    st.title("Attributes")
    scores = data.item_scores(folder)
    if not scores:
        ui.nothing_yet("There are no scores yet.", folder)
        return
    summary = data.json_of(folder.summary) or {}
    if summary.get("model"):
        st.caption(f"Items scored by {ui.plain(summary['model'])}.")
    distributions(folder, scores)
    rows = facts(scores, summary)
    columns = [c for c in rows.columns if c not in ("attribute", "beware")]
    blocks.draw(
        tables.table(rows, text="beware", formats=dict.fromkeys(columns, ".3f"), most=SHOWN),
        blocks.note(
            "sd: standard deviation over items; rank corr.: of the scores before tuning with those after it."
        ),
    )
    redundancy(folder, scores)
    # A damaged file costs the part that reads it, not the page.
    with ui.in_words():
        answer = data.json_of(folder.truth)
        if answer:
            truth(answer)
    with ui.in_words():
        explained(folder)


main()
