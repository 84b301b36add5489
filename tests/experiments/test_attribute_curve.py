"""The curve over the number of attributes: every cell once, controls that differ in one thing, results that can be kept."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from scripts import call
from tiny_run import make_run


def test_a_finished_cell_is_never_trained_again_and_the_results_are_its_own(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", tmp_path / "source", until="data")
    items = run.data / "items.parquet"
    frame = pd.read_parquet(items)
    words = ["apple pie", "steel hammer", "cotton shirt", "garden rose", "paper folder", "silver ring"]
    frame["text"] = [words[n % len(words)] for n in range(len(frame))]
    frame.to_parquet(items)
    tables = [
        "base",
        "topics-2",
        "topics-2-shuffled",
        "topics-2-trained",
        "columns-2",
        "words-2",
        "topics-2-lent",
    ]
    command = (run.root, "--out", tmp_path / "out", "--seeds", 1, 2, "--tables", *tables)
    first = call("attribute_curve.py", *command)
    assert first.count("validation") == 14
    cells = sorted((tmp_path / "out" / "units" / "sasrec").glob("*/seed*/model.safetensors"))
    made = [cell.stat().st_mtime_ns for cell in cells]
    (cells[0].parent / "cell.json").unlink()
    assert call("attribute_curve.py", *command).count("validation") == 1
    again = [cell.stat().st_mtime_ns for cell in cells]
    assert [a == b for a, b in zip(made, again, strict=True)] == [False] + [True] * 13
    rows = pd.DataFrame(json.loads((tmp_path / "out" / "metrics.json").read_text()))
    assert sorted(rows["variant"].unique()) == sorted(tables) and len(rows) == 14
    changes = json.loads((tmp_path / "out" / "differences.json").read_text())
    assert {tuple(row["seeds"]) for row in changes} == {(1, 2)}

    other = [*map(str, command), "--set", "max_epochs=1"]
    assert "other settings" in call("attribute_curve.py", *other, code=1)

    call("curve_results.py", run.root, tmp_path / "out", tmp_path, "--name", "kept", "--ours", "topics-2")
    kept = json.loads((tmp_path / "kept.json").read_text())
    assert kept["command"].endswith("--seeds 1 2 --tables " + " ".join(tables))
    assert len(kept["rows"]) == 14 and kept["refined"] == "topics-2" and len(kept["topics"]["2"]) == 2
    assert {row["against"] for row in kept["refined_against"]} == set(tables) - {"base", "topics-2"}
    assert (tmp_path / "kept.png").stat().st_size > 5000

    # What is validated without lending anything is what the trainings reached.
    call(
        "cold_items.py", run.root, tmp_path / "out", "--tables", "topics-2", "--json", tmp_path / "cold.json"
    )
    found = json.loads((tmp_path / "cold.json").read_text())
    cells = [
        tmp_path / "out" / "units" / "sasrec" / "topics-2" / f"seed{seed}" / "cell.json" for seed in (1, 2)
    ]
    reached = [json.loads(cell.read_text())["validation_ndcg@10"] for cell in cells]
    assert found["rows"][0]["length"] == "own" and found["seeds"] == [1, 2]
    assert found["rows"][0]["all"] == pytest.approx(sum(reached) / 2, abs=1e-6)


def test_a_base_of_the_run_is_not_trained_again(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", tmp_path / "source")
    ours = json.loads((run.unit("sasrec", "base", 0) / "row.json").read_text())
    call("attribute_curve.py", run.root, "--out", tmp_path / "same", "--seeds", 0, "--tables", "base")
    (row,) = json.loads((tmp_path / "same" / "metrics.json").read_text())
    assert row == ours
    other = ("--out", tmp_path / "other", "--seeds", 0, "--tables", "base", "--set", "max_epochs=1")
    call("attribute_curve.py", run.root, *other)
    (row,) = json.loads((tmp_path / "other" / "metrics.json").read_text())
    assert row["steps"] < ours["steps"]
    assert "other settings" in call("attribute_curve.py", run.root, *other[:3], 1, *other[4:6], code=1)
    # A base of settings that the folder asked for before is not today's.
    config = (run.root / "config.yaml").read_text().replace("max_epochs: 2", "max_epochs: 1")
    (run.root / "config.yaml").write_text(config)
    call("attribute_curve.py", run.root, "--out", tmp_path / "stale", "--seeds", 0, "--tables", "base")
    (row,) = json.loads((tmp_path / "stale" / "metrics.json").read_text())
    assert row["steps"] < ours["steps"]
