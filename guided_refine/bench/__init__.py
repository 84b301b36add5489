"""`guided-refine bench NAME`: ours and what one would use instead, measured in turn in one run."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from guided_refine.files import write_json
from guided_refine.progress import Progress

#: name -> module with `run(progress) -> list of rows`
BENCHES = {"scoring": "guided_refine.bench.scoring"}


def run_bench(name: str, *, json_file: Path | None, progress: Progress) -> list[dict[str, Any]]:
    """Run a bench, print its rows, and write them to `json_file` where given.

    A row is `{name, case, ours, peer, peer_name, unit, ratio, equal_results, machine}`; a ratio above 1 means ours
    is better.
    """
    measure: Callable[[Progress], list[dict[str, Any]]] = import_module(BENCHES[name]).run
    rows = measure(progress)
    for row in rows:
        peer = f"{row['peer']:.3g} ({row['peer_name']})"
        print(f"{row['case']}: {row['ours']:.3g} {row['unit']} against {peer}: {row['ratio']:.1f}x")
    if json_file is not None:
        write_json(json_file, rows)
    return rows
