"""A run whose language model is behind an address: scoring it, and saying beforehand what that costs."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from guided_refine.config import Config
from guided_refine.errors import InputError
from guided_refine.pipeline.checks import check_config, check_model, check_texts
from guided_refine.pipeline.plan import Plan
from guided_refine.pipeline.units import run_dataset
from guided_refine.progress import Progress
from guided_refine.runfolder import RunFolder

if TYPE_CHECKING:
    from guided_refine.data.dataset import Dataset
    from guided_refine.scoring.remote.estimate import Estimate
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
        _workload(plan, dataset),
        store,
        ledger=plan.folder.remote_tokens,
        seed=plan.config.seed,
        progress=progress,
    )


def estimate_run(
    config: Config, out: Path | str, *, config_folder: Path | str = ".", strict: bool = False
) -> Estimate:
    """What scoring a run by its remote model would cost, and how much of it `out` has already; no request is made.

    Nothing is written into `out`: data that it does not hold yet are prepared elsewhere and thrown away. Raises
    `InputError` when `llm` is not an address, and for all that would end the run before its first request.
    """
    from guided_refine.scoring.remote.estimate import estimate
    from guided_refine.scoring.store import ScoreStore

    if not config.is_remote:
        raise InputError(
            f"a dry run says what a remote model costs, but llm is {config.llm}, which runs here and costs no tokens"
        )
    folder = RunFolder(out)
    plan = Plan(config, folder, Path(config_folder), strict=strict)
    check_config(plan, None)
    check_model(plan)
    with tempfile.TemporaryDirectory(prefix="guided-refine-") as temporary:
        if folder.is_done("data", plan.key(plan.data_inputs)):
            dataset = run_dataset(plan)
        else:
            dataset = prepared_elsewhere(plan, RunFolder(Path(temporary)))
        check_texts(plan, dataset)
        with ScoreStore(plan.store if plan.store_exists else Path(temporary) / "store.sqlite") as store:
            return estimate(_workload(plan, dataset), store, ledger=folder.remote_tokens)


def _workload(plan: Plan, dataset: Dataset) -> Workload:
    from guided_refine.scoring.remote.texts import beside_config
    from guided_refine.scoring.remote.workload import Workload

    return Workload(dataset, plan.attributes, beside_config(plan.config.llm_options, plan.config_folder))


def prepared_elsewhere(plan: Plan, folder: RunFolder) -> Dataset:
    """The dataset that the run would have, prepared in another folder."""
    from guided_refine.data.prepare import prepare

    config = plan.config
    prepare(
        config.data.reader,
        plan.source,
        folder.data,
        options=config.data,
        name=config.name,
        strict=plan.strict,
        progress=Progress(quiet=True),
    )
    return run_dataset(Plan(config, folder, plan.config_folder, strict=plan.strict))
