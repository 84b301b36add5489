"""This run beside others: what was set otherwise, what each reached, one user's lists."""

from pathlib import Path

import dashboard_bars as bars
import dashboard_blocks as blocks
import dashboard_compare as compare
import dashboard_data as data
import dashboard_people as people
import dashboard_tables as tables
import dashboard_ui as ui
import pandas as pd
import streamlit as st
from dashboard_compare import Other
from dashboard_tones import hue

from guided_refine.errors import InputError
from guided_refine.reporting.palette import BLUE, GREEN, ORANGE, PINK, SKY

MOST = 4
HUES = (BLUE, ORANGE, GREEN, PINK, SKY)


def choose(folder: ui.RunFolder) -> list[Path]:
    """Other runs: those beside this one, or any folder."""
    beside = compare.siblings(folder)
    first = compare.first_beside(folder)
    left, right = st.columns(2)
    with left:
        picked = st.multiselect(
            "Runs beside this one",
            [p.name for p in beside],
            default=[p.name for p in first],
            max_selections=MOST,
            placeholder="Pick one or more" if beside else "There are none",
            disabled=not beside,
            key="runs beside",
        )
    with right:
        typed = st.text_input(
            "Or any run folder", placeholder="path of a run folder", key="run folder"
        ).strip()
    chosen = [p for p in beside if p.name in picked]
    return [*chosen, *([Path(typed).expanduser()] if typed else [])]


def opened(folder: ui.RunFolder, others: list[Path]) -> list[Other]:
    """This run and the others that can be read; one sentence for each that cannot."""
    runs = [compare.open_run(folder.root, "this run")]
    for path in others:
        name = path.name or str(path)
        names = [run.name for run in runs]
        try:
            runs.append(compare.open_run(path, name if name not in names else f"{name} ({len(runs)})"))
        except InputError as error:
            st.error(ui.plain(str(error)), icon=":material/error:")
    return runs


def splits(runs: list[Other]) -> bool:
    """Say whether the numbers may be held against each other."""
    this, others = runs[0], runs[1:]
    unlike = [run.name for run in others if run.split != this.split or run.split is None]
    if not unlike:
        st.caption(
            f"All runs were tested on the same split ({(this.split or '')[:12]}): users can be paired."
        )
        return True
    st.warning(
        ui.plain(
            f"Not comparable with this run: {', '.join(unlike)}. The test users or their held-out items differ, or are not "
            "known yet, so a higher number does not mean a better model; no differences are given."
        ),
        icon=":material/balance:",
    )
    return False


def numbers(runs: list[Other]) -> None:
    """The metrics of all models of all runs, and differences where they mean something."""
    st.subheader("What each run reached")
    known = list(dict.fromkeys(m for run in runs for m in run.metrics))
    if not known:
        st.info("None of these runs has tested a model yet.", icon=":material/hourglass_empty:")
        return
    metric = st.selectbox(
        "Metric", known, index=compare.usual(known), format_func=ui.metric_name, width=220, key="compared"
    )
    splits(runs)
    for run in runs:
        if run.rows.empty:
            st.caption(ui.plain(f"{run.name} has tested no model yet."))
    rows = compare.table(runs, metric)
    rows["label"] = [_model(b, v) for b, v in zip(rows["backbone"], rows["variant"], strict=True)]
    shown = [run.name for run in runs if run.name in set(rows["run"])]
    beside = rows.rename(columns={"value": "mean"}).sort_values(
        "label", kind="stable", key=lambda c: c.map(list(dict.fromkeys(rows["label"])).index)
    )
    shades = dict(zip(shown, map(hue, HUES), strict=False))
    title = ui.metric_name(metric)
    changes = {run.name: compare.differences(runs[0], run, metric) for run in runs[1:]}
    lines = []
    for (backbone, variant), same in rows.groupby(["backbone", "variant"], sort=False):
        line = {"model": _model(backbone, variant)}
        for run in runs:
            mine = same[same["run"] == run.name]
            line[run.name] = "" if mine.empty else f"{mine['value'].iloc[0]:.4f}"
        for name, change in changes.items():
            if change is not None:
                line[f"{name} less this run"] = _change(change, backbone, variant)
        lines.append(line)
    blocks.draw(
        bars.intervals(beside, title, by="run", shades=shades, zero=False, digits=".4f"),
        blocks.note(
            "Points: means over users (and seeds); lines: 95 % intervals from a bootstrap over users."
        ),
        tables.table(pd.DataFrame(lines), text="model"),
    )


def _model(backbone: str, variant: str) -> str:
    return f"{ui.readable(backbone)}, {ui.readable(variant)}"


def _change(change: pd.DataFrame, backbone: str, variant: str) -> str:
    found = change[(change["backbone"] == backbone) & (change["variant"] == variant)]
    if found.empty:
        return ""
    row = found.iloc[0]
    return f"{row['mean']:+.4f} [{row['lower']:+.4f}, {row['upper']:+.4f}]"


def settings(runs: list[Other]) -> None:
    """What was set otherwise."""
    rows = compare.differing(runs)
    blocks.draw(
        blocks.heading("Settings that differ"),
        blocks.note("None: all values of the configs are the same.")
        if rows.empty
        else tables.table(rows, text="setting"),
    )


def one_user(runs: list[Other]) -> None:
    """The same user's lists in all runs."""
    st.subheader("One user's lists")
    models = list(
        dict.fromkeys((r["backbone"], r["variant"]) for run in runs for _, r in run.rows.iterrows())
    )
    if not models:
        st.caption("There is no list yet.")
        return
    left, right = st.columns(2)
    with left:
        backbone, variant = st.selectbox(
            "Model",
            models,
            index=next((i for i, m in enumerate(models) if m[1] == "refined"), 0),
            format_func=lambda m: _model(*m),
            key="listed model",
        )
    lists = {run.name: compare.lists_of(run, backbone, variant) for run in runs}
    users = next((list(found["user_id"].unique()) for found in lists.values() if found is not None), [])
    if not users:
        st.caption("None of these runs has lists of this model.")
        return
    with right:
        if len(users) <= people.LISTED:
            user = st.selectbox("User", users, key="listed user")
        else:
            user = st.text_input("User id", value=str(users[0]), key="listed user id").strip()
    found = {name: [] if rows is None else compare.list_of(rows, str(user)) for name, rows in lists.items()}
    for column, run in zip(st.columns(len(runs)), runs, strict=True):
        mine = found[run.name]
        others = [i for name, items in found.items() if name != run.name for i in items]
        with column:
            if lists[run.name] is None:
                shown = blocks.note("This run has no such model.")
            elif not mine:
                shown = blocks.note(f"User {user} was not tested in this run.")
            else:
                catalog = data.catalog_of(run.folder)
                shown = ui.ranked_list(mine[:10], others, catalog.names if catalog else {})
            blocks.draw(blocks.strong(run.name), shown)


def main() -> None:
    """The page."""
    folder = data.run_folder()
    st.title("Compare runs")
    others = choose(folder)
    runs = opened(folder, others)
    if len(runs) < 2:
        st.info(
            "Choose a run to hold this one against. Make another with, for example:",
            icon=":material/compare_arrows:",
        )
        st.code(
            f"guided-refine run CONFIG --out {folder.root.resolve().parent}/other --set seed=2",
            language="bash",
        )
        return
    numbers(runs)
    settings(runs)
    with ui.in_words():
        one_user(runs)


main()
