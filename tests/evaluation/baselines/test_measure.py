"""A baseline of a run: the choice of settings, its files, what the data do not allow."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from synthetic import make_dataset, random_dataset

from guided_refine.config import BASELINES
from guided_refine.data.split import Part
from guided_refine.evaluation.baselines import FIT, why_not
from guided_refine.evaluation.baselines.baseline import Score, choose
from guided_refine.evaluation.baselines.measure import measure_baseline
from guided_refine.evaluation.sampled import Sampling
from guided_refine.files import read_json, read_parquet


def constant(value: float, n_items: int) -> Score:
    def score(users: np.ndarray, part: Part) -> np.ndarray:
        assert part == "valid", "only validation may be read to choose"
        return np.full((len(users), n_items), value)

    return score


def test_every_name_of_the_config_can_be_fitted() -> None:
    assert tuple(FIT) == BASELINES


def test_choose_takes_the_best_on_validation_and_reads_nothing_else() -> None:
    dataset = random_dataset()
    users, targets = dataset.targets("valid")
    oracle = np.zeros((dataset.n_users, dataset.n_items))
    oracle[users, targets - 1] = 1

    def knows(users: np.ndarray, part: Part) -> np.ndarray:
        assert part == "valid"
        return oracle[users]

    grid = [({"a": 1.0}, constant(0, 25)), ({"a": 2.0}, knows), ({"a": 3.0}, knows)]
    found = choose("toy", dataset, iter(grid))
    assert found.settings == {"a": 2.0}  # of equals the first
    assert [s["a"] for s in found.searched] == [1, 2, 3] and found.searched[1]["ndcg@10"] == 1
    with pytest.raises(ValueError, match="no settings"):
        choose("toy", dataset, [])


def test_nobody_to_validate_on_takes_the_first() -> None:
    dataset = random_dataset()
    split = dataclasses.replace(dataset.split, valid=np.full(dataset.n_users, -1))
    found = choose("toy", dataclasses.replace(dataset, split=split), iter([({"a": 1.0}, constant(0, 25))]))
    assert found.settings == {"a": 1.0} and found.searched == []


@pytest.mark.parametrize("name", [n for n in BASELINES if n != "popularity_last_week"])
def test_files_of_a_baseline(name: str, tmp_path: Path) -> None:
    dataset = random_dataset(users=40, n_items=25)
    files = measure_baseline(name, dataset, tmp_path, ks=[5, 10], sampling=Sampling(10, 0))
    assert {f.name for f in files} == {
        "row.json",
        "per_user.parquet",
        "recommendations.parquet",
        "sampled.json",
    }
    row, per_user = read_json(tmp_path / "row.json"), read_parquet(tmp_path / "per_user.parquet")
    assert row["name"] == name and row["n_users"] == len(per_user) == (dataset.split.test >= 0).sum()
    assert row["ndcg@10"] == pytest.approx(per_user["ndcg@10"].mean()) and row["map@5"] == row["mrr@5"]
    assert set(per_user["backbone"]) == {"baseline"} and set(per_user["variant"]) == {name}
    sampled = read_json(tmp_path / "sampled.json")
    assert sampled["negatives"] == 10 and row["recall@10"] <= sampled["recall@10"] <= 1
    # Without the flag an old file of sampled numbers does not stay.
    measure_baseline(name, dataset, tmp_path, ks=[5, 10])
    assert not (tmp_path / "sampled.json").exists()


def test_what_the_data_do_not_allow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = make_dataset([[1, 2, 3]], 5)
    reason = why_not("popularity_last_week", dataset)
    assert reason is not None and "no times" in reason
    files = measure_baseline("popularity_last_week", dataset, tmp_path / "week", ks=[5])
    assert [f.name for f in files] == ["row.json"]
    assert read_json(files[0]) == {"name": "popularity_last_week", "skipped": reason}
    monkeypatch.setattr("guided_refine.evaluation.baselines.MOST_ITEMS", 4)
    assert "5 items are more than the 4" in str(why_not("ease", dataset))
    assert why_not("item_knn", dataset) is None
