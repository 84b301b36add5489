"""Reading ahead: what pages show first is there before anybody asks, and what cannot be read disturbs nobody."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import streamlit as st
from reading import tables_of
from test_app import page
from tiny_run import make_run

from guided_refine.resources import resource_folder
from guided_refine.runfolder import RunFolder


@pytest.fixture
def ahead(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(resource_folder("apps")))
    import dashboard_warm_up

    st.cache_data.clear()
    st.cache_resource.clear()
    monkeypatch.setattr(dashboard_warm_up, "VISITORS", dashboard_warm_up.Visitors())
    yield dashboard_warm_up
    gc.unfreeze()


def test_the_first_pages_find_what_was_read(
    finished: RunFolder, ahead: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["app.py", str(finished.root)])
    ahead.warm_up()

    def nothing_more(*_: object, **__: object) -> None:
        raise AssertionError("this was to be read ahead")

    monkeypatch.setattr("guided_refine.explain.explainer.Explainer.open", nothing_more)
    monkeypatch.setattr("guided_refine.explain.text.explanation", nothing_more)
    monkeypatch.setattr("guided_refine.explain.cases.study.study", nothing_more)
    monkeypatch.setattr("guided_refine.explain.encoder_answer.encoder_answer", nothing_more)
    monkeypatch.setattr("guided_refine.reporting.claims.headline", nothing_more)
    for name in ("overview", "recommendations", "items", "cases"):
        app = page(finished.root, name, monkeypatch)
        assert not app.exception and not app.error, name
        assert name == "cases" or tables_of(app)
        if name == "recommendations":
            app.segmented_control(key="item view").set_value("through the encoder").run()
            assert not app.exception and not app.error


@pytest.mark.parametrize("until", [None, "data", "refined"])
def test_what_is_not_there_is_left_to_the_pages(
    tmp_path: Path, until: str | None, ahead: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    if until:
        make_run(tmp_path / "run", tmp_path / "source", until=until)
    monkeypatch.setattr("sys.argv", ["app.py", str(tmp_path / "run")])
    ahead.warm_up()
    app = page(tmp_path / "run", "overview", monkeypatch)
    assert not app.exception


def test_it_waits_while_somebody_clicks(ahead: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "CALM", 0.4)
    began = time.monotonic()
    ahead.VISITORS.wait_until_calm()
    assert time.monotonic() - began < 0.2, "nobody has clicked yet"
    ahead.VISITORS.came()
    again = threading.Timer(0.2, ahead.VISITORS.came)
    again.start()
    ahead.VISITORS.wait_until_calm()
    assert time.monotonic() - began > 0.55
