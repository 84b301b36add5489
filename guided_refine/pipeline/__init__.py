"""The main job, stage by stage: data, language model, scores, tuning, backbones, refined variants, report.

`run(config, out)` does all of it; every stage is skipped when its inputs did not change, and continues where a
killed run stopped. `plan` says what is asked for and what it depends on, `checks` refuses early what must fail, `stages`
do the work, `units` train single models in processes of their own. `docs/architecture.md` draws how data flow.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal, get_args

from guided_refine.config import Config
from guided_refine.config_file import with_store_placed
from guided_refine.errors import InputError, nearest
from guided_refine.pipeline.checks import check_model, check_store
from guided_refine.pipeline.plan import Plan
from guided_refine.pipeline.stages import Stages
from guided_refine.pipeline.together import follow, leading
from guided_refine.processes import launched
from guided_refine.progress import Progress
from guided_refine.runfolder import RunFolder

__all__ = ["Until", "run"]

Until = Literal["score", "tune", "train", "refine", "report"]


def run(
    config: Config,
    out: Path | str,
    *,
    config_folder: Path | str = ".",
    until: Until = "report",
    strict: bool = False,
    update: bool = False,
    jobs: int | None = None,
    progress: Progress | None = None,
) -> RunFolder:
    """Bring the run folder `out` up to date with `config`, as far as stage `until`. Only "report" reads the test targets.

    `config_folder`: what relative paths in the config start from. `strict`: faulty rows stop the run.
    `update`: take over a folder that another config made.
    `jobs`: models trained at once (default: one per core). Raises `InputError` for anything the user can mend.

    Where a launcher started several processes, all call this and train each model together; the rest is done by the first.
    """
    if until not in get_args(Until):
        raise InputError(f"until '{until}' is no stage: {nearest(until, get_args(Until))}")
    if jobs is not None and launched().count > 1:
        raise InputError(
            "jobs is for one process; launched together, the processes train one model at a time: leave it out"
        )
    folder = RunFolder(out)
    plan = Plan(with_store_placed(config, Path(config_folder)), folder, Path(config_folder), strict=strict)
    if not launched().first:
        follow(plan)
        return folder
    with leading():
        _lead(plan, until, update=update, jobs=jobs, progress=progress)
    return folder


def _lead(plan: Plan, until: Until, *, update: bool, jobs: int | None, progress: Progress | None) -> None:
    folder = plan.folder
    stages = Stages(plan, tests=until == "report", jobs=jobs, progress=progress)
    steps: dict[Until, Callable[[], None]] = {
        "score": stages.score,
        "tune": stages.tune,
        "train": stages.train,
        "refine": stages.refine,
        "report": stages.report,
    }
    with folder.lock():
        folder.open(plan.config, update=update)
        if progress is not None:
            progress.log_to(folder.log)
        if until in ("score", "tune") or (until != "train" and (plan.needs_scores or plan.needs_texts)):
            check_model(plan)
            check_store(plan)
        steps[until]()
