"""The dashboard served by the command line, as a user would start and stop it."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SECONDS = 300


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return int(probe.getsockname()[1])


@contextmanager
def served(run: Path) -> Iterator[str]:
    """Address of the dashboard on a run, which ends with the block; raises `RuntimeError` where it does not start."""
    port = free_port()
    words = ["-m", "guided_refine", "app", str(run), "--port", str(port), "--headless"]
    server = subprocess.Popen([sys.executable, *words])
    address = f"http://localhost:{port}"
    end = time.monotonic() + SECONDS
    try:
        while True:
            try:
                urllib.request.urlopen(f"{address}/_stcore/health", timeout=5).close()
                break
            except OSError as error:
                if server.poll() is not None or time.monotonic() > end:
                    raise RuntimeError(f"the dashboard of {run} did not start") from error
                time.sleep(0.2)
        yield address
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(timeout=60)
