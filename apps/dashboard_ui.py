"""What the pages share: the run, cached reading, words for empty states, and safe text."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from guided_refine.config import Config
from guided_refine.errors import InputError
from guided_refine.explain.explainer import Explainer, ready_backbone
from guided_refine.files import read_json, read_parquet
from guided_refine.reporting.style import label, metric_label
from guided_refine.runfolder import RunFolder

MARKDOWN = "\\`*_{}[]()<>#+-.!|~$:&"


def run_folder() -> RunFolder:
    """The run named on the command line."""
    if len(sys.argv) < 2:
        raise InputError("no run folder given; start the dashboard with: guided-refine app RUN")
    return RunFolder(sys.argv[1])


# ------------------------------------------------------------------------------------------------ reading
# Cached by path and time of change, so that a run in progress shows what is new on the next click.


def changed(path: Path) -> int:
    """When a file of the run was last written; part of the key under which its content is kept."""
    return path.stat().st_mtime_ns if path.exists() else 0


@st.cache_data(show_spinner=False, max_entries=64)
def _json(path: str, when: int) -> Any:
    return read_json(path)


@st.cache_data(show_spinner=False, max_entries=16)
def _parquet(path: str, when: int) -> pd.DataFrame:
    return read_parquet(path)


@st.cache_data(show_spinner=False, max_entries=64)
def _csv(path: str, when: int) -> pd.DataFrame:
    try:
        return pd.read_csv(path)
    except pd.errors.EmptyDataError:
        return pd.DataFrame()


@st.cache_resource(show_spinner="Opening the refined model…", max_entries=1)
def _explainer(run: str, when: tuple[int, ...]) -> Explainer:
    return Explainer.open(run)


def json_of(path: Path) -> Any | None:
    """A JSON file of the run, None where it is not there yet."""
    return _json(str(path), changed(path)) if path.exists() else None


def parquet_of(path: Path) -> pd.DataFrame | None:
    """A table of the run, None where it is not there yet."""
    return _parquet(str(path), changed(path)) if path.exists() else None


def csv_of(path: Path) -> pd.DataFrame | None:
    """A CSV of the run, None where it is not there yet."""
    return _csv(str(path), changed(path)) if path.exists() else None


def has_refined(folder: RunFolder) -> bool:
    """True once a refined model can be opened."""
    return ready_backbone(folder, folder.config()) is not None


def explainer_of(folder: RunFolder) -> Explainer:
    """The refined model of the run, opened once; raises `InputError` where there is none yet."""
    config = folder.config()
    units = [folder.unit(b, "refined", config.all_seeds[0]) / "model.safetensors" for b in config.backbones]
    return _explainer(str(folder.root), tuple(changed(p) for p in [folder.config_file, *units]))


# ------------------------------------------------------------------------------------------------ words


def plain(text: str) -> str:
    """Text from outside for a place that reads Markdown: shown as it is, nothing in it formats, links or runs."""
    return "".join(f"\\{c}" if c in MARKDOWN else c for c in " ".join(str(text).split()))


def readable(name: str) -> str:
    """A name as people read it: `sasrec` is SASRec, `warm_restart` is warm restart."""
    return label(name, 99)


def metric_name(metric: str) -> str:
    """NDCG@10 for ndcg@10."""
    return metric_label(metric)


def nothing_yet(what: str, folder: RunFolder) -> None:
    """Say that a part of the run is not there yet, and what makes it."""
    st.info(f"{what} The run makes it; start or continue it with:", icon=":material/hourglass_empty:")
    st.code(f"guided-refine run CONFIG --out {folder.root}", language="bash")


# ------------------------------------------------------------------------------------------------ sidebar


def sidebar(folder: RunFolder) -> None:
    """Which run this is, and how far it is."""
    config = folder.config()
    stages = folder.manifest()["stages"]
    with st.sidebar:
        st.markdown(f"**Run {plain(config.name)}**")
        st.caption(
            f"{plain(str(folder.root))}  \nattributes: {plain(config.attributes)}  \nlanguage model: {plain(config.llm)}"
        )
        if "report" in stages:
            st.caption(
                f":green[:material/check_circle:] finished {plain(day(stages['report'].get('finished', '')))}"
            )
            return
        done, total = models_done(config, stages)
        last = next(reversed(stages), None)
        st.progress(done / total if total else 0.0, text=f"in progress: {done} of {total} models trained")
        st.caption(f"last stage done: {plain(last)}" if last else "no stage is done yet")
        st.button("Look again", icon=":material/refresh:", help="Read what the run has written since.")


def day(stamp: str) -> str:
    """A time stamp of the manifest as people read it."""
    try:
        return datetime.fromisoformat(stamp[:19]).strftime("%d %b %Y, %H:%M")
    except ValueError:
        return ""


def models_done(config: Config, stages: dict[str, Any]) -> tuple[int, int]:
    """How many of the run's models are trained, and how many there will be."""
    names = [
        f"{b}/{v}/seed{s}" for b in config.backbones for v in config.variants_of(b) for s in config.all_seeds
    ]
    return sum(name in stages for name in names), len(names)
