"""A run whose language model is behind an address: what it asks, and scoring it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from guided_refine.pipeline.plan import Plan
from guided_refine.progress import Progress

if TYPE_CHECKING:
    from guided_refine.data.dataset import Dataset
    from guided_refine.scoring.remote.score import RemoteSummary
    from guided_refine.scoring.remote.workload import Workload
    from guided_refine.scoring.scores import AttributeScores
    from guided_refine.scoring.store import ScoreStore


def score_remotely(
    plan: Plan, dataset: Dataset, store: ScoreStore, progress: Progress
) -> tuple[AttributeScores, RemoteSummary]:
    """Untuned scores of a run's items and users. Raises `InputError` as `score_remote` does."""
    from guided_refine.scoring.remote.score import score_remote

    return score_remote(
        plan.config.llm,
        remote_workload(plan, dataset),
        store,
        ledger=plan.folder.remote_tokens,
        seed=plan.config.seed,
        progress=progress,
    )


def remote_workload(plan: Plan, dataset: Dataset) -> Workload:
    """What a run asks its remote model. Raises `InputError` when the tokenizer folder that the config names is unusable."""
    from guided_refine.scoring.remote.texts import beside_config
    from guided_refine.scoring.remote.workload import Workload

    return Workload(dataset, plan.attributes, beside_config(plan.config.llm_options, plan.config_folder))
