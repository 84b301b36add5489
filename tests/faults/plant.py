"""A copy of the project, one fault in it at a time, and what the tests say."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from faults.one_run import run_tests
from faults.table import Fault
from guided_refine.errors import InputError

# What the tests need; a project without one of these does without.
COPIED = ("guided_refine", "tests", "attributes", "apps", "experiments", "pyproject.toml")
# A planted fault may make a loop endless.
SECONDS = 600.0
# A fault after which Python itself stops has shown nothing about the tests.
BROKEN = (
    "SyntaxError",
    "IndentationError",
    "NameError",
    "UnboundLocalError",
    "ImportError",
    "ModuleNotFoundError",
)


@dataclass(frozen=True)
class Verdict:
    """How one fault fared: the test that failed (None: it survived), what it said, and the seconds that took.

    `ran`: False where all its tests were skipped, because they need data that are not here.
    """

    fault: Fault
    caught_by: str | None
    said: str
    seconds: float
    ran: bool = True


@contextmanager
def copied(root: Path) -> Iterator[Path]:
    """A temporary copy of the project at `root`, bytecode included; gone afterwards."""
    with TemporaryDirectory(prefix="faults-") as folder:
        copy = Path(folder) / "project"
        copy.mkdir()
        if (root.parent / "shared").is_dir():
            # Tests look for the shared data beside the project.
            (copy.parent / "shared").symlink_to((root.parent / "shared").resolve())
        for name in COPIED:
            source = root / name
            if source.is_dir():
                shutil.copytree(source, copy / name)
            elif source.exists():
                shutil.copy2(source, copy / name)
        yield copy


@contextmanager
def planted(fault: Fault, copy: Path) -> Iterator[None]:
    """The fault is in the copy inside, and gone afterwards, times of the file included."""
    path = copy / fault.file
    text, status = path.read_text(encoding="utf-8"), path.stat()
    path.write_text(fault.planted(text), encoding="utf-8")
    try:
        yield
    finally:
        path.write_text(text, encoding="utf-8")
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def check_table(faults: Sequence[Fault], root: Path) -> None:
    """Raises `InputError` for the first fault whose file or text is no longer there."""
    for fault in faults:
        path = root / fault.file
        if not path.is_file():
            raise InputError(f"fault {fault.name}: there is no file {fault.file}")
        fault.planted(path.read_text(encoding="utf-8"))


def check_sound(faults: Sequence[Fault], copy: Path) -> set[str]:
    """Run all named tests on the copy as it is; returns the skipped ones. Raises `InputError` unless the rest pass."""
    tests = list(dict.fromkeys(test for fault in faults for test in fault.tests))
    outcome = run_tests(copy, tests, stop_early=False, seconds=len(tests) * SECONDS)
    if outcome is None:
        raise InputError("without any fault the named tests do not come to an end")
    if outcome.failed:
        raise InputError(f"without any fault {outcome.failed[0]} fails already: {_line(outcome.said)}")
    if outcome.code != 0:
        raise InputError(
            f"without any fault the named tests cannot be run: {_line(outcome.said) or 'not found'}"
        )
    return set(outcome.skipped)


def try_fault(fault: Fault, copy: Path, skipped: set[str]) -> Verdict:
    """Plant one fault and run its tests. Raises `InputError` where the planted code is no program any more."""
    started = time.monotonic()
    if all(any(_belongs(node, test) for node in skipped) for test in fault.tests):
        return Verdict(fault, None, "", 0.0, ran=False)
    with planted(fault, copy):
        outcome = run_tests(copy, fault.tests, stop_early=True, seconds=SECONDS)
    seconds = time.monotonic() - started
    if outcome is None:
        raise InputError(
            f"fault {fault.name}: its tests did not end within {SECONDS:.0f} s; plant it otherwise"
        )
    if outcome.code not in (0, 1) or outcome.said.startswith(BROKEN):
        raise InputError(
            f"fault {fault.name}: the planted code does not run, so it shows nothing ({_line(outcome.said)}); "
            "plant it otherwise"
        )
    caught = outcome.failed[0] if outcome.failed else None
    return Verdict(fault, caught, _line(outcome.said), seconds)


def _belongs(node: str, test: str) -> bool:
    """Whether a node that ran is the named test or one of its parameters."""
    return node == test or node.startswith(f"{test}[")


def _line(text: str) -> str:
    return next(iter(text.splitlines()), "")
