"""The examples run as they stand, and say what they claim to say."""

from __future__ import annotations

import ast
import json
import re
import runpy
from collections.abc import Iterator
from pathlib import Path

import matplotlib
import pandas as pd
import pytest

from guided_refine.backbones.training import torch_threads

EXPERIMENTS = Path(__file__).resolve().parents[2] / "experiments"
TEN_LINES, QUICKSTART = EXPERIMENTS / "ten_lines.py", EXPERIMENTS / "quickstart.ipynb"


@pytest.fixture(autouse=True)
def _one_thread_no_window(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    matplotlib.use("Agg")
    monkeypatch.setattr("matplotlib.pyplot.show", lambda: None)
    monkeypatch.chdir(tmp_path)
    with torch_threads(1):
        yield


def test_ten_lines_are_ten_lines_and_recommend_unseen_films(capsys: pytest.CaptureFixture[str]) -> None:
    body = ast.parse(TEN_LINES.read_text(encoding="utf-8")).body
    statements = [node for node in body if not isinstance(node, ast.Expr) or isinstance(node.value, ast.Call)]
    assert len(statements) <= 10
    # One statement a line: nothing hides behind a semicolon or spreads over several lines.
    assert all(node.lineno == node.end_lineno for node in statements)
    assert len({node.lineno for node in statements}) == len(statements)
    told = runpy.run_path(str(TEN_LINES))
    events = told["events"]
    users = events["user_id"].unique()[:3]
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["user_id", "item_id", "rank", "score"]
    table = pd.DataFrame([line.split() for line in lines[1:]], columns=lines[0].split())
    assert table["user_id"].tolist() == [user for user in users for _ in range(5)]
    # Held-out events too: what the test asks for is no recommendation for tomorrow.
    assert table.merge(events, on=["user_id", "item_id"]).empty
    assert set(table["item_id"]) <= set(events["item_id"])


def cells() -> list[dict[str, object]]:
    return json.loads(QUICKSTART.read_text(encoding="utf-8"))["cells"]


def test_the_notebook_runs_from_top_to_bottom() -> None:
    space: dict[str, object] = {}
    for number, cell in enumerate(cells()):
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), f"cell {number}", "exec"), space)
    recommended, unseen = space["recommended"], space["unseen"]
    assert len(recommended) == 15 and set(recommended["user_id"]) == set(space["users"])
    seen = space["events"].merge(recommended, on=["user_id", "item_id"])
    assert seen.empty, "recommend offers nothing that the user has, held-out events among it"
    user = space["users"][0]
    own = (
        space["events"].query("user_id == @user").sort_values("timestamp", kind="stable")["item_id"].tolist()
    )
    as_known = recommended[recommended["user_id"] == user]["item_id"].tolist()
    assert space["model"].recommend_for_history(own, k=5)["item_id"].tolist() == as_known
    assert len(unseen) == 5 and not set(unseen["item_id"]) & set(space["history"])
    assert space["figure"].get_axes()[0].lines


def test_the_notebook_is_stripped_and_names_no_machine() -> None:
    text = QUICKSTART.read_text(encoding="utf-8")
    assert not re.search(r"/(home|work|root|tmp|Users)/|https?://", text)
    for cell in cells():
        assert "id" in cell and cell["metadata"] == {}
        if cell["cell_type"] == "code":
            assert cell["outputs"] == [] and cell["execution_count"] is None
