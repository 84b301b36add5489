"""A run's models: several at once in workers, or one after the other by all processes of a launcher."""

from __future__ import annotations

from collections.abc import Iterator

from guided_refine.machine import usable_cores
from guided_refine.pipeline.plan import Plan, Unit
from guided_refine.pipeline.together import threads_each
from guided_refine.pipeline.units import Done, Todo, do_unit
from guided_refine.processes import launched
from guided_refine.progress import Progress
from guided_refine.workers import in_processes


def do_units(
    plan: Plan, todo: dict[Unit, Todo], n_units: int, jobs: int | None, progress: Progress
) -> Iterator[tuple[Unit, Done]]:
    """Yield each unit of `todo` when it is done; they do not depend on each other.

    Workers share the cores. The share is reckoned from all `n_units`, done or not, so that a continued run has the same
    threads each, and with them the same numbers.
    """
    if launched().count > 1:
        yield from _by_all(plan, todo, progress)
        return
    jobs = max(1, min(jobs or usable_cores(), n_units))
    threads = plan.config.train.threads or max(1, usable_cores() // jobs)
    arguments = [(plan.config, plan.folder.root, plan.config_folder, *one) for one in todo.items()]
    for index, done in in_processes(
        do_unit, arguments, jobs=jobs, threads=threads, progress=progress, log=plan.folder.log
    ):
        yield list(todo)[index], done


def _by_all(plan: Plan, todo: dict[Unit, Todo], progress: Progress) -> Iterator[tuple[Unit, Done]]:
    progress.log(f"{launched().count} processes train each model together")
    for unit, parts in todo.items():
        # One of its own, since what it says is about this unit.
        telling = Progress(quiet=progress.quiet, log=plan.folder.log)
        with threads_each(plan.config.train):
            done = do_unit(plan.config, plan.folder.root, plan.config_folder, unit, parts, telling)
        yield unit, done
