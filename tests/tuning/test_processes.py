"""Two launched processes tune as one does: the gradients of every term and task, and the adapter that comes out."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import pytest
import torch
import tune_pair
from launcher import launch
from safetensors.torch import load_file


def test_two_processes_tune_as_one(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = launch(str(Path(tune_pair.__file__)), str(tiny_folder), str(tmp_path / "two"))
    assert done.returncode == 0, done.stderr[-3000:]

    alone = tune_pair.gradients(tiny_folder)
    pair = load_file(tmp_path / "two" / "gradients.safetensors")
    assert pair.keys() == alone.keys()
    for part in {name.rpartition("/")[0] for name in alone}:
        assert any(g.abs().max() > 1e-4 for name, g in alone.items() if name.startswith(part))
    assert all(any(f"/{task}/" in name for name in alone) for task in tune_pair.OTHER_TASKS)
    for name, gradient in alone.items():
        torch.testing.assert_close(
            pair[name], gradient, rtol=1e-6, atol=1e-6, msg=lambda m, n=name: f"{n}: {m}"
        )

    monkeypatch.setattr(sys, "argv", ["tune_pair", str(tiny_folder), str(tmp_path / "one")])
    tune_pair.main()
    rows = []
    for name in ("one", "two"):
        with (tmp_path / name / "tuning" / "curves.csv").open() as stream:
            rows.append(list(csv.DictReader(stream)))
    # Pieces draw their dropout by their number, so it is the same in whichever process they are read.
    for one, two in zip(*rows, strict=True):
        assert one.keys() == two.keys()
        for column in one:
            assert bool(one[column]) == bool(two[column])
            if one[column]:
                assert float(two[column]) == pytest.approx(float(one[column]), rel=2e-3, abs=1e-4), column
    weights = [
        load_file(tmp_path / n / "tuning" / "adapter" / "adapter_model.safetensors") for n in ("one", "two")
    ]
    moved = max(w.abs().max() for k, w in weights[0].items() if "lora_B" in k)
    assert max((weights[0][k] - weights[1][k]).abs().max() for k in weights[0]) < 0.05 * moved
    assert not list((tmp_path / "two" / "tuning").glob("unfinished-*"))
