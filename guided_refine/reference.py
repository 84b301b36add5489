"""Reference checkpoints: weights small enough to commit, and the numbers they must give on data that one has.

A reference is a folder with `weights.safetensors` (float16, no histories, no ids: nothing of the data travels) and
`reference.json`: how to build the model and prepare the data, the hash of the split, and the test metrics of exactly these
weights. `guided-refine evaluate FOLDER` prepares the data again, ranks, and compares; with `--restart` it also trains them a
third longer, to see whether they had converged.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guided_refine.check import split_data
from guided_refine.config_file import parse_config, resolve_data_path
from guided_refine.errors import InputError
from guided_refine.files import atomic_path, read_json, write_json
from guided_refine.progress import Progress
from guided_refine.runfolder import RunFolder

if TYPE_CHECKING:
    from guided_refine.backbones.backbone import Backbone
    from guided_refine.data.dataset import Dataset

FORMAT = 1
WEIGHTS, REFERENCE = "weights.safetensors", "reference.json"
# Other processors add in another order, which can swap two nearly equal scores.
TOLERANCE = 5e-4


def is_reference(folder: Path | str) -> bool:
    """True when `keep_reference` wrote this folder."""
    return (Path(folder) / REFERENCE).is_file()


def keep_reference(
    run: Path | str, kind: str, out: Path | str, *, variant: str = "base", seed: int | None = None
) -> dict[str, Any]:
    """Write one trained base model of a finished run as a reference; returns what `reference.json` holds.

    Its metrics are measured with the weights as they are kept (float16); the run's own row stands beside them.
    Raises `InputError` when the run has no such row, or for a model with a user term: its scores belong to users, and a
    reference carries none.
    """
    import torch
    from safetensors.torch import save_file

    from guided_refine.backbones.backbone import Backbone
    from guided_refine.evaluation.rows import read_fit, test_metrics

    folder = RunFolder(run)
    config = folder.config()
    rows = [
        row
        for row in read_json(folder.metrics)
        if (row["backbone"], row["variant"]) == (kind, variant) and seed in (None, row["seed"])
    ]
    if not rows:
        raise InputError(f"{folder.metrics} has no row for {kind}/{variant}; finish that model first")
    row, out = rows[0], Path(out)
    model = Backbone.load(folder.unit(kind, variant, row["seed"]))
    if model.term is not None:
        raise InputError(
            f"{kind}/{variant} has a user term; only models without one can be kept as a reference"
        )
    weights = {name: value.half().contiguous() for name, value in model.model.state_dict().items()}
    model.model.load_state_dict({name: value.float() for name, value in weights.items()})
    dataset = split_data(folder.data, config)
    stages = folder.manifest()["stages"]
    unit = f"{kind}/{variant}/seed{row['seed']}"
    fit = read_fit(folder.unit(kind, variant, row["seed"]))
    answer = {
        "format": FORMAT,
        "kind": kind,
        "variant": variant,
        "seed": row["seed"],
        "train": model.config.model_dump(mode="json"),
        "n_items": model.table.n_items,
        "width": model.table.width,
        "data": {"name": config.name, **config.data.model_dump(mode="json")},
        "split_sha256": dataset.split.sha256,
        "ks": config.evaluate.ks,
        "metrics": test_metrics(model, dataset, config.evaluate.ks),
        "row": row,
        "convergence": _convergence(folder.unit(kind, variant, row["seed"])),
        "epochs": fit.epochs,
        "validation_ndcg@10": fit.best_ndcg,
        "machine": stages.get(unit, {}).get("machine"),
        "torch": torch.__version__,
    }
    with atomic_path(out / WEIGHTS) as path:
        save_file(weights, path)
    write_json(out / REFERENCE, answer)
    return answer


def check_reference(
    folder: Path | str, *, data: Path | str | None = None, progress: Progress | None = None
) -> list[dict[str, Any]]:
    """Rank the test targets with a reference's weights and compare with its numbers; a list of one, as `check_run`.

    `data`: a prepared dataset; without it the raw data are read from where the reference's config says
    (`$GUIDED_REFINE_DATA`) and prepared in a temporary folder. Raises `InputError` when files are missing or damaged, or
    when the data give another split.
    """
    from guided_refine.evaluation.rows import test_metrics

    kept, model = _read(Path(folder))
    dataset = _dataset(Path(folder), kept, data, progress or Progress(quiet=True))
    metrics = test_metrics(model, dataset, kept["ks"])
    difference = max(abs(metrics[key] - value) for key, value in kept["metrics"].items())
    return [
        {
            "backbone": kept["kind"],
            "variant": kept["variant"],
            "seed": kept["seed"],
            "metrics": metrics,
            "difference": difference,
            "agrees": difference <= TOLERANCE,
        }
    ]


def restart_reference(
    folder: Path | str,
    *,
    data: Path | str | None = None,
    keep: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Train a reference a third longer and say what that adds on validation, see `evaluation.convergence.check_convergence`.

    Minutes to an hour. With `keep` the answer takes the place of `convergence` in `reference.json`; the weights stay.
    Other arguments and errors as for `check_reference`.
    """
    from guided_refine.config import EvaluateConfig
    from guided_refine.evaluation.convergence import check_convergence

    kept, model = _read(Path(folder))
    dataset = _dataset(Path(folder), kept, data, progress or Progress(quiet=True))
    named = {name: kept[name] for name in ("kind", "variant", "seed")}
    found = check_convergence(model, kept["epochs"], dataset, EvaluateConfig(), progress=progress)
    if keep:
        write_json(Path(folder) / REFERENCE, kept | {"convergence": found})
    return named | found


def format_restart(found: dict[str, Any]) -> str:
    """The answer of `restart_reference` as lines for a terminal."""
    relative = "" if found["relative"] is None else f", {found['relative']:+.1%}"
    return (
        f"{found['kind']}/{found['variant']}/seed{found['seed']}: restarted for {found['epochs']} epochs\n"
        f"validation NDCG@10 {found['before']:.4f} -> {found['after']:.4f}: {found['mean']:+.4f} "
        f"[{found['lower']:+.4f}, {found['upper']:+.4f}]{relative}\n"
        f"{found['verdict']}: converged means less than 2 % gained, nothing of it surely, nor that much surely lost"
    )


def _convergence(unit: Path) -> Any:
    """What a warm restart said, where the run made one (`evaluate.warm_restart`)."""
    path = unit / "convergence.json"
    return read_json(path) if path.is_file() else None


def _dataset(folder: Path, kept: dict[str, Any], data: Path | str | None, progress: Progress) -> Dataset:
    """The data that a reference was measured on, prepared now unless `data` is a prepared folder."""
    from guided_refine.data.prepare import prepare

    name = kept["data"]["name"]
    config = parse_config({"name": name, "data": {k: v for k, v in kept["data"].items() if k != "name"}})
    with tempfile.TemporaryDirectory() as scratch:
        if data is None:
            path = config.data.path
            source = None if path is None else resolve_data_path(path, Path.cwd())
            if source is not None and not source.exists():
                raise InputError(
                    f"{source} does not exist; set GUIDED_REFINE_DATA to the folder that holds {path}"
                )
            data = Path(scratch) / "data"
            prepare(config.data.reader, source, data, options=config.data, name=name, progress=progress)
        dataset = split_data(Path(data), config)
    if dataset.split.sha256 != kept["split_sha256"]:
        raise InputError(
            f"{folder} was measured on split {kept['split_sha256'][:12]}, but these data give "
            f"{dataset.split.sha256[:12]}; use the data that {REFERENCE} names"
        )
    return dataset


def _read(folder: Path) -> tuple[dict[str, Any], Backbone]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from guided_refine.backbones.backbone import Backbone
    from guided_refine.backbones.tables import IdTable
    from guided_refine.config import TrainConfig

    kept: dict[str, Any] = read_json(folder / REFERENCE)
    if kept.get("format", 0) > FORMAT:
        raise InputError(f"{folder} was written by a newer guided-refine; update guided-refine to read it")
    try:
        weights = load_file(folder / WEIGHTS)
        table = IdTable(kept["n_items"], kept["width"])
        model = Backbone(kept["kind"], table, None, TrainConfig(**kept["train"]), kept["seed"])
        model.model.load_state_dict({name: value.float() for name, value in weights.items()})
    except (OSError, SafetensorError, KeyError, TypeError, RuntimeError) as error:
        raise InputError(
            f"{folder}: {WEIGHTS} is missing, damaged or does not fit {REFERENCE} ({error})"
        ) from error
    return kept, model
