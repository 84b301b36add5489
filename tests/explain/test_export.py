"""Case studies as files and as a command: every format, the same each time, and clear words for wrong use."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from guided_refine.cli import main
from guided_refine.errors import InputError
from guided_refine.explain.cases.schema import case_schema
from guided_refine.explain.explainer import Explainer
from guided_refine.explain.export import FORMATS, case_study, export_case, render
from guided_refine.runfolder import RunFolder


def said(capsys: pytest.CaptureFixture[str], *argv: object, code: int = 0) -> str:
    """What the command prints, on standard error where it is refused."""
    assert main([str(one) for one in argv]) == code
    out, err = capsys.readouterr()
    return err if code else out


def test_json_is_the_case(finished: RunFolder, tmp_path: Path) -> None:
    path = export_case(finished.root, "u2", "json", tmp_path / "new" / "case.json", item="i3", k=3)
    case = case_study(Explainer.open(finished.root), "u2", item="i3", k=3)
    assert json.loads(path.read_text(encoding="utf-8")) == case


def test_the_same_case_gives_the_same_file(finished: RunFolder, tmp_path: Path) -> None:
    assert FORMATS == ("html", "json", "md", "png")
    for format in FORMATS[:3]:  # of a picture test_picture.py knows it
        first = export_case(finished.root, "u3", format, tmp_path / f"a.{format}").read_bytes()
        assert export_case(finished.root, "u3", format, tmp_path / f"b.{format}").read_bytes() == first


def test_unknown_format_and_a_place_that_cannot_be_written(finished: RunFolder, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no export format 'pgn': did you mean 'png'"):
        export_case(finished.root, "u1", "pgn", tmp_path / "case.png")
    with pytest.raises(InputError, match="no export format"):
        render({}, "pdf")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        export_case(finished.root, "u1", "html", tmp_path / "file" / "case.html")
    with pytest.raises(InputError, match="holds files of the run itself"):
        export_case(finished.root, "u1", "json", finished.manifest_file)


def test_a_run_that_has_no_refined_model_yet(tmp_path: Path) -> None:
    from tiny_run import make_run

    run = make_run(tmp_path / "run", tmp_path / "source", until="base")
    before = {path: path.read_bytes() for path in run.root.rglob("*") if path.is_file()}
    with pytest.raises(
        InputError, match="has no trained refined model yet; finish it with: guided-refine run"
    ):
        export_case(run.root, "u1", "html", tmp_path / "case.html")
    assert {path: path.read_bytes() for path in run.root.rglob("*") if path.is_file()} == before
    assert not (tmp_path / "case.html").exists()


# ------------------------------------------------------------------------------------------------ the command


def test_the_format_is_what_the_file_ends_in(
    finished: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, options, begin in (
        ("a.json", [], b"{"),
        ("a.md", [], b"# Why"),
        ("a.htm", [], b"<!doctype"),
        ("a.txt", ["--format", "md"], b"# Why"),
        ("a.PNG", [], b"\x89PNG"),
    ):
        out = tmp_path / name
        assert said(capsys, "export", finished.root, "--user", "u1", "--out", out, *options).strip() == str(
            out
        )
        assert out.read_bytes().startswith(begin)
    said(
        capsys,
        "export",
        finished.root,
        "--user",
        "u1",
        "--k",
        2,
        "--item",
        "i3",
        "--out",
        tmp_path / "b.json",
    )
    case = json.loads((tmp_path / "b.json").read_text(encoding="utf-8"))
    assert (case["k"], case["asked"]["item_id"]) == (2, "i3")


def test_the_schema_is_printed_without_a_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert json.loads(said(capsys, "export", "--schema")) == case_schema()


def test_batches(finished: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "users.txt").write_text("u1\nu2\n", encoding="utf-8")
    out = tmp_path / "some"
    printed = said(
        capsys, "export", finished.root, "--users", tmp_path / "users.txt", "--out", out, "--k", 2, "--json"
    )
    assert json.loads(printed) == {
        "index": str(out / "index.html"),
        "files": {"u1": str(out / "u1.html"), "u2": str(out / "u2.html")},
    }
    most = [
        "export",
        finished.root,
        "--most-moved",
        "--format",
        "json",
        "--out",
        tmp_path / "most",
        "--quiet",
        "--direct-only",
    ]
    assert said(capsys, *most).strip() == str(tmp_path / "most" / "index.html")
    files = list((tmp_path / "most").glob("*.json"))
    assert len(files) == 20
    assert {json.loads(file.read_text(encoding="utf-8"))["through_encoder"] for file in files} == {None}
    said(capsys, "export", finished.root, "--most-moved", 2, "--k", 2, "--out", tmp_path / "two", "--quiet")
    assert len(list((tmp_path / "two").glob("u*.html"))) == 2


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (["--user", "u1", "--out", "OUT"], "name the run folder"),
        (["RUN", "--out", "OUT"], "name one of --user"),
        (["RUN", "--user", "u1", "--most-moved", "3", "--out", "OUT"], "name one of --user"),
        (["RUN", "--user", "u1"], "say where to write: --out FILE"),
        (["RUN", "--most-moved"], "say where to write: --out FOLDER"),
        (["RUN", "--most-moved", "--item", "i1", "--out", "OUT"], "--item goes with --user"),
        (["RUN", "--users", "nowhere.txt", "--out", "OUT"], "nowhere.txt does not exist"),
        (["RUN", "--schema"], "needs nothing else"),
        (["RUN", "--user", "u11x", "--out", "OUT"], "nearest: u11"),
        (["nowhere", "--user", "u1", "--out", "OUT"], "nowhere is not a run folder"),
        (
            ["RUN", "--user", "u1", "--out", "c.pdf"],
            "ends in '.pdf', which is none of .html, .json, .md and .png",
        ),
        (["RUN", "--user", "u1", "--out", ""], "--out: the path is empty"),
        (["RUN", "--users", "", "--out", "OUT"], "--users: the path is empty"),
        (["RUN", "--user", "u1", "--direct-only", "--out", "FILE/c.html"], "is a file, not a folder"),
        (["RUN", "--user", "u1", "--direct-only", "--format", "md", "--out", "FOLDER"], "it is a folder"),
        (["RUN", "--users", "FOLDER", "--out", "OUT"], "is a folder; --users takes a file"),
    ],
)
def test_wrong_use_is_one_sentence(
    finished: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str], argv: list[str], sentence: str
) -> None:
    out = tmp_path / "out.html"
    (tmp_path / "file").write_text("", encoding="utf-8")
    places = {"RUN": str(finished.root), "OUT": str(out), "FOLDER": str(tmp_path)}
    places["FILE/c.html"] = str(tmp_path / "file" / "c.html")
    told = said(capsys, "export", *(places.get(one, one) for one in argv), code=2)
    assert sentence in told and told.count("\n") == 1
    assert not out.exists()
