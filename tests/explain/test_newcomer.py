"""Somebody new: the list is the model's own for a history it has never seen, and every question has its answer."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny_run import ITEMS

from guided_refine.errors import InputError
from guided_refine.explain.encoder_view import AttributeGame
from guided_refine.explain.explainer import Explainer
from guided_refine.explain.newcomer import NOBODY, Newcomer
from guided_refine.explain.questions import Question, ask
from guided_refine.explain.text import explanation
from guided_refine.explain.what_if import WhatIf
from guided_refine.runfolder import RunFolder

PICKED = ["i3", "i11", "i0"]
ANY_HISTORY = st.lists(st.integers(0, ITEMS - 1).map(lambda i: f"i{i}"), min_size=1, max_size=12)


@pytest.fixture(scope="module")
def explainer(either: RunFolder) -> Explainer:
    return Explainer.open(either.root)


@pytest.fixture(scope="module")
def newcomer(explainer: Explainer) -> Newcomer:
    return Newcomer(explainer, PICKED)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(history=ANY_HISTORY)
def test_the_list_is_what_the_model_recommends(explainer: Explainer, history: list[str]) -> None:
    """Also where the history is longer than the model reads, and where an item comes twice."""
    expected = explainer.model.recommend_for_history(history, k=6)
    assert expected.attrs["user_scores"] == "estimated"
    found = explanation(Newcomer(explainer, history), "you", k=6)
    assert [row["item_id"] for row in found["recommendations"]] == expected["item_id"].tolist()
    assert [row["rank"] for row in found["recommendations"]] == expected["rank"].tolist()
    scores = [row["score"] for row in found["recommendations"]]
    np.testing.assert_allclose(scores, expected["score"], rtol=1e-5, atol=1e-6)
    for row in found["recommendations"]:
        assert sum(part["value"] for part in row["parts"]) == pytest.approx(row["score"], rel=1e-3, abs=1e-5)
    assert found["profile_estimated"] and found["next"] is None
    assert found["candidates"] == ITEMS - len(set(history))


def test_a_known_user_whom_the_model_does_not_know_gets_the_same_list(explainer: Explainer) -> None:
    """`recommend` on data with a user that training never saw, against a newcomer with the same events."""
    from guided_refine.data.dataset import from_frames

    events = pd.DataFrame({"user_id": "not there yet", "item_id": PICKED})
    other = from_frames("other", explainer.dataset.items, events)
    expected = explainer.model.recommend(["not there yet"], k=8, dataset=other)
    found = explanation(Newcomer(explainer, PICKED), "you", k=8)["recommendations"]
    assert [row["item_id"] for row in found] == expected["item_id"].tolist()


def test_scores_are_the_estimate_of_the_model_in_the_range_of_scores(
    explainer: Explainer, newcomer: Newcomer
) -> None:
    """The profile put through the normalisation and W gives back the term, where no end of the map was reached."""
    term = explainer.model.term
    profile = np.array([row["score"] for row in newcomer.profile(NOBODY).rows])
    assert ((profile >= 0) & (profile <= 1)).all() and newcomer.profile(NOBODY).estimated
    given_back = term.unknown(
        torch.from_numpy(newcomer.history)[None], torch.from_numpy(profile)[None].float()
    )
    np.testing.assert_allclose(
        newcomer.read(given_back[0].detach().numpy()), newcomer.user_term(NOBODY), atol=1e-4
    )


def test_the_same_scores_as_sliders_change_nothing_and_others_are_what_the_model_makes_of_them(
    explainer: Explainer, newcomer: Newcomer
) -> None:
    what_if = WhatIf(newcomer, NOBODY)
    now = what_if.scores_now()
    np.testing.assert_allclose(
        what_if.with_scores(now).score, newcomer.contributions(NOBODY).score, atol=1e-4
    )
    wanted = now | {what_if.attributes[3]: 0.9}
    expected = explainer.model.recommend_for_history(PICKED, k=5, user_scores=np.array(list(wanted.values())))
    found = ask(newcomer, "you", Question(scores={what_if.attributes[3]: 0.9}), 5)["list"]["items"]
    assert [row["item_id"] for row in found] == expected["item_id"].tolist()
    np.testing.assert_allclose([row["score"] for row in found], expected["score"], atol=1e-4)


def test_why_not_sums_to_the_lead(newcomer: Newcomer) -> None:
    listed = explanation(newcomer, "you", k=4)["recommendations"]
    question = Question(item=listed[0]["item_id"], instead_of=listed[3]["item_id"])
    margin = ask(newcomer, "you", question, 4)["margin"]
    assert (margin["item"]["rank"], margin["instead_of"]["rank"]) == (1, 4)
    assert sum(part["value"] for part in margin["parts"]) == pytest.approx(margin["lead"], abs=1e-4)


def test_the_view_through_the_encoder_starts_from_the_same_scores(newcomer: Newcomer) -> None:
    items = np.array([5, 9, 21])
    everything = np.ones((1, len(newcomer.scores.attributes)))
    found = AttributeGame(newcomer, NOBODY, items)(everything)[0]
    np.testing.assert_allclose(found, newcomer.contributions(NOBODY).score[items - 1], rtol=1e-4, atol=1e-5)


def test_users_of_the_run_stay_who_they_are(explainer: Explainer, newcomer: Newcomer) -> None:
    before = explainer.contributions(6).score.copy()
    newcomer.contributions(NOBODY)
    np.testing.assert_array_equal(explainer.contributions(6).score, before)
    assert newcomer.scores is explainer.scores and newcomer.vectors is explainer.vectors


def test_no_history_and_unknown_items_are_refused(explainer: Explainer) -> None:
    with pytest.raises(InputError, match="at least one item"):
        Newcomer(explainer, [])
    with pytest.raises(InputError, match=r"no item 'i400'.*nearest: .*\bi4 \(Film 4\)"):
        Newcomer(explainer, ["i3", "i400"])
