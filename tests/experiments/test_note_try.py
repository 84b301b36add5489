"""What trainings reached is noted once each, under the settings that they had."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import pandas as pd
import pytest
from scripts import EXPERIMENTS
from tiny_run import make_run

from guided_refine.files import read_json


def test_units_of_the_config_are_noted_once_and_none_of_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = importlib.util.spec_from_file_location("note_try", EXPERIMENTS / "note_try.py")
    assert spec is not None and spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    table = tmp_path / "tries.csv"
    monkeypatch.setattr(script, "TABLE", table)
    run = make_run(tmp_path / "run", tmp_path / "source", until="refined", variants=["base", "refined"])
    # A unit of settings that were asked for before.
    shutil.copytree(run.unit("sasrec", "refined", 0), run.unit("sasrec", "shuffled", 0))
    assert script.add_tries(script.tries(run.root, "")) == 2
    assert script.add_tries(script.tries(run.root, "")) == 2
    assert script.add_tries(script.tries(run.root, "again")) == 4
    noted = pd.read_csv(table, keep_default_na=False)
    assert set(noted["variant"]) == {"base", "refined"} and set(noted["note"]) == {"", "again"}
    curve = read_json(run.unit("sasrec", "base", 0) / "fit.json")["curve"]
    reached = noted.loc[noted["variant"] == "base", "validation_ndcg@10"]
    assert reached.tolist() == [round(max(row["ndcg@10"] for row in curve), 5)] * 2
    assert noted["settings"].str.contains("train.width=16").all()
