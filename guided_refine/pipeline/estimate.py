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
from guided_refine.runfolder import RunFolder

if TYPE_CHECKING:
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
    from guided_refine.pipeline.remote import estimate_run as estimate_remote_run
    from guided_refine.pipeline.remote import prepared_elsewhere

    config = with_store_placed(config, Path(config_folder))
    if config.is_remote:
        return estimate_remote_run(config, out, config_folder=config_folder, strict=strict)
    folder = RunFolder(out)
    plan = Plan(config, folder, Path(config_folder), strict=strict)
    check_config(plan, None)
    check_model(plan)
    check_scoring_device(plan)
    with tempfile.TemporaryDirectory(prefix="guided-refine-") as temporary:
        if folder.is_done("data", plan.key(plan.data_inputs)):
            dataset = run_dataset(plan)
        else:
            dataset = prepared_elsewhere(plan, RunFolder(Path(temporary)))
        check_texts(plan, dataset)
        from guided_refine.scoring.estimate import estimate, estimate_untrained
        from guided_refine.scoring.language_model import load_language_model
        from guided_refine.scoring.store import ScoreStore

        options = config.llm_options
        if config.llm == "builtin" and not folder.is_done("builtin", plan.key(plan.model_inputs)):
            return estimate_untrained("builtin", dataset, plan.attributes, options)
        model = load_language_model(
            plan.model_spec, options, name="builtin" if config.llm == "builtin" else None
        )
        with ScoreStore(plan.store if plan.store_exists else Path(temporary) / "store.sqlite") as store:
            return estimate(model, dataset, plan.attributes, options, store)
