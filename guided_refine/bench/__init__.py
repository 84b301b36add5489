"""`guided-refine bench NAME`: ours and what one would use instead, measured in turn in one run."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import Any

from guided_refine.errors import InputError
from guided_refine.files import write_json
from guided_refine.progress import Progress

#: name -> module with `run(progress, *, options ...) -> list of rows`
BENCHES = {
    "scoring": "guided_refine.bench.scoring",
    "backbones": "guided_refine.bench.backbones",
    "ranking": "guided_refine.bench.ranking",
    "curves": "guided_refine.bench.curves",
    "store": "guided_refine.bench.store",
    "tuning": "guided_refine.bench.tuning",
}


def run_bench(
    name: str, *, json_file: Path | None, progress: Progress, **options: Any
) -> list[dict[str, Any]]:
    """Run a bench, print its rows, and write them to `json_file` where given.

    `options` are what the command line offers; None stands for one that was not given. A row is `{name, case, ours,
    peer, peer_name, unit, ratio, equal_results, machine}` and, where there is more to say, `notes`; a ratio above 1 means
    ours is better. Without a peer `peer`, `peer_name` and `ratio` are None.

    Raises `InputError` for an option that this bench does not have.
    """
    measure: Callable[..., list[dict[str, Any]]] = import_module(BENCHES[name]).run
    given = {key: value for key, value in options.items() if value is not None}
    known = [key for key in signature(measure).parameters if key in options]
    for key in given:
        if key not in known:
            offered = ", ".join(f"--{k}" for k in known) or "none"
            raise InputError(f"bench {name} has no option --{key}; its options: {offered}")
    rows = measure(progress, **given)
    for row in rows:
        print(shown(row))
    if json_file is not None:
        write_json(json_file, rows)
    return rows


def shown(row: dict[str, Any]) -> str:
    """A row as lines for a terminal.

    >>> print(shown({"case": "a", "ours": 2.0, "unit": "s", "peer": 6.0, "peer_name": "B", "ratio": 3.0, "notes": ["n"]}))
    a: 2 s against 6 (B): 3.0x
      n
    """
    line = f"{row['case']}: {row['ours']:.3g} {row['unit']}"
    if row["peer"] is not None:
        line += f" against {row['peer']:.3g} ({row['peer_name']}): {row['ratio']:.1f}x"
    return "\n  ".join([line, *row.get("notes", [])])
