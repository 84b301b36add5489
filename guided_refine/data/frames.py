"""Frames as a source: what the reader `tables` does with files, done with what one already has in memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from guided_refine.config import DataConfig
from guided_refine.data.dataset import Dataset, from_frames
from guided_refine.data.prepare import tidy
from guided_refine.data.raw import RawData, Row, as_id
from guided_refine.data.readers.source import SourceFile, csv_rows, need_columns
from guided_refine.errors import InputError
from guided_refine.files import read_parquet

_OPTIONAL = ("rating", "timestamp", "position")


def read_frames(
    interactions: pd.DataFrame,
    items: pd.DataFrame | None = None,
    *,
    name: str = "frames",
    options: DataConfig | None = None,
) -> Dataset:
    """What `Dataset.from_frames` does; see there."""
    options = options or DataConfig()
    raw = RawData.empty(min_rating=options.min_rating)
    events = _columns(interactions, "interactions", "user_id", "item_id")
    if not events["item_id"]:
        raise InputError(f"{name}: the interactions are empty")
    if items is not None:
        read_items(items, raw)
    else:
        _catalog_of(events["item_id"], raw)
    raw.events.extend("interactions", _rows(events))
    left = tidy(raw, options, name)
    described = options.model_dump(mode="json", exclude={"path", "reader", "options"})
    return from_frames(
        name,
        left.items,
        left.interactions(),
        split=options.split,
        valid_share=options.valid_share,
        test_share=options.test_share,
        info={"name": name, "reader": "frames", "source": None, **left.facts, "options": described},
        id_types={
            column: found
            for column in ("user_id", "item_id")
            if (found := _whole_numbers(interactions[column])) is not None
        },
    )


def read_items(items: pd.DataFrame, raw: RawData) -> None:
    """Fill the catalog: item_id, title, further columns; the first row of the frame is row 1.

    Raises `InputError` when a column is missing or there twice, and when an item is listed twice.
    """
    columns = _columns(items, "items", "item_id", "title")
    names = list(columns)
    for row, values in enumerate(zip(*columns.values(), strict=True), start=1):
        fields = dict(zip(names, values, strict=True))
        raw.catalog.add("items", row, fields.pop("item_id"), fields.pop("title"), fields)


def table_file(path: Path) -> pd.DataFrame:
    """A .parquet, .csv or .csv.gz file as a frame; values of a csv stay text.

    Raises `InputError` when the file is missing, unreadable, or has a row of another length than its header.
    """
    if not path.is_file():
        raise InputError(f"{path} is not a file")
    if path.suffix == ".parquet":
        return read_parquet(path)

    def refuse(reason: str, file: str, row: int, _: object) -> None:
        raise InputError(f"{file} row {row}: {reason}; correct the row")

    header, rows = csv_rows(SourceFile(path), refuse)
    return pd.DataFrame([values for _, values in rows], columns=header)


def _columns(frame: pd.DataFrame, what: str, *needed: str) -> dict[str, list[Any]]:
    """Columns as lists of plain values, None where one is missing; refuses a frame that lacks a column."""
    if not isinstance(frame, pd.DataFrame):
        raise InputError(f"{what} must be a pandas DataFrame, not {type(frame).__name__}")
    header = [str(name) for name in frame.columns]
    for name in dict.fromkeys((*needed, *header)):
        remedy = f"rename it with .rename(columns={{{{'{{}}': '{name}'}}}})"
        need_columns(SourceFile(Path(what)), header, name, remedy=remedy)
    columns = {}
    for place, name in enumerate(header):
        column = frame.iloc[:, place]
        columns[name] = column.astype(object).where(column.notna(), None).tolist()
    return columns


def _rows(events: dict[str, list[Any]]) -> Iterator[Row]:
    users = events["user_id"]
    nothing = [None] * len(users)
    optional = [events.get(name, nothing) for name in _OPTIONAL]
    for row, (user, item, *rest) in enumerate(zip(users, events["item_id"], *optional, strict=True), start=1):
        yield row, user, item, rest[0], rest[1], rest[2]


def _catalog_of(item_ids: list[Any], raw: RawData) -> None:
    """Items that nobody described: those that the interactions name."""
    for row, item_id in enumerate(item_ids, start=1):
        if item_id is not None and as_id(item_id) not in raw.catalog.codes:
            raw.catalog.add("interactions", row, item_id, "", {}, on_duplicate="keep_first")


def _whole_numbers(ids: pd.Series) -> str | None:
    """The numpy type in which ids that came as whole numbers go out again, None for ids of any other kind.

    >>> _whole_numbers(pd.Series([3, 4])), _whole_numbers(pd.Series([3.0, None])), _whole_numbers(pd.Series(["3"]))
    ('int64', 'int64', None)
    """
    known = ids.dropna()
    kind = pd.api.types.infer_dtype(known)
    if kind == "floating":
        # A gap makes pandas turn whole numbers into floats; ids lose the ".0" again.
        values = known.to_numpy(dtype=np.float64)
        return "int64" if (np.isfinite(values) & (values == np.floor(values))).all() else None
    if kind != "integer" or not len(known):
        return None
    return "int64" if int(known.max()) <= np.iinfo(np.int64).max else "uint64"
