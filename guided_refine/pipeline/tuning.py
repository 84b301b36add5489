"""The run's tuning, by one process or by all that a launcher started."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from guided_refine.pipeline.plan import Plan, Unit
from guided_refine.progress import Progress

if TYPE_CHECKING:
    from guided_refine.data.dataset import Dataset
    from guided_refine.scoring.language_model import LanguageModel
    from guided_refine.scoring.scores import AttributeScores


def tune_run(plan: Plan, dataset: Dataset, base: Unit | None, progress: Progress) -> list[Path]:
    """Tune the adapter of a run; `base` is the trained model that task `base_recommender` adds to, else None.

    Returns the files. Of several launched processes the first one writes; the others return the same list.
    """
    from guided_refine.pipeline.units import load_unit, run_scores
    from guided_refine.refine.kept_base import KeptBase
    from guided_refine.scoring.language_model import load_language_model
    from guided_refine.tuning.tune import tune

    config = plan.config
    model = load_language_model(
        plan.model_spec, config.llm_options, name="builtin" if config.llm == "builtin" else None
    )
    if config.llm_options.digits == "soft":
        untuned = run_scores(plan, dataset, "untuned")["untuned"]
    else:
        untuned = _soft_scores(plan, dataset, model, progress)
    kept = (
        None if base is None else KeptBase(load_unit(plan, base), dataset, untuned.item_value, config.refine)
    )
    tune(
        model,
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


def _soft_scores(plan: Plan, dataset: Dataset, model: LanguageModel, progress: Progress) -> AttributeScores:
    """Soft scores of the untuned model, which tuning learns from where hard digits are kept; scoring stored them too."""
    from guided_refine.scoring.scorer import score_dataset
    from guided_refine.scoring.store import ScoreStore

    options = plan.config.llm_options.model_copy(update={"digits": "soft"})
    with ScoreStore(plan.store) as store:
        return score_dataset(
            model, dataset, plan.attributes, options, store, source="untuned", progress=progress
        )[0]
