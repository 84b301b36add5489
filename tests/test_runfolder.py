"""A run belongs to one config; a stage is skipped only when its inputs and files are as they were."""

from __future__ import annotations

import json
import subprocess
import sys
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


def test_a_run_of_an_earlier_version_stays_readable(folder: RunFolder) -> None:
    folder.open(Config(name="x"), update=False)
    text = folder.config_file.read_text(encoding="utf-8")
    write_text(folder.config_file, text.replace("llm_options:\n", "llm_options:\n  pretrain_minutes: 10.0\n"))
    assert "pretrain_minutes" in folder.config_file.read_text(encoding="utf-8")
    assert folder.config().sha256 == Config(name="x").sha256


def test_forgetting_a_stage_deletes_its_files_and_no_others(folder: RunFolder) -> None:
    for name in ("a", "b"):
        write_text(folder.root / f"{name}.txt", name)
        folder.record(name, "hash", [folder.root / f"{name}.txt"], 1.0, None)
    folder.forget("a")
    folder.forget("never there")
    assert not (folder.root / "a.txt").exists() and (folder.root / "b.txt").exists()
    assert list(folder.manifest()["stages"]) == ["b"]


def test_a_folder_in_use_is_refused_until_its_holder_is_gone(folder: RunFolder) -> None:
    hold = (
        f"import sys, time; from guided_refine.runfolder import RunFolder\n"
        f"with RunFolder({str(folder.root)!r}).lock():\n"
        "    print('held', flush=True); time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", hold], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None and other.stdout.readline() == "held\n"
        with pytest.raises(InputError, match="in use by another guided-refine"), folder.lock():
            pass
        other.kill()
    with folder.lock():
        assert (folder.root / ".lock").exists()


def test_what_a_killed_start_leaves_is_no_foreign_folder(tmp_path: Path) -> None:
    root = tmp_path / "run"
    root.mkdir()
    (root / ".lock").touch()
    (root / ".config.yaml.abc").touch()
    run = RunFolder(root)
    with run.lock():
        run.open(Config(name="x"), update=False)
    assert run.config().name == "x"


def test_a_lost_config_does_not_lose_the_run(folder: RunFolder) -> None:
    made = folder.root / "a.txt"
    write_text(made, "made")
    folder.record("stage", "hash", [made], 1.0, None)
    folder.config_file.unlink()
    folder.open(Config(name="x"), update=False)
    assert folder.is_done("stage", "hash")


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9, 0.99])
def test_a_config_that_was_cut_off_is_never_taken_for_a_whole_one(folder: RunFolder, kept: float) -> None:
    text = folder.config_file.read_text(encoding="utf-8")
    folder.config_file.write_text(text[: int(kept * len(text))], encoding="utf-8")
    with pytest.raises(InputError, match=r"config\.yaml.*delete it and make it anew"):
        folder.config()


def test_readers_refuse_a_newer_folder_and_a_damaged_manifest(folder: RunFolder) -> None:
    write_json(folder.manifest_file, {"format": FORMAT + 1, "version": "9.0", "stages": {}})
    with pytest.raises(InputError, match=r"newer guided-refine \(9\.0"):
        folder.config()
    folder.manifest_file.write_text('{"format": 1,', encoding="utf-8")
    with pytest.raises(InputError, match=r"manifest\.json is damaged.*every stage done again"):
        folder.config()


@pytest.mark.parametrize(
    "manifest",
    [[], {"format": "x", "stages": {}}, {"format": 1, "stages": []}, {"format": 1, "stages": {"data": {}}}],
)
def test_a_manifest_of_another_shape_is_one_sentence(folder: RunFolder, manifest: object) -> None:
    folder.manifest_file.write_text(json.dumps(manifest), encoding="utf-8")
    with pytest.raises(InputError, match="is not the manifest of a run"):
        folder.is_done("data", "x")


def test_readers_can_ask_whether_files_are_whole(folder: RunFolder) -> None:
    files = [folder.root / "a" / "x.txt", folder.root / "b" / "x.txt"]
    for file in files:
        write_text(file, "made")
    folder.record("stage", "hash", files, 1.0, None)
    folder.check_files()
    files[1].write_text("m")
    folder.check_files(folder.root / "a")
    with pytest.raises(InputError, match=r"b.x\.txt is damaged.*guided-refine run CONFIG --out"):
        folder.check_files()
    files[1].unlink()
    folder.check_files()


def test_a_file_that_is_gone_is_missed_where_it_is_asked_for(folder: RunFolder) -> None:
    files = [folder.root / "a" / "x.txt", folder.root / "b" / "x.txt"]
    for file in files:
        write_text(file, "made")
    folder.record("stage", "hash", files, 1.0, None)
    files[1].unlink()
    folder.check_files(folder.root / "a", files[0])
    for place in (folder.root / "b", files[1]):
        with pytest.raises(
            InputError, match=r"b.x\.txt is missing, but stage wrote it.*guided-refine run CONFIG --out"
        ):
            folder.check_files(place)


def test_whose_scores_are_final_is_what_the_manifest_says(folder: RunFolder) -> None:
    assert folder.final_source() == "untuned"
    write_text(folder.scores("tuned"), "")
    assert folder.final_source() == "tuned", "of a run that records nothing, what is there"
    folder.record("score_untuned", "hash", [], 1.0, None)
    assert folder.final_source() == "untuned"
    folder.record("score_tuned", "hash", [folder.scores("tuned")], 1.0, None)
    folder.scores("tuned").unlink()
    assert folder.final_source() == "tuned"


def test_a_run_that_is_no_longer_tuned_is_explained_with_the_scores_it_is_made_of(folder: RunFolder) -> None:
    folder.record("score_tuned", "hash", [], 1.0, None)
    folder.open(Config(name="t"), update=True)
    assert folder.final_source() == "tuned"
    folder.open(Config(name="t", tune={"enabled": False}), update=True)
    assert folder.final_source() == "untuned"
