"""The run's tuning, by one process or by all that a launcher started."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from guided_refine.pipeline.plan import Plan, Unit
from guided_refine.progress import Progress

if TYPE_CHECKING:
    from guided_refine.data.dataset import Dataset


def tune_run(plan: Plan, dataset: Dataset, base: Unit | None, progress: Progress) -> list[Path]:
    """Tune the adapter of a run; `base` is the trained model that task `base_recommender` adds to, else None.

    Returns the files. Of several launched processes the first one writes; the others return the same list.
    """
    from guided_refine.pipeline.units import load_unit, run_scores
    from guided_refine.refine.kept_base import KeptBase
    from guided_refine.scoring.language_model import load_language_model
    from guided_refine.tuning.tune import tune

    config = plan.config
    untuned = run_scores(plan, dataset, "untuned")["untuned"]
    kept = (
        None if base is None else KeptBase(load_unit(plan, base), dataset, untuned.item_value, config.refine)
    )
    tune(
        load_language_model(
            plan.model_spec, config.llm_options, name="builtin" if config.llm == "builtin" else None
        ),
        dataset,
        plan.attributes,
        config.tune,
        config.llm_options,
        plan.folder.tuning,
        item_scores=untuned,
        seed=config.seed,
        progress=progress,
        base=kept,
    )
    return sorted(p for p in plan.folder.tuning.rglob("*") if p.is_file() and not p.name.startswith("."))
