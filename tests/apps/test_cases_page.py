"""Case studies: the page shows what the file holds, and nothing in it runs."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import pytest
import streamlit as st
from test_app import page, text_of
from tiny_run import make_run

from guided_refine.evaluation.lists import read_lists
from guided_refine.explain.explainer import Explainer
from guided_refine.explain.export import FORMATS, case_study, export_most_moved, render
from guided_refine.runfolder import RunFolder


def shown(app: object) -> str:
    """The HTML in the frame."""
    (frame,) = app.get("iframe")  # type: ignore[attr-defined]
    return str(frame.proto.srcdoc)


def test_the_preview_is_the_file(finished: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    app = page(finished.root, "cases", monkeypatch)
    app.selectbox(key="user").select("u7").run()
    app.slider(key="case items").set_value(4).run()
    assert not app.exception and not app.error and not app.warning
    explainer = Explainer.open(finished.root)
    assert shown(app) == render(case_study(explainer, "u7", k=4, encoder=False), "html").decode()
    assert "default-src 'none'" in shown(app) and "<script" not in shown(app)
    (one, *rest) = [button.label for button in app.download_button]
    assert "case studies" in one and rest == ["HTML", "JSON", "Markdown", "PNG"]
    assert len(rest) == len(FORMATS)
    app.toggle(key="through the encoder").set_value(True).run()
    assert not app.exception and not app.error
    assert shown(app) == render(case_study(explainer, "u7", k=4), "html").decode()


def test_an_item_that_is_asked_about_is_in_the_case(
    finished: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = page(finished.root, "cases", monkeypatch)
    before = shown(app)
    app.selectbox(key="asked item").select("i17").run()
    assert not app.exception and not app.warning
    assert shown(app) != before and "Film 17" in shown(app)


def test_users_whose_lists_moved_most_come_first(
    finished: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By hand: the average overlap of the two lists on disk, from its definition."""
    app = page(finished.root, "cases", monkeypatch)
    app.segmented_control(key="whose case").set_value("Users whose lists moved most").run()
    assert not app.exception and not app.error
    explainer = Explainer.open(finished.root)
    k = explainer.config.explain.k
    lists = [
        read_lists(finished.unit("sasrec", v, 0) / "recommendations.parquet", explainer.dataset)[:, :k]
        for v in ("base", "refined")
    ]
    far = [
        1 - sum(len(set(a[:d]) & set(b[:d])) / d for d in range(1, k + 1)) / k
        for a, b in zip(*(found.tolist() for found in lists), strict=True)
    ]
    users = [explainer.dataset.user_ids[u] for u in explainer.dataset.targets("test")[0]]
    told = app.selectbox(key="moved user").options
    assert len(told) == len(users)
    values = [float(option.rsplit(" ", 1)[1].rstrip(")")) for option in told]
    assert values == sorted(values, reverse=True)
    assert values == pytest.approx(sorted(far, reverse=True), abs=0.006)
    assert dict(zip(users, far, strict=True))[told[0].split()[0]] == pytest.approx(max(far), abs=1e-6)


def test_typed_ids_that_do_not_exist_are_answered_with_near_ones(
    finished: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    app = page(finished.root, "cases", monkeypatch)
    monkeypatch.setattr(sys.modules["dashboard_people"], "LISTED", 10)
    app.run()
    app.text_input(key="asked id").set_value("i177").run()
    assert not app.exception and not app.error
    assert len(app.warning) == 1 and "i17" in app.warning[0].value
    app.text_input(key="asked id").set_value("i17").run()
    assert not app.warning and "Film 17" in shown(app)


def test_before_there_is_a_refined_model_the_page_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_run(tmp_path / "run", tmp_path / "source", until="base")
    app = page(folder.root, "cases", monkeypatch)
    assert not app.exception and not app.error
    assert "No refined model is trained yet" in text_of(app)


@pytest.fixture
def offered(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What each download button would give, by its key; AppTest shows the buttons only."""
    found: dict[str, Any] = {}
    real = st.download_button

    def noted(*args: Any, **kwargs: Any) -> Any:
        found[kwargs["key"]] = kwargs["data"]
        return real(*args, **kwargs)

    monkeypatch.setattr(st, "download_button", noted)
    return found


def archive(offered: dict[str, Any]) -> zipfile.ZipFile:
    return zipfile.ZipFile(io.BytesIO(offered["download cases"]()))


def test_the_most_moved_users_come_as_one_file(
    finished: RunFolder, offered: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    app = page(finished.root, "cases", monkeypatch)
    app.number_input(key="how many cases").set_value(3).run()
    app.segmented_control(key="cases format").set_value("json").run()
    assert not app.exception and not app.error
    asked = export_most_moved(finished.root, 3, "json", tmp_path / "cases", encoder=False)
    found = archive(offered)
    assert sorted(found.namelist()) == sorted(path.name for path in (tmp_path / "cases").iterdir())
    for path in (asked.index, *asked.files.values()):
        assert found.read(path.name) == path.read_bytes()


def test_users_of_a_file_come_as_one_file(
    finished: RunFolder, offered: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    app = page(finished.root, "cases", monkeypatch)
    app.segmented_control(key="whose cases").set_value("Users of a file").run()
    assert not app.exception
    offered.clear()
    app.file_uploader(key="users of cases").set_value(("mine.txt", b"u7\nu3\nu7\n", "text/plain")).run()
    assert not app.exception and not app.warning
    assert sorted(archive(offered).namelist()) == ["index.html", "u3.html", "u7.html"]
    offered.clear()
    app.file_uploader(key="users of cases").set_value(("mine.txt", b"u7\nu333\n", "text/plain")).run()
    assert not app.exception
    (warning,) = app.warning
    told = warning.value.replace("\\", "")  # escaped, so that it is shown as text
    assert told.startswith("mine.txt, line 2: no user 'u333'") and "u33" in told
    assert "download cases" not in offered
