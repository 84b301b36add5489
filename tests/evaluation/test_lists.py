"""Lists of recommendations on disk: the user's own ids, and back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from synthetic import random_dataset

from guided_refine.errors import InputError
from guided_refine.evaluation.lists import read_lists, write_lists
from guided_refine.evaluation.ranking import rank_users
from guided_refine.files import read_parquet, write_parquet


def test_round_trip_and_own_ids(tmp_path: Path) -> None:
    dataset = random_dataset(users=25, n_items=18)
    table = np.random.default_rng(0).random((dataset.n_users, 18))
    ranking = rank_users(lambda users: table[users], dataset, "test", top=15)
    assert (ranking.best == 0).any()  # some users have fewer candidates
    path = tmp_path / "recommendations.parquet"
    write_lists(path, dataset, ranking)
    assert (read_lists(path, dataset) == ranking.best).all()

    frame = read_parquet(path)
    assert list(frame.columns) == ["user_id", "rank", "item_id"]
    first = frame[frame["user_id"] == dataset.user_ids[3]].sort_values("rank")
    met = set(dataset.visible(3, "test").tolist())
    free = sorted((i for i in range(1, 19) if i not in met), key=lambda i: -table[3, i - 1])
    assert first["item_id"].tolist() == [f"i{i}" for i in free[:15]]
    assert first["rank"].tolist() == list(range(1, len(first) + 1))


def test_other_data_and_damage(tmp_path: Path) -> None:
    dataset = random_dataset()
    path = tmp_path / "recommendations.parquet"
    write_parquet(path, pd.DataFrame({"user_id": ["u0"], "rank": [1], "item_id": ["elsewhere"]}))
    with pytest.raises(InputError, match="made from other data"):
        read_lists(path, dataset)
    path.write_bytes(b"PAR1")
    with pytest.raises(InputError, match="not a readable Parquet"):
        read_lists(path, dataset)
    ranking = rank_users(lambda users: np.zeros((len(users), dataset.n_items)), dataset, "test")
    write_lists(path, dataset, ranking)
    assert read_lists(path, dataset).shape == (len(dataset.targets("test")[0]), 0)
