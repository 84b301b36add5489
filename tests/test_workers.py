"""Work in processes: results come back, errors stop the rest, and nobody outlives a killed parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from guided_refine.errors import InputError
from guided_refine.progress import Progress
from guided_refine.workers import in_processes

QUIET = Progress(quiet=True)


def double(x: int, progress: Progress) -> int:
    with progress.task("double", total=1) as task:
        task.advance(1, loss=0.5)
    return 2 * x


def refuse(x: int, progress: Progress) -> int:
    if x == 1:
        raise InputError("one is not allowed")
    time.sleep(30)
    return x


def sleep_and_mark(path: str, progress: Progress) -> None:
    Path(path).write_text(str(os.getpid()))
    time.sleep(60)


def test_results_carry_their_index(tmp_path: Path) -> None:
    log = tmp_path / "run.log"
    results = dict(in_processes(double, [(i,) for i in range(5)], jobs=2, threads=1, progress=QUIET, log=log))
    assert results == {i: 2 * i for i in range(5)}
    assert log.read_text().count("double: done") == 5


def test_a_script_without_a_guarded_main_runs_once(tmp_path: Path) -> None:
    script = tmp_path / "plain.py"
    script.write_text(
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from test_workers import double, QUIET\n"
        "from guided_refine.workers import in_processes\n"
        "print('started')\n"
        "print(list(in_processes(double, [(4,)], jobs=1, threads=1, progress=QUIET, log=None)), __file__)\n"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True)
    assert done.stdout == f"started\n[(0, 8)] {script}\n"


def test_an_error_stops_the_others_at_once() -> None:
    with pytest.raises(InputError, match="one is not allowed"):
        list(in_processes(refuse, [(0,), (1,)], jobs=2, threads=1, progress=QUIET, log=None))


def test_workers_end_with_a_killed_parent(tmp_path: Path) -> None:
    mark = tmp_path / "pid"
    code = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from test_workers import sleep_and_mark, QUIET\n"
        "from guided_refine.workers import in_processes\n"
        "if __name__ == '__main__':\n"
        f"    list(in_processes(sleep_and_mark, [({str(mark)!r},)], jobs=1, threads=1, progress=QUIET, log=None))\n"
    )
    script = tmp_path / "parent.py"
    script.write_text(code)
    parent = subprocess.Popen([sys.executable, str(script)], stderr=subprocess.DEVNULL)
    while not mark.exists() or not mark.read_text():
        assert parent.poll() is None
        time.sleep(0.1)
    worker = int(mark.read_text())
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    for _ in range(100):
        if not _alive(worker):
            break
        time.sleep(0.1)
    assert not _alive(worker)


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"
