"""The lists of best items on disk: `recommendations.parquet`, a plain table with the user's own ids."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from guided_refine.data.dataset import Dataset
from guided_refine.errors import InputError
from guided_refine.evaluation.ranking import Ranking
from guided_refine.files import read_parquet, write_parquet


def write_lists(path: Path, dataset: Dataset, ranking: Ranking) -> None:
    """Write user_id, rank (from 1), item_id: each tested user's best unseen items."""
    row, place = np.nonzero(ranking.best)
    users = ranking.ranks["user"].to_numpy()
    user = pd.Categorical.from_codes(users[row], categories=pd.Index(dataset.user_ids))
    item = pd.Categorical.from_codes(ranking.best[row, place] - 1, categories=pd.Index(dataset.item_ids))
    frame = pd.DataFrame({"user_id": user, "rank": (place + 1).astype(np.int32), "item_id": item})
    write_parquet(path, frame)


def read_lists(path: Path, dataset: Dataset) -> np.ndarray:
    """What `write_lists` wrote, as item numbers of all tested users, (users, longest list), 0 where shorter.

    Raises `InputError` where the file is missing or damaged, or names a user or an item that the dataset has not.
    """
    frame = read_parquet(path)
    users = dataset.targets("test")[0]
    row_of = pd.Series(np.arange(len(users)), index=np.asarray(dataset.user_ids, dtype=object)[users])
    number_of = pd.Series(np.arange(1, dataset.n_items + 1), index=dataset.item_ids)
    row, item = (
        frame[column].astype(object).map(known).to_numpy(dtype=np.float64)
        for column, known in (("user_id", row_of), ("item_id", number_of))
    )
    if np.isnan(row).any() or np.isnan(item).any():
        raise InputError(f"{path} was made from other data; delete it and run the same command again")
    best = np.zeros((len(users), int(frame["rank"].max()) if len(frame) else 0), np.int32)
    best[row.astype(np.int64), frame["rank"].to_numpy() - 1] = item
    return best
