"""Changes that are told do what is told of them, and where there is none that is said."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from tiny_run import USERS

from guided_refine.explain.cases.counterfactual import counterfactuals
from guided_refine.explain.explainer import Explainer
from guided_refine.explain.what_if import WhatIf
from guided_refine.runfolder import RunFolder

K = 5


@pytest.fixture(scope="module")
def explainer(finished: RunFolder) -> Explainer:
    return Explainer.open(finished.root)


def test_changes_of_one_score_do_what_they_say(explainer: Explainer) -> None:
    tried = 0
    for user in range(0, USERS, 4):
        found = counterfactuals(explainer, user, explainer.contributions(user), K, None)
        what_if, seen = WhatIf(explainer, user), explainer.seen(user)
        first, below = found["changes"]
        assert (first["rank"], first["wanted"]) == (1, "out")
        assert (below["rank"], below["wanted"]) == (K + 1, "in")
        for item in (first, below):
            number = explainer.item_number(item["item_id"])
            assert len(item["alone"]) <= 3
            for change in item["alone"]:
                ((move),) = change["scores"]
                if move["then"] is None or not 0.001 < move["then"] < 0.999:
                    continue
                then = move["then"] + 1e-4 * np.sign(move["then"] - move["now"])
                rank = what_if.with_scores({move["attribute"]: then}).ranks(seen)[number - 1]
                assert (rank > K) == (item["wanted"] == "out")
                tried += 1
            together = item["together"]
            if together is not None and all(move["then"] is not None for move in together["scores"]):
                scores = {move["attribute"]: move["then"] for move in together["scores"]}
                moved = what_if.with_scores(scores).ranks(seen)[number - 1]
                # At the very edge the way back from a rounded score may fall one place short.
                assert abs(int(moved) - together["rank"]) <= 1
    assert tried > 5


def test_an_item_that_is_asked_for_gets_its_own_change(explainer: Explainer) -> None:
    found = explainer.contributions(3)
    seen = explainer.seen(3)
    far = int(found.top(20, seen)[-1])
    changes = counterfactuals(explainer, 3, found, K, far)["changes"]
    assert [change["wanted"] for change in changes] == ["out", "in", "in"]
    assert changes[2]["rank"] == 20
    first = int(found.top(1, seen)[0])
    assert len(counterfactuals(explainer, 3, found, K, first)["changes"]) == 2, "told once"
    assert len(counterfactuals(explainer, 3, found, K, int(seen[0]))["changes"]) == 2, (
        "not of what the user has"
    )


def test_where_all_items_are_in_the_list_nothing_can_move(explainer: Explainer) -> None:
    found = counterfactuals(explainer, 3, explainer.contributions(3), 40, None)
    assert found["changes"] == [] and "can leave it" in found["note"]


def test_a_model_that_reads_no_user_scores_says_so(explainer: Explainer) -> None:
    model = copy.copy(explainer.model)
    model.model = copy.deepcopy(explainer.model.model)
    model.model.term = None
    other = Explainer(
        explainer.folder, explainer.config, explainer.dataset, explainer.backbone, model, explainer.seed
    )
    found = counterfactuals(other, 3, other.contributions(3), K, None)
    assert found["changes"] == [] and "reads none of the 10 user scores" in found["note"]
