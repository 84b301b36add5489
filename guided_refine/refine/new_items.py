"""Items that a finished run has never seen: described, scored and added without training anything."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from guided_refine.backbones.backbone import Backbone
from guided_refine.config import Config
from guided_refine.data.dataset import Dataset, load_as
from guided_refine.data.frames import read_items, table_file
from guided_refine.data.raw import RawData
from guided_refine.data.text import item_texts, text_columns
from guided_refine.errors import InputError
from guided_refine.progress import Progress, Task
from guided_refine.refine.extend import extended
from guided_refine.refine.frames import item_rows
from guided_refine.runfolder import RunFolder
from guided_refine.scoring.attributes import AttributeSet, load_attributes
from guided_refine.scoring.scores import AttributeScores, load_scores

if TYPE_CHECKING:
    from guided_refine.scoring.store import ScoreStore

# One score, read again on another machine or in a batch of another size, moves by less.
SAME_SCORE = 0.02


@dataclass(frozen=True)
class AddedItems:
    """`model`: the run's refined model with the new items behind the old ones. `rows`: their rows as in
    `refined_items.parquet`."""

    model: Backbone
    rows: pd.DataFrame


def add_items(
    run: Path | str,
    items: pd.DataFrame | Path | str,
    *,
    config_folder: Path | str = ".",
    progress: Progress | None = None,
) -> AddedItems:
    """Give a finished run's refined model items that have no interactions, from their text alone.

    `items` (a frame, or a .csv, .csv.gz or .parquet file): item_id, title, and the columns that made the texts of
    the run's own items. The run's language model scores them (with its adapter; scores go to the run's store), the
    statistics of the run's catalog normalise them; what only interactions could tell is borrowed from the items with
    the nearest scores. Nothing is trained, the run's models stay as they are: keep the new one with `model.save`.
    `config_folder`: what relative paths in the run's config start from.

    Raises `InputError` when the run has no refined model, a column is missing, an item has no text, is listed twice
    or is in the catalog already, and when language model or attributes no longer give the run's own scores.
    """
    folder = RunFolder(run)
    config = folder.config()
    unit = _refined_unit(folder, config)
    folder.check_files(folder.data, folder.scores("tuned").parent, folder.adapter, unit)
    dataset = load_as(folder.data, config.data)
    new = _described(items, dataset, config)
    source = "tuned" if config.tune.enabled else "untuned"
    saved = load_scores(folder.scores(source), cut_off=dataset.split.cut_off)
    attributes = _attributes(config, Path(config_folder), saved)
    value = _scored(new, dataset, saved, attributes, config, folder, Path(config_folder), progress)
    model = extended(Backbone.load(unit), new["item_id"].tolist(), value, counts=dataset.train_counts())
    return AddedItems(model, item_rows(model, new["item_id"].tolist(), attributes.names))


def _refined_unit(folder: RunFolder, config: Config) -> Path:
    """The model of `refined_items.parquet`: another backbone's vectors would not lie beside those."""
    again = f"guided-refine run CONFIG --out {shlex.quote(str(folder.root))}"
    if not config.refined_backbones:
        raise InputError(
            f"{folder.root} has no refined model; add 'refined' to 'variants' in the config and run: {again} --update"
        )
    kind = config.refined_backbones[0]
    unit = folder.unit(kind, "refined", config.all_seeds[0])
    if not (unit / "config.json").exists():
        raise InputError(f"{folder.root} has no trained refined model of {kind} yet; finish it with: {again}")
    return unit


def _described(items: pd.DataFrame | Path | str, dataset: Dataset, config: Config) -> pd.DataFrame:
    """item_id, title and text of the new items, made as those of the run's own."""
    frame = items if isinstance(items, pd.DataFrame) else table_file(Path(items))
    raw = RawData.empty()
    read_items(frame, raw)
    for reason, found in raw.tally.noted.items():
        raise InputError(f"{found.first}: {reason}; correct the row")
    if not len(raw.catalog):
        raise InputError("the new items are empty; there is nothing to add")
    columns = text_columns(dataset.items, config.data.text_columns)
    new = raw.catalog.frame()
    if missing := [f"'{column}'" for column in columns if column not in new and column not in frame]:
        one = len(missing) == 1
        raise InputError(
            f"the new items have no column{'' if one else 's'} {', '.join(missing)}, which {'is' if one else 'are'} part of "
            f"every text of this run; add {'it' if one else 'them'}, empty where nothing is known"
        )
    new = new.reindex(columns=["item_id", "title", *columns], fill_value="")
    new["text"] = item_texts(new, columns)
    known = set(dataset.item_ids)
    for name, text in zip(new["item_id"], new["text"], strict=True):
        if name in known:
            raise InputError(f"item '{name}' is in the run's catalog already; leave it out, its vector stays")
        if not text:
            raise InputError(f"item '{name}' has no text, so nothing can be said of it; give it a title")
    return new


def _attributes(config: Config, config_folder: Path, saved: AttributeScores) -> AttributeSet:
    name = config.attributes
    own_file = name.endswith((".yaml", ".yml"))
    attributes = load_attributes(config_folder / Path(name).expanduser() if own_file else name)
    if attributes.names != saved.attributes:
        raise InputError(
            f"attribute set {name} holds {', '.join(attributes.names)}, but this run was scored on "
            f"{', '.join(saved.attributes)}; bring back the file that the run was made with"
        )
    return attributes


def _scored(
    new: pd.DataFrame,
    dataset: Dataset,
    saved: AttributeScores,
    attributes: AttributeSet,
    config: Config,
    folder: RunFolder,
    config_folder: Path,
    progress: Progress | None,
) -> np.ndarray:
    """Scores of the new items, shape (new items, attributes), by the very model that scored the run."""
    from guided_refine.scoring.store import ScoreStore

    # An item of the run is read again: other weights or definitions than the run's would show in it.
    witness = int(np.flatnonzero(np.isfinite(saved.item_value).all(axis=1))[0])
    columns = ["item_id", "title", "text"]
    asked = pd.concat([dataset.items.iloc[[witness]][columns], new[columns]], ignore_index=True)
    of_these = _nobody_took(asked, dataset)
    bars = _BarsOnly(progress or Progress(quiet=True))
    with ScoreStore(config.store or folder.store) as store:
        if config.is_remote:
            scores = _remote_scores(of_these, attributes, config, folder, config_folder, store, bars)
        else:
            scores = _local_scores(of_these, saved, attributes, config, folder, config_folder, store, bars)
    if np.abs(scores.item_value[0] - saved.item_value[witness]).max() > SAME_SCORE:
        raise InputError(
            f"{config.llm} with attributes {config.attributes} no longer gives item "
            f"'{dataset.item_ids[witness]}' the scores that this run trained on, so scores of new items would mean "
            "something else; bring back the model and the attribute file, or run again"
        )
    for name, row in zip(new["item_id"], scores.item_value[1:], strict=True):
        if np.isnan(row).any():
            raise InputError(
                f"item '{name}': {saved.model} gave no answer that can be read; try again, or leave it out"
            )
    return scores.item_value[1:]


def _local_scores(
    items: Dataset,
    saved: AttributeScores,
    attributes: AttributeSet,
    config: Config,
    folder: RunFolder,
    config_folder: Path,
    store: ScoreStore,
    progress: Progress,
) -> AttributeScores:
    from guided_refine.scoring.language_model import load_language_model
    from guided_refine.scoring.scorer import score_dataset

    model = load_language_model(
        _model_spec(config, folder, config_folder),
        config.llm_options,
        adapter=folder.adapter if config.tune.enabled and config.tune.held_still != "item" else None,
        name=saved.model,
    )
    options, source = config.llm_options, saved.source
    return score_dataset(model, items, attributes, options, store, source=source, progress=progress)[0]


def _remote_scores(
    items: Dataset,
    attributes: AttributeSet,
    config: Config,
    folder: RunFolder,
    config_folder: Path,
    store: ScoreStore,
    progress: Progress,
) -> AttributeScores:
    from guided_refine.scoring.remote.score import score_remote
    from guided_refine.scoring.remote.texts import beside_config
    from guided_refine.scoring.remote.workload import Workload

    work = Workload(items, attributes, beside_config(config.llm_options, config_folder))
    ledger, seed = folder.remote_tokens, config.seed
    return score_remote(config.llm, work, store, ledger=ledger, seed=seed, progress=progress)[0]


def _model_spec(config: Config, folder: RunFolder, config_folder: Path) -> str:
    if config.llm == "builtin":
        return str(folder.builtin)
    beside = config_folder / config.llm
    return str(beside) if beside.is_dir() else config.llm


def _nobody_took(items: pd.DataFrame, dataset: Dataset) -> Dataset:
    """A dataset of these items and one user without a history, under the run's split."""
    none = np.array([-1])
    split = replace(dataset.split, n_train=np.array([0]), valid=none, test=none)
    return Dataset(dataset.name, items, ["nobody"], [np.zeros(0, dtype=np.int64)], None, split)


class _BarsOnly(Progress):
    """Passes on bars, not lines: what they say of a catalog would here be said of a handful of items."""

    def __init__(self, other: Progress) -> None:
        super().__init__(quiet=True)
        self._other = other

    @contextmanager
    def task(self, name: str, total: int | None = None) -> Iterator[Task]:
        with self._other.bar(name, total) as task:
            yield task
