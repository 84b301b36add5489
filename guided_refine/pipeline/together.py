"""A run in several launched processes: the first does everything, the others take part in each training as it is announced.

Preparing data, scoring, ranking and reporting are the first one's alone; it holds the run folder's lock and writes
all files. Models are tuned and trained one after the other, each by all processes, which read the run folder from one
file system.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING

from guided_refine.config import TrainConfig
from guided_refine.machine import usable_cores
from guided_refine.pipeline.plan import Plan
from guided_refine.pipeline.units import TOGETHER, run_dataset
from guided_refine.processes import launched, unseen
from guided_refine.progress import Progress

if TYPE_CHECKING:
    from guided_refine.data.dataset import Dataset


def threads_each(config: TrainConfig) -> AbstractContextManager[None]:
    """Inside, torch has this process's share of the cores, or the threads that the config gives it."""
    from guided_refine.backbones.training import torch_threads

    return torch_threads(config.threads or max(1, usable_cores() // launched().local_count))


@contextmanager
def leading() -> Iterator[None]:
    """In the first process: do the work of a run inside; the others are let go at its end.

    An error lets them go too, once this process ends: they may be in the middle of a training, where they do not listen.
    """
    launched().join()
    with unseen() if launched().count > 1 else nullcontext():
        yield
    launched().tell(None)


def follow(plan: Plan) -> None:
    """In all processes but the first: take part in trainings until there are no more.

    Raises `InputError` where another process has ended.
    """
    dataset: Dataset | None = None
    launched().join()
    with threads_each(plan.config.train), _ended_at_once(), unseen():
        while (said := launched().tell()) is not None:
            dataset = dataset or run_dataset(plan)
            unit = None if said["unit"] is None else tuple(said["unit"])
            TOGETHER[said["work"]](plan, dataset, unit, Progress(quiet=True))


@contextmanager
def _ended_at_once() -> Iterator[None]:
    """Let SIGTERM end the process where it stands.

    It writes nothing that could be cut off, and while it waits for the others Python is told of no signal.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
