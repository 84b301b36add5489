"""What the run gained: headline, all rows with differences and intervals, training curves."""

from typing import Any

import dashboard_answers as answers
import dashboard_bars as bars
import dashboard_blocks as blocks
import dashboard_compare as compare
import dashboard_data as data
import dashboard_lines as lines
import dashboard_tables as tables
import dashboard_ui as ui
import pandas as pd
import streamlit as st

from guided_refine.reporting.claims import judge
from guided_refine.reporting.markdown import p_value
from guided_refine.runfolder import RunFolder

SHOWN = 20  # rows of a table before it scrolls


def headline(rows: pd.DataFrame, differences: pd.DataFrame, metric: str) -> None:
    """One card per backbone: the refined model and its distance to the base."""
    refined = rows[rows["variant"] == "refined"]
    if refined.empty:
        return
    for column, (_, row) in zip(st.columns(len(refined)), refined.iterrows(), strict=True):
        gain = _difference(differences, row["backbone"], "refined", metric)
        with column:
            st.metric(
                f"{ui.readable(row['backbone'])} refined, {ui.metric_name(metric)}",
                f"{row[metric]:.4f}",
                None if gain is None else f"{gain['mean']:+.4f} {_interval(gain)} to base",
                # Green or red is for what may be claimed; anything else is a number.
                delta_color="normal" if gain is not None and _claimed(gain) else "off",
                border=True,
            )


def _interval(gain: dict[str, Any]) -> str:
    return f"[{gain['lower']:+.4f}, {gain['upper']:+.4f}]"


def _claimed(gain: dict[str, Any]) -> bool:
    """True where the interval leaves zero out and the corrected p is small, too."""
    corrected = gain.get("p_corrected")
    known = corrected is not None and not pd.isna(corrected)
    return known and judge(gain, gain.get("confidence", 0.95)) != "nothing"


def verdicts(folder: RunFolder) -> None:
    """What may be claimed, in the words of the report: one paragraph per backbone."""
    for paragraph in answers.claims_of(folder):
        st.markdown(paragraph)


def _difference(differences: pd.DataFrame, backbone: str, variant: str, metric: str) -> dict[str, Any] | None:
    if differences.empty:
        return None
    found = differences[
        (differences["backbone"] == backbone)
        & (differences["variant"] == variant)
        & (differences["metric"] == metric)
    ]
    return None if found.empty else found.iloc[0].to_dict()


def table(rows: pd.DataFrame, differences: pd.DataFrame, metric: str) -> str:
    """Every variant, averaged over its seeds."""
    name = ui.metric_name(metric)
    shown = []
    for (backbone, variant), same in rows.groupby(["backbone", "variant"], sort=False):
        gain = _difference(differences, backbone, variant, metric)
        line: dict[str, Any] = {
            "model": f"{ui.readable(backbone)}, {ui.readable(variant)}",
            **{
                ui.metric_name(m): same[m].mean()
                for m in dict.fromkeys([metric, "ndcg@10", "recall@10", "mrr"])
                if m in same
            },
            "to base, 95 % interval": (f"{gain['mean']:+.4f} {_interval(gain)}" if gain else ""),
            "corrected p": p_value(gain.get("p_corrected")) if gain else "",
            "seeds": len(same),
            "steps": int(same["steps"].mean()),
            "converged": "yes" if same["converged"].all() else "not converged",
        }
        shown.append(line)
    formats = dict.fromkeys((name, "NDCG@10", "Recall@10", "MRR"), ".4f")
    return tables.table(pd.DataFrame(shown), text="model", formats=formats, most=SHOWN)


def facts(folder: RunFolder) -> None:
    """What the numbers are about: the data, how they are split, and which language model scored."""
    info = data.json_of(folder.data / "info.json")
    if not info:
        return
    told = [
        f"**{ui.plain(info.get('name', ''))}**",
        *(f"{info[name]:,} {name}" for name in ("users", "items", "interactions") if name in info),
        f"{ui.readable(data.config_of(folder).data.split)} split",
    ]
    dropped = sum(count for count in (info.get("dropped") or {}).values() if isinstance(count, int))
    if dropped:
        told.append(f"{dropped:,} faulty rows left out")
    scorer = (data.json_of(folder.summary) or {}).get("model")
    told.append(f"attributes scored by {ui.plain(scorer)}" if scorer else "attributes not scored yet")
    st.markdown(" · ".join(told))


def baselines(folder: RunFolder, shown: list[str]) -> str:
    """What simple methods reach on the same test."""
    found = data.json_of(folder.root / "baselines.json")
    if not found or not found.get("rows"):
        return ""
    rows = pd.DataFrame(
        [
            {"method": ui.readable(row["name"]), **{ui.metric_name(m): row.get(m) for m in shown}}
            for row in found["rows"]
        ]
    )
    formats = dict.fromkeys(map(ui.metric_name, shown), ".4f")
    return blocks.strong("Simple methods on the same test") + tables.table(
        rows, text="method", formats=formats
    )


def curves(folder: RunFolder) -> None:
    """Validation over epochs for every model that has trained, and the losses of tuning."""
    config = data.config_of(folder)
    left, right = st.columns(2)
    with left:
        st.subheader("Training")
        backbone = st.segmented_control(
            "Backbone", config.backbones, default=config.backbones[0], format_func=ui.readable
        )
        frames = []
        for variant in config.variants_of(backbone or config.backbones[0]):
            curve = data.csv_of(
                folder.unit(backbone or config.backbones[0], variant, config.all_seeds[0]) / "curve.csv"
            )
            if curve is not None and not curve.empty:
                frames.append(curve.assign(variant=variant))
        rows = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()
        measured = [c for c in rows.columns if "ndcg" in c] or [c for c in rows.columns if "loss" in c]
        if measured and "epoch" in rows:
            blocks.draw(
                lines.lines(
                    rows,
                    "epoch",
                    measured[0],
                    "variant",
                    x_title="epoch",
                    y_title=f"validation {ui.readable(measured[0])}",
                )
            )
        else:
            st.caption("No model of this backbone has trained yet.")
    with right:
        st.subheader("Tuning the language model")
        tuning = data.csv_of(folder.tuning / "curves.csv")
        if tuning is None or tuning.empty:
            st.caption("No tuning curve in this run (tuning is off, or has not started).")
            return
        step = "step" if "step" in tuning else tuning.columns[0]
        losses = [c for c in tuning.columns if c != step and pd.api.types.is_numeric_dtype(tuning[c])]
        picked = st.selectbox("Curve", losses, format_func=ui.readable)
        blocks.draw(
            lines.lines(
                tuning[[step, picked]]
                .dropna()
                .rename(columns={picked: "value", step: "step"})
                .assign(series=picked),
                "step",
                "value",
                "series",
                x_title="step",
                y_title=ui.readable(picked),
            )
        )


def main() -> None:
    """The page."""
    folder = data.run_folder()
    st.title("What the run gained")
    # A damaged file costs the part that reads it, not the page.
    with ui.in_words():
        facts(folder)
    with ui.in_words():
        measured(folder)
    with ui.in_words():
        curves(folder)


def measured(folder: RunFolder) -> None:
    """All that the test measured."""
    metrics = data.json_of(folder.metrics)
    if not metrics:
        ui.nothing_yet("No model of this run is evaluated yet.", folder)
        return
    differences: Any = []
    with ui.in_words():
        differences = data.json_of(folder.differences)
    rows, changes = pd.DataFrame(metrics), pd.DataFrame(differences or [])
    known = [c for c in rows.columns if c.startswith(("ndcg", "recall", "mrr"))]
    metric = st.selectbox(
        "Metric",
        known,
        index=compare.usual(known),
        format_func=ui.metric_name,
        width=220,
    )
    headline(rows.groupby(["backbone", "variant"], sort=False)[known].mean().reset_index(), changes, metric)
    if differences:
        with ui.in_words():
            verdicts(folder)
    if not changes.empty:
        picked = changes[changes["metric"] == metric].copy()
        picked["label"] = [
            f"{ui.readable(b)}, {ui.readable(v)}"
            for b, v in zip(picked["backbone"], picked["variant"], strict=True)
        ]
        blocks.draw(
            blocks.heading("Difference to the base"),
            bars.gains(picked, ui.metric_name(metric)),
            blocks.note(
                "Points: mean over users; lines: 95 % intervals from a paired bootstrap over users. A gain counts when it "
                "leaves zero out and the controls (shuffled, random columns, warm restart) do not show it."
            ),
        )
    blocks.draw(
        blocks.heading("All models"),
        table(rows, changes, metric),
        blocks.note(f"{int(rows['n_users'].max())} users tested; full ranking, seen items filtered."),
        baselines(folder, list(dict.fromkeys([metric, "ndcg@10", "recall@10", "mrr"]))),
    )


main()
