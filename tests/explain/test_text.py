"""The answer as data and as terminal lines."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_run import EVIL, SILENT, make_run

from guided_refine.errors import InputError
from guided_refine.explain.cells import cells, clean, clip
from guided_refine.explain.explainer import Explainer
from guided_refine.explain.text import explain_user, explanation, format_explanation, shortened, shown_parts
from guided_refine.explain.words import LENT, stance, weight_told
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
        assert f"{row['stance']} ({weight_told(row['weight'])})" in text, "no words without their number"
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


def test_a_user_of_whom_nothing_is_known_is_told_so(finished: RunFolder) -> None:
    explainer = Explainer.open(finished.root)
    known = explainer.dataset.split.n_known.copy()
    known[SILENT] = 0
    data = replace(explainer.dataset, split=replace(explainer.dataset.split, n_known=known))
    other = Explainer(explainer.folder, explainer.config, data, explainer.backbone, explainer.model, 0)
    text = format_explanation(explanation(other, f"u{SILENT}", k=2))
    assert "may see no event of this user; the list is what it recommends to anybody" in text
    assert "The catalog's mean; the language model has not scored this user." in text
    assert "of the history;" not in text and "(-0.00)" not in text


def test_a_part_stands_beside_how_far_it_is_above_the_average(finished: RunFolder) -> None:
    answer = explain_user(finished.root, "u1", k=3)
    text = format_explanation(answer)
    assert "above the average item of the catalog" in text
    for item in answer["recommendations"]:
        rows = shown_parts(item["parts"])
        assert sum(row["lift"] for row in rows) == pytest.approx(item["lead"], abs=1e-5)
        for row in rows:
            line = next(
                line
                for line in text.splitlines()
                if line.strip().startswith(row["label"]) and f"{row['value']:+8.3f}" in line
            )
            assert line.rstrip().endswith(f"{row['lift']:+.3f}")


@pytest.mark.parametrize(
    ("weight", "told"), [(-0.0049, "0.00"), (0.0, "0.00"), (-0.005, "-0.01"), (1.5, "+1.50")]
)
def test_a_weight_that_is_told_as_nothing_has_no_sign_and_no_stance(weight: float, told: str) -> None:
    assert weight_told(weight) == told
    assert (stance(weight, 0.0001) == "hardly matters") == (told == "0.00")


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


def test_an_item_that_borrows_its_place_says_so(tmp_path: Path) -> None:
    run = make_run(
        tmp_path / "run", tmp_path / "source", until="refined", refine={"cold_items": "borrowed"}, n_users=8
    )
    explainer = Explainer.open(run.root)
    counts = explainer.dataset.train_counts()
    answer = explanation(explainer, "u1", k=len(counts))
    told = {row["item_id"]: LENT in row["reason"] for row in answer["recommendations"]}
    cold = {str(i): bool(n == 0) for i, n in zip(explainer.dataset.item_ids, counts, strict=True)}
    assert told == {item: cold[item] for item in told} and set(told.values()) == {True, False}
    own = make_run(tmp_path / "own", tmp_path / "source", until="refined", n_users=8)
    rows = explain_user(own.root, "u1", k=len(counts))["recommendations"]
    assert not any(LENT in row["reason"] for row in rows)
