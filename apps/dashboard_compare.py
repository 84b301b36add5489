"""Several runs side by side: which there are, what they were set to, what they reached, on which split."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dashboard_data as data
import numpy as np
import pandas as pd
import streamlit as st

from guided_refine.errors import InputError
from guided_refine.evaluation.statistics import bootstrap_means
from guided_refine.files import read_parquet
from guided_refine.runfolder import RunFolder

SAMPLES = 500
"""Resamplings for the intervals of this page; the run's own tables use more."""
LOOKED_AT = 50
"""Neighbours whose split is looked at before one is chosen."""
MODEL = ["backbone", "variant"]


@dataclass(frozen=True)
class Other:
    """A run that is looked at beside others: its folder, a short name that no other one has, its rows."""

    folder: RunFolder
    name: str
    rows: pd.DataFrame
    settings: dict[str, str]
    split: str | None

    @property
    def metrics(self) -> list[str]:
        """What was measured."""
        return [c for c in self.rows.columns if c.startswith(("ndcg", "recall", "mrr"))]


def siblings(folder: RunFolder) -> list[Path]:
    """Folders beside this run that are, or claim to be, runs; by name."""
    root = folder.root.resolve()
    try:
        beside = sorted(p for p in root.parent.iterdir() if p.is_dir() and p != root)
    except OSError:
        return []
    return [p for p in beside if (p / "config.yaml").exists() or (p / "manifest.json").exists()]


def alike(folder: RunFolder, others: list[Path]) -> list[Path]:
    """Those of the other runs that were tested on the same split, so that comparing says something."""
    this = _tested_on(folder.root)
    return [path for path in others[:LOOKED_AT] if this and _tested_on(path) == this]


def first_beside(folder: RunFolder) -> list[Path]:
    """The run that this one is held against as long as nobody says otherwise, in a list; empty where there is none."""
    beside = siblings(folder)
    return [*alike(folder, beside), *beside][:1]


def usual(metrics: list[str]) -> int:
    """Place of the metric that is shown as long as nobody chooses another."""
    return metrics.index("ndcg@10") if "ndcg@10" in metrics else 0


def _tested_on(root: Path) -> set[str]:
    try:
        rows = data.json_of(root / "metrics.json") or []
        return {str(row["split_sha256"]) for row in rows}
    except (InputError, TypeError, KeyError):
        return set()  # said in words once it is chosen


def open_run(root: Path, name: str) -> Other:
    """Read what the comparison needs; raises `InputError`, one sentence, where the folder is no run that can be read."""
    folder = RunFolder(root)
    config = data.config_of(folder)
    rows = data.json_of(folder.metrics) or []
    if not (
        isinstance(rows, list) and all(isinstance(r, dict) and {*MODEL, "seed"} <= r.keys() for r in rows)
    ):
        raise InputError(
            f"{folder.metrics} is not the table of metrics of a run; delete it and run the same command again"
        )
    return Other(
        folder,
        name,
        pd.DataFrame(rows, columns=None if rows else [*MODEL, "seed"]),
        flat(config.model_dump(mode="json")),
        _split_of(folder, rows, config.data.split),
    )


def _split_of(folder: RunFolder, rows: list[dict[str, Any]], kind: str) -> str | None:
    """Hash of the split: of the rows that were measured on it, else of the prepared data."""
    found = {str(r["split_sha256"]) for r in rows if r.get("split_sha256")}
    if found:
        return found.pop() if len(found) == 1 else None
    info = data.json_of(folder.data / "info.json") or {}
    said = (info.get("splits") or {}).get(kind) or {}
    return said.get("sha256")


def flat(value: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested settings as dotted keys with their values as text.

    >>> flat({"train": {"width": 32}, "variants": ["base"]})
    {'train.width': '32', 'variants': '["base"]'}
    """
    found: dict[str, str] = {}
    for key, child in value.items():
        if isinstance(child, dict) and child:
            found |= flat(child, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = (
                child if isinstance(child, str) else json.dumps(child, ensure_ascii=False)
            )
    return found


def differing(runs: list[Other]) -> pd.DataFrame:
    """Settings that are not the same in all runs: column setting, then one column per run."""
    keys = sorted({key for run in runs for key in run.settings})
    rows = [
        {"setting": key, **{run.name: run.settings.get(key, "not set") for run in runs}}
        for key in keys
        if len({run.settings.get(key) for run in runs}) > 1
    ]
    return pd.DataFrame(rows, columns=["setting", *(run.name for run in runs)])


# ------------------------------------------------------------------------------------------------ numbers


def table(runs: list[Other], metric: str) -> pd.DataFrame:
    """One row per (run, model): run, backbone, variant, value, lower, upper; intervals are NaN without values per user."""
    frames = []
    for run in runs:
        if run.rows.empty or metric not in run.rows:
            continue
        means = run.rows.groupby(MODEL, sort=False)[metric].mean().rename("value").reset_index()
        path = run.folder.per_user
        ends = _intervals(str(path), data.content(path), metric) if path.exists() else None
        if ends is not None:
            means = means.merge(ends, on=MODEL, how="left")
        frames.append(means.assign(run=run.name))
    columns = ["run", *MODEL, "value", "lower", "upper"]
    return (
        pd.concat(frames, ignore_index=True).reindex(columns=columns)
        if frames
        else pd.DataFrame(columns=columns)
    )


def differences(this: Other, other: Other, metric: str) -> pd.DataFrame | None:
    """`other` less `this` per model, paired over users: backbone, variant, mean, lower, upper.

    None where the splits differ or the values per user are not there, so that no such difference can be stated.
    """
    paths = this.folder.per_user, other.folder.per_user
    if this.split is None or this.split != other.split or not all(p.exists() for p in paths):
        return None
    return _paired(str(paths[0]), data.content(paths[0]), str(paths[1]), data.content(paths[1]), metric)


@st.cache_resource(show_spinner=False, max_entries=16)
def _per_user(path: str, content: str, metric: str) -> pd.DataFrame | None:
    """Values by user (rows) and model (columns), means over seeds."""
    rows = read_parquet(path)
    if not {*MODEL, "user_id", metric} <= set(rows.columns):
        return None
    return rows.pivot_table(index="user_id", columns=MODEL, values=metric, aggfunc="mean", observed=True)


@st.cache_data(show_spinner="Drawing intervals…", max_entries=64)
def _intervals(path: str, content: str, metric: str) -> pd.DataFrame | None:
    wide = _per_user(path, content, metric)
    return None if wide is None else _bootstrapped(wide.dropna()).drop(columns="mean")


@st.cache_data(show_spinner="Pairing users…", max_entries=64)
def _paired(this: str, content: str, other: str, other_content: str, metric: str) -> pd.DataFrame | None:
    one, two = _per_user(this, content, metric), _per_user(other, other_content, metric)
    if one is None or two is None or set(one.index) != set(two.index):
        return None
    shared = [c for c in one.columns if c in two.columns]
    return _bootstrapped((two[shared].reindex(one.index) - one[shared]).dropna()) if shared else None


def _bootstrapped(wide: pd.DataFrame) -> pd.DataFrame:
    if not len(wide):
        return pd.DataFrame(columns=[*MODEL, "mean", "lower", "upper"])
    found = bootstrap_means(wide.to_numpy(dtype=np.float64), samples=SAMPLES)
    return pd.DataFrame(
        [
            {"backbone": b, "variant": v, "mean": i.mean, "lower": i.lower, "upper": i.upper}
            for (b, v), i in zip(wide.columns, found, strict=True)
        ]
    )


# ------------------------------------------------------------------------------------------------ lists


def lists_of(run: Other, backbone: str, variant: str) -> pd.DataFrame | None:
    """The tested users' best items, as the run wrote them: user_id, rank, item_id; None where they are not there."""
    seeds = run.rows[(run.rows["backbone"] == backbone) & (run.rows["variant"] == variant)]["seed"]
    if seeds.empty:
        return None
    path = run.folder.unit(backbone, variant, int(seeds.iloc[0])) / "recommendations.parquet"
    return data.parquet_of(path)


def list_of(lists: pd.DataFrame, user: str) -> list[str]:
    """One user's item ids, best first; empty for a user who was not tested."""
    mine = lists[(lists["user_id"] == user).to_numpy()]
    return [str(item) for item in mine.sort_values("rank")["item_id"]]
