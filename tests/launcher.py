"""Two processes on this machine's processors, started as the README says: by accelerate's launcher."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

SECONDS = 900


def launch(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a script, or `-m` and a module, in two processes that find each other."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    launcher = [
        "-m",
        "accelerate.commands.launch",
        "--multi_gpu",
        "--num_processes",
        "2",
        "--num_machines",
        "1",
    ]
    launcher += ["--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", str(port)]
    paths = [str(Path(__file__).resolve().parents[1]), *sys.path]
    return subprocess.run(
        [sys.executable, *launcher, *arguments],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
