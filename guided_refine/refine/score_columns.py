"""Base vectors and attribute scores of items side by side: the matrix that `GuidedRefiner` reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from guided_refine.data.frames import table_file
from guided_refine.errors import InputError, nearest
from guided_refine.files import read_parquet
from guided_refine.refine.base_embeddings import read_embeddings


def item_scores(source: Path | str | pd.DataFrame, *, of: str = "tuned") -> pd.DataFrame:
    """Attribute scores of items, one column per attribute, indexed by `item_id` (text); NaN where there is none.

    `source`: a run's folder or its `scores.parquet`, of which the scores `of` "tuned" or "untuned" are taken; or a
    table of one's own (frame, .parquet, .csv, .csv.gz) with `item_id` and a column of numbers per attribute.

    Raises `InputError` when there is no such table, an item comes twice, or a column does not hold numbers.

    >>> item_scores(pd.DataFrame({"item_id": [1, 2], "humour": [0.1, None]})).loc["1"].to_dict()
    {'humour': 0.1}
    """
    name = "the frame of scores" if isinstance(source, pd.DataFrame) else str(source)
    frame = source if isinstance(source, pd.DataFrame) else _table(Path(source))
    if {"kind", "id", "attribute", "value"} <= set(frame.columns):
        frame = _of_run(name, frame, of)
    elif "item_id" in frame:
        frame = frame.set_index("item_id")
    elif frame.index.name != "item_id":
        raise InputError(f"{name} has no column 'item_id'; add it beside the scores")
    frame = frame.set_axis(frame.index.astype(str).rename("item_id"))
    if frame.index.has_duplicates:
        raise InputError(f"{name} has two rows for item '{frame.index[frame.index.duplicated()][0]}'")
    for column in frame:
        numbers = pd.to_numeric(frame[column], errors="coerce")
        wrong = np.flatnonzero(numbers.isna() & frame[column].notna() & (frame[column].astype(str) != ""))
        if len(wrong):
            item, value = frame.index[wrong[0]], frame[column].iloc[wrong[0]]
            raise InputError(f"{name}: item '{item}' has '{value}' in column '{column}', expected a number")
        frame = frame.assign(**{str(column): numbers.astype(float)})
    return frame


def with_scores(
    embeddings: Path | str | np.ndarray | pd.DataFrame,
    scores: Path | str | pd.DataFrame,
    *,
    of: str = "tuned",
) -> pd.DataFrame:
    """`base_1 ...` from `embeddings`, then the columns of `item_scores(scores)`; one row per item of `scores`.

    Embeddings without ids (an array, npy, safetensors) must have their rows in the order of the scores, which is a
    run's catalog; a frame or Parquet file with `item_id` may have any order and more items.

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


def _of_run(name: str, frame: pd.DataFrame, of: str) -> pd.DataFrame:
    items = frame[frame["kind"] == "item"]
    known = items["source"].unique().tolist()
    if of not in known:
        raise InputError(f"{name} has no scores '{of}': {nearest(of, known)}")
    items = items[items["source"] == of]
    wide = items.pivot(index="id", columns="attribute", values="value")
    # A run's order of items and attributes, which pivot sorts.
    return (
        wide.loc[items["id"].unique(), items["attribute"].unique()]
        .rename_axis("item_id")
        .rename_axis(columns=None)
    )
