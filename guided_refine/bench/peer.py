"""The other side of a bench: a recommender library in an environment of its own, called as a subprocess.

A peer lives under `benchmarks/peers` of a checkout: a script that reads one job and writes one result, and a virtual
environment that `make -C benchmarks/peers NAME` makes. Where it is not there the bench runs without it and says so.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from guided_refine.errors import InputError
from guided_refine.files import read_json, write_json

NAME = "RecTools"
HOW_TO_INSTALL = (
    "RecTools is not installed here, so nothing is compared; in a checkout: make -C benchmarks/peers rectools"
)

_PEERS = Path(__file__).resolve().parents[2] / "benchmarks" / "peers"
_LAST_LINES = 5


def rectools_python(peers: Path = _PEERS) -> Path | None:
    """The interpreter of RecTools' environment, or None where it was not made."""
    for place in ("bin/python", "Scripts/python.exe"):
        python = peers / ".venv-rectools" / place
        if python.exists():
            return python
    return None


def run_rectools(job: dict[str, Any], out: Path, *, python: Path, peers: Path = _PEERS) -> dict[str, Any]:
    """Run one job of `benchmarks/peers/rectools/peer.py` to its end; returns its result.

    `out` is where its files go. Raises `InputError` with the last lines it said when it fails.
    """
    out.mkdir(parents=True, exist_ok=True)
    file = out / "job.json"
    write_json(file, {**job, "out": str(out)})
    threads = str(job["threads"])
    done = subprocess.run(
        [str(python), str(peers / "rectools" / "peer.py"), str(file)],
        env={**os.environ, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads},
        capture_output=True,
        text=True,
    )
    if done.returncode or not (out / "result.json").exists():
        said = " | ".join((done.stderr or done.stdout).strip().splitlines()[-_LAST_LINES:])
        raise InputError(f"RecTools' side of the bench failed (exit code {done.returncode}): {said}")
    answer: dict[str, Any] = read_json(out / "result.json")
    return answer


def settings_line(settings: dict[str, Any]) -> str:
    """Settings as one line.

    >>> settings_line({"width": 64, "loss": "softmax"})
    'width 64, loss softmax'
    """
    return ", ".join(f"{k} {v if isinstance(v, str) else json.dumps(v)}" for k, v in settings.items())
