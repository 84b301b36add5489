"""What the pages share: words for empty states and faults, safe text, the sidebar."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import dashboard_data as data
import dashboard_tables as tables
import pandas as pd
import streamlit as st

from guided_refine.config import Config
from guided_refine.errors import InputError
from guided_refine.reporting.style import label, metric_label
from guided_refine.runfolder import RunFolder

MARKDOWN = "\\`*_{}[]()<>#+-.!|~$:&"
LOG = logging.getLogger("guided_refine.dashboard")


@contextmanager
def in_words() -> Iterator[None]:
    """What goes wrong inside is said in words on the page; what nobody foresaw is told in full on the terminal."""
    try:
        yield
    except InputError as error:
        st.error(plain(str(error)), icon=":material/error:")
    except Exception as error:
        LOG.exception("this part of the page could not be drawn")
        st.error(
            f"This part of the page could not be drawn ({type(error).__name__}). The terminal that runs the dashboard "
            "has the details; a damaged run can be mended by running its command again.",
            icon=":material/error:",
        )


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


def title_of(row: dict[str, Any]) -> str:
    """The title of an item, its id where it has none."""
    return str(row["title"] or row["item_id"])


def ranked_list(
    ids: list[str], others: list[str], names: dict[str, str], upcoming: dict[str, Any] | None = None
) -> str:
    """One of two lists that are held against each other: what is in this one only, and what the user took next."""

    def mark(item: str) -> str:
        if upcoming is not None and item == upcoming["item_id"]:
            return "taken next"
        return "only here" if others and item not in others else ""

    rows = pd.DataFrame(
        {
            "rank": range(1, len(ids) + 1),
            "item": [names.get(item, item) for item in ids],
            "note": [mark(item) for item in ids],
        }
    )
    return tables.table(rows)


def nothing_yet(what: str, folder: RunFolder) -> None:
    """Say that a part of the run is not there yet, and what makes it."""
    st.info(f"{what} The run makes it; start or continue it with:", icon=":material/hourglass_empty:")
    st.code(f"guided-refine run CONFIG --out {shlex.quote(str(folder.root))}", language="bash")


def keep(key: str, whose: object, start: Any) -> str:
    """The key of a widget that stays in the page and starts again at `start` when `whose` changes.

    A widget with a key for every person is taken out of the page and a new one put in, which a browser needs a hundredth
    of a second for; one whose choices alone changed goes on showing the old one, unless it is told what to show.
    """
    state = st.session_state
    if key not in state or state.get(f"whose {key}") != whose:
        state[f"whose {key}"], state[key] = whose, start
    return key


# ------------------------------------------------------------------------------------------------ sidebar


def sidebar(folder: RunFolder) -> None:
    """Which run this is, and how far it is."""
    config = data.config_of(folder)
    stages = data.manifest_of(folder)["stages"]
    with st.sidebar:
        st.markdown(f"**Run {plain(config.name)}**", help=plain(str(folder.root)))
        about = (
            f"{plain('/'.join(folder.root.parts[-2:]))}  \nattributes: {plain(config.attributes)}  \n"
            f"language model: {plain(config.llm)}"
        )
        if "report" in stages:
            when = plain(day(stages["report"].get("finished", "")))
            st.caption(f"{about}\n\n:green[:material/check_circle:] finished {when}")
            return
        st.caption(about)
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
