"""Reading the run: each file once, kept by the hash of its content, so that a run in progress shows what is new.

What comes from here is shared by all who look at the dashboard: read it, do not change it.
"""

from __future__ import annotations

import hashlib
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow
import pyarrow.parquet
import streamlit as st

from guided_refine.config import Config
from guided_refine.errors import InputError
from guided_refine.files import read_csv, read_json, read_parquet, sha256_file
from guided_refine.runfolder import RunFolder

# What brings torch along is imported where it is needed: the first page needs none of it.
if TYPE_CHECKING:
    from guided_refine.backbones.backbone import Backbone
    from guided_refine.explain.cases.shared import Shared
    from guided_refine.explain.explainer import Explainer
    from guided_refine.explain.newcomer import Newcomer


def run_folder() -> RunFolder:
    """The run named on the command line."""
    if len(sys.argv) < 2:
        raise InputError("no run folder given; start the dashboard with: guided-refine app RUN")
    return RunFolder(sys.argv[1])


# ------------------------------------------------------------------------------------------------ files


_hashes: dict[Path, tuple[int, int, str]] = {}
"""Of every file that was looked at: when it was written, its size, the hash of its content."""


def _hashed(path: Path) -> str:
    """Hash of a file's content; kept in the plainest way, as a page asks for some hundred of them."""
    try:
        stat = path.stat()
        when, size = stat.st_mtime_ns, stat.st_size
        known = _hashes.get(path)
        if known is None or known[:2] != (when, size):
            known = _hashes[path] = (when, size, sha256_file(path))
    except OSError:
        return ""
    return known[2]


def content(*paths: Path) -> str:
    """One hash of what is in some files, those that are missing included; a file is read again once it was written."""
    found = [_hashed(path) for path in paths]
    return found[0] if len(found) == 1 else hashlib.sha256(" ".join(found).encode()).hexdigest()


@st.cache_resource(show_spinner=False, max_entries=128)
def _json(path: str, content: str) -> Any:
    return read_json(path, made_by="guided-refine run CONFIG --out RUN")


@st.cache_resource(show_spinner=False, max_entries=16)
def _parquet(path: str, content: str) -> pd.DataFrame:
    return read_parquet(path)


@st.cache_resource(show_spinner=False, max_entries=128)
def _csv(path: str, content: str) -> pd.DataFrame:
    return read_csv(path)


def json_of(path: Path) -> Any | None:
    """A JSON file of the run, None where it is not there yet."""
    return _json(str(path), content(path)) if path.exists() else None


def parquet_of(path: Path) -> pd.DataFrame | None:
    """A table of the run, None where it is not there yet."""
    return _parquet(str(path), content(path)) if path.exists() else None


def csv_of(path: Path) -> pd.DataFrame | None:
    """A CSV of the run, None where it is not there yet."""
    return _csv(str(path), content(path)) if path.exists() else None


@st.cache_resource(show_spinner=False, max_entries=32)
def _config(root: str, content: str) -> Config:
    return RunFolder(root).config()


def config_of(folder: RunFolder) -> Config:
    """The run's config; raises `InputError` where the folder is no run."""
    return _config(str(folder.root), content(folder.config_file, folder.manifest_file))


@st.cache_resource(show_spinner=False, max_entries=32)
def _manifest(root: str, content: str) -> dict[str, Any]:
    return RunFolder(root).manifest()


def manifest_of(folder: RunFolder) -> dict[str, Any]:
    """What is done so far."""
    return _manifest(str(folder.root), content(folder.manifest_file))


# ------------------------------------------------------------------------------------------------ the catalog


@dataclass(frozen=True)
class Catalog:
    """Items as pages show them: `items` (item_id, title, text) by catalog order, `names` (id -> title or id)."""

    items: pd.DataFrame
    names: dict[str, str]
    hay: pd.Series

    def search(self, text: str) -> list[str]:
        """Ids of the items whose title, id or text holds every word, those with the words in the title first."""
        words = text.lower().split()
        ids = self.items["item_id"].to_numpy()
        if not words:
            return [str(i) for i in ids]
        inside = np.logical_and.reduce([self.hay.str.contains(w, regex=False).to_numpy() for w in words])
        titles = self.items["title"].to_numpy()[inside]
        by_title = [not all(w in title.lower() for w in words) for title in titles]
        return [str(i) for i in ids[inside][np.argsort(by_title, kind="stable")]]

    def label(self, item: str) -> str:
        """Title and id, which no two items share."""
        title = self.names.get(item, item)
        return f"{title}  ({item})" if title != item else f"without a title  ({item})"


@st.cache_resource(show_spinner=False, max_entries=5)
def _catalog(path: str, content: str) -> Catalog:
    items = read_parquet(path)
    texts = {c: items[c].fillna("").astype(str) for c in ("item_id", "title", "text")}
    items = pd.DataFrame(texts)
    names = {i: t or i for i, t in zip(items["item_id"], items["title"], strict=True)}
    hay = (items["title"] + " " + items["item_id"] + " " + items["text"]).str.lower()
    return Catalog(items, names, hay)


def catalog_of(folder: RunFolder) -> Catalog | None:
    """The prepared catalog, None where the data are not prepared yet."""
    path = folder.data / "items.parquet"
    return _catalog(str(path), content(path)) if path.exists() else None


@st.cache_resource(show_spinner="Reading the scores…", max_entries=2)
def _item_scores(path: str, content: str) -> dict[str, pd.DataFrame]:
    columns = ["source", "id", "attribute", "value"]
    try:
        table = pyarrow.parquet.read_table(
            path, columns=columns, filters=[("kind", "=", "item")], read_dictionary=columns[:3]
        )
    except (OSError, pyarrow.ArrowException):
        rows = read_parquet(path, ["kind", *columns])  # says in one sentence what is wrong
        rows = rows[rows["kind"] == "item"]
    else:
        rows = table.to_pandas()
    found = {}
    for source in dict.fromkeys(rows["source"].astype(str)):
        part = rows[rows["source"] == source]
        ids, attributes = (list(dict.fromkeys(part[c].astype(str))) for c in ("id", "attribute"))
        wide = part.astype({"id": str, "attribute": str}).pivot(
            index="id", columns="attribute", values="value"
        )
        found[source] = wide.reindex(index=ids, columns=attributes)
    return found


def item_scores(folder: RunFolder) -> dict[str, pd.DataFrame] | None:
    """Item scores (items by id, attributes) under "untuned" and, where there are, "tuned"; None where there are none."""
    path = folder.score_table
    return _item_scores(str(path), content(path)) if path.exists() else None


# ------------------------------------------------------------------------------------------------ models


def refined_unit(folder: RunFolder) -> Path | None:
    """Folder of the refined model that explanations take apart, None where none is trained yet."""
    from guided_refine.explain.explainer import ready_backbone

    config = config_of(folder)
    backbone = ready_backbone(folder, config)
    return None if backbone is None else folder.unit(backbone, "refined", config.all_seeds[0])


def explainer_key(folder: RunFolder) -> str:
    """Changes when anything changes that an explanation of this run is made from."""
    unit = refined_unit(folder)
    files = [
        folder.config_file,
        *(folder.data / name for name in ("info.json", "items.parquet", "interactions.parquet")),
        *(folder.scores(source) for source in ("untuned", "tuned")),
        *([unit / "model.safetensors", unit / "config.json"] if unit else []),
    ]
    return content(*files)


@st.cache_resource(show_spinner="Opening the refined model…", max_entries=1)
def _explainer(root: str, key: str) -> Explainer:
    from guided_refine.explain.explainer import Explainer

    return Explainer.open(root)


def explainer_of(folder: RunFolder) -> Explainer:
    """The refined model of the run, opened once; raises `InputError` where there is none yet."""
    return _explainer(str(folder.root), explainer_key(folder))


@st.cache_resource(show_spinner=False, max_entries=16)
def _newcomer(root: str, key: str, items: tuple[str, ...], _explainer: Explainer) -> Newcomer:
    from guided_refine.explain.newcomer import Newcomer

    return Newcomer(_explainer, items)


def newcomer_of(folder: RunFolder, items: tuple[str, ...]) -> Newcomer:
    """Somebody new with this history, kept while others are looked at."""
    return _newcomer(str(folder.root), explainer_key(folder), items, explainer_of(folder))


@st.cache_resource(show_spinner=False, max_entries=1)
def _shared(root: str, key: str, _explainer: Explainer) -> Shared:
    from guided_refine.explain.cases.shared import Shared

    return Shared(_explainer)


def shared_key(folder: RunFolder) -> str:
    """Changes when anything changes that a case study of this run is made from."""
    from guided_refine.explain.cases.shared import CONTROL
    from guided_refine.explain.trial_report import ANSWER, FOLDER

    explainer = explainer_of(folder)
    units = [folder.unit(explainer.backbone, v, explainer.seed) for v in ("base", CONTROL)]
    weights = [unit / "model.safetensors" for unit in units]
    rest = content(*weights, folder.truth, folder.root / FOLDER / ANSWER, folder.manifest_file)
    return explainer_key(folder) + rest


def shared_of(folder: RunFolder) -> Shared:
    """What stands beside the refined model in the run: its base, the control, the truth, the trial."""
    return _shared(str(folder.root), shared_key(folder), explainer_of(folder))


def base_of(folder: RunFolder) -> Backbone | None:
    """The base of the same backbone, opened once; None where it is not trained."""
    return shared_of(folder).base


def has_refined(folder: RunFolder) -> bool:
    """True once a refined model can be opened."""
    return refined_unit(folder) is not None


# ------------------------------------------------------------------------------------------------ neighbours


@dataclass(frozen=True)
class Directions:
    """Item vectors of unit length, float32 (items, width), and their ids."""

    ids: list[str]
    vectors: np.ndarray

    def nearest(self, item: str, count: int) -> pd.Series:
        """Cosine of the nearest other items by id, nearest first; empty for an item without a vector."""
        if item not in self.ids:
            return pd.Series(dtype=float)
        place = self.ids.index(item)
        cosine = self.vectors @ self.vectors[place]
        cosine[place] = -np.inf
        order = np.argsort(-cosine, kind="stable")[: min(count, len(self.ids) - 1)]
        return pd.Series(cosine[order].astype(float), index=[self.ids[i] for i in order])


@st.cache_resource(show_spinner=False, max_entries=2)
def _directions(_folder: RunFolder, path: str, content: str, model: str) -> Directions | None:
    frame = read_parquet(path)
    if "free_1" in frame:
        # Attributes are added to free vectors: what ranks is their sum, which the table holds in its parts.
        if not has_refined(_folder):
            return None
        vectors = explainer_of(_folder).model.item_vectors()
    else:
        vectors = frame.drop(columns="item_id").to_numpy(dtype=np.float32)
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return Directions(frame["item_id"].astype(str).tolist(), vectors / np.where(length > 0, length, 1.0))


def directions_of(folder: RunFolder) -> Directions | None:
    """The refined item vectors of the run, None where they are not there yet."""
    path = folder.refined_items
    if not path.exists():
        return None
    model = explainer_key(folder) if has_refined(folder) else ""
    return _directions(folder, str(path), content(path), model)
