"""The device check runs on any machine, here on the processor, finds nothing wrong, and notices what is."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "device_check.py"


@pytest.mark.slow
def test_quick_mode_checks_and_times_everything(tmp_path: Path) -> None:
    main = runpy.run_path(str(SCRIPT))["main"]
    file = tmp_path / "device.json"
    assert main(["--quick", "--device", "cpu", "--epochs", "2", "--json", str(file)]) == 0
    found = json.loads(file.read_text())
    assert len(found["checks"]) == 4 * 6 + 4 and all(row["ok"] for row in found["checks"])
    assert {(row["kind"], row["precision"]) for row in found["epochs"]} == {
        (kind, precision)
        for kind in ("sasrec", "gru4rec", "bert4rec")
        for precision in ("float32", "bfloat16")
    }
    assert all(row["seconds"] > 0 and row["share_of_matmul_rate"] > 0 for row in found["epochs"])
