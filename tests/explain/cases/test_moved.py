"""How far lists moved: by the definition, the same for one user and for all, and taken apart exactly."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_run import USERS

from guided_refine.explain.cases.moved import distance, distances, most_moved, moved_of
from guided_refine.explain.cases.shared import Shared
from guided_refine.explain.explainer import Explainer
from guided_refine.runfolder import RunFolder


@pytest.fixture(scope="module")
def shared(finished: RunFolder) -> Shared:
    return Shared(Explainer.open(finished.root))


def by_definition(first: list[int], second: list[int]) -> float:
    if not first:
        return 0.0
    depths = range(1, len(first) + 1)
    return 1 - sum(len(set(first[:d]) & set(second[:d])) / d for d in depths) / len(first)


lists = st.integers(0, 7).flatmap(
    lambda n: st.tuples(st.permutations(range(1, 10)), st.permutations(range(1, 10))).map(
        lambda two: (list(two[0][:n]), list(two[1][:n]))
    )
)


@given(st.lists(lists, min_size=1, max_size=6))
def test_the_distance_is_one_less_the_average_overlap(pairs: list[tuple[list[int], list[int]]]) -> None:
    padded = np.zeros((2, len(pairs), 7), dtype=np.int64)
    for row, pair in enumerate(pairs):
        for side, items in enumerate(pair):
            padded[side, row, : len(items)] = items
    found = distance(*padded)
    np.testing.assert_allclose(found, [by_definition(*pair) for pair in pairs], atol=1e-12)
    np.testing.assert_allclose(distance(padded[1], padded[0]), found, atol=1e-12)


@pytest.mark.parametrize("k", [5, 35])
def test_all_users_at_once_are_each_user_alone(shared: Shared, k: int) -> None:
    """Also where the list is longer than what is left of the catalog."""
    together = distances(shared, k)
    assert together.shape == (USERS,) and (together > 0).any()
    assert shared.base is not None
    for user in range(USERS):
        refined, base = shared.explainer.contributions(user), shared.ranked(shared.base, user)
        found = moved_of(shared, user, refined, base, k)
        assert found["measure"] == pytest.approx(together[user], abs=1e-12)


def test_the_most_moved_come_first_and_ties_in_the_order_of_the_data() -> None:
    moved = np.array([0.25, 0.5, np.nan, 0.5, 0.0, 0.25])
    assert most_moved(moved, 4) == [1, 3, 0, 5]
    assert most_moved(moved, 99) == [1, 3, 0, 5, 4]


def test_what_came_and_what_left_and_why(shared: Shared) -> None:
    explainer, k = shared.explainer, 5
    assert shared.base is not None
    some = 0
    for user in range(USERS):
        refined, base = explainer.contributions(user), shared.ranked(shared.base, user)
        seen = explainer.seen(user)
        found = moved_of(shared, user, refined, base, k)
        ids = explainer.dataset.item_ids
        now, before = ({ids[i - 1] for i in one.top(k, seen)} for one in (refined, base))
        assert {item["item_id"] for item in found["came"]} == now - before
        assert {item["item_id"] for item in found["left"]} == before - now
        assert found["new"] == len(found["came"]) and found["of"] == k
        for item in found["came"]:
            other = item["instead_of"]
            assert item["rank"] <= k < item["base_rank"] and other["base_rank"] <= k < other["rank"]
            scores = [refined.score[explainer.item_number(one["item_id"]) - 1] for one in (item, other)]
            assert item["margin"] == pytest.approx(scores[0] - scores[1], rel=1e-4, abs=1e-5)
            assert sum(part["value"] for part in item["parts"]) == pytest.approx(item["margin"])
            assert f"{item['margin']:.3f}" in item["sentence"] and "direct view" in item["sentence"]
            some += 1
    assert some > 10


def test_the_control_is_the_model_with_shuffled_scores(shared: Shared) -> None:
    explainer = shared.explainer
    assert shared.base is not None and shared.control is not None
    found = moved_of(shared, 4, explainer.contributions(4), shared.ranked(shared.base, 4), 5)
    lists = [
        model.recommend(["u4"], k=5, dataset=explainer.dataset, part="test")["item_id"].tolist()
        for model in (shared.base, shared.control)
    ]
    assert explainer.dataset.user_ids[4] == "u4"
    assert found["control"]["new"] == len(set(lists[1]) - set(lists[0]))
    numbers = [[explainer.item_number(item) for item in one] for one in lists]
    assert found["control"]["measure"] == pytest.approx(by_definition(*numbers))
