"""Curves for TensorBoard: what the training itself recorded, epoch by epoch, also after a kill; and no result moves."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from synthetic import random_dataset

from guided_refine.backbones import live_curves as module
from guided_refine.backbones.backbone import Backbone
from guided_refine.backbones.live_curves import CURVES, live_curves, need_tensorboard
from guided_refine.cli import main
from guided_refine.config import Config, TrainConfig
from guided_refine.config_file import parse_config
from guided_refine.errors import InputError

TINY = TrainConfig(width=8, max_length=6, layers=1, batch_size=16, max_epochs=3, patience=3, threads=1)
installed = pytest.mark.skipif(
    find_spec("tensorboard") is None, reason="the extra tensorboard is not installed"
)


def written(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard itself reads: (epoch, value) by curve."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder)).Reload()
    return {name: [(e.step, e.value) for e in events.Scalars(name)] for name in events.Tags()["scalars"]}


def expected(curve: list[dict[str, float]]) -> dict[str, list[tuple[int, float]]]:
    return {name: [(row["epoch"], pytest.approx(row[name], rel=1e-6)) for row in curve] for name in CURVES}


@installed
def test_the_curves_are_those_of_the_training_and_change_nothing(tmp_path: Path) -> None:
    dataset = random_dataset()
    silent, told = (Backbone.new("sasrec", dataset, TINY) for _ in range(2))
    fit = silent.fit(dataset)
    again = told.fit(dataset, logs=tmp_path / "tensorboard")
    assert written(tmp_path / "tensorboard") == expected(again.curve)
    assert [row["loss"] for row in again.curve] == [row["loss"] for row in fit.curve]
    assert all(
        torch.equal(a, b) for a, b in zip(silent._weights().values(), told._weights().values(), strict=True)
    )


@installed
def test_a_row_is_there_as_soon_as_it_is_told(tmp_path: Path) -> None:
    row = {"epoch": 1, "loss": 2.0, "ndcg@10": 0.5, "learning_rate": 0.001}
    with live_curves(tmp_path, []) as tell:
        for epoch in (1, 2):
            tell({**row, "epoch": epoch})
            assert [step for step, _ in written(tmp_path)["loss"]] == list(range(1, epoch + 1))


@installed
def test_a_killed_training_leaves_one_curve(tmp_path: Path) -> None:
    """The epoch that a kill cut off after its row was written, and before its checkpoint was, is there once."""
    rows = [{"epoch": e, "loss": 5.0 - e, "ndcg@10": e / 10, "learning_rate": 0.001} for e in (1, 2, 3, 4)]
    with live_curves(tmp_path, []) as tell:
        for row in rows[:3]:
            tell({**row, "loss": 9.0})
    with live_curves(tmp_path, rows[:2]) as tell:
        for row in rows[2:]:
            tell(row)
    assert written(tmp_path) == expected(rows)


@installed
def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(InputError, match="cannot be written"), live_curves(tmp_path / "file" / "x", []):
        pass


@installed
def test_a_run_keeps_each_models_curves_in_its_folder(tmp_path: Path) -> None:
    from guided_refine.evaluation.rows import read_fit
    from guided_refine.pipeline import run

    config = parse_config(
        {
            "name": "live",
            "data": {"reader": "sample", "options": {"n_items": 40, "n_users": 40}},
            "train": TINY.model_dump() | {"tensorboard": True},
            "variants": ["base"],
        }
    )
    folder = run(config, tmp_path / "run", until="train", jobs=1)
    unit = folder.unit("sasrec", "base", 0)
    assert written(unit / "tensorboard") == expected(read_fit(unit).curve)


def test_the_key_is_no_part_of_any_hash_or_saved_config() -> None:
    on, off = (Config(name="x", train={"tensorboard": value}) for value in (True, False))
    assert on.train.tensorboard and not off.train.tensorboard
    assert on.sha256 == off.sha256 and "tensorboard" not in on.model_dump(mode="json")["train"]


def test_a_missing_package_is_one_sentence_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    config = tmp_path / "c.yaml"
    config.write_text("name: c\ndata: {reader: sample}\ntrain: {tensorboard: true}\n", encoding="utf-8")
    assert main(["run", str(config), "--out", str(tmp_path / "run"), "--quiet"]) == 2
    said = capsys.readouterr().err
    assert "train.tensorboard needs the package tensorboard" in said and said.count("\n") == 1
    assert not (tmp_path / "run" / "data").exists()


def test_a_folder_of_that_name_is_not_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who stands in a model's folder has `tensorboard/` before him."""
    (tmp_path / "tensorboard").mkdir()
    monkeypatch.delitem(sys.modules, "tensorboard", raising=False)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    with pytest.raises(InputError, match="not installed"):
        need_tensorboard()
