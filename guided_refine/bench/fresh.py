"""Work in a fresh process, so that its memory is its own, and what came of it.

The peaks of the two sides are compared as whole processes: interpreter and libraries included, since a user pays for
them too.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from typing import Any

from guided_refine.machine import peak_memory
from guided_refine.progress import Progress
from guided_refine.workers import in_processes


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


def in_fresh_process(work: Callable[..., Any], *arguments: Any, threads: int, progress: Progress) -> Any:
    """`work(*arguments, progress)` in a process of its own with so many threads; an error there is raised here."""
    ((_, result),) = in_processes(work, [arguments], jobs=1, threads=threads, progress=progress, log=None)
    return result


def timed(work: Callable[[], Any], repeats: int) -> tuple[list[float], Any]:
    """Seconds of each of `repeats` calls after one that does not count, and what the last returned."""
    seconds = []
    result = work()
    for _ in range(repeats):
        started = time.perf_counter()
        result = work()
        seconds.append(time.perf_counter() - started)
    return seconds, result


def summary(seconds: list[float]) -> dict[str, Any]:
    """Median and all repetitions, with the peak memory of this process in MiB and the machine's load.

    >>> summary([3.0, 1.0, 2.0])["median"]
    2.0
    """
    return {
        "median": statistics.median(seconds),
        "seconds": [round(s, 4) for s in seconds],
        "peak_mib": peak_memory(),
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    }
