"""What takes pages long to work out, kept while its run stays as it is; `dashboard_warm_up` asks for some of it early."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dashboard_data as data
import numpy as np
import streamlit as st

from guided_refine.reporting import claims
from guided_refine.runfolder import RunFolder

# What brings torch along is imported where it is needed: the first page needs none of it.
if TYPE_CHECKING:
    from dashboard_people import Person

    from guided_refine.explain.explainer import Explainer


@st.cache_data(show_spinner="Comparing with the controls…", max_entries=8)
def _claims(_folder: RunFolder, root: str, changed: tuple[str, ...]) -> list[str]:
    config = data.config_of(_folder)
    per_user = data.parquet_of(_folder.per_user)
    rows, differences = data.json_of(_folder.metrics) or [], data.json_of(_folder.differences) or []
    options = config.evaluate
    sentences = [
        claims.headline(
            backbone, rows, differences, per_user, confidence=options.confidence, samples=options.bootstrap
        )
        for backbone in config.backbones
    ]
    return [" ".join(s) for s in sentences if s]


def claims_of(folder: RunFolder) -> list[str]:
    """What may be claimed, in the words of the report: one paragraph per backbone."""
    files = (folder.metrics, folder.differences, folder.per_user)
    return _claims(folder, str(folder.root), tuple(data.content(p) for p in files))


LONGEST = 20
"""So many items a list may have."""


def usual_length(explainer: Explainer) -> int:
    """So many it has as long as nobody asks for others."""
    return min(max(explainer.config.explain.k, 3), LONGEST)


@st.cache_data(show_spinner=False, max_entries=64)
def _answer(_person: Person, root: str, opened: str, who: str, k: int) -> dict[str, Any]:
    from guided_refine.explain.text import explanation

    return explanation(_person.explainer, _person.user, k=k)


def answer_of(folder: RunFolder, person: Person, k: int) -> dict[str, Any]:
    """What the refined model recommends to a person, taken apart."""
    return _answer(person, str(folder.root), data.explainer_key(folder), person.key, k)


@st.cache_data(show_spinner="Running the model without its attributes…", max_entries=64)
def _encoded(_person: Person, root: str, opened: str, who: str, item: str) -> dict[str, Any]:
    from guided_refine.explain.encoder_answer import encoder_answer

    explainer = _person.explainer
    return encoder_answer(explainer, explainer.user_number(_person.user), explainer.item_number(item))


def encoded_of(folder: RunFolder, person: Person, item: str) -> dict[str, Any]:
    """What attributes did to an item's score on their way through the model, and what each past event did."""
    return _encoded(person, str(folder.root), data.explainer_key(folder), person.key, item)


@st.cache_data(show_spinner=False, max_entries=64)
def _base(_person: Person, _folder: RunFolder, root: str, opened: str, who: str, k: int) -> list[str] | None:
    from guided_refine.explain.newcomer import Newcomer

    base, explainer = data.base_of(_folder), _person.explainer
    if base is None:
        return None
    if isinstance(explainer, Newcomer):
        found = base.recommend_for_history(explainer.item_ids, k=k)
    else:
        found = base.recommend([_person.user], k=k, dataset=explainer.dataset, part="test")
    return [str(item) for item in found["item_id"]]


def base_list_of(folder: RunFolder, person: Person, k: int) -> list[str] | None:
    """Item ids that the base of the same backbone recommends, None where it is not trained."""
    return _base(person, folder, str(folder.root), data.shared_key(folder), person.key, k)


@st.cache_data(show_spinner=False, max_entries=4)
def _bands(_folder: RunFolder, root: str, opened: str) -> np.ndarray:
    values = data.explainer_of(_folder).scores.item_value
    bands: np.ndarray = np.nanquantile(values, [0.1, 0.5, 0.9], axis=0)
    return bands


def bands_of(folder: RunFolder) -> np.ndarray:
    """10th, 50th and 90th percentile of every attribute over the catalog, shape (3, attributes)."""
    return _bands(folder, str(folder.root), data.explainer_key(folder))


# ------------------------------------------------------------------------------------------------ cases

MOST_MOVED = 200
"""So many users are kept of those whose lists moved most."""


@dataclass(frozen=True)
class Case:
    """What a case study is asked for: of whom, with a word on which item, over how many items, in which view."""

    user: str
    item: str | None
    k: int
    encoder: bool = False


@st.cache_data(show_spinner="Comparing all lists with the base…", max_entries=4)
def _moved(_folder: RunFolder, root: str, lists: str, k: int) -> list[tuple[str, float]] | None:
    from guided_refine.evaluation.lists import read_lists
    from guided_refine.explain.cases.moved import distance, most_moved

    explainer = data.explainer_of(_folder)
    paths = _lists_of(_folder)
    if not all(path.exists() for path in paths):
        return None
    base, refined = (read_lists(path, explainer.dataset) for path in paths)
    k = min(k, base.shape[1], refined.shape[1])
    far = distance(base[:, :k], refined[:, :k])
    users = explainer.dataset.targets("test")[0]
    moved = most_moved(far, MOST_MOVED)
    return [(explainer.dataset.user_ids[int(users[row])], float(far[row])) for row in moved]


def _lists_of(folder: RunFolder) -> list[Path]:
    explainer = data.explainer_of(folder)
    units = [folder.unit(explainer.backbone, v, explainer.seed) for v in ("base", "refined")]
    return [unit / "recommendations.parquet" for unit in units]


def moved_users(folder: RunFolder) -> list[tuple[str, float]] | None:
    """User ids and how far their lists moved from the base's, most first; None where there are no lists to compare."""
    k = data.explainer_of(folder).config.explain.k
    return _moved(folder, str(folder.root), data.content(*_lists_of(folder)), k)


@st.cache_data(show_spinner="Putting the case together…", max_entries=16)
def _case(_folder: RunFolder, root: str, opened: str, asked: Case) -> dict[str, Any]:
    from guided_refine.explain.cases.study import study

    return study(data.shared_of(_folder), asked.user, item=asked.item, k=asked.k, encoder=asked.encoder)


@st.cache_data(show_spinner=False, max_entries=16)
def _case_page(_folder: RunFolder, root: str, opened: str, asked: Case) -> str:
    from guided_refine.explain.export import render

    return render(case_of(_folder, asked), "html").decode()


def case_of(folder: RunFolder, asked: Case) -> dict[str, Any]:
    """A case study; raises `InputError` for a user or an item that is not there, or has nothing to explain."""
    return _case(folder, str(folder.root), data.shared_key(folder), asked)


def case_page_of(folder: RunFolder, asked: Case) -> str:
    """The same as a page of HTML."""
    return _case_page(folder, str(folder.root), data.shared_key(folder), asked)
