"""The page of results says what the committed results say."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "experiments" / "guided" / "results"


def test_the_tables_are_those_of_the_committed_results() -> None:
    """After new results: python experiments/tables.py."""
    found = subprocess.run(
        [sys.executable, str(ROOT / "experiments" / "tables.py"), "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr


@pytest.mark.parametrize("file", sorted(RESULTS.glob("*.json")), ids=lambda path: path.stem)
def test_every_result_says_how_it_was_made(file: Path) -> None:
    found = json.loads(file.read_text(encoding="utf-8"))
    assert (
        found["command"].startswith(("guided-refine ", "python experiments/")) and found["versions"]["torch"]
    )
    assert all(row["steps"] and row["seconds"] and row["converged"] for row in found["rows"])
    assert all(stage["machine"] for stage in found["stages"].values())
    page = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    assert f"<!-- table {file.stem} -->" in page
