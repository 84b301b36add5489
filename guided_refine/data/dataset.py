"""`Dataset`: catalog, sequences in time order, and a frozen, hashed split. Everything above reads this.

On disk a prepared dataset is a folder: `items.parquet` (item_id, title, text, further columns),
`interactions.parquet` (user_id, item_id, optional rating and timestamp, sorted by user then time),
`info.json` (counts, what was dropped and why, options). `prepare` writes it, `load_dataset` reads it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from guided_refine.data.split import Part, Split, SplitKind, make_split
from guided_refine.errors import InputError
from guided_refine.files import read_json, read_parquet

if TYPE_CHECKING:
    from guided_refine.config import DataConfig


@dataclass(frozen=True)
class Dataset:
    """Users' histories over a catalog.

    Items are numbered 1..n_items inside; 0 is padding. Row `i` of `items` is item number `i + 1`; its columns
    include `item_id` (str), `title`, `text` (what a language model reads; "" where the source has none).
    Users are numbered 0..n_users-1. `sequences[u]` holds item numbers, oldest first, shape (events,).
    `times[u]` are seconds, or None where the data have an order only. Ids are text inside; `id_types` says where
    they came as whole numbers ("user_id", "item_id" -> numpy type), so that they can go out as such again.
    `ratings[u]` stand beside `sequences[u]`, NaN where an event has none; None where no event has one.
    """

    name: str
    items: pd.DataFrame
    user_ids: list[str]
    sequences: list[np.ndarray]
    times: list[np.ndarray] | None
    split: Split
    info: dict[str, Any] = field(default_factory=dict)
    id_types: dict[str, str] = field(default_factory=dict)
    ratings: list[np.ndarray] | None = None

    @classmethod
    def from_frames(
        cls,
        interactions: pd.DataFrame,
        items: pd.DataFrame | None = None,
        *,
        name: str = "frames",
        options: DataConfig | None = None,
    ) -> Dataset:
        """Build a dataset from frames as one has them, by the same rules as `prepare` reads tables.

        `interactions`: user_id, item_id, optional rating, and timestamp or position (else the order of the rows).
        `items`: item_id, title, and further columns, which become the text; without it the catalog is what
        `interactions` name, without texts. Ids may be text or whole numbers. `options` filter and split; their
        path, reader and reader's options are not read. Faulty rows are dropped and counted in `info["dropped"]`.

        Raises `InputError` for a missing column, items listed twice, unparsable times, and where nothing is left.

        >>> rows = pd.DataFrame({"user_id": [7] * 3 + [8] * 3, "item_id": [30, 10, 20, 10, 20, 30]})
        >>> dataset = Dataset.from_frames(rows)
        >>> dataset.n_users, dataset.item_ids.tolist(), dataset.visible(0, "test").tolist()
        (2, ['30', '10', '20'], [1, 2])
        """
        from guided_refine.data.frames import read_frames

        return read_frames(interactions, items, name=name, options=options)

    @property
    def n_items(self) -> int:
        """Size of the catalog."""
        return len(self.items)

    @property
    def n_users(self) -> int:
        """Number of users with at least one event."""
        return len(self.user_ids)

    @property
    def item_ids(self) -> np.ndarray:
        """The user's own item ids, shape (n_items,); item number `i` has id `item_ids[i - 1]`."""
        return self.items["item_id"].to_numpy(dtype=object)

    @property
    def texts(self) -> list[str]:
        """What a language model reads about each item, in catalog order."""
        return self.items["text"].tolist()

    @property
    def titles(self) -> list[str]:
        """Titles in catalog order."""
        return self.items["title"].tolist()

    def visible(self, user: int, part: Part) -> np.ndarray:
        """Item numbers that a prediction for `part` may see, oldest first: the one leak guard of the project."""
        if part == "test":
            end = int(self.split.n_known[user])
        else:
            # A validation target is the first event that does not train; without one nothing lies in between.
            end = int(self.split.n_train[user])
        return self.sequences[user][:end]

    def targets(self, part: Part) -> tuple[np.ndarray, np.ndarray]:
        """Users that have a target in `part` ("valid" or "test") and the target's item number, equal shapes."""
        if part == "train":
            raise ValueError("training has a target at every position; use visible(user, 'train')")
        places = self.split.valid if part == "valid" else self.split.test
        users = np.flatnonzero(places >= 0)
        return users, np.array([self.sequences[u][places[u]] for u in users], dtype=np.int64)

    def train_counts(self) -> np.ndarray:
        """How often each item occurs in training events, shape (n_items,)."""
        counts = np.zeros(self.n_items + 1, dtype=np.int64)
        for user in range(self.n_users):
            np.add.at(counts, self.visible(user, "train"), 1)
        return counts[1:]


def from_frames(
    name: str,
    items: pd.DataFrame,
    interactions: pd.DataFrame,
    *,
    split: SplitKind = "leave_one_out",
    valid_share: float = 0.1,
    test_share: float = 0.1,
    info: dict[str, Any] | None = None,
    id_types: dict[str, str] | None = None,
) -> Dataset:
    """Build a dataset from two clean frames.

    `items`: item_id, title, text. `interactions`: user_id, item_id and optional timestamp, already in order
    within each user (order of users: first appearance). For raw files use `guided_refine.data.prepare`, for raw
    frames `Dataset.from_frames`.

    >>> items = pd.DataFrame({"item_id": ["a", "b", "c"], "title": list("ABC"), "text": ["", "", ""]})
    >>> rows = pd.DataFrame({"user_id": ["u"] * 3, "item_id": ["b", "a", "c"]})
    >>> dataset = from_frames("tiny", items, rows)
    >>> dataset.visible(0, "test").tolist(), dataset.targets("test")[1].tolist()
    ([2, 1], [3])
    """
    items = items.reset_index(drop=True).copy()
    items["item_id"] = items["item_id"].astype(str)
    for column in ("title", "text"):
        items[column] = items[column].fillna("").astype(str)
    number = pd.Series(np.arange(1, len(items) + 1), index=items["item_id"])
    if not number.index.is_unique:
        raise InputError(
            f"{name}: item_id '{number.index[number.index.duplicated()][0]}' occurs twice in the items"
        )
    codes = number.reindex(interactions["item_id"].astype(str)).to_numpy()
    if np.isnan(codes.astype(float)).any():
        lost = interactions["item_id"].astype(str)[np.isnan(codes.astype(float))].iloc[0]
        raise InputError(
            f"{name}: interactions name item '{lost}', which the items do not hold; run data prepare"
        )
    users = interactions["user_id"].astype(str)
    user_codes, user_ids = pd.factorize(users)
    order = np.argsort(user_codes, kind="stable")
    bounds = np.cumsum(np.bincount(user_codes, minlength=len(user_ids)))[:-1]
    sequences = [s.astype(np.int64) for s in np.split(codes[order], bounds)]
    times: list[np.ndarray] | None = None
    if "timestamp" in interactions and interactions["timestamp"].notna().all():
        times = np.split(interactions["timestamp"].to_numpy(dtype=np.float64)[order], bounds)
    ratings: list[np.ndarray] | None = None
    if "rating" in interactions and interactions["rating"].notna().any():
        ratings = np.split(interactions["rating"].to_numpy(dtype=np.float64)[order], bounds)
    names = [str(u) for u in user_ids]
    frozen = make_split(
        split,
        names,
        items["item_id"].to_numpy(dtype=object),
        sequences,
        times,
        valid_share=valid_share,
        test_share=test_share,
    )
    return Dataset(name, items, names, sequences, times, frozen, info or {}, id_types or {}, ratings)


def read_prepared(folder: Path | str) -> tuple[dict[str, Any], pd.DataFrame, pd.DataFrame]:
    """Facts, items and interactions that `data prepare` wrote; raises `InputError` when `folder` is not such a folder."""
    folder = Path(folder)
    if not (folder / "info.json").exists():
        raise InputError(
            f"{folder} is not a prepared dataset (no info.json); "
            "make one with: guided-refine data prepare NAME SOURCE --out DIR"
        )
    info = read_json(folder / "info.json")
    items, rows = read_parquet(folder / "items.parquet"), read_parquet(folder / "interactions.parquet")
    return info, items, rows


def load_dataset(
    folder: Path | str,
    *,
    split: SplitKind = "leave_one_out",
    valid_share: float = 0.1,
    test_share: float = 0.1,
) -> Dataset:
    """Read a folder that `data prepare` wrote and split it. Raises `InputError` when it is not one."""
    info, items, rows = read_prepared(folder)
    return from_frames(
        str(info.get("name", Path(folder).name)),
        items,
        rows,
        split=split,
        valid_share=valid_share,
        test_share=test_share,
        info=info,
        id_types=info.get("id_types"),
    )


def load_as(folder: Path | str, data: DataConfig) -> Dataset:
    """Read a prepared folder and split it as the data section of a config says. Raises `InputError` when it is not one."""
    return load_dataset(folder, split=data.split, valid_share=data.valid_share, test_share=data.test_share)
