"""Finished runs of both ways in which scores are joined with free vectors."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tiny_run import make_run

from guided_refine.explain.trial_report import explain_run
from guided_refine.runfolder import RunFolder


@pytest.fixture(scope="session")
def summed(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """As `finished`, with scores added to vectors of full width, strongly enough to matter after two epochs; read only."""
    folder = tmp_path_factory.mktemp("summed")
    return make_run(
        folder / "run", folder / "source", refine={"fuse": "sum", "scale": 3.0, "user_weight": 20.0}
    )


@pytest.fixture(scope="session")
def silent(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """As `summed`, of a model that the users' own scores do not enter; read only."""
    folder = tmp_path_factory.mktemp("silent")
    return make_run(folder / "run", folder / "source", refine={"fuse": "sum", "users": False})


@pytest.fixture(scope="module", params=["finished", "summed"])
def either(request: pytest.FixtureRequest) -> RunFolder:
    """One of the two runs."""
    run: RunFolder = request.getfixturevalue(request.param)
    return run


@pytest.fixture(scope="session")
def tried(finished: RunFolder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of `finished` whose explanations were tried on eight users; read only."""
    run = tmp_path_factory.mktemp("tried") / "run"
    shutil.copytree(finished.root, run)
    explain_run(run, users=8)
    return run
