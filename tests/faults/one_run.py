"""Some tests in a process of their own, under the package that lies in a given folder.

Imports nothing of the package: the process must find the copy, not the checkout.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

# What tests import and no fault is ever planted in: read once, inherited by every process.
HEAVY = [
    "hypothesis",
    "pandas",
    "peft",
    "pydantic",
    "pytest",
    "safetensors.torch",
    "scipy.stats",
    "sklearn.decomposition",
    "sklearn.linear_model",
    "sqlalchemy",
    "torch",
    "transformers",
    "transformers.models.llama.modeling_llama",
]


@dataclass
class Outcome:
    """Node ids by how they ended; `said`: the first failure in words; `code`: pytest's exit code, 0, 1 or a refusal."""

    passed: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    said: str = ""
    code: int = 0


class _Recorder:
    """A pytest plugin that fills an `Outcome`."""

    def __init__(self) -> None:
        self.outcome = Outcome()

    def pytest_runtest_logreport(self, report: Any) -> None:
        out = self.outcome
        if report.failed:
            out.failed.append(report.nodeid)
            self._say(report)
        elif report.skipped:
            out.skipped.append(report.nodeid)
        elif report.when == "call":
            out.passed.append(report.nodeid)

    def pytest_collectreport(self, report: Any) -> None:
        if report.failed:
            self._say(report)

    def _say(self, report: Any) -> None:
        crash = getattr(report.longrepr, "reprcrash", None)
        said = crash.message if crash is not None else str(report.longrepr)
        self.outcome.said = self.outcome.said or said.strip()


def run_tests(folder: Path, tests: list[str], *, stop_early: bool, seconds: float) -> Outcome | None:
    """Run pytest on `tests` (node ids) in a new process whose current folder is `folder`; None when time ran out.

    `stop_early`: end with the first failure. Every run draws the same random examples and shrinks none.
    """
    methods = multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
    if isinstance(context, multiprocessing.context.ForkServerContext):
        context.set_forkserver_preload(HEAVY)
    answer, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(folder, tests, stop_early, theirs))
    process.start()
    theirs.close()
    try:
        if not answer.poll(seconds):
            return None
        outcome: Outcome = answer.recv()
        # It has said all; what it opened it may still close.
        process.join(10)
        return outcome
    except EOFError:
        return Outcome(said="the process that ran the tests died", code=3)
    finally:
        process.kill()
        process.join()


def _work(folder: Path, tests: list[str], stop_early: bool, answer: Connection) -> None:
    import pytest
    from hypothesis import Phase, settings

    os.chdir(folder)
    # First in line, before the checkout that is installed; processes that tests start find the copy too.
    sys.path.insert(0, str(folder))
    os.environ["PYTHONPATH"] = str(folder)
    # The server that this process was forked from may have been started by somebody who had read the checkout's package.
    for name in [name for name in sys.modules if name.partition(".")[0] == "guided_refine"]:
        del sys.modules[name]
    # Bytecode of a planted file must not outlive it.
    sys.dont_write_bytecode = True
    settings.register_profile(
        "faults", phases=[Phase.explicit, Phase.generate], derandomize=True, database=None, deadline=None
    )
    settings.load_profile("faults")
    with open(os.devnull, "w") as nowhere:  # noqa: PTH123 (a device)
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
    recorder = _Recorder()
    options = ["-p", "no:cacheprovider", "--tb=short", *(["-x"] if stop_early else [])]
    recorder.outcome.code = int(pytest.main([*options, *tests], plugins=[recorder]))
    answer.send(recorder.outcome)
