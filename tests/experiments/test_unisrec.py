"""A rival of another library: its rows stand beside the run's, or one sentence where that library is not there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from scripts import call
from tiny_run import make_run

from guided_refine.bench.peer import HOW_TO_INSTALL, rectools_python
from guided_refine.data.dataset import load_dataset
from guided_refine.files import read_json


def test_its_rows_stand_beside_the_run_s_or_it_is_said_what_to_install(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", tmp_path / "source")
    vectors = np.random.default_rng(0).standard_normal((load_dataset(run.data).n_items, 6)).astype(np.float32)
    vectors[3] = np.nan
    save_file({"vectors": vectors}, run.text_vectors)
    out = tmp_path / "out"
    command = ("unisrec.py", run.root, "--out", out, "--epochs", 2, "--seeds", 0, "--set", "lr=0.01")
    if rectools_python() is None:
        assert HOW_TO_INSTALL in call(*command, code=1) and not out.exists()
        return
    assert "seed 0: validation" in call(*command)
    found = read_json(out / "result.json")
    rows = {row["variant"]: row for row in found["rows"]}
    assert set(rows) == {"base", "refined", "unisrec"}
    assert (
        len({row["n_users"] for row in rows.values()})
        == len({row["split_sha256"] for row in rows.values()})
        == 1
    )
    (gain,) = (d for d in found["differences"] if (d["variant"], d["metric"]) == ("unisrec", "mrr"))
    assert gain["mean"] == pytest.approx(rows["unisrec"]["mrr"] - rows["base"]["mrr"])
    before = (out / "units" / "seed0" / "per_user.parquet").stat().st_mtime_ns
    call(*command)
    assert (out / "units" / "seed0" / "per_user.parquet").stat().st_mtime_ns == before
    assert "other settings" in call(*command[:-1], "lr=0.02", code=1)


def test_a_run_without_text_vectors_is_refused(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", tmp_path / "source", until="data")
    assert "no text vectors" in call("unisrec.py", run.root, "--out", tmp_path / "out", code=1)
