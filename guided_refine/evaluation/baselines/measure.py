"""One baseline of a run: fitted, tested, written."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from guided_refine.data.dataset import Dataset
from guided_refine.evaluation.baselines import FIT, why_not
from guided_refine.evaluation.lists import write_lists
from guided_refine.evaluation.ranking import rank_users
from guided_refine.evaluation.rows import GROUP, means, per_user_frame, write_sampled
from guided_refine.evaluation.sampled import Sampling
from guided_refine.files import write_json, write_parquet
from guided_refine.progress import Progress


def measure_baseline(
    name: str,
    dataset: Dataset,
    folder: Path,
    *,
    ks: Sequence[int],
    sampling: Sampling | None = None,
    progress: Progress | None = None,
) -> list[Path]:
    """Fit and test the baseline `name`; writes `row.json`, `per_user.parquet`, `recommendations.parquet`.

    `row.json` holds name, scorer (in words), settings, what every setting reached on validation, and the metrics of
    `metrics.json`. Where the data do not allow this baseline it holds name and `skipped`, the reason, and nothing else
    is written. Returns the files written.
    """
    row_file = folder / "row.json"
    progress = progress or Progress(quiet=True)
    reason = why_not(name, dataset)
    if reason is not None:
        progress.log(reason)
        write_json(row_file, {"name": name, "skipped": reason})
        return [row_file]
    started = time.monotonic()
    baseline = FIT[name](dataset)
    seconds = time.monotonic() - started

    def score(users: np.ndarray) -> np.ndarray:
        return baseline.score(users, "test")

    ranking = rank_users(score, dataset, "test", top=max(ks), sampling=sampling, progress=progress)
    per_user = per_user_frame(dataset, ranking.ranks, ks, backbone=GROUP, variant=name, seed=0)
    row = {
        "dataset": dataset.name,
        "name": name,
        "scorer": baseline.label,
        "settings": baseline.settings,
        "searched": baseline.searched,
        "n_users": len(per_user),
        "split_sha256": dataset.split.sha256,
        "seconds": round(seconds, 3),
        **means(per_user),
    }
    files = [row_file, folder / "per_user.parquet", folder / "recommendations.parquet"]
    write_json(files[0], row)
    write_parquet(files[1], per_user)
    write_lists(files[2], dataset, ranking)
    head = {"backbone": GROUP, "variant": name, "seed": 0}
    return [*files, *write_sampled(folder, ranking, ks, sampling, head)]
