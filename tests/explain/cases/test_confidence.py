"""Words for confidence stand only where spread is shown to track error, and never without their numbers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from guided_refine.explain.explainer import Explainer
from guided_refine.explain.export import case_study, render
from guided_refine.files import write_json
from guided_refine.runfolder import RunFolder
from guided_refine.scoring.scores import AttributeScores, load_scores, save_scores

WORDS = ("fairly sure", "half sure", "unsure")


def told(folder: RunFolder, at: Path, rows: list[dict[str, Any]] | None) -> dict[str, Any]:
    """The case in a copy of a run whose item spreads differ and whose truth says `rows` of them."""
    shutil.copytree(folder.root, at)
    run = RunFolder(at)
    old = load_scores(run.scores("tuned"))
    spread = np.random.default_rng(5).uniform(0.05, 0.3, old.item_spread.shape)
    save_scores(
        AttributeScores(
            old.source, old.attributes, old.item_value, spread, old.users, old.model, old.cut_off
        ),
        run.scores("tuned"),
    )
    if rows is None:
        run.truth.unlink()
    else:
        write_json(run.truth, {"spread": {"rows": rows, "tracks_error": {"tuned": True}}})
    return case_study(Explainer.open(at), "u1")


def row(name: str, lower: float | None, source: str = "tuned") -> dict[str, Any]:
    numbers = {"correlation": 0.31, "lower": lower, "upper": 0.52} if lower is not None else {}
    return {
        "attribute": name,
        "source": source,
        "n": 40,
        "correlation": None,
        "lower": None,
        "upper": None,
    } | numbers


@pytest.mark.parametrize("rows", [None, [], "unknown", "zero", "other source"])
def test_no_words_where_nothing_is_shown(finished: RunFolder, tmp_path: Path, rows: Any) -> None:
    names = load_scores(finished.scores("tuned")).attributes
    made = {
        "unknown": [row(name, None) for name in names],
        "zero": [row(name, -0.01) for name in names],
        "other source": [row(name, 0.1, "untuned") for name in names],
    }
    case = told(finished, tmp_path / "run", made[rows] if isinstance(rows, str) else rows)
    assert case["confidence"]["items"] == []
    assert not any(part["sure"] for item in case["recommendations"] for part in item["parts"])
    for format in ("html", "json", "md"):
        text = render(case, format).decode()
        assert not any(word in text for word in WORDS)
    assert "0 of 10" in case["confidence"]["sentence"]


def test_words_stand_where_it_is_shown_and_follow_the_spread(finished: RunFolder, tmp_path: Path) -> None:
    names = load_scores(finished.scores("tuned")).attributes
    known = set(names[:4])
    case = told(finished, tmp_path / "run", [row(name, 0.1 if name in known else -0.1) for name in names])
    spread = load_scores(RunFolder(tmp_path / "run").scores("tuned")).item_spread
    seen = set()
    for item in case["recommendations"]:
        for part in item["parts"]:
            if part["name"] not in known:
                assert part["sure"] is None
                continue
            wider = np.mean(spread[:, names.index(part["name"])] > part["item_spread"])
            expected = "fairly sure" if wider > 0.68 else "unsure" if wider < 0.32 else part["sure"]
            assert part["sure"] == expected and part["sure"] in WORDS
            seen.add(part["sure"])
    assert seen == set(WORDS)
    assert case["confidence"]["items"] and "4 of 10" in case["confidence"]["sentence"]
    assert "For users' scores this has not been tried" in case["confidence"]["sentence"]
    for one in case["confidence"]["items"]:
        assert one["attribute"] in known
        assert f"{one['spread']:.2f}" in one["sentence"] and "+0.31 [+0.10, +0.52]" in one["sentence"]
    text = json.dumps(case["summary"] + [part["stance"] for part in case["profile"]])
    assert not any(word in text for word in WORDS), "nothing is said of how sure a user's scores are"
