"""`guided-refine store ...` and `score --dry-run`, from the command line on a real run."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path

import pandas as pd
import pytest

from guided_refine.cli import main
from guided_refine.files import read_json
from guided_refine.runfolder import RunFolder
from guided_refine.scoring.store import ScoreStore


@pytest.fixture()
def run(small_run: Path, tmp_path: Path) -> RunFolder:
    """A finished run that a test may change."""
    shutil.copytree(small_run, tmp_path / "run")
    return RunFolder(tmp_path / "run")


def said(capsys: pytest.CaptureFixture[str], *argv: object, code: int = 0) -> str:
    """What a command prints, on standard error where it fails."""
    capsys.readouterr()
    assert main([str(a) for a in argv]) == code
    out, err = capsys.readouterr()
    assert code != 2 or len(err.splitlines()) == 1
    return out if code == 0 else err


def test_info_of_a_run_names_models_and_attributes(
    run: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    facts = json.loads(said(capsys, "store", "info", run.root, "--json"))
    assert facts == json.loads(said(capsys, "store", "info", run.store, "--json"))
    assert {(g["model"], bool(g["adapter"]), g["kind"]) for g in facts["groups"]} == {
        ("builtin", tuned, kind) for tuned in (False, True) for kind in ("item", "user")
    }
    assert {g["attribute"] for g in facts["groups"]} >= {"humour", "suspense"}
    counts = [read_json(run.scores(s).with_suffix(".json")) for s in ("untuned", "tuned")]
    assert facts["scores"] == sum(c["scored"] for c in counts)
    assert "humour" in said(capsys, "store", "info", run.root)


def test_verify_says_so_and_mends(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    assert ": sound, " in said(capsys, "store", "verify", run.root)
    with sqlite3.connect(run.store) as connection:
        connection.execute("UPDATE scores SET value = 7 WHERE text = 1")
    assert "has faulty rows" in said(capsys, "store", "verify", run.root, code=2)
    assert "mended" in said(capsys, "store", "verify", run.root, "--mend")
    assert json.loads(said(capsys, "store", "verify", run.root, "--json")) == []


def test_gc_keeps_what_a_run_reads(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    with ScoreStore(run.store) as store:
        count = store.count()
    assert f": 0 of {count:,} scores may go" in said(capsys, "store", "gc", run.root, "--keep", run.root)
    # Another run that only has the untuned scores.
    other = run.root.with_name("other")
    shutil.copytree(run.root, other)
    RunFolder(other).scores("tuned").unlink()
    tuned = read_json(run.scores("tuned").with_suffix(".json"))["scored"]
    assert f": {tuned:,} of {count:,} scores may go; add --delete" in said(
        capsys, "store", "gc", run.root, "--keep", other
    )
    assert "were deleted" in said(capsys, "store", "gc", run.root, "--keep", other, "--delete")
    with ScoreStore(run.store) as store:
        assert store.count() == count - tuned
    assert "say what may go" in said(capsys, "store", "gc", run.root, code=2)
    assert "is not a run folder" in said(capsys, "store", "gc", run.root, "--keep", run.data, code=2)
    assert "not a number of days" in said(capsys, "store", "gc", run.root, "--older-than", "x", code=2)
    summary = run.scores("untuned").with_suffix(".json")
    summary.write_text("{}")
    assert "by an earlier version" in said(capsys, "store", "gc", run.root, "--keep", run.root, code=2)


def test_export_equals_the_runs_own_table(
    run: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The multiset of untuned item scores in the export is the one in `scores.parquet`, equal texts once."""
    target = tmp_path / "scores.parquet"
    said(capsys, "store", "export", run.root, "--out", target)
    ours, theirs = pd.read_parquet(target), pd.read_parquet(run.score_table)
    ours = ours[(ours["kind"] == "item") & (ours["adapter"] == "")]
    theirs = theirs[(theirs["kind"] == "item") & (theirs["source"] == "untuned")]
    for name in theirs["attribute"].unique():
        a = set(ours.loc[ours["attribute"] == name, "value"])
        assert a == set(theirs.loc[theirs["attribute"] == name, "value"])
    assert "must end in" in said(capsys, "store", "export", run.root, "--out", tmp_path / "x.txt", code=2)


def test_a_store_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for what in ("info", "verify"):
        assert "does not exist" in said(capsys, "store", what, tmp_path / "none.sqlite", code=2)
    assert "is not a run folder" in said(capsys, "store", "info", tmp_path, code=2)
    assert "cannot be reached" in said(capsys, "store", "info", "postgresql://a@127.0.0.1:1/x", code=2)
    assert list(tmp_path.iterdir()) == []


def test_runs_share_a_store_and_the_second_asks_the_model_nothing(
    run: RunFolder, small_config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Another place for the scores changes no result, so nothing is done anew for it; and what is there is not redone."""
    shared = tmp_path / "shared.sqlite"
    shutil.copy(run.store, shared)
    dry = ["score", small_config, "--out", run.root, "--set", f"store={shared}", "--dry-run"]
    assert "all 600 scores are in the store" in said(capsys, *dry, "--quiet")
    run.store.unlink()
    facts = json.loads(said(capsys, *dry, "--json"))
    assert facts["items"]["scores"] == facts["users"]["scores"] == 0 and facts["seconds"] is None
    nowhere = said(capsys, "score", small_config, "--out", run.root, "--dry-run", "--json")
    assert json.loads(nowhere)["items"]["scores"] == 600 and json.loads(nowhere)["seconds"] > 0
    assert not run.store.exists()
    run.scores("untuned").unlink()
    said(capsys, *dry[:-1], "--quiet")
    summary = read_json(run.scores("untuned").with_suffix(".json"))
    assert (summary["scored"], summary["passes"]) == (0, 0)
    assert RunFolder(run.root).config().store == str(shared)
    assert not run.store.exists()


def test_a_dry_run_before_the_first_run_leaves_nothing(
    small_config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    text = said(capsys, "score", small_config, "--out", out, "--dry-run", "--quiet")
    assert "600 of 600 scores are missing (60 texts)" in text and "trained first" in text
    assert not out.exists()


def test_a_wrong_store_is_refused_before_the_work_and_its_password_shown_nowhere(
    small_config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    store = "store=postgresql://ann:s3cret@127.0.0.1:1/x"
    text = said(capsys, "score", small_config, "--out", out, "--set", store, "--quiet", code=2)
    assert "cannot be reached" in text and "s3cret" not in text
    assert not (out / "data").exists()
    everything = b"".join(path.read_bytes() for path in out.rglob("*") if path.is_file())
    assert b"s3cret" not in everything and b"postgresql://ann@127.0.0.1:1/x" in everything
