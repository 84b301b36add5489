"""One model of a run, trained and tested; called in processes that share nothing but the run folder.

They are workers, each with a model of its own, or processes that a launcher started and that train each model together.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guided_refine.config import TEXT_VARIANTS, WITH_HEADS, WITHOUT_SCORES, Config
from guided_refine.files import write_json
from guided_refine.machine import peak_memory
from guided_refine.pipeline.plan import Plan, Unit, unit_name
from guided_refine.pipeline.text_vectors import run_text_vectors
from guided_refine.pipeline.tuning import tune_run
from guided_refine.processes import launched
from guided_refine.progress import Progress
from guided_refine.runfolder import RunFolder

if TYPE_CHECKING:
    from guided_refine.backbones.backbone import Backbone
    from guided_refine.data.dataset import Dataset
    from guided_refine.scoring.scores import AttributeScores


#: Where a unit's folder holds its trainings as long as they last.
CHECKPOINT, RESTART_CHECKPOINT = "checkpoint", "checkpoint_restart"


def run_dataset(plan: Plan) -> Dataset:
    """The prepared data of a run, split."""
    from guided_refine.data.dataset import load_as

    return load_as(plan.folder.data, plan.config.data)


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
    """Train one model and write its folder; returns the files. Of several launched processes the first one writes."""
    from guided_refine.evaluation.rows import write_fit
    from guided_refine.refine.cold import lend_to_cold
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
            texts=run_text_vectors(plan) if variant in TEXT_VARIANTS else None,
        )
    _tell_heads(kind, model.table.width, plan.config.train.heads, progress)
    logs = folder / "tensorboard" if plan.config.train.tensorboard else None
    fit = model.fit(dataset, checkpoint=folder / CHECKPOINT, progress=progress, logs=logs)
    if not launched().first:
        return []
    if variant != "base" and plan.config.refine.cold_items == "borrowed":
        lend_to_cold(model, dataset.train_counts())
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


def restart_trained(plan: Plan, dataset: Dataset, unit: Unit, progress: Progress) -> list[Path]:
    """Train the saved weights of one model further, to see whether it had converged; returns the file written."""
    from guided_refine.evaluation.convergence import check_convergence
    from guided_refine.evaluation.rows import read_fit

    folder = plan.folder.unit(*unit)
    found = check_convergence(
        load_unit(plan, unit),
        read_fit(folder).epochs,
        dataset,
        plan.config.evaluate,
        checkpoint=folder / RESTART_CHECKPOINT,
        progress=progress,
    )
    if not launched().first:
        return []
    path = folder / "convergence.json"
    write_json(path, found)
    return [path]


#: What all launched processes do together; the rest is the first one's alone.
TOGETHER: dict[str, Callable[[Plan, Dataset, Any, Progress], list[Path]]] = {
    "tune": tune_run,
    "train": train_unit,
    "restart": restart_trained,
}


@dataclass(frozen=True)
class Todo:
    """Which parts of a unit are not up to date."""

    train: bool
    test: bool
    restart: bool

    def __bool__(self) -> bool:
        return self.train or self.test or self.restart


@dataclass(frozen=True)
class Part:
    """Files that one part of a unit wrote, and its seconds."""

    files: list[Path]
    seconds: float


@dataclass(frozen=True)
class Done:
    """What a worker did for one unit, and the memory in MiB that its process held at most; None: was up to date."""

    train: Part | None
    test: Part | None
    restart: Part | None
    peak: int | None

    @property
    def seconds(self) -> float:
        """Seconds of all parts together."""
        return sum(part.seconds for part in (self.train, self.test, self.restart) if part is not None)


def do_unit(
    config: Config, out: Path, config_folder: Path, unit: Unit, todo: Todo, progress: Progress
) -> Done:
    """One unit in this process: trained, tested and restarted, as far as `todo` says."""
    plan = Plan(config, RunFolder(out), config_folder, strict=False)
    progress.about(unit_name(unit))
    dataset = run_dataset(plan)

    def part(wanted: bool, work: Callable[[Plan, Dataset, Unit, Progress], list[Path]]) -> Part | None:
        if not wanted:
            return None
        started = time.monotonic()
        return Part(work(plan, dataset, unit, progress), time.monotonic() - started)

    def together(wanted: bool, name: str) -> Part | None:
        if wanted:
            launched().tell({"work": name, "unit": unit})
        return part(wanted, TOGETHER[name])

    return Done(
        together(todo.train, "train"),
        part(todo.test, evaluate_trained),
        together(todo.restart, "restart"),
        peak_memory(),
    )
