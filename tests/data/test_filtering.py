"""Order, duplicates and cores against naive loops."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guided_refine.data import filtering
from guided_refine.data.raw import Arrays

events = st.lists(
    st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(0, 3), st.integers(0, 2)),
    min_size=1,
    max_size=60,
)


def arrays(rows: list[tuple[int, int, int, int]], *, timed: bool = True) -> Arrays:
    table = np.array(rows)
    return Arrays(
        table[:, 0],
        table[:, 1],
        table[:, 3].astype(np.float32),
        table[:, 2].astype(float) if timed else None,
        None,
        np.arange(len(rows)),
    )


def naive_core(pairs: list[tuple[int, int]], k: int) -> list[tuple[int, int]]:
    while True:
        users, items = Counter(u for u, _ in pairs), Counter(i for _, i in pairs)
        kept = [(u, i) for u, i in pairs if users[u] >= k and items[i] >= k]
        if len(kept) == len(pairs):
            return kept
        pairs = kept


@given(events, st.integers(1, 4))
def test_iterated_core_is_the_naive_fixed_point(rows: list[tuple[int, int, int, int]], k: int) -> None:
    pairs = [(u, i) for u, i, *_ in rows]
    keep = filtering.k_core(*np.array(pairs).T, k)
    assert [p for p, kept in zip(pairs, keep, strict=True) if kept] == naive_core(pairs, k)


@given(events, st.integers(2, 4))
def test_one_pass_core_compares_raw_counts_once(rows: list[tuple[int, int, int, int]], k: int) -> None:
    pairs = [(u, i) for u, i, *_ in rows]
    users, items = Counter(u for u, _ in pairs), Counter(i for _, i in pairs)
    keep = filtering.k_core(*np.array(pairs).T, k, "one_pass")
    assert keep.tolist() == [users[u] >= k and items[i] >= k for u, i in pairs]


def test_one_pass_may_leave_less_than_k() -> None:
    user, item = np.array([0, 0, 1, 1, 1]), np.array([0, 1, 0, 2, 3])
    assert filtering.k_core(user, item, 2, "one_pass").sum() == 2
    assert filtering.k_core(user, item, 2).sum() == 0


@given(events)
def test_duplicates_are_all_but_the_first_of_equal_rows(rows: list[tuple[int, int, int, int]]) -> None:
    seen: set[tuple[int, int, int, int]] = set()
    expected = []
    for row in rows:
        expected.append(row in seen)
        seen.add(row)
    assert filtering.exact_duplicates(arrays(rows)).tolist() == expected


def test_without_time_or_position_nothing_is_called_a_duplicate() -> None:
    assert not filtering.exact_duplicates(arrays([(0, 0, 0, 0)] * 3, timed=False)).any()


def test_missing_ratings_are_equal_to_each_other() -> None:
    rows = arrays([(0, 0, 1, 0)] * 2)
    rows.rating = np.full(2, np.nan, dtype=np.float32)
    assert filtering.exact_duplicates(rows).tolist() == [False, True]


@given(events)
def test_history_order_is_pythons_stable_sort(rows: list[tuple[int, int, int, int]]) -> None:
    expected = sorted(range(len(rows)), key=lambda at: (rows[at][0], rows[at][2]))
    assert filtering.history_order(arrays(rows)).tolist() == expected


@pytest.mark.parametrize(("timed", "expected"), [(True, [2, 1, 0]), (False, [1, 0, 2])])
def test_position_orders_alone_or_breaks_equal_times(timed: bool, expected: list[int]) -> None:
    rows = arrays([(0, 0, 5, 0), (0, 1, 5, 0), (0, 2, 4, 0)], timed=timed)
    rows.position = np.array([2.0, 1.0, 3.0])
    assert filtering.history_order(rows).tolist() == expected


@given(events)
def test_repeats_are_later_events_with_the_same_item(rows: list[tuple[int, int, int, int]]) -> None:
    seen: set[tuple[int, int]] = set()
    expected = []
    for user, item, *_ in rows:
        expected.append((user, item) in seen)
        seen.add((user, item))
    table = np.array(rows)
    assert filtering.repeats(table[:, 0], table[:, 1]).tolist() == expected
