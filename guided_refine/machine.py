"""On which machine a number was made, and how much memory it took."""

from __future__ import annotations

import functools
import os
import platform
import sys
from pathlib import Path


@functools.cache
def machine() -> str:
    """Processor, usable cores and memory in one line.

    >>> "cores" in machine()
    True
    """
    parts = [_processor(), f"{usable_cores()} cores"]
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        parts.append(f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.0f} GiB")
    return ", ".join(parts)


def usable_cores() -> int:
    """Processor cores that this process may use.

    >>> usable_cores() >= 1
    True
    """
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


def _processor() -> str:
    lines = _lines("/proc/cpuinfo")
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8").splitlines()
    except OSError:
        return []


def peak_memory() -> int | None:
    """The most memory this process has held so far, in MiB; None where the system does not tell."""
    # Not getrusage on Linux: its figure is never below what the parent held when it started this process.
    for line in _lines("/proc/self/status"):
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) // 2**10
    try:
        import resource
    except ImportError:  # not a Unix
        return None
    # Linux counts in KiB, macOS in bytes.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (
        2**20 if sys.platform == "darwin" else 2**10
    )
