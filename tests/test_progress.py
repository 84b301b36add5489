"""Whoever waits hears something: bars on a terminal, lines in the log."""

from __future__ import annotations

from pathlib import Path

import pytest

from guided_refine import progress as module
from guided_refine.progress import Progress


def test_a_long_task_leaves_signs_of_life(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter(float(t) for t in range(0, 10_000, 25))
    monkeypatch.setattr(module.time, "monotonic", lambda: next(clock))
    progress = Progress(log=tmp_path / "run.log")
    progress.about("sasrec/base/seed1")
    with progress.task("train", total=10) as task:
        for epoch in range(10):
            task.advance(epoch=epoch, loss=0.5)
    lines = [line.split(" ", 2)[2] for line in (tmp_path / "run.log").read_text().splitlines()]
    assert lines[0].startswith(
        "sasrec/base/seed1: train: 30% after 1 min, at most 3 min left (epoch 2, loss 0.5)"
    )
    assert lines[-1].startswith("sasrec/base/seed1: train: done in")
    assert len(lines) == 4  # every 75 s of 250
    assert lines[0] in capsys.readouterr().err


def test_a_short_task_is_one_line(tmp_path: Path) -> None:
    progress = Progress(quiet=True, log=tmp_path / "run.log")
    with progress.task("read") as task:
        task.advance(5)
    assert (tmp_path / "run.log").read_text().count("\n") == 1


def test_steps_of_an_earlier_start_say_nothing_of_the_speed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(float(t) for t in range(0, 10_000, 100))
    monkeypatch.setattr(module.time, "monotonic", lambda: next(clock))
    progress = Progress(quiet=True, log=tmp_path / "run.log")
    with progress.task("train", total=100) as task:
        task.resume(90)
        task.advance()
    # One step in 100 s, nine to go; not 91 steps in 100 s.
    assert "train: 91% after 2 min, at most 15 min left" in (tmp_path / "run.log").read_text()
