"""Rows of the run folder: what a difference is, on which users and seeds, and how it is corrected."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from guided_refine.config import EvaluateConfig
from guided_refine.data.dataset import Dataset, from_frames
from guided_refine.errors import InputError
from guided_refine.evaluation.rows import collect, compare, differences, evaluate_unit
from guided_refine.files import read_json, read_parquet


def make_dataset(n_users: int = 30, n_items: int = 25) -> Dataset:
    rng = np.random.default_rng(0)
    items = pd.DataFrame({"item_id": [f"i{i}" for i in range(n_items)], "title": "t", "text": ""})
    rows = pd.DataFrame(
        {
            "user_id": np.repeat([f"u{u}" for u in range(n_users)], 5),
            "item_id": [f"i{i}" for i in rng.integers(0, n_items, n_users * 5)],
        }
    )
    return from_frames("toy", items, rows)


class TargetLover:
    """Scores like a model: noise, plus `strength` for the right item."""

    def __init__(self, strength: float, seed: int) -> None:
        self.strength, self.seed = strength, seed

    def score(self, users: np.ndarray, part: Any, dataset: Dataset) -> np.ndarray:
        known = dict(zip(*(a.tolist() for a in dataset.targets(part)), strict=True))
        out = np.stack([np.random.default_rng([self.seed, u]).random(dataset.n_items) for u in users])
        for row, user in enumerate(users.tolist()):
            out[row, known[user] - 1] += self.strength
        return out


def fit(converged: bool = True) -> Any:
    return SimpleNamespace(converged=converged, steps=7, seconds=1.23456, curve=[{"epoch": 1, "loss": 2.0}])


def write_units(root: Path, dataset: Dataset, seeds: tuple[int, ...] = (0, 1)) -> list[Path]:
    units = []
    for variant, strength in (("base", 0.2), ("refined", 0.6), ("shuffled", 0.2)):
        for seed in seeds:
            folder = root / "backbones" / "sasrec" / variant / f"seed{seed}"
            model = TargetLover(strength, seed + (variant == "shuffled") * 100)
            names = {"backbone": "sasrec", "variant": variant, "seed": seed}
            files = evaluate_unit(model, fit(), dataset, folder, **names, ks=[5, 10])  # type: ignore[arg-type]
            assert all(f.exists() for f in files)
            units.append(folder)
    return units


def test_from_models_to_the_run_folder(tmp_path: Path) -> None:
    dataset = make_dataset()
    units = write_units(tmp_path, dataset)
    options = EvaluateConfig(bootstrap=500, ks=[5, 10])
    collect(tmp_path, [*units, tmp_path / "not_yet"], options, seed=3)
    rows = read_json(tmp_path / "metrics.json")
    assert len(rows) == 6
    assert list(rows[0])[:9] == [
        *(
            "dataset",
            "backbone",
            "variant",
            "seed",
            "n_users",
            "split_sha256",
            "converged",
            "steps",
            "seconds",
        )
    ]
    assert rows[0]["split_sha256"] == dataset.split.sha256 and rows[0]["n_users"] == dataset.n_users

    per_user = read_parquet(tmp_path / "per_user.parquet")
    assert set(per_user["user_id"]) == set(dataset.user_ids)
    for row in rows:
        own = per_user[(per_user["variant"] == row["variant"]) & (per_user["seed"] == row["seed"])]
        assert row["ndcg@10"] == pytest.approx(own["ndcg@10"].mean(), abs=1e-15)

    text = (tmp_path / "differences.json").read_text()
    assert "NaN" not in text
    found = {(d["variant"], d["metric"]): d for d in json.loads(text)}
    gain = found["refined", "ndcg@10"]
    means = {v: np.mean([r["ndcg@10"] for r in rows if r["variant"] == v]) for v in ("base", "refined")}
    assert gain["mean"] == pytest.approx(means["refined"] - means["base"])
    assert gain["relative"] == pytest.approx(means["refined"] / means["base"] - 1)
    assert gain["seeds"] == [0, 1] and gain["n_users"] == dataset.n_users and gain["against"] == "base"
    assert gain["lower"] > 0 and gain["p"] <= gain["p_corrected"] <= gain["p"] * 6
    assert found["shuffled", "ndcg@10"]["lower"] < 0 < found["shuffled", "ndcg@10"]["upper"]
    assert found["refined", "recall@5"]["p_corrected"] is None  # shown, not claimed
    # The same numbers again, whatever else was in memory.
    before = (tmp_path / "differences.json").read_bytes()
    collect(tmp_path, units, options, seed=3)
    assert (tmp_path / "differences.json").read_bytes() == before


def frame(variant: str, seed: int, users: list[str], values: list[float]) -> pd.DataFrame:
    return pd.DataFrame(
        {"backbone": "sasrec", "variant": variant, "seed": seed, "user_id": users, "rank": 1.0, "mrr": values}
    ).assign(**{"ndcg@10": values, "recall@10": values})


def test_users_are_paired_by_id_not_by_row() -> None:
    per_user = pd.concat(
        [
            frame("base", 0, ["a", "b", "c"], [0.1, 0.5, 0.9]),
            frame("refined", 0, ["c", "a", "b"], [1.0, 0.2, 0.6]),
        ]
    )
    row = compare(per_user, "sasrec", "refined", metrics=["mrr"])[0]
    assert (row["lower"], row["mean"], row["upper"]) == pytest.approx((0.1, 0.1, 0.1))


def test_only_common_seeds_are_compared() -> None:
    per_user = pd.concat(
        [
            frame("base", 0, ["a", "b"], [0.0, 0.0]),
            frame("base", 1, ["a", "b"], [0.8, 0.8]),
            frame("refined", 0, ["a", "b"], [0.1, 0.3]),
        ]
    )
    row = compare(per_user, "sasrec", "refined", metrics=["mrr"])[0]
    assert row["mean"] == pytest.approx(0.2) and row["seeds"] == [0] and row["seeds_p"] is None
    assert row["relative"] is None  # a base of zero has no relative gain
    assert compare(per_user, "sasrec", "shuffled") == []
    assert compare(per_user, "gru4rec", "refined") == []


def test_seeds_are_averaged_per_user_first() -> None:
    """Twice the seeds must not look like twice the users."""
    rng = np.random.default_rng(0)
    users = [f"u{i}" for i in range(40)]
    base, refined = rng.random(40).tolist(), rng.random(40).tolist()
    one = pd.concat([frame("base", 0, users, base), frame("refined", 0, users, refined)])
    ten = pd.concat(one.assign(seed=s) for s in range(10))
    widths = [d[0]["upper"] - d[0]["lower"] for d in (differences(one), differences(ten))]
    assert widths[0] == pytest.approx(widths[1], rel=1e-9)


def test_different_users_stop_the_comparison() -> None:
    per_user = pd.concat([frame("base", 0, ["a", "b"], [0, 0]), frame("refined", 0, ["a", "c"], [1, 1])])
    with pytest.raises(InputError, match="different users"):
        compare(per_user, "sasrec", "refined")


def test_nothing_to_collect(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no evaluated model"):
        collect(tmp_path, [tmp_path / "x"], EvaluateConfig())
