"""The rows of `metrics.json`, `per_user.parquet` and `differences.json`."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from guided_refine.config import EvaluateConfig
from guided_refine.data.dataset import Dataset
from guided_refine.errors import InputError
from guided_refine.evaluation.lists import write_lists
from guided_refine.evaluation.metrics import average_precision_names, headline_metrics, ranking_metrics
from guided_refine.evaluation.ranking import Ranking, Scorer, rank_targets, rank_users
from guided_refine.evaluation.sampled import Sampling
from guided_refine.evaluation.statistics import Interval, bootstrap_means, holm, paired_t
from guided_refine.files import atomic_path, read_json, read_parquet, write_json, write_parquet
from guided_refine.progress import Progress

if TYPE_CHECKING:
    from guided_refine.backbones.backbone import Backbone, FitResult

KEYS = ("backbone", "variant", "seed", "user_id", "rank")
GROUP = "baseline"
"""What stands for the backbone in the rows of baselines."""


def per_user_frame(
    dataset: Dataset, ranks: pd.DataFrame, ks: Sequence[int], *, backbone: str, variant: str, seed: int
) -> pd.DataFrame:
    """One row per tested user: backbone, variant, seed, user_id, rank (expected, 1 is best) and all metrics.

    `ranks` is what `rank_targets` returned.
    """
    values = ranking_metrics(ranks["greater"].to_numpy(), ranks["equal"].to_numpy(), ks)
    names = np.asarray(dataset.user_ids, dtype=object)[ranks["user"].to_numpy()]
    head = {"backbone": backbone, "variant": variant, "seed": seed, "user_id": names}
    return pd.DataFrame({**head, **values})


def metrics_row(
    dataset: Dataset, per_user: pd.DataFrame, *, converged: bool, steps: int, seconds: float
) -> dict[str, Any]:
    """One row of `metrics.json` from one model's per-user values."""
    first = per_user.iloc[0]
    return {
        "dataset": dataset.name,
        "backbone": str(first["backbone"]),
        "variant": str(first["variant"]),
        "seed": int(first["seed"]),
        "n_users": len(per_user),
        "split_sha256": dataset.split.sha256,
        "converged": bool(converged),
        "steps": int(steps),
        "seconds": round(float(seconds), 3),
        **means(per_user),
    }


def means(per_user: pd.DataFrame) -> dict[str, float]:
    """Mean over the users of every metric, and MAP, which equals MRR where a user has one target."""
    found = {name: float(per_user[name].mean()) for name in metric_columns(per_user)}
    return found | {name: found[equal] for name, equal in average_precision_names(list(found)).items()}


def metric_columns(per_user: pd.DataFrame) -> list[str]:
    """The columns of a per-user frame that are metrics."""
    return [str(c) for c in per_user.columns if c not in KEYS]


def compare(
    per_user: pd.DataFrame,
    backbone: str,
    variant: str,
    against: str = "base",
    *,
    metrics: Sequence[str] | None = None,
    samples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """`variant` minus `against` of one backbone, paired by user, on the seeds both have; one row per metric.

    Each user's values are averaged over the seeds first, then users are resampled. Where there are two seeds or
    more, `seeds_t` and `seeds_p` give the paired t over the seeds' mean differences. `relative` is the mean
    difference over the mean of `against`. Empty where one side or a common seed is missing.

    Raises `InputError` where the two were tested on different users: then nothing may be compared.
    """
    mine = per_user[(per_user["backbone"] == backbone) & (per_user["variant"] == variant)]
    theirs = per_user[(per_user["backbone"] == backbone) & (per_user["variant"] == against)]
    seeds = sorted(set(mine["seed"]) & set(theirs["seed"]))
    if not seeds:
        return []
    names = list(metrics) if metrics is not None else metric_columns(per_user)
    ours, base = _by_user(mine, seeds, names), _by_user(theirs, seeds, names)
    if ours.shape != base.shape or not (ours.index == base.index).all():
        raise InputError(
            f"{backbone}: '{variant}' and '{against}' were tested on different users ({len(ours)} and {len(base)}); "
            "evaluate both again on the same split"
        )
    deltas = (ours - base).to_numpy()
    intervals = bootstrap_means(deltas, samples=samples, confidence=confidence, seed=seed)
    per_seed = mine.groupby("seed")[names].mean() - theirs.groupby("seed")[names].mean()
    return [
        _row(backbone, variant, against, name, interval, float(base[name].mean()), per_seed.loc[seeds, name])
        | {"confidence": confidence, "n_users": len(ours), "seeds": [int(s) for s in seeds]}
        for name, interval in zip(names, intervals, strict=True)
    ]


def _by_user(rows: pd.DataFrame, seeds: list[int], names: list[str]) -> pd.DataFrame:
    return rows[rows["seed"].isin(seeds)].groupby("user_id")[names].mean()


def _row(
    backbone: str,
    variant: str,
    against: str,
    metric: str,
    interval: Interval,
    level: float,
    per_seed: pd.Series,
) -> dict[str, Any]:
    over_seeds = paired_t(per_seed.to_numpy())
    return {
        "backbone": backbone,
        "variant": variant,
        "against": against,
        "metric": metric,
        "base": level,
        "mean": interval.mean,
        "relative": interval.mean / level if level else None,
        "lower": interval.lower,
        "upper": interval.upper,
        "p": interval.p,
        "seeds_t": finite(over_seeds.t),
        "seeds_p": finite(over_seeds.p),
    }


def finite(value: float) -> float | None:
    """The value, or None where JSON has no word for it.

    >>> finite(float("nan")), finite(0.5)
    (None, 0.5)
    """
    return value if math.isfinite(value) else None


def differences(
    per_user: pd.DataFrame, *, samples: int = 2000, confidence: float = 0.95, seed: int = 0
) -> list[dict[str, Any]]:
    """The rows of `differences.json`: every variant against the base of its backbone, every metric.

    `p_corrected` is Holm's correction over all comparisons of the headline metrics in the run, `seeds_p_corrected`
    the same for the paired t over seeds; the other metrics are shown, not claimed, and carry None.
    """
    pairs = per_user[["backbone", "variant"]].drop_duplicates().itertuples(index=False)
    rows = [
        row
        for backbone, variant in pairs
        if variant != "base"
        for row in compare(per_user, backbone, variant, samples=samples, confidence=confidence, seed=seed)
    ]
    claimed = headline_metrics(metric_columns(per_user))
    for key in ("p", "seeds_p"):
        p = np.array([row[key] if row["metric"] in claimed else None for row in rows], np.float64)
        for row, corrected in zip(rows, holm(p), strict=True):
            row[f"{key}_corrected"] = finite(float(corrected))
    return rows


def _scorer(model: Backbone, dataset: Dataset) -> Scorer:
    def score(users: np.ndarray) -> np.ndarray:
        return model.score(users, "test", dataset)

    return score


def test_metrics(model: Backbone, dataset: Dataset, ks: Sequence[int]) -> dict[str, float]:
    """Mean test metrics of a trained backbone, the numbers of its row in `metrics.json`."""
    ranks = rank_targets(_scorer(model, dataset), dataset, "test")
    values = ranking_metrics(ranks["greater"].to_numpy(), ranks["equal"].to_numpy(), ks)
    return {name: float(v.mean()) for name, v in values.items() if name != "rank"}


def evaluate_unit(
    model: Backbone,
    fit: FitResult,
    dataset: Dataset,
    folder: Path,
    *,
    backbone: str,
    variant: str,
    seed: int,
    ks: Sequence[int],
    sampling: Sampling | None = None,
    progress: Progress | None = None,
) -> list[Path]:
    """Rank the test targets with one trained model and write what came of it.

    `row.json` and `per_user.parquet` hold the metrics, `recommendations.parquet` each user's best max(ks) unseen
    items; with `sampling`, `sampled.json` the metrics among sampled negatives. All from one pass over the scores.
    Returns the files written.
    """
    ranking = rank_users(
        _scorer(model, dataset), dataset, "test", top=max(ks), sampling=sampling, progress=progress
    )
    per_user = per_user_frame(dataset, ranking.ranks, ks, backbone=backbone, variant=variant, seed=seed)
    row = metrics_row(dataset, per_user, converged=fit.converged, steps=fit.steps, seconds=fit.seconds)
    files = [folder / "row.json", folder / "per_user.parquet", folder / "recommendations.parquet"]
    write_json(files[0], row)
    write_parquet(files[1], per_user)
    write_lists(files[2], dataset, ranking)
    head = {"backbone": backbone, "variant": variant, "seed": seed}
    return [*files, *write_sampled(folder, ranking, ks, sampling, head)]


def write_sampled(
    folder: Path, ranking: Ranking, ks: Sequence[int], sampling: Sampling | None, head: dict[str, Any]
) -> list[Path]:
    """Write `sampled.json`, the metrics among sampled negatives, where they were asked for; else remove an old one.

    `head` names the row; `candidates` is the mean number of candidates, the target with them. Returns the file, if any.
    """
    path = folder / "sampled.json"
    path.unlink(missing_ok=True)
    if sampling is None or ranking.sampled is None:
        return []
    found = ranking.sampled
    values = ranking_metrics(found["greater"].to_numpy(), found["equal"].to_numpy(), ks)
    del values["rank"]
    row = {
        **head,
        "negatives": sampling.count,
        "sampling_seed": sampling.seed,
        "candidates": float(found["candidates"].mean()),
        "n_users": len(found),
    }
    write_json(path, row | {name: float(value.mean()) for name, value in values.items()})
    return [path]


def write_fit(fit: FitResult, folder: Path) -> list[Path]:
    """Write how a training went as `fit.json`, and its curve once more as `curve.csv`; returns both files."""
    files = [folder / "fit.json", folder / "curve.csv"]
    write_json(files[0], asdict(fit))
    with atomic_path(files[1]) as path:
        pd.DataFrame(fit.curve).to_csv(path, index=False)
    return files


def read_fit(folder: Path) -> FitResult:
    """What `write_fit` wrote; raises `InputError` when it is missing or damaged."""
    from guided_refine.backbones.training import FitResult

    return FitResult(**read_json(folder / "fit.json"))


def collect(
    root: Path, units: Sequence[Path], options: EvaluateConfig, *, seed: int = 0
) -> tuple[Path, Path, Path]:
    """Join what `evaluate_unit` wrote into `metrics.json`, `differences.json` and `per_user.parquet` under `root`.

    Units that are not there yet are left out. Raises `InputError` when there is none.
    """
    done = [unit for unit in units if (unit / "row.json").exists()]
    if not done:
        raise InputError(
            f"{root} holds no evaluated model yet; run guided-refine run CONFIG --out {shlex.quote(str(root))}"
        )
    rows = [read_json(unit / "row.json") for unit in done]
    per_user = pd.concat([read_parquet(unit / "per_user.parquet") for unit in done], ignore_index=True)
    changes = differences(per_user, samples=options.bootstrap, confidence=options.confidence, seed=seed)
    files = root / "metrics.json", root / "differences.json", root / "per_user.parquet"
    write_json(files[0], rows)
    write_json(files[1], changes)
    write_parquet(files[2], per_user)
    return files
