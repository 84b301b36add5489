"""A run belongs to one config; a stage is skipped only when its inputs and files are as they were."""

from __future__ import annotations

from pathlib import Path

import pytest

from guided_refine.config import Config
from guided_refine.errors import InputError
from guided_refine.files import read_json, write_json, write_text
from guided_refine.runfolder import FORMAT, RunFolder


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    run = RunFolder(tmp_path / "run")
    run.open(Config(name="x"), update=False)
    return run


def test_a_stage_is_done_until_its_inputs_change_or_its_file_goes(folder: RunFolder) -> None:
    made = folder.root / "a.txt"
    write_text(made, "made")
    folder.record("stage", "hash", [made], 1.0, "loo:1")
    assert folder.is_done("stage", "hash")
    assert not folder.is_done("stage", "other hash")
    assert not folder.is_done("other stage", "hash")
    made.unlink()
    assert not folder.is_done("stage", "hash")


def test_a_truncated_artefact_is_named(folder: RunFolder) -> None:
    made = folder.root / "a.txt"
    write_text(made, "made")
    folder.record("stage", "hash", [made], 1.0, None)
    made.write_text("ma")
    with pytest.raises(InputError, match=r"a\.txt is damaged: it has 2 bytes, but stage wrote 4"):
        folder.is_done("stage", "hash")


def test_another_config_is_refused_unless_update(folder: RunFolder) -> None:
    made = folder.root / "a.txt"
    write_text(made, "made")
    folder.record("stage", "hash", [made], 1.0, None)
    other = Config(name="x", seed=5)
    with pytest.raises(InputError, match=r"another config \(differs in seed\)"):
        folder.open(other, update=False)
    assert folder.config().seed == 0
    folder.open(other, update=True)
    assert folder.config().seed == 5


def test_a_newer_folder_and_a_foreign_folder_are_refused(folder: RunFolder, tmp_path: Path) -> None:
    write_json(folder.manifest_file, {"format": FORMAT + 1, "version": "9.0", "stages": {}})
    with pytest.raises(InputError, match=r"newer guided-refine \(9\.0"):
        folder.open(Config(name="x"), update=True)
    foreign = tmp_path / "photos"
    foreign.mkdir()
    (foreign / "cat.jpg").write_bytes(b"cat")
    with pytest.raises(InputError, match="not a run folder"):
        RunFolder(foreign).open(Config(name="x"), update=True)
    assert [p.name for p in foreign.iterdir()] == ["cat.jpg"]


def test_the_manifest_carries_the_cut_off(folder: RunFolder) -> None:
    made = folder.root / "a.txt"
    write_text(made, "made")
    folder.record("stage", "hash", [made], 1.0, "leave_one_out:abc")
    assert read_json(folder.manifest_file)["stages"]["stage"]["cut_off"] == "leave_one_out:abc"
