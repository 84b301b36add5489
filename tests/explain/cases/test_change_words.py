"""Changes in words: no share that no user is, no move that looks like none, and the plainer change first."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guided_refine.explain.cases.change_words import (
    SHOWN,
    change_sentence,
    move_told,
    moves_told,
    scores_told,
    size_told,
    users_told,
)

ITEM = {"item_id": "a", "title": "Heat", "rank": 1, "wanted": "out"}


def row(
    name: str, size: float, users: float = 0.25, then: float | None = 0.75, moves: int = 1
) -> dict[str, Any]:
    scores = [{"attribute": name, "label": name, "now": 0.5, "then": then}] * moves
    feasible = then is not None and users > 0
    return {"scores": scores, "size": size, "feasible": feasible, "users": users, "rank": 6}


def test_the_plainer_change_is_told_unless_it_goes_much_further() -> None:
    near = ITEM | {"alone": [row("humour", 1.2)], "together": row("all", 1.0, moves=2)}
    assert change_sentence(near, 5, 9) == (
        "Heat (rank 1) would leave the top 5, for rank 6, had the language model read humour as 0.75 instead of 0.50: a "
        "change of 1.20 standard deviations over users; 25 % of users are that far."
    )
    far = near | {"alone": [row("humour", 3.0)]}
    assert (
        "1.00 standard deviations over users; 25 % of users are that far with all 2 at once"
        in change_sentence(far, 5, 9)
    )


def test_what_a_user_reaches_is_told_before_what_nobody_does() -> None:
    rare = ITEM | {"alone": [row("humour", 3.0)], "together": row("all", 1.0, users=0.0, moves=10)}
    assert "3.00 standard deviations over users; 25 % of users are that far." in change_sentence(rare, 5, 9)
    nobody = ITEM | {"alone": [row("gore", 9.0, users=0, then=None)], "together": rare["together"]}
    assert change_sentence(nobody, 5, 9).endswith(
        "and 7 more by at most 0.25: a change of 1.00 standard deviations over users; no user is that far with all 10 at "
        "once."
    )


def test_where_no_score_does_it_that_is_said() -> None:
    never = ITEM | {"alone": [row("gore", 9.0, users=0, then=None)], "together": None}
    assert change_sentence(never, 5, 9) == (
        "No score between 0 and 1 was found with which Heat (rank 1) would leave the top 5: the smallest change of one "
        "score alone, of gore, "
        "is 9.00 standard deviations over users, beyond any score."
    )
    nothing = ITEM | {"alone": [], "together": None, "wanted": "in"}
    assert change_sentence(nothing, 5, 9) == (
        "No change of the 9 user scores was found with which Heat (rank 1) would enter the top 5."
    )


scores = st.floats(0, 1)


@given(scores, scores)
def test_a_move_never_looks_like_none(now: float, then: float) -> None:
    first, last = move_told(now, then)
    assert first != last
    if "just" in last:
        assert ("above" in last) == (then > now)
    elif now != then:
        assert (float(last) > float(first)) == (then > now)


@given(st.floats(0, 9))
def test_a_size_is_never_0_for_what_is_not_and_has_no_exponent(size: float) -> None:
    assert (size_told(size) == "0.00") == (size == 0)
    assert "e-" not in size_told(size)


@given(st.lists(st.tuples(scores, scores), min_size=1, max_size=64))
def test_many_moves_are_a_few_and_how_much_the_rest_is(moves: list[tuple[float, float]]) -> None:
    rows = [{"label": "gore", "now": now, "then": then} for now, then in moves]
    assert len(moves_told(rows)) <= SHOWN + 1
    told = scores_told(rows)
    assert "e-" not in told
    if len(moves) > SHOWN:
        most = max(abs(then - now) for now, then in moves[SHOWN:])
        at_most, _, by = told.rpartition(" by ")[2].rpartition(" ")
        assert most < 0.01 if at_most == "less than" else most <= float(by) + 1e-9


@pytest.mark.parametrize(
    ("users", "moves", "said"),
    [
        (0.25, 1, "25 % of users are that far"),
        (0.0, 1, "no user is that far"),
        (0.25, 3, "with all 3 at once"),
    ],
)
def test_how_many_users_are_that_far(users: float, moves: int, said: str) -> None:
    assert said in users_told(row("gore", 1.0, users, moves=moves))
