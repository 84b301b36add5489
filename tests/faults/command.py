"""The command line of `python -m faults`.

Exit codes: 0 every fault was caught; 1 one survived; 2 the table does not fit the code, or a test fails without a fault.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from faults.plant import Verdict, check_sound, check_table, copied, try_fault
from faults.table import Fault, chosen, read_faults
from guided_refine.errors import InputError
from guided_refine.progress import Progress

ROOT = Path(__file__).resolve().parents[2]
TABLE = Path(__file__).with_name("faults.yaml")


def main(argv: Sequence[str] | None = None, *, root: Path = ROOT, table: Path = TABLE) -> int:
    """Plant the faults of `table` into a copy of the project at `root`; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m faults", description="Plant known faults, one at a time; every one must be caught."
    )
    parser.add_argument("--only", metavar="NAME", help="plant this one fault")
    parser.add_argument("--list", action="store_true", help="name the faults and end")
    args = parser.parse_args(argv)
    try:
        faults = chosen(read_faults(table), args.only)
        check_table(faults, root)
        if args.list:
            for fault in faults:
                print(f"{fault.name:{_width(faults)}}  {fault.what} ({fault.file})")
            return 0
        return _plant_all(faults, root)
    except InputError as error:
        print(f"faults: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("faults: interrupted; the checkout was not touched", file=sys.stderr)
        return 130


def _plant_all(faults: list[Fault], root: Path) -> int:
    progress = Progress()
    verdicts = []
    with copied(root) as copy, progress.bar("faults", total=len(faults) + 1) as task:
        progress.say("the named tests, without any fault")
        skipped = check_sound(faults, copy)
        task.advance()
        print(f"{'fault':{_width(faults)}}  seconds  caught by", flush=True)
        for fault in faults:
            verdict = try_fault(fault, copy, skipped)
            verdicts.append(verdict)
            print(_row(verdict, _width(faults)), flush=True)
            task.advance(1, fault=fault.name)
    survived = [v.fault.name for v in verdicts if v.ran and v.caught_by is None]
    left_out = sum(not v.ran for v in verdicts)
    total = sum(v.seconds for v in verdicts)
    print(
        f"{len(verdicts)} faults, {len(verdicts) - len(survived) - left_out} caught, {len(survived)} survived"
        f"{f', {left_out} not tried' if left_out else ''}, {total:.0f} s"
    )
    if survived:
        print(f"survived: {', '.join(survived)}")
    return 1 if survived else 0


def _row(verdict: Verdict, width: int) -> str:
    if not verdict.ran:
        found = "not tried: its tests were skipped, they need the shared data (GUIDED_REFINE_SHARED)"
    else:
        found = verdict.caught_by or "NOTHING: it survived"
    return f"{verdict.fault.name:{width}}  {verdict.seconds:7.1f}  {found}"


def _width(faults: list[Fault]) -> int:
    return max(len(fault.name) for fault in faults)
