"""A run in two launched processes: the first does everything but training, both train, and both end when one fails."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from launcher import launch

from guided_refine.backbones.backbone import Backbone
from guided_refine.config_file import load_config
from guided_refine.data.dataset import load_dataset
from guided_refine.runfolder import RunFolder

PLAIN = """
name: plain
data: {reader: sample, options: {n_items: 60, n_users: 150}}
backbones: [sasrec]
train: {width: 16, max_length: 20, batch_size: 32, max_epochs: 2, dropout: 0, threads: 1}
variants: [base]
evaluate: {bootstrap: 200}
"""


def curve(folder: RunFolder) -> list[float]:
    return [
        row["loss"]
        for row in json.loads((folder.unit("sasrec", "base", 0) / "fit.json").read_text())["curve"]
    ]


def test_a_launched_pair_trains_one_run(tmp_path: Path) -> None:
    config = tmp_path / "plain.yaml"
    config.write_text(PLAIN, encoding="utf-8")
    done = launch("-m", "guided_refine", "train", str(config), "--out", str(tmp_path / "run"))
    assert done.returncode == 0, done.stderr
    # Of the two one speaks.
    assert done.stdout.count("train: done in") == done.stderr.count("data: started") == 1
    folder = RunFolder(tmp_path / "run")
    assert folder.manifest()["stages"]["sasrec/base/seed0"]["processes"] == 2
    alone = Backbone.new(
        "sasrec",
        load_dataset(folder.data),
        load_config(config, ["train.batch_size=64"]).train,
    )
    expected = [row["loss"] for row in alone.fit(load_dataset(folder.data)).curve]
    assert curve(folder) == pytest.approx(expected, rel=1e-5)
    assert not (folder.unit("sasrec", "base", 0) / "checkpoint").exists()


def test_what_processes_share_is_closed_before_python_ends(tmp_path: Path) -> None:
    # Left open, gloo's threads abort about every sixth process while Python ends: too seldom for one run to show.
    script = tmp_path / "meet.py"
    script.write_text(
        "import atexit, os, pathlib, torch.distributed as dist\n"
        "from guided_refine.processes import launched\n"
        "own = pathlib.Path(__file__).with_name('open' + os.environ['RANK'])\n"
        "atexit.register(lambda: own.write_text(str(dist.is_initialized())))\n"
        "assert launched().tell(3 if launched().first else None) == 3 and dist.is_initialized()\n",
        encoding="utf-8",
    )
    done = launch(str(script))
    assert done.returncode == 0, done.stderr
    # A file each: what two processes print into one pipe may mix.
    assert [(tmp_path / f"open{rank}").read_text() for rank in (0, 1)] == ["False", "False"]


@pytest.mark.slow
def test_a_whole_run_by_a_pair_scores_and_tunes_once(small_config: Path, tmp_path: Path) -> None:
    out = str(tmp_path / "run")
    done = launch(
        "-m", "guided_refine", "run", str(small_config), "--out", out, "--set", "evaluate.warm_restart=true"
    )
    assert done.returncode == 0, done.stderr
    stages = RunFolder(out).manifest()["stages"]
    together = {name for name, entry in stages.items() if entry.get("processes") == 2}
    units = {f"{b}/{v}/seed3" for b, v in (("sasrec", "base"), ("sasrec", "refined"), ("sasrec", "shuffled"))}
    units |= {"gru4rec/base/seed3", "gru4rec/refined/seed3"}
    assert together == units | {f"{unit}/restart" for unit in units}
    assert (tmp_path / "run" / "report.md").exists()
    before = (tmp_path / "run" / "manifest.json").read_bytes()
    again = launch(
        "-m", "guided_refine", "run", str(small_config), "--out", out, "--set", "evaluate.warm_restart=true"
    )
    assert again.returncode == 0, again.stderr
    assert (tmp_path / "run" / "manifest.json").read_bytes() == before


@pytest.mark.slow
def test_an_error_of_the_first_ends_both(tmp_path: Path) -> None:
    config = tmp_path / "plain.yaml"
    config.write_text(PLAIN.replace("reader: sample", "reader: tables, path: nowhere"), encoding="utf-8")
    done = launch("-m", "guided_refine", "train", str(config), "--out", str(tmp_path / "run"))
    assert done.returncode != 0 and "nowhere does not exist" in done.stderr
    refused = launch("-m", "guided_refine", "explain", str(tmp_path / "run"), "--user", "1")
    assert refused.returncode != 0 and "explain runs in one process" in refused.stderr
