"""The scripts under experiments/, called as people call them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

EXPERIMENTS = Path(__file__).resolve().parents[1] / "experiments"


def call(script: str, *arguments: object, code: int = 0) -> str:
    """Run one to its end, which must be `code`; returns what it said."""
    done = subprocess.run(
        [sys.executable, str(EXPERIMENTS / script), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(EXPERIMENTS.parent), "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr
