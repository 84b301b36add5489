"""One model of a run, trained and tested; called in worker processes that share nothing but the run folder."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from guided_refine.config import WITH_HEADS, Config
from guided_refine.machine import peak_memory
from guided_refine.pipeline.plan import WITHOUT_SCORES, Plan, Unit, unit_name
from guided_refine.progress import Progress
from guided_refine.runfolder import RunFolder

if TYPE_CHECKING:
    from guided_refine.backbones.backbone import Backbone
    from guided_refine.data.dataset import Dataset
    from guided_refine.scoring.scores import AttributeScores


def run_dataset(plan: Plan) -> Dataset:
    """The prepared data of a run, split."""
    from guided_refine.data.dataset import load_dataset

    data = plan.config.data
    return load_dataset(
        plan.folder.data, split=data.split, valid_share=data.valid_share, test_share=data.test_share
    )


def run_scores(plan: Plan, dataset: Dataset, *sources: str) -> dict[str, AttributeScores]:
    """Scores by source (default: every source of the run); refuses a file made under another split."""
    from guided_refine.scoring.scores import load_scores

    return {
        source: load_scores(plan.folder.scores(source), cut_off=dataset.split.cut_off)
        for source in sources or plan.score_sources
    }


def load_unit(plan: Plan, unit: Unit) -> Backbone:
    """A trained model of the run."""
    from guided_refine.backbones.backbone import Backbone

    return Backbone.load(plan.folder.unit(*unit))


def train_unit(plan: Plan, dataset: Dataset, unit: Unit, progress: Progress) -> list[Path]:
    """Train one model and write its folder; returns the files."""
    from guided_refine.evaluation.rows import write_fit
    from guided_refine.refine.variants import build_base, build_variant

    kind, variant, seed = unit
    folder = plan.folder.unit(*unit)
    if variant == "base":
        model = build_base(kind, dataset, plan.config, seed, embeddings=plan.base_file)
    else:
        model = build_variant(
            variant,
            dataset,
            load_unit(plan, (kind, "base", seed)),
            {} if variant in WITHOUT_SCORES else run_scores(plan, dataset),
            plan.config,
            seed,
            attributes=plan.attributes.names,
        )
    _tell_heads(kind, model.table.width, plan.config.train.heads, progress)
    logs = folder / "tensorboard" if plan.config.train.tensorboard else None
    fit = model.fit(dataset, checkpoint=folder / "checkpoint", progress=progress, logs=logs)
    model.save(folder)
    return [folder / "model.safetensors", folder / "config.json", *write_fit(fit, folder)]


def _tell_heads(kind: str, width: int, heads: int, progress: Progress) -> None:
    """Say when one's own base embeddings have a width that the heads asked for do not divide."""
    from guided_refine.backbones.encoder import fitting_heads

    if kind in WITH_HEADS and (fitting := fitting_heads(width, heads)) != heads:
        progress.log(
            f"width {width} comes from base.embeddings; {fitting} attention heads instead of {heads}"
        )


def evaluate_trained(plan: Plan, dataset: Dataset, unit: Unit, progress: Progress) -> list[Path]:
    """Rank the test targets with the saved weights of one model; returns the files written."""
    from guided_refine.evaluation.rows import evaluate_unit, read_fit

    kind, variant, seed = unit
    folder = plan.folder.unit(*unit)
    return evaluate_unit(
        load_unit(plan, unit),
        read_fit(folder),
        dataset,
        folder,
        backbone=kind,
        variant=variant,
        seed=seed,
        ks=plan.config.evaluate.ks,
        sampling=plan.sampling,
        progress=progress,
    )


@dataclass(frozen=True)
class Done:
    """What a worker did for one unit: files, seconds, and the memory in MiB that its process held at most."""

    trained: list[Path]
    train_seconds: float
    tested: list[Path]
    test_seconds: float
    peak: int | None


def train_and_test(
    config: Config, out: Path, config_folder: Path, unit: Unit, is_trained: bool, progress: Progress
) -> Done:
    """One unit in a worker process: trained, unless it is, and tested."""
    plan = Plan(config, RunFolder(out), config_folder, strict=False)
    progress.about(unit_name(unit))
    started = time.monotonic()
    dataset = run_dataset(plan)
    trained = [] if is_trained else train_unit(plan, dataset, unit, progress)
    middle = time.monotonic()
    tested = evaluate_trained(plan, dataset, unit, progress)
    return Done(trained, middle - started, tested, time.monotonic() - middle, peak_memory())
