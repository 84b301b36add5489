"""What stands beside `metrics.json`: baselines, strata, measures beyond accuracy, sampled candidates.

- `baselines.json`: `rows` (metrics, settings, what was searched), `skipped` (sentences), `differences` (each base minus
  each baseline, paired by user).
- `strata.json`: rows per stratum, model and headline metric, with gain over the base and intervals.
- `beyond_accuracy.json`: `diversity_of` (what says how alike items are), `rows` per model and baseline.
- `sampled.json`, only on request: `warning`, `rows` per model and baseline.
- `convergence.json`, only on request: a row per model and seed, what a warm restart added on validation.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from guided_refine.config import EvaluateConfig
from guided_refine.data.dataset import Dataset
from guided_refine.errors import InputError
from guided_refine.evaluation.beyond import (
    Likeness,
    beyond_accuracy,
    likeness_by_attributes,
    likeness_by_users,
)
from guided_refine.evaluation.lists import read_lists
from guided_refine.evaluation.metrics import headline_metrics
from guided_refine.evaluation.rows import GROUP, metric_columns
from guided_refine.evaluation.sampled import warning
from guided_refine.evaluation.statistics import bootstrap_means
from guided_refine.evaluation.strata import strata_rows
from guided_refine.files import read_json, read_parquet, write_json


def collect_details(
    root: Path,
    units: Sequence[Path],
    baselines: Sequence[Path],
    dataset: Dataset,
    options: EvaluateConfig,
    *,
    attribute_scores: np.ndarray | None = None,
    seed: int = 0,
) -> list[Path]:
    """Write the files named above under `root` from the folders of tested models and baselines.

    `attribute_scores`: untuned scores of all items, (n_items, attributes), which then say how alike two items are;
    without them users in common do. Folders that are not there yet are left out. Returns the files written.

    Raises `InputError` where no model was tested yet, or a folder holds other users than the split names.
    """
    folders = [unit for unit in units if (unit / "row.json").exists()]
    if not folders:
        raise InputError(
            f"{root} holds no evaluated model yet; run guided-refine run CONFIG --out {shlex.quote(str(root))}"
        )
    found = [
        (folder, read_json(folder / "row.json")) for folder in baselines if (folder / "row.json").exists()
    ]
    simple = [(folder, row) for folder, row in found if "skipped" not in row]
    models = pd.concat([read_parquet(f / "per_user.parquet") for f in folders], ignore_index=True)
    theirs = [read_parquet(f / "per_user.parquet") for f, _ in simple]
    draw: dict[str, Any] = {"samples": options.bootstrap, "confidence": options.confidence, "seed": seed}
    written = {
        "baselines.json": {
            "rows": [row for _, row in simple],
            "skipped": [row["skipped"] for _, row in found if "skipped" in row],
            "differences": [d for frame in theirs for d in _against(models, frame, **draw)],
        },
        "strata.json": strata_rows(pd.concat([models, *theirs], ignore_index=True), dataset, **draw),
    }
    heads = [(f, _head(read_json(f / "row.json"))) for f in folders]
    heads += [(f, {"backbone": GROUP, "variant": row["name"], "seed": 0}) for f, row in simple]
    likeness = (
        likeness_by_users(dataset) if attribute_scores is None else likeness_by_attributes(attribute_scores)
    )
    written["beyond_accuracy.json"] = _beyond(heads, dataset, options.ks, likeness)
    if options.sampled_negatives is not None:
        written["sampled.json"] = {
            "warning": warning(options.sampled_negatives),
            "negatives": options.sampled_negatives,
            "rows": [read_json(f / "sampled.json") for f, _ in heads if (f / "sampled.json").exists()],
        }
    else:
        (root / "sampled.json").unlink(missing_ok=True)
    if options.warm_restart:
        written["convergence.json"] = [
            _head(read_json(f / "row.json")) | read_json(f / "convergence.json")
            for f in folders
            if (f / "convergence.json").exists()
        ]
    else:
        (root / "convergence.json").unlink(missing_ok=True)
    for name, value in written.items():
        write_json(root / name, value)
    return [root / name for name in written]


def _head(row: dict[str, Any]) -> dict[str, Any]:
    return {key: row[key] for key in ("backbone", "variant", "seed")}


def _beyond(
    heads: Sequence[tuple[Path, dict[str, Any]]], dataset: Dataset, ks: Sequence[int], likeness: Likeness
) -> dict[str, Any]:
    rows = [
        head | beyond_accuracy(read_lists(folder / "recommendations.parquet", dataset), dataset, ks, likeness)
        for folder, head in heads
        if (folder / "recommendations.parquet").exists()
    ]
    return {"diversity_of": likeness.of, "rows": rows}


def _against(
    models: pd.DataFrame, simple: pd.DataFrame, *, samples: int, confidence: float, seed: int
) -> list[dict[str, Any]]:
    """The base of every backbone minus one baseline, paired by user; the base's values averaged over seeds."""
    names = headline_metrics(metric_columns(simple))
    theirs = simple.set_index("user_id")[names]
    out = []
    bases = models[models["variant"] == "base"]
    for backbone in bases["backbone"].drop_duplicates():
        ours = bases[bases["backbone"] == backbone].groupby("user_id")[names].mean()
        if len(ours) != len(theirs) or not ours.index.isin(theirs.index).all():
            raise InputError(
                f"{backbone}, base and the baseline {simple['variant'].iloc[0]} were tested on different users; "
                "evaluate both again on the same split"
            )
        deltas = (ours - theirs.reindex(ours.index)).to_numpy()
        intervals = bootstrap_means(deltas, samples=samples, confidence=confidence, seed=seed)
        out += [
            {
                "backbone": backbone,
                "variant": "base",
                "against": str(simple["variant"].iloc[0]),
                "metric": metric,
                "mean": found.mean,
                "lower": found.lower,
                "upper": found.upper,
                "p": found.p,
                "confidence": confidence,
                "n_users": len(ours),
            }
            for metric, found in zip(names, intervals, strict=True)
        ]
    return out
