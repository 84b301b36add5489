"""Both splits against plain loops, and what they promise: nothing that trains is as late as what is predicted."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from guided_refine.data.dataset import Dataset, from_frames
from guided_refine.data.split import global_time, leave_one_out, make_split
from guided_refine.errors import InputError

# Few moments, so that many events share one, cuts included.
USERS = st.lists(st.lists(st.integers(0, 12), min_size=1, max_size=10).map(sorted), min_size=1, max_size=8)
SHARES = st.sampled_from([(0.1, 0.1), (0.25, 0.1), (0.2, 0.3), (0.05, 0.5)])


def cuts(users: list[list[int]], valid_share: float, test_share: float) -> tuple[int, int]:
    """The first event times that so large a share of all steps from the first event to the last leads to."""
    every = sorted(time for user in users for time in user)
    first, second = (
        math.ceil((len(every) - 1) * share) for share in (1 - valid_share - test_share, 1 - test_share)
    )
    return every[first], every[second]


def arrays(users: list[list[int]]) -> list[np.ndarray]:
    return [np.array(user, dtype=np.float64) for user in users]


def build(
    users: list[list[int]], kind: Any = "global_time", valid_share: float = 0.1, test_share: float = 0.1
) -> Dataset:
    """The event of user u at place p is on item p, an item each place."""
    longest = max(len(user) for user in users)
    items = pd.DataFrame({"item_id": [f"i{p}" for p in range(longest)], "title": "", "text": ""})
    rows = pd.DataFrame(
        [(f"u{u}", f"i{p}", time) for u, user in enumerate(users) for p, time in enumerate(user)],
        columns=["user_id", "item_id", "timestamp"],
    )
    return from_frames("toy", items, rows, split=kind, valid_share=valid_share, test_share=test_share)


@given(USERS, SHARES)
def test_global_time_equals_a_loop(users: list[list[int]], shares: tuple[float, float]) -> None:
    first, second = cuts(users, *shares)
    n_train, valid, test = global_time(arrays(users), valid_share=shares[0], test_share=shares[1])
    assert n_train.shape == valid.shape == test.shape == (len(users),)
    for user, trains, validates, tests in zip(users, n_train, valid, test, strict=True):
        before = [place for place, time in enumerate(user) if time < first]
        between = [place for place, time in enumerate(user) if first <= time < second]
        after = [place for place, time in enumerate(user) if time >= second]
        assert trains == len(before)
        assert validates == (between[0] if between and before else -1)
        assert tests == (after[0] if after and (before or between) else -1)


@given(USERS, SHARES)
def test_no_event_trains_that_is_as_late_as_a_target(
    users: list[list[int]], shares: tuple[float, float]
) -> None:
    """Without any cut: of all users together, what trains lies before what validates, and that before what tests."""
    n_train, valid, test = global_time(arrays(users), valid_share=shares[0], test_share=shares[1])
    trained = [time for user, n in zip(users, n_train, strict=True) for time in user[:n]]
    later = [time for user, n in zip(users, n_train, strict=True) for time in user[n:]]
    validated, tested = (
        [user[place] for user, place in zip(users, places, strict=True) if place >= 0]
        for places in (valid, test)
    )
    first, second = cuts(users, *shares)
    assert max(trained, default=-1) < min(later, default=99)
    assert max(trained, default=-1) < first <= min(validated, default=99)
    assert max(validated, default=-1) < second <= min(tested, default=99)
    # A target has something to be predicted from, and both are never the same event.
    assert (valid[valid >= 0] >= 1).all() and (test[test >= 0] >= 1).all()
    assert all(b > a for a, b in zip(valid, test, strict=True) if a >= 0 and b >= 0)


def test_by_hand_with_ties_on_both_cuts() -> None:
    """Ten events, cuts at the times of the sixth and the ninth: 6 and 8."""
    users = [
        [1, 2, 6, 6],  # two events at the first cut: neither trains, the first validates
        [3, 8, 8],  # nothing in between; two events at the second cut: the first tests
        [4],  # trains, and nothing follows
        [6],  # no earlier event, so no target
        [8],
    ]
    n_train, valid, test = global_time(arrays(users), valid_share=0.25, test_share=0.2)
    assert cuts(users, 0.25, 0.2) == (6, 8)
    assert n_train.tolist() == [2, 1, 1, 0, 0]
    assert valid.tolist() == [2, -1, -1, -1, -1]
    assert test.tolist() == [-1, 1, -1, -1, -1]


def test_a_newcomer_is_tested_though_nothing_of_his_trains() -> None:
    users = [[1], [2], [3], [4], [5], [6, 7, 9], [9, 9]]
    n_train, valid, test = global_time(arrays(users), valid_share=0.3, test_share=0.3)
    assert cuts(users, 0.3, 0.3) == (5, 9)
    # The first event between the cuts has nothing before it; the one behind them has two.
    assert (n_train[5], valid[5], test[5]) == (0, -1, 2)
    assert (n_train[6], valid[6], test[6]) == (0, -1, -1)


@settings(max_examples=50)
@given(USERS, SHARES)
def test_what_may_be_seen_ends_at_the_cut(users: list[list[int]], shares: tuple[float, float]) -> None:
    """A user without a test target is known by all that he did before the second cut, like any other."""
    first, second = cuts(users, *shares)
    _, _, test = global_time(arrays(users), valid_share=shares[0], test_share=shares[1])
    assume((test >= 0).any())
    dataset = build(users, valid_share=shares[0], test_share=shares[1])
    for u, user in enumerate(users):
        for part, end in (("train", first), ("valid", first), ("test", second)):
            seen = dataset.visible(u, part)  # type: ignore[arg-type]
            assert seen.tolist() == [place + 1 for place, time in enumerate(user) if time < end]
    for part, low, high in (("valid", first, second), ("test", second, 99)):
        tested, items = dataset.targets(part)  # type: ignore[arg-type]
        assert len(set(tested.tolist())) == len(tested) == len(items)  # at most one target each
        for u, item in zip(tested.tolist(), items.tolist(), strict=True):
            assert low <= users[u][item - 1] < high
            assert item == len(dataset.visible(u, part)) + 1  # type: ignore[arg-type]


@settings(max_examples=50)
@given(st.lists(st.integers(1, 8), min_size=1, max_size=12))
def test_leave_one_out_equals_a_loop(lengths: list[int]) -> None:
    n_train, valid, test = leave_one_out(lengths)
    for n, trains, validates, tests in zip(lengths, n_train, valid, test, strict=True):
        places = list(range(n))
        if n < 3:
            assert (trains, validates, tests) == (n, -1, -1)
        else:
            assert [*places[:trains], validates, tests] == places
    assume((test >= 0).any())
    dataset = build([list(range(n)) for n in lengths], "leave_one_out")
    for part, held_out in (("valid", 2), ("test", 1)):
        users, items = dataset.targets(part)  # type: ignore[arg-type]
        assert users.tolist() == [u for u, n in enumerate(lengths) if n >= 3]
        assert items.tolist() == [n - held_out + 1 for n in lengths if n >= 3]
        for u, n in enumerate(lengths):
            seen = dataset.visible(u, part)  # type: ignore[arg-type]
            assert seen.tolist() == list(range(1, n + 1 - (held_out if n >= 3 else 0)))


def test_the_hash_is_that_of_ids_order_and_places() -> None:
    ids, items = ["u", "v"], np.array(["a", "b", "c", "d"], dtype=object)
    sequences = [np.array([1, 2, 3, 4]), np.array([2, 1, 3])]
    times = arrays([[1, 2, 8, 9], [3, 4, 5]])
    plain = make_split("leave_one_out", ids, items, sequences, None)
    assert make_split("leave_one_out", ids, items, sequences, times).sha256 == plain.sha256
    assert plain.cut_off.startswith("leave_one_out:")
    others = [
        make_split("leave_one_out", ["u", "w"], items, sequences, None),
        make_split("leave_one_out", ids, items[::-1], sequences, None),
        make_split("leave_one_out", ids, items, [sequences[0][::-1], sequences[1]], None),
        make_split("leave_one_out", ids, items, [sequences[0][:3], sequences[1]], None),
        make_split("global_time", ids, items, sequences, times, valid_share=0.2, test_share=0.2),
        make_split("global_time", ids, items, sequences, times, valid_share=0.2, test_share=0.5),
    ]
    assert len({split.cut_off for split in [plain, *others]}) == len(others) + 1


@pytest.mark.parametrize("times", [None, [[1.0, float("nan"), 3.0]], []])
def test_a_missing_time_is_said(times: list[list[float]] | None) -> None:
    found = None if times is None else [np.array(t) for t in times]
    sequences = [np.array([1, 2, 3])][: 1 if times is None else len(times)]
    with pytest.raises(InputError, match="needs a timestamp on every interaction"):
        make_split("global_time", ["u"][: len(sequences)], np.array(["a", "b", "c"]), sequences, found)


@pytest.mark.parametrize(
    ("kind", "users", "reason"),
    [
        ("leave_one_out", [[1, 2], [3]], "every history is too short"),
        ("global_time", [[1], [2], [3]], "nobody has an event before and one after the cut"),
    ],
)
def test_nobody_to_test_is_said(kind: str, users: list[list[int]], reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        build(users, kind)
