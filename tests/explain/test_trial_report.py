"""The trial as files and lines: what stands there is what was found, and another model's trial is not shown."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from matplotlib.image import imread

from guided_refine.cli import main
from guided_refine.explain.explainer import Explainer
from guided_refine.explain.trial_report import (
    ANSWER,
    FOLDER,
    PLOTS,
    format_trial,
    read_trial,
    verdict,
)
from guided_refine.files import read_json
from guided_refine.runfolder import RunFolder


def test_numbers_and_plots_lie_in_the_run(tried: Path) -> None:
    found = read_json(tried / FOLDER / ANSWER)
    assert found["model"]["backbone"] == "sasrec" and found["sample"]["users"] == 8
    for name in PLOTS:
        picture = imread(tried / FOLDER / name)
        assert picture.std() > 0.01 and min(picture.shape[:2]) > 200
    assert read_trial(Explainer.open(tried)) == found


def test_a_trial_of_other_weights_is_not_shown(tried: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(tried, run)
    explainer = Explainer.open(run)
    other = RunFolder(run).unit("sasrec", "base", 0) / "model.safetensors"
    shutil.copy(other, RunFolder(run).unit("sasrec", "refined", 0) / "model.safetensors")
    assert read_trial(explainer) is None


def test_the_text_holds_the_numbers(tried: Path) -> None:
    found = read_json(tried / FOLDER / ANSWER)
    text = " ".join(format_trial(found).split())
    assert text.startswith(verdict(found))
    entry = found["curves"]["encoder"]["deletion"]
    assert f"{entry['mean']:.3f} [{entry['lower']:.3f}, {entry['upper']:.3f}]" in text
    for view in ("direct", "encoder"):
        entry = found["curves"][view]["insertion"]
        assert f"{entry['mean']:+.2f} [{entry['lower']:+.2f}, {entry['upper']:+.2f}]" in text
    for row in found["importance"]:
        assert row["attribute"].replace("_", " ") in text
    assert "8 of 30" in text


def test_from_the_command_line(tried: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", str(tried), "--sample", "3", "--quiet"]) == 0
    assert "(in place of those of 8 users that lay there)" in capsys.readouterr().out
    name = read_json(tried / FOLDER / ANSWER)["importance"][0]["attribute"]
    command = ["explain", str(tried), "--user", "u6", "--quiet"]
    assert main([*command, "--more", name, "--taste", f"{name}=0.8", "--k", "4"]) == 0
    assert capsys.readouterr().out.count("\n") == 5
    assert main([*command, "--item", "i3", "--instead-of", "i4"]) == 0
    assert "sum to the difference" in capsys.readouterr().out
    assert main([*command, "--item", "i3", "--item-score", f"{name}=0.8"]) == 0
    assert f"{name.replace('_', ' ')} at 0.80 in" in capsys.readouterr().out
    assert main([*command, "--through-encoder"]) == 0
    assert "every attribute at its mean" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (["--item", "i3"], "need --user U"),
        (["--through-encoder"], "need --user U"),
        (["--user", "u6", "--item-score", "humour=0.3"], "--item I"),
        (
            ["--user", "u6", "--item", "i3", "--item-score", "humour"],
            "--item-score humour: expected NAME=SCORE",
        ),
        (["--user", "u6", "--sample", "4"], "leave out --user or --sample"),
        (["--user", "u6", "--taste", "humour"], "expected NAME=SCORE"),
        (["--user", "u6", "--more", "humor"], "no attribute 'humor': did you mean"),
        (["--user", "u6", "--smallest"], "--item I"),
        (
            ["--user", "u6", "--more", "humour", "--less", "humour"],
            "'humour' stands more than once in --more and --less",
        ),
        (["--user", "u6", "--taste", "humour=0.1", "--taste", "humour=0.9"], "more than once in --taste"),
        (["--user", "u6", "--item", "i3", "--instead-of", "i3"], "name the same item, 'i3'"),
        (["--sample", "0"], "not a whole number of 1 or more"),
    ],
)
def test_wrong_questions_get_one_sentence(
    tried: Path, more: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explain", str(tried), *more]) == 2
    error = capsys.readouterr().err.strip()
    assert sentence in error and "\n" not in error
