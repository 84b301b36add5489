"""Many case studies at once: one safe file each, an index that links them, all or nothing for a wrong user."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
from tiny_run import USERS

from guided_refine.errors import InputError
from guided_refine.explain.cases.batch import refuse_run_files, write_cases
from guided_refine.explain.cases.moved import distances
from guided_refine.explain.cases.shared import Shared
from guided_refine.explain.explainer import Explainer
from guided_refine.explain.export import case_study, export_cases, export_most_moved, render
from guided_refine.runfolder import RunFolder


class Links(HTMLParser):
    """Where a page's links go, and the words they stand under."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.found: dict[str, str] = {}
        self.at: str | None = None
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a":
            self.at = unquote(str(dict(attrs)["href"]))
            self.found[self.at] = ""

    def handle_endtag(self, tag: str) -> None:
        self.at = None if tag == "a" else self.at

    def handle_data(self, data: str) -> None:
        if self.at is not None:
            self.found[self.at] += data


def test_users_of_a_file_get_a_file_each_and_a_line_in_the_index(finished: RunFolder, tmp_path: Path) -> None:
    users = tmp_path / "users.txt"
    users.write_text("u3\nu1\nu3\nu2\n", encoding="utf-8")
    written = export_cases(finished.root, users, "md", tmp_path / "out", k=3)
    assert list(written.files) == ["u3", "u1", "u2"]
    explainer = Explainer.open(finished.root)
    for user, path in written.files.items():
        assert path.read_bytes() == render(case_study(explainer, user, k=3), "md")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"index.html", "u1.md", "u2.md", "u3.md"}
    assert Links(written.index).found == {"u3.md": "u3", "u1.md": "u1", "u2.md": "u2"}


def test_doing_it_again_gives_the_same_files(finished: RunFolder, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export_cases(finished.root, ["u1", "u2"], "html", out)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    (out / "u1.html").unlink()
    (out / "u2.html").write_bytes(b"cut")
    export_cases(finished.root, ["u1", "u2"], "html", out)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_a_user_who_is_wrong_stops_it_before_anything_is_written(finished: RunFolder, tmp_path: Path) -> None:
    users = tmp_path / "users.txt"
    users.write_text("u1\nu2\n\nu99\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"users.txt, line 4: no user 'u99'.*nearest: u9"):
        export_cases(finished.root, users, "html", tmp_path / "out")
    with pytest.raises(InputError, match="user 2: no user 'nobody'"):
        export_cases(finished.root, ["u1", "nobody"], "html", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_most_moved_are_those_whose_lists_differ_most(finished: RunFolder, tmp_path: Path) -> None:
    written = export_most_moved(finished.root, 4, "json", tmp_path / "out")
    shared = Shared(Explainer.open(finished.root))
    moved = distances(shared, 5)
    order = sorted(range(USERS), key=lambda user: (-moved[user], user))
    assert list(written.files) == [shared.explainer.dataset.user_ids[user] for user in order[:4]]
    assert f"{moved[order[0]]:.2f}" in written.index.read_text(encoding="utf-8")
    assert list(Links(written.index).found) == [f"{user}.json" for user in written.files]


def test_without_a_base_nobody_has_moved(finished: RunFolder, tmp_path: Path) -> None:
    shutil.copytree(finished.root, tmp_path / "run")
    shutil.rmtree(RunFolder(tmp_path / "run").unit("sasrec", "base", 0))
    with pytest.raises(InputError, match="no trained base of sasrec"):
        export_most_moved(tmp_path / "run", 4, "json", tmp_path / "out")


def test_ids_of_any_kind_give_files_inside_the_folder(finished: RunFolder, tmp_path: Path) -> None:
    """Users whom the model does not know under these names: what they are called changes nothing but the names."""
    explainer = Explainer.open(finished.root)
    odd = [
        "../../up",
        "a/b",
        "A",
        "a",
        "/etc/passwd",
        "..",
        "index",
        "<b>x</b>",
        "x" * 400,
        "名前",
        "nul",
        "a%2Fb",
    ]
    data = replace(explainer.dataset, user_ids=odd + explainer.dataset.user_ids[len(odd) :])
    other = Explainer(explainer.folder, explainer.config, data, explainer.backbone, explainer.model, 0)
    out = tmp_path / "in" / "out"
    written = write_cases(
        Shared(other), odd, out, lambda case: render(case, "html"), "html", k=2, title="A & <b>"
    )
    files = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert len({name.casefold() for name in files}) == len(odd) + 1
    assert all(re.fullmatch(r"in/out/[a-z0-9_.-]+\.html", name) for name in files)
    links = Links(written.index).found
    assert set(links) == {path.name for path in out.iterdir()} - {"index.html"}
    assert [text[:8] for text in links.values()] == [name[:8] for name in odd]
    page = written.files["<b>x</b>"].read_text(encoding="utf-8")
    assert "<b>x</b>" not in page and "&lt;b&gt;x&lt;/b&gt;" in page


def test_a_run_keeps_its_own_files(finished: RunFolder, tmp_path: Path) -> None:
    for place in (
        ".",
        "data",
        "metrics.json",
        "config.yaml",
        "manifest.json",
        "backbones/sasrec",
        "explain",
        "truth.json",
    ):
        with pytest.raises(InputError, match="holds files of the run itself"):
            refuse_run_files(finished, finished.root / place)
    for place in (finished.root / "cases", finished.root / "case.html", tmp_path, finished.root.parent):
        refuse_run_files(finished, place)
    with pytest.raises(InputError, match="holds files of the run itself"):
        export_cases(finished.root, ["u1"], "json", finished.root)


def test_users_without_history_are_never_among_the_most_moved(finished: RunFolder) -> None:
    explainer = Explainer.open(finished.root)
    known = explainer.dataset.split.n_known.copy()
    known[[0, 4]] = 0
    data = replace(explainer.dataset, split=replace(explainer.dataset.split, n_known=known))
    other = Explainer(explainer.folder, explainer.config, data, explainer.backbone, explainer.model, 0)
    assert np.flatnonzero(np.isnan(distances(Shared(other), 5))).tolist() == [0, 4]
