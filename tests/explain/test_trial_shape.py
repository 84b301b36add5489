"""A trial's file as it is passes; whatever else stands there is either of no use to a reader or told in one sentence."""

from __future__ import annotations

import contextlib
import copy
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from guided_refine.cli import main
from guided_refine.errors import InputError
from guided_refine.explain.explainer import Explainer
from guided_refine.explain.trial_report import (
    ANSWER,
    FOLDER,
    draw_beeswarm,
    draw_curves,
    draw_importance,
    draw_segments,
    format_trial,
    read_trial,
)
from guided_refine.explain.trial_shape import trial_fault
from guided_refine.files import read_json, write_json


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every value inside a JSON value; of a list, to the first only."""
    if path:
        yield path
    if isinstance(value, dict):
        for key, child in value.items():
            yield from places(child, (*path, key))
    elif isinstance(value, list) and value:
        yield from places(value[0], (*path, 0))


def spoilt(found: dict[str, Any], path: tuple[Any, ...], put: Any) -> dict[str, Any]:
    other = copy.deepcopy(found)
    target: Any = other
    for key in path[:-1]:
        target = target[key]
    if put is places:
        del target[path[-1]]
    else:
        target[path[-1]] = put
    return other


@pytest.mark.parametrize("put", [places, None, "x", 7, [], {}, [{"mean": "x"}]])
def test_whatever_passes_can_be_read(tried: Path, put: Any) -> None:
    found = read_json(tried / FOLDER / ANSWER)
    assert trial_fault(found) is None
    refused = 0
    for path in places(found):
        other = spoilt(found, path, put)
        if trial_fault(other) is None:
            with contextlib.suppress(InputError):  # a trial of no user says nothing
                format_trial(other)
        else:
            refused += 1
    assert refused > 20


@pytest.mark.parametrize("key", ["points", "curve_means", "segments", "importance"])
def test_what_plots_need_is_asked_for(tried: Path, tmp_path: Path, key: str) -> None:
    found = read_json(tried / FOLDER / ANSWER)
    for number, path in enumerate(path for path in places(found[key])):
        for put in (places, "x"):
            other = spoilt(found, (key, *path), put)
            if trial_fault(other) is None:
                for draw in (draw_importance, draw_curves, draw_beeswarm, draw_segments)[
                    : 1 if number else 4
                ]:
                    draw(other, tmp_path / "plot.png")


@pytest.mark.parametrize("content", ["[]", "null", "{}", '{"weights": 3}', '"x"', '{"weights": '])
def test_a_damaged_file_is_one_sentence_with_its_command(
    tried: Path, tmp_path: Path, content: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "a run"
    shutil.copytree(tried, run)
    file = run / FOLDER / ANSWER
    file.write_text(content, encoding="utf-8")
    with pytest.raises(
        InputError, match=r"trial\.json is damaged.*make it anew with: guided-refine explain '"
    ):
        read_trial(Explainer.open(run))
    assert main(["export", str(run), "--user", "u1", "--direct-only", "--out", str(tmp_path / "c.md")]) == 2
    error = capsys.readouterr().err
    assert "trial.json is damaged" in error and error.count("\n") == 1


def test_a_trial_that_lost_a_part_is_damaged(tried: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(tried, run)
    file = run / FOLDER / ANSWER
    found = read_json(file)
    del found["curves"]["direct"]
    write_json(file, found)
    with pytest.raises(InputError, match=r"trial\.json is damaged.*curves\.direct.*guided-refine explain"):
        read_trial(Explainer.open(run))
