"""`guided-refine evaluate`: do the weights in a run folder still give the numbers that it claims?"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guided_refine.errors import InputError
from guided_refine.files import read_json
from guided_refine.progress import Progress
from guided_refine.runfolder import RunFolder

if TYPE_CHECKING:
    from guided_refine.config import Config
    from guided_refine.data.dataset import Dataset

TOLERANCE = 1e-4


def check_run(run: Path | str, *, progress: Progress | None = None) -> list[dict[str, Any]]:
    """Load every trained model of a run, rank the test targets again, and compare with `metrics.json`.

    Returns one dict per model: backbone, variant, seed, the recomputed metrics under `metrics`, the largest
    absolute difference to the recorded row under `difference`, and `agrees` (difference at most 1e-4).
    Raises `InputError` when the folder is no run, or a model's split is not the run's.
    """
    from guided_refine.backbones.backbone import Backbone
    from guided_refine.evaluation.rows import test_metrics

    folder = RunFolder(run)
    config = folder.config()
    if not folder.metrics.exists():
        raise InputError(
            f"{folder.root} has no metrics.json yet; "
            f"finish it with: guided-refine run CONFIG --out {shlex.quote(str(folder.root))}"
        )
    folder.check_files()
    dataset = split_data(folder.data, config)
    answer = []
    rows = read_json(folder.metrics)
    progress = progress or Progress(quiet=True)
    with progress.task("evaluate", total=len(rows)) as task:
        for row in rows:
            if row["split_sha256"] != dataset.split.sha256:
                raise InputError(
                    f"{folder.metrics}: the row {row['backbone']}/{row['variant']} was measured on split "
                    f"{row['split_sha256'][:12]}, but the data in {folder.data} give {dataset.split.sha256[:12]}"
                )
            model = Backbone.load(folder.unit(row["backbone"], row["variant"], row["seed"]))
            metrics = test_metrics(model, dataset, config.evaluate.ks)
            difference = max(abs(metrics[name] - row[name]) for name in metrics)
            answer.append(
                {
                    "backbone": row["backbone"],
                    "variant": row["variant"],
                    "seed": row["seed"],
                    "metrics": metrics,
                    "difference": difference,
                    "agrees": difference <= TOLERANCE,
                }
            )
            task.advance()
    return answer


def split_data(folder: Path, config: Config) -> Dataset:
    """A prepared dataset under the split that the config names."""
    from guided_refine.data.dataset import load_dataset

    data = config.data
    return load_dataset(folder, split=data.split, valid_share=data.valid_share, test_share=data.test_share)


def format_check(rows: list[dict[str, Any]]) -> str:
    """The answer of `check_run` as lines for a terminal."""
    lines = [
        f"{'backbone':10} {'variant':18} {'seed':>4} {'ndcg@10':>9} {'recall@10':>9} {'mrr':>9}  recorded"
    ]
    for row in rows:
        shown = " ".join(
            f"{row['metrics'].get(name, float('nan')):9.4f}" for name in ("ndcg@10", "recall@10", "mrr")
        )
        verdict = "same" if row["agrees"] else f"differs by {row['difference']:.4f}"
        lines.append(f"{row['backbone']:10} {row['variant']:18} {row['seed']:4d} {shown}  {verdict}")
    return "\n".join(lines)
