"""Parts of pages: what a changed model shows, what one damaged file costs, where colour claims something."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from reading import tables_of
from streamlit.testing.v1 import AppTest
from test_app import page, text_of
from tiny_run import make_run

from guided_refine.backbones.backbone import Backbone
from guided_refine.explain.cases.counterfactual import smallest_change
from guided_refine.explain.explainer import Explainer
from guided_refine.explain.what_if import WhatIf
from guided_refine.runfolder import RunFolder


@pytest.mark.parametrize("refine", [{"fuse": "sum"}, {"fuse": "sum", "users": False}, {"users": False}])
def test_a_model_of_another_make_has_all_its_pages(
    refine: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(tmp_path / "run", tmp_path / "source", refine=refine).root
    for name in ("overview", "recommendations", "items", "attributes", "cases"):
        app = page(run, name, monkeypatch)
        assert not app.exception and not app.error, name
        if name == "recommendations":
            kinds = next(control for control in app.get("button_group") if "wishes" in str(control.proto))
            assert ("taste" in str(kinds.proto)) == refine.get("users", True)


def test_neighbours_are_those_of_the_vectors_that_rank(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(tmp_path / "run", tmp_path / "source", refine={"fuse": "sum", "scale": 3.0})
    vectors = Backbone.load(run.unit("sasrec", "refined", 0)).item_vectors()
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosine = unit @ unit[0]
    cosine[0] = -2
    app = page(run.root, "items", monkeypatch)
    nearest = tables_of(app)[-1]
    assert nearest["cosine"].tolist()[0] == f"{cosine.max():.2f}", "of the first item"


def toggled(app: AppTest) -> AppTest:
    """The page with the smallest changes shown."""
    next(box for box in app.toggle if box.label.startswith("What would take")).set_value(True).run()
    return app


def test_the_smallest_changes_are_those_of_the_model(
    finished: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = toggled(page(finished.root, "recommendations", monkeypatch))
    assert not app.exception and not app.error
    explainer = Explainer.open(finished.root)
    user = explainer.dataset.user_ids[0]
    first = explainer.contributions(0).top(1, explainer.seen(0))[0]
    asked = smallest_change(WhatIf(explainer, explainer.user_number(user)), int(first), 1, 5)
    title = explainer.dataset.titles[first - 1]
    assert asked["sentence"].startswith(f"{title} (rank 1) would leave the top 5")
    assert asked["sentence"] in text_of(app)


def test_green_is_for_what_may_be_claimed(
    finished: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Path(shutil.copytree(finished.root, tmp_path / "run"))
    path = run / "differences.json"
    for lower, p, color in ((0.01, 0.01, "GREEN"), (0.01, 0.6, "GRAY"), (-0.01, 0.01, "GRAY")):
        rows = json.loads(path.read_text())
        for row in rows:
            row |= {"mean": 0.05, "lower": lower, "upper": 0.09, "p_corrected": p}
        path.write_text(json.dumps(rows))
        (card,) = page(run, "overview", monkeypatch).metric
        assert card.proto.MetricColor.Name(card.proto.color) == color
        assert f"[{lower:+.4f}, +0.0900]" in card.delta


@pytest.mark.parametrize(
    ("file", "name", "still"),
    [
        ("differences.json", "overview", "All models"),
        ("data/info.json", "overview", "All models"),
        ("truth.json", "attributes", "What attributes do"),
    ],
)
def test_a_damaged_file_costs_its_part_of_the_page(
    finished: RunFolder,
    file: str,
    name: str,
    still: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = Path(shutil.copytree(finished.root, tmp_path / "run"))
    whole = (run / file).read_text() if (run / file).exists() else "{}"
    (run / file).write_text(whole[: len(whole) // 2])
    app = page(run, name, monkeypatch)
    assert not app.exception and app.error and file.split("/")[-1] in app.error[0].value.replace("\\", "")
    assert still in text_of(app)
