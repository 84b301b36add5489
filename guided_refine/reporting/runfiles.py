"""Everything a report reads from a run folder, and what is not there yet."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd

from guided_refine.config import WITHOUT_SCORES, Config
from guided_refine.data.dataset import Dataset, load_dataset
from guided_refine.files import read_csv, read_json, read_parquet
from guided_refine.runfolder import RunFolder

T = TypeVar("T")


@dataclass
class RunFiles:
    """Contents of a run folder; what is missing is None (or empty) and named in `missing`."""

    root: Path
    config: Config
    dataset: Dataset | None = None
    rows: list[dict[str, Any]] = field(default_factory=list)
    differences: list[dict[str, Any]] = field(default_factory=list)
    per_user: pd.DataFrame | None = None
    scores: pd.DataFrame | None = None
    summary: dict[str, Any] = field(default_factory=dict)
    scores_alone: dict[str, Any] = field(default_factory=dict)
    truth: dict[str, Any] | None = None
    details: dict[str, Any] = field(default_factory=dict)
    tuning: pd.DataFrame | None = None
    curves: dict[tuple[str, str, int], pd.DataFrame] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)


def read_run(root: Path | str) -> RunFiles:
    """Read a run folder, finished or not.

    Raises `InputError` when it is no run folder, or a file in it is damaged.
    """
    root = Path(root)
    config = RunFolder(root).config()
    run = RunFiles(root, config)

    def read(name: str, what: str, reader: Callable[[Path], T], instead: T) -> T:
        if (root / name).exists():
            return reader(root / name)
        run.missing.append(f"{what} (`{name}`)")
        return instead

    run.dataset = read(
        "data/info.json", "the prepared data", lambda path: _dataset(path.parent, config), None
    )
    run.rows = read("metrics.json", "test metrics", read_json, [])
    run.differences = read("differences.json", "differences to the base", read_json, [])
    run.per_user = read("per_user.parquet", "values per user", read_parquet, None)
    if any(set(config.variants_of(b)) - WITHOUT_SCORES for b in config.backbones):
        run.scores = read("scores.parquet", "attribute scores", read_parquet, None)
        run.summary = read("scores/summary.json", "the summary of the scores", read_json, {})
        alone = RunFolder(root).scores_alone
        run.scores_alone = read_json(alone) if alone.exists() else {}  # runs of before have none
        if config.tune.enabled:
            run.tuning = read("tuning/curves.csv", "the curves of tuning", read_csv, None)
    names = ("baselines", "strata", "beyond_accuracy", "sampled", "convergence")
    run.details = {n: read_json(root / f"{n}.json") for n in names if (root / f"{n}.json").exists()}
    if (root / "truth.json").exists():
        run.truth = read_json(root / "truth.json")
    for backbone in config.backbones:
        for variant in config.variants_of(backbone):
            for seed in config.all_seeds:
                name = f"backbones/{backbone}/{variant}/seed{seed}/curve.csv"
                curve = read(name, f"{backbone}, {variant}, seed {seed}", read_csv, None)
                if curve is not None:
                    run.curves[backbone, variant, seed] = curve
    return run


def _dataset(folder: Path, config: Config) -> Dataset:
    data = config.data
    return load_dataset(folder, split=data.split, valid_share=data.valid_share, test_share=data.test_share)
