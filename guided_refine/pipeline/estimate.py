"""`score --dry-run`: what is missing and what it would cost; nothing is scored and nothing written."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from guided_refine.config import Config
from guided_refine.config_file import with_store_placed
from guided_refine.pipeline.checks import check_config, check_model, check_scoring_device, check_texts
from guided_refine.pipeline.plan import Plan
from guided_refine.pipeline.units import run_dataset
from guided_refine.progress import Progress
from guided_refine.runfolder import RunFolder

if TYPE_CHECKING:
    from guided_refine.data.dataset import Dataset
    from guided_refine.scoring.estimate import Estimate
    from guided_refine.scoring.remote.estimate import Estimate as RemoteEstimate


def estimate_run(
    config: Config, out: Path | str, *, config_folder: Path | str = ".", strict: bool = False
) -> Estimate | RemoteEstimate:
    """What `score` would do in the run folder `out`; untuned scores only, as nobody knows a tuned model before tuning.

    A model on this machine is tried for a moment, a remote one is asked nothing. Nothing is written into `out`: data that
    it does not hold yet are prepared elsewhere and thrown away. Raises `InputError` for all that would end the run
    before its first score.
    """
    folder = RunFolder(out)
    plan = Plan(with_store_placed(config, Path(config_folder)), folder, Path(config_folder), strict=strict)
    check_config(plan, None)
    check_model(plan)
    if not config.is_remote:
        check_scoring_device(plan)
    with tempfile.TemporaryDirectory(prefix="guided-refine-") as temporary:
        if folder.is_done("data", plan.key(plan.data_inputs)):
            dataset = run_dataset(plan)
        else:
            dataset = _prepared_elsewhere(plan, RunFolder(Path(temporary)))
        check_texts(plan, dataset)
        store = plan.store if plan.store_exists else Path(temporary) / "store.sqlite"
        return (_remote if config.is_remote else _local)(plan, dataset, store)


def _remote(plan: Plan, dataset: Dataset, store: Path | str) -> RemoteEstimate:
    from guided_refine.pipeline.remote import remote_workload
    from guided_refine.scoring.remote.estimate import estimate
    from guided_refine.scoring.store import ScoreStore

    with ScoreStore(store) as opened:
        return estimate(remote_workload(plan, dataset), opened, ledger=plan.folder.remote_tokens)


def _local(plan: Plan, dataset: Dataset, store: Path | str) -> Estimate:
    from guided_refine.scoring.estimate import estimate, estimate_untrained
    from guided_refine.scoring.language_model import load_language_model
    from guided_refine.scoring.store import ScoreStore

    options, builtin = plan.config.llm_options, plan.config.llm == "builtin"
    if builtin and not plan.folder.is_done("builtin", plan.key(plan.model_inputs)):
        return estimate_untrained("builtin", dataset, plan.attributes, options)
    model = load_language_model(plan.model_spec, options, name="builtin" if builtin else None)
    with ScoreStore(store) as opened:
        return estimate(model, dataset, plan.attributes, options, opened)


def _prepared_elsewhere(plan: Plan, folder: RunFolder) -> Dataset:
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
