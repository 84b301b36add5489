"""The answer as data and as terminal lines."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_run import EVIL, SILENT

from guided_refine.errors import InputError
from guided_refine.explain.cells import cells, clean, clip
from guided_refine.explain.text import explain_user, format_explanation, shortened
from guided_refine.runfolder import RunFolder


def test_answer_is_json_and_its_parts_sum_up(finished: RunFolder) -> None:
    answer = explain_user(finished.root, "u1", item="i3", k=3)
    assert json.loads(json.dumps(answer, allow_nan=False)) == answer
    assert [r["rank"] for r in answer["recommendations"]] == [1, 2, 3]
    for item in [*answer["recommendations"], answer["asked"], answer["next"]]:
        assert sum(p["value"] for p in item["parts"]) == pytest.approx(item["score"], rel=1e-4, abs=1e-5)
    assert answer["asked"]["item_id"] == "i3"
    assert answer["model"] == {
        "backbone": "sasrec",
        "variant": "refined",
        "seed": 0,
        "scorer": "invented",
        "source": "tuned",
    }


def test_recommendations_leave_out_what_the_user_has(finished: RunFolder) -> None:
    answer = explain_user(finished.root, "u9", k=100)
    owned = {h["item_id"] for h in answer["history"]}
    assert len(answer["recommendations"]) == answer["candidates"]
    assert owned.isdisjoint(r["item_id"] for r in answer["recommendations"])
    scores = [r["score"] for r in answer["recommendations"]]
    assert scores == sorted(scores, reverse=True)


def test_k_comes_from_the_config(finished: RunFolder) -> None:
    assert len(explain_user(finished.root, "u1")["recommendations"]) == 5


def test_terminal_lines_say_who_what_and_why(finished: RunFolder) -> None:
    answer = explain_user(finished.root, f"u{SILENT}", item="i3")
    text = format_explanation(answer)
    assert "Ranked by SASRec (refined); attributes scored by invented (tuned)" in text
    assert "Estimated from the items of the history" in text
    assert answer["recommendations"][0]["title"] in text
    assert "above the average item" in text
    for row in answer["profile"]:
        assert f"{row['stance']} ({row['weight']:+.2f})" in text, "no words without their number"
    assert "View: direct" in text and "--through-encoder" in text
    assert EVIL[:30] in text
    for item in answer["recommendations"]:
        assert f"[{item['item_id']}]" in text, "what --item takes"
    assert all(cells(line) <= 100 for line in text.splitlines())


def test_a_run_of_the_pipeline_is_explained(small_run: Path) -> None:
    user = str(pd.read_parquet(small_run / "refined_users.parquet")["user_id"].iloc[-1])
    answer = explain_user(small_run, user, k=4)
    assert answer["model"]["scorer"].startswith("builtin")
    assert len(answer["recommendations"]) == 4
    for item in answer["recommendations"]:
        assert sum(p["value"] for p in item["parts"]) == pytest.approx(item["score"], rel=1e-4, abs=1e-5)
    assert f"User {user} in small" in format_explanation(answer)


def test_unknown_user_and_item(finished: RunFolder) -> None:
    with pytest.raises(InputError, match="no user 'nobody'"):
        explain_user(finished.root, "nobody")
    with pytest.raises(InputError, match=r"no item 'i333'.*nearest"):
        explain_user(finished.root, "u1", item="i333")


values = st.floats(-10, 10, allow_nan=False)


@given(st.lists(values, min_size=1, max_size=12), st.integers(0, 5))
def test_shortening_keeps_the_sum(numbers: list[float], shown: int) -> None:
    parts = [
        {"name": "collaborative" if i == 0 else f"a{i}", "label": str(i), "value": v}
        for i, v in enumerate(numbers)
    ]
    rows = shortened(parts, shown=shown)
    assert sum(v for _, v in rows) == pytest.approx(sum(numbers), abs=1e-9)
    assert len(rows) <= shown + 2


@given(st.text(), st.integers(1, 40))
def test_clipped_text_fits_and_has_no_control_characters(text: str, width: int) -> None:
    clipped = clip(text, width)
    assert cells(clipped) <= width
    assert clean(clipped) == clipped
    assert not any(ord(c) < 32 or 127 <= ord(c) < 160 for c in clipped)
