"""Base vectors and attribute scores of items side by side: the matrix that `GuidedRefiner` reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from guided_refine.data.frames import table_file
from guided_refine.data.raw import as_id
from guided_refine.errors import InputError, nearest
from guided_refine.files import read_parquet
from guided_refine.refine.base_embeddings import read_embeddings

# Columns of a run's `scores.parquet` that make it one.
LONG = {"kind", "id", "attribute", "source", "value"}


def item_scores(source: Path | str | pd.DataFrame, *, of: str = "tuned") -> pd.DataFrame:
    """Attribute scores of items, one column per attribute, indexed by `item_id` (text); NaN where there is none.

    `source`: a run's folder or its `scores.parquet`, of which the scores `of` "tuned" or "untuned" are taken; or a
    table of one's own (frame, .parquet, .csv, .csv.gz) with `item_id` and a column of numbers per attribute.

    Raises `InputError` when there is no such table, an item has no id or comes twice, a column comes twice, or a value is
    not a finite number.

    >>> item_scores(pd.DataFrame({"item_id": [1, 2], "humour": [0.1, None]})).loc["1"].to_dict()
    {'humour': 0.1}
    """
    if isinstance(source, pd.DataFrame):
        name, frame = "the frame of scores", source
    elif isinstance(source, (str, Path)):
        name, frame = str(source), _table(Path(source))
    else:
        raise InputError(f"scores are a DataFrame, a file or a run folder, not {type(source).__name__}")
    if frame.index.name == "item_id" and "item_id" not in frame:
        frame = frame.reset_index()
    frame = frame.set_axis([str(column) for column in frame.columns], axis=1)
    if frame.columns.has_duplicates:
        twice = frame.columns[frame.columns.duplicated()][0]
        raise InputError(f"{name} has two columns '{twice}'; rename or drop one")
    if set(frame.columns) >= LONG:
        frame = _of_run(name, frame, of)
    if "item_id" not in frame:
        raise InputError(f"{name} has no column 'item_id'; add it beside the scores")
    return _numbers(name, frame.set_index(_ids(name, frame.pop("item_id"))))


def with_scores(embeddings: Any, scores: Path | str | pd.DataFrame, *, of: str = "tuned") -> pd.DataFrame:
    """`base_1 ...` from `embeddings`, then the columns of `item_scores(scores)`; one row per item of `scores`.

    `embeddings`: all that `read_embeddings` takes. Those without ids (an array, npy, safetensors) must have their rows in
    the order of the scores, which is a run's catalog; a frame or Parquet file with `item_id` may have any order and more
    items.

    Raises `InputError` as `item_scores` and `read_embeddings` do, and when an attribute is called as a column of the base.

    >>> scores = pd.DataFrame({"item_id": ["a", "b"], "humour": [0.2, 0.8]})
    >>> with_scores(np.array([[1.0, 2.0], [3.0, 4.0]]), scores).loc["b"].to_dict()
    {'base_1': 3.0, 'base_2': 4.0, 'humour': 0.8}
    """
    columns = item_scores(scores, of=of)
    vectors = read_embeddings(embeddings, columns.index.tolist())
    names = [f"base_{i}" for i in range(1, vectors.shape[1] + 1)]
    if twice := sorted(set(names) & set(columns)):
        raise InputError(
            f"an attribute is called '{twice[0]}', as a column of the base; give it another name"
        )
    return pd.DataFrame(vectors, columns=names, index=columns.index).join(columns)


def _table(path: Path) -> pd.DataFrame:
    if path.is_dir():
        if not (path / "scores.parquet").exists():
            raise InputError(
                f"{path} has no scores.parquet; finish the run, or give the table of scores itself"
            )
        return read_parquet(path / "scores.parquet")
    return table_file(path)


def _ids(name: str, column: pd.Series) -> pd.Index:
    ids = pd.Index([as_id(None if pd.isna(value) else value) for value in column], name="item_id")
    if "" in ids:
        raise InputError(f"{name}: row {list(ids).index('') + 1} has no item_id")
    if ids.has_duplicates:
        raise InputError(f"{name} has two rows for item '{ids[ids.duplicated()][0]}'")
    return ids


def _numbers(name: str, frame: pd.DataFrame) -> pd.DataFrame:
    """The frame in float64, an empty cell as NaN."""
    found = {}
    for column in frame:
        text = frame[column]
        # Times and complex numbers can be turned into floats, but are no scores.
        plain = text.dtype.kind in "biufO" or isinstance(text.dtype, pd.api.extensions.ExtensionDtype)
        numbers = (
            pd.to_numeric(text, errors="coerce").astype(float) if plain else text.isna().map({True: np.nan})
        )
        wrong = (numbers.isna() & text.notna() & (text.astype(str) != "")) | np.isinf(numbers)
        if wrong.any():
            place = int(np.flatnonzero(wrong)[0])
            item, value = frame.index[place], text.iloc[place]
            raise InputError(
                f"{name}: item '{item}' has '{value}' in column '{column}', expected a finite number"
            )
        found[str(column)] = numbers
    return pd.DataFrame(found, index=frame.index)


def _of_run(name: str, frame: pd.DataFrame, of: str) -> pd.DataFrame:
    items = frame[frame["kind"] == "item"]
    known = items["source"].unique().tolist()
    if of not in known:
        raise InputError(f"{name} has no scores of='{of}': {nearest(of, known)}")
    items = items[items["source"] == of]
    again = items.duplicated(["id", "attribute"])
    if again.any():
        row = items[again].iloc[0]
        raise InputError(f"{name} has two scores of item '{row['id']}' on '{row['attribute']}'")
    wide = items.pivot(index="id", columns="attribute", values="value")
    # A run's order of items and attributes, which pivot sorts.
    wide = wide.loc[items["id"].unique(), items["attribute"].unique()].rename_axis(columns=None)
    return wide.rename_axis("item_id").reset_index()
