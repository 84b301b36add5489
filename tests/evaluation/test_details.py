"""What stands beside metrics.json: all of it from what the tests of models and baselines wrote."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from synthetic import random_dataset

from guided_refine.config import EvaluateConfig
from guided_refine.data.dataset import Dataset
from guided_refine.errors import InputError
from guided_refine.evaluation.baselines.measure import measure_baseline
from guided_refine.evaluation.beyond import beyond_accuracy, likeness_by_attributes
from guided_refine.evaluation.details import collect_details
from guided_refine.evaluation.lists import read_lists
from guided_refine.evaluation.rows import evaluate_unit
from guided_refine.evaluation.sampled import Sampling
from guided_refine.files import read_json, read_parquet, write_parquet

OPTIONS = EvaluateConfig(
    bootstrap=200, ks=[5, 10], baselines=["popularity", "popularity_last_week", "item_knn"]
)


class Noise:
    """Scores of a model that knows its target a little."""

    def __init__(self, strength: float, seed: int) -> None:
        self.strength, self.seed = strength, seed

    def score(self, users: np.ndarray, part: Any, dataset: Dataset) -> np.ndarray:
        targets = dict(zip(*(a.tolist() for a in dataset.targets(part)), strict=True))
        out = np.stack([np.random.default_rng([self.seed, u]).random(dataset.n_items) for u in users])
        out[np.arange(len(users)), [targets[u] - 1 for u in users.tolist()]] += self.strength
        return out


def build(root: Path, dataset: Dataset, sampling: Sampling | None = None) -> tuple[list[Path], list[Path]]:
    fit: Any = SimpleNamespace(converged=True, steps=1, seconds=1.0)
    units = []
    for variant, strength in (("base", 0.2), ("refined", 0.5)):
        for seed in (0, 1):
            folder = root / "backbones" / "sasrec" / variant / f"seed{seed}"
            model: Any = Noise(strength, seed)
            names: Any = {"backbone": "sasrec", "variant": variant, "seed": seed}
            evaluate_unit(model, fit, dataset, folder, **names, ks=OPTIONS.ks, sampling=sampling)
            units.append(folder)
    simple = [root / "baselines" / name for name in OPTIONS.baselines]
    for folder in simple:
        measure_baseline(folder.name, dataset, folder, ks=OPTIONS.ks, sampling=sampling)
    return units, simple


def test_all_files_and_their_numbers(tmp_path: Path) -> None:
    dataset = random_dataset(users=80, n_items=30)
    units, simple = build(tmp_path, dataset, Sampling(12, 0))
    scores = np.random.default_rng(0).random((30, 3))
    options = OPTIONS.model_copy(update={"sampled_negatives": 12})
    written = collect_details(tmp_path, units, simple, dataset, options, attribute_scores=scores, seed=2)
    assert {f.name for f in written} == {
        "baselines.json",
        "strata.json",
        "beyond_accuracy.json",
        "sampled.json",
    }
    assert all("NaN" not in f.read_text() for f in written)

    baselines = read_json(tmp_path / "baselines.json")
    assert [r["name"] for r in baselines["rows"]] == ["popularity", "item_knn"]
    assert len(baselines["skipped"]) == 1 and "no times" in baselines["skipped"][0]
    base = np.mean([read_json(u / "row.json")["ndcg@10"] for u in units[:2]])
    gaps = {(d["against"], d["metric"]): d for d in baselines["differences"]}
    popular = gaps["popularity", "ndcg@10"]
    assert popular["mean"] == pytest.approx(base - baselines["rows"][0]["ndcg@10"])
    assert popular["lower"] <= popular["mean"] <= popular["upper"]

    strata = read_json(tmp_path / "strata.json")
    assert {(r["backbone"], r["variant"]) for r in strata} == {
        ("sasrec", "base"),
        ("sasrec", "refined"),
        ("baseline", "popularity"),
        ("baseline", "item_knn"),
    }

    beyond = read_json(tmp_path / "beyond_accuracy.json")
    assert "attribute" in beyond["diversity_of"] and len(beyond["rows"]) == 6
    lists = read_lists(units[0] / "recommendations.parquet", dataset)
    assert lists.shape[1] == 10
    expected = beyond_accuracy(lists, dataset, [5, 10], likeness_by_attributes(scores))
    assert {k: v for k, v in beyond["rows"][0].items() if "@" in k} == pytest.approx(expected)

    sampled = read_json(tmp_path / "sampled.json")
    assert "NOT comparable" in sampled["warning"] and len(sampled["rows"]) == 6
    full = {u: read_json(u / "row.json") for u in units}
    for row, unit in zip(sampled["rows"], units, strict=False):
        assert row["recall@10"] > full[unit]["recall@10"]  # fewer candidates flatter


def test_the_same_bytes_again_and_no_stale_sampled_numbers(tmp_path: Path) -> None:
    dataset = random_dataset(users=40, n_items=20)
    units, simple = build(tmp_path, dataset)
    (tmp_path / "sampled.json").write_text("{}")
    before = [f.read_bytes() for f in collect_details(tmp_path, units, simple, dataset, OPTIONS)]
    assert not (tmp_path / "sampled.json").exists()
    files = collect_details(tmp_path, units, simple, dataset, OPTIONS)
    assert [f.read_bytes() for f in files] == before
    # Without attribute scores users in common say how alike items are.
    assert "users in common" in json.loads(files[2].read_text())["diversity_of"]


def test_a_run_in_progress_and_no_run(tmp_path: Path) -> None:
    dataset = random_dataset(users=40, n_items=20)
    with pytest.raises(InputError, match="no evaluated model"):
        collect_details(tmp_path, [tmp_path / "x"], [], dataset, OPTIONS)
    units, _ = build(tmp_path, dataset)
    collect_details(tmp_path, [units[0], tmp_path / "x"], [tmp_path / "y"], dataset, OPTIONS)
    assert read_json(tmp_path / "baselines.json") == {"rows": [], "skipped": [], "differences": []}
    assert all(r["gain"] is None for r in read_json(tmp_path / "strata.json"))


def test_other_users_stop_the_comparison(tmp_path: Path) -> None:
    dataset = random_dataset(users=40, n_items=20)
    units, simple = build(tmp_path, dataset)
    frame = read_parquet(simple[0] / "per_user.parquet")
    write_parquet(simple[0] / "per_user.parquet", frame.iloc[1:])
    with pytest.raises(InputError, match="different users"):
        collect_details(tmp_path, units, simple, dataset, OPTIONS)
