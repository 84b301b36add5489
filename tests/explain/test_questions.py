"""Answers to questions about a list: consistent with the explanation, JSON-ready, and in words with their numbers."""

from __future__ import annotations

import json

import pytest

from guided_refine.errors import InputError
from guided_refine.explain.cells import cells
from guided_refine.explain.explainer import Explainer
from guided_refine.explain.questions import Question, ask, format_answer
from guided_refine.explain.text import WIDTH, explanation
from guided_refine.runfolder import RunFolder


@pytest.fixture(scope="module")
def explainer(either: RunFolder) -> Explainer:
    return Explainer.open(either.root)


@pytest.fixture(scope="module")
def listed(explainer: Explainer) -> list[dict[str, object]]:
    return explanation(explainer, "u6", k=5)["recommendations"]


def test_why_this_and_not_that(explainer: Explainer, listed: list[dict[str, object]]) -> None:
    first, third = listed[0], listed[2]
    answer = ask(explainer, "u6", Question(item=first["item_id"], instead_of=third["item_id"]), 5)
    margin = answer["margin"]
    assert (margin["item"]["rank"], margin["instead_of"]["rank"]) == (1, 3)
    assert margin["lead"] == pytest.approx(first["score"] - third["score"], abs=1e-6)
    assert sum(part["value"] for part in margin["parts"]) == pytest.approx(margin["lead"], rel=1e-3, abs=1e-5)
    text = format_answer(answer)
    assert f"[{first['item_id']}]" in text and f"[{third['item_id']}]" in text
    assert f"{margin['lead']:.3f} ahead of" in text and "sum to the difference" in text


def test_a_list_then_says_where_items_stand_now(
    explainer: Explainer, listed: list[dict[str, object]]
) -> None:
    name = explainer.scores.attributes[0]
    answer = ask(explainer, "u6", Question(scores={name: 0.9}, wishes={name: 1.0}), 5)
    found = answer["list"]
    assert [item["rank"] for item in found["items"]] == [1, 2, 3, 4, 5]
    now = {item["item_id"]: item["rank"] for item in listed}
    for item in found["items"]:
        assert item["rank_now"] == now.get(item["item_id"], item["rank_now"])
        assert item["item_id"] in now or item["rank_now"] > 5
    assert "0.90" in format_answer(answer) and "was" in format_answer(answer)


def test_the_smallest_change_says_in_or_out(explainer: Explainer, listed: list[dict[str, object]]) -> None:
    inside = ask(explainer, "u6", Question(item=listed[1]["item_id"], smallest=True), 5)["smallest"]
    assert inside["wanted"] == "out" and all(row["rank"] > 5 for row in inside["alone"])
    ranks = explainer.contributions(6).ranks(explainer.seen(6))
    item = next(
        str(explainer.dataset.item_ids[i - 1])
        for i in range(1, explainer.dataset.n_items + 1)
        if ranks[i - 1] == 8 and i not in explainer.seen(6)
    )
    answer = ask(explainer, "u6", Question(item=item, smallest=True), 5)
    assert answer["smallest"]["wanted"] == "in"
    assert all(row["rank"] <= 5 for row in answer["smallest"]["alone"])
    text = format_answer(answer)
    assert "What would bring it into the top 5" in text and " sd; " in text


def test_another_score_of_an_item_gives_another_list(
    explainer: Explainer, listed: list[dict[str, object]]
) -> None:
    item, name = listed[1]["item_id"], explainer.scores.attributes[2]
    worst = {}
    for value in (0.0, 1.0):
        answer = ask(explainer, "u6", Question(item=item, item_scores={name: value}), 5)
        found = answer["list"]
        assert found["item"]["rank_now"] == 2 and found["item"]["item_id"] == item
        others = [row["item_id"] for row in found["items"] if row["item_id"] != item]
        assert others == [row["item_id"] for row in listed if row["item_id"] != item][: len(others)] or (
            len(others) == 5
        )
        worst[found["item"]["score"]] = found["item"]["rank"]
        assert f"{name.replace('_', ' ')} at {value:.2f} in" in format_answer(answer)
    assert worst[min(worst)] >= worst[max(worst)] and len(worst) == 2


def test_the_view_through_the_encoder_is_of_the_first_item_unless_another_is_named(
    explainer: Explainer, listed: list[dict[str, object]]
) -> None:
    answer = ask(explainer, "u6", Question(encoder=True), 5)
    assert answer["encoder"]["item_id"] == listed[0]["item_id"]
    text = format_answer(answer)
    assert "through the encoder" in text and all(cells(line) <= WIDTH for line in text.splitlines())
    assert json.loads(json.dumps(answer, allow_nan=False)) == answer
    named = ask(explainer, "u6", Question(item="i3", encoder=True), 5)["encoder"]
    assert named["item_id"] == "i3"


def test_answers_can_be_written_and_fit_a_terminal(
    explainer: Explainer, listed: list[dict[str, object]]
) -> None:
    name = explainer.scores.attributes[1]
    question = Question(
        item=listed[3]["item_id"], instead_of=listed[0]["item_id"], wishes={name: -0.5}, smallest=True
    )
    answer = ask(explainer, "u6", question, 5)
    assert json.loads(json.dumps(answer, allow_nan=False)) == answer
    text = format_answer(answer)
    assert "\x1b" not in text
    assert all(cells(line) <= WIDTH for line in text.splitlines())


def test_a_change_of_many_scores_is_told_by_its_largest_moves(explainer: Explainer) -> None:
    item = {"item_id": "i1", "title": "Heat", "score": 1.0, "rank": 3}
    scores = {f"attribute_{n}": {"now": 0.67, "then": 0.67 + 1e-7 * n} for n in range(64)}
    together = {"scores": scores, "size": 0.001, "feasible": False, "users": 0.0, "rank": 2}
    found = {"item": item, "wanted": "in", "alone": [], "together": together}
    text = format_answer({"user": "u6", "k": 2, "smallest": found})
    assert "attribute 63 0.67 → just above 0.67" in text and "61 more, smaller" in text
    assert "less than 0.01 sd; no user is that far with all 64 at once" in " ".join(text.split())
    assert len(text.splitlines()) < 5 and "0.67 -> 0.67" not in text


def test_an_item_may_be_named_by_its_title(explainer: Explainer, listed: list[dict[str, object]]) -> None:
    first, second = [item for item in listed if str(item["title"]).startswith("Film")][:2]
    by_id = Question(item=first["item_id"], instead_of=second["item_id"], smallest=True)
    by_title = Question(
        item=str(first["title"]).lower(), instead_of=str(second["title"]).upper(), smallest=True
    )
    assert ask(explainer, "u6", by_title, 5) == ask(explainer, "u6", by_id, 5)


def test_a_question_without_its_item_is_refused(explainer: Explainer) -> None:
    name = explainer.scores.attributes[0]
    for question in (Question(instead_of="i1"), Question(smallest=True), Question(item_scores={name: 0.5})):
        with pytest.raises(InputError, match="--item"):
            ask(explainer, "u6", question, 5)
    with pytest.raises(InputError, match="no item"):
        ask(explainer, "u6", Question(item="i1", instead_of="nothing like it"), 5)
