"""Case studies as files: complete, self-contained, and titles stay text."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from tiny_run import EVIL

from guided_refine.errors import InputError
from guided_refine.explain.export import export_case
from guided_refine.explain.text import explain_user
from guided_refine.runfolder import RunFolder


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [str(value) for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_html_needs_nothing_else_and_shows_titles_as_text(finished: RunFolder, tmp_path: Path) -> None:
    path = export_case(finished.root, "u1", "html", tmp_path / "case.html", item="i3")
    reader = _Reader()
    reader.feed(path.read_text(encoding="utf-8"))
    assert not {"script", "img", "iframe", "link", "a"} & set(reader.tags)
    assert reader.links == []
    assert EVIL in "".join(reader.words)


def test_html_holds_every_part(finished: RunFolder, tmp_path: Path) -> None:
    answer = explain_user(finished.root, "u1")
    text = export_case(finished.root, "u1", "html", tmp_path / "case.html").read_text(encoding="utf-8")
    for item in answer["recommendations"]:
        assert f"{item['score']:+.3f}" in text
        assert all(f"{p['value']:+.3f}" in text for p in item["parts"])


def test_json_is_the_answer(finished: RunFolder, tmp_path: Path) -> None:
    path = export_case(finished.root, "u2", "json", tmp_path / "new" / "case.json")
    assert json.loads(path.read_text(encoding="utf-8")) == explain_user(finished.root, "u2")


def test_markdown_escapes_what_it_would_read(finished: RunFolder, tmp_path: Path) -> None:
    path = export_case(finished.root, "u1", "md", tmp_path / "case.md", item="i3")
    text = path.read_text(encoding="utf-8")
    assert "<script>" not in text
    assert not re.search(r"(?<!\\)\]\(", text), "a title became a link"
    tables = [line for line in text.splitlines() if line.startswith("|")]
    assert {line.replace("\\|", "").count("|") for line in tables} <= {5, 15}, "a title broke a table"


def test_png_is_a_picture_of_some_size(finished: RunFolder, tmp_path: Path) -> None:
    from matplotlib.image import imread

    picture = imread(export_case(finished.root, "u1", "png", tmp_path / "case.png"))
    assert picture.shape[0] > 600
    assert picture.shape[1] > 800
    assert picture[..., :3].std() > 0.05


def test_the_same_case_gives_the_same_file(finished: RunFolder, tmp_path: Path) -> None:
    for format in ("html", "json", "md", "png"):
        first = export_case(finished.root, "u3", format, tmp_path / f"a.{format}").read_bytes()
        assert export_case(finished.root, "u3", format, tmp_path / f"b.{format}").read_bytes() == first


def test_unknown_format_and_a_place_that_cannot_be_written(finished: RunFolder, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no export format 'pgn': did you mean 'png'"):
        export_case(finished.root, "u1", "pgn", tmp_path / "case.png")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        export_case(finished.root, "u1", "html", tmp_path / "file" / "case.html")
