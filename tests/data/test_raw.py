"""The event log: what is kept, what is counted, and that memory follows the kept rows only."""

from __future__ import annotations

import math
import tracemalloc

import pytest

from guided_refine.data.raw import RawData, as_id, number, seconds
from guided_refine.errors import InputError


def log_with(items: int = 3, **options: object) -> RawData:
    raw = RawData.empty(**options)  # type: ignore[arg-type]
    for i in range(items):
        raw.catalog.add("items.csv", i + 2, f"i{i}", f"Title {i}", {})
    return raw


def test_every_faulty_row_is_counted_under_its_reason() -> None:
    raw = log_with(min_rating=3)
    rows = [
        (2, "u", "i0", "4", "10", None),
        (3, "", "i0", "4", "10", None),
        (4, "u", None, "4", "10", None),
        (5, "u", "zz", "4", "10", None),
        (6, "u", "i1", "four", "10", None),
        (7, "u", "i1", "4", "yesterday", None),
        (8, "u", "i1", "4", "10", "first"),
        (9, "u", "i1", "2", "10", None),
        (10, "u", "i1", "", "10", None),
        (11, "v", "i2", "inf", "10", None),
    ]
    raw.events.extend("rows.csv", rows)
    assert {reason: d.rows for reason, d in raw.tally.dropped.items()} == {
        "missing user_id": 1,
        "missing item_id": 1,
        "unknown item": 1,
        "unparsable rating": 2,
        "unparsable time": 1,
        "unparsable position": 1,
        "below min_rating": 1,
        "no rating (min_rating is set)": 1,
    }
    assert raw.tally.dropped["unknown item"].first == "rows.csv row 5: 'zz'"
    assert len(raw.events) == 1
    assert (
        raw.tally.rows_read == len(rows) == len(raw.events) + sum(d.rows for d in raw.tally.dropped.values())
    )
    assert list(raw.events.users) == ["u"], "a user with dropped rows only is not remembered"


def test_strict_names_file_and_row_but_lets_a_wanted_filter_pass() -> None:
    raw = log_with(strict=True, min_rating=3)
    raw.events.extend("rows.csv", [(2, "u", "i0", "1", "10", None)])
    with pytest.raises(InputError, match=r"rows\.csv row 3: unknown item 'zz'; correct the row"):
        raw.events.extend("rows.csv", [(3, "u", "zz", "4", "10", None)])


def test_rows_know_the_file_they_came_from() -> None:
    raw = log_with()
    raw.events.extend("a.csv", [(2, "u", "i0", None, 1, None), (3, "u", "i1", None, 2, None)])
    raw.events.extend("b.csv", [(2, "u", "i2", None, 3, None)])
    rows = raw.events.arrays()
    assert [raw.events.place(i, int(rows.row[i])) for i in range(3)] == [
        ("a.csv", 2),
        ("a.csv", 3),
        ("b.csv", 2),
    ]


def test_times_nobody_has_are_none_and_an_empty_log_is_no_error() -> None:
    raw = log_with()
    assert len(raw.events.arrays()) == 0
    raw.events.extend("a.csv", [(2, "u", "i0", None, "", 4)])
    rows = raw.events.arrays()
    assert rows.time is None
    assert rows.position is not None


def test_items_listed_twice_stop_or_are_noted() -> None:
    raw = log_with(1)
    with pytest.raises(InputError, match=r"items\.csv row 9: item_id 'i0' occurs twice"):
        raw.catalog.add("items.csv", 9, "i0", "Again", {})
    raw.catalog.add("items.csv", 9, "i0", "Again", {}, on_duplicate="keep_first")
    assert raw.catalog.frame()["title"].tolist() == ["Title 0"]
    assert raw.tally.noted["item listed more than once (first kept)"].rows == 1


def test_ids_survive_columns_that_became_floats() -> None:
    assert [as_id(v) for v in (7, 7.0, "007", None, math.nan, 1.5)] == ["7", "7", "007", "", "", "1.5"]


@pytest.mark.parametrize("text", ["", "nan", "NULL", "None", " ", "\\N"])
def test_words_for_missing_are_missing(text: str) -> None:
    assert math.isnan(number(text))
    assert math.isnan(seconds(text))


def test_a_moment_is_the_same_however_it_is_written() -> None:
    forms = ["1320451200", 1320451200, "2011-11-05", "2011-11-05T00:00:00Z", "2011-11-05 01:00:00+01:00"]
    assert {seconds(form) for form in forms} == {1320451200.0}


def test_memory_follows_kept_rows_not_rows_read() -> None:
    def rows(n: int) -> object:
        for i in range(n):
            known = i % 1000 == 0
            yield i, f"user{i}", "i1" if known else f"other{i}", "4", str(i), None

    def peak(n: int) -> int:
        raw = log_with()
        tracemalloc.start()
        raw.events.extend("rows.csv", rows(n))  # type: ignore[arg-type]
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert len(raw.events) == n // 1000
        return used

    few, many = peak(10_000), peak(100_000)
    # 90 more kept rows and users, 90,000 more rows that were dropped.
    assert many - few < 90 * 400
