"""Names that people type: what is meant is found or stands first among what is near, and nothing is guessed."""

from __future__ import annotations

import difflib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guided_refine.errors import InputError
from guided_refine.explain.lookup import CUTOFF, Names

USERS = [f"u{n:04d}" for n in range(2000)]
ITEMS = Names("item", ["f1", "f2", "f3", "ran", "f5"], ["Heat", "Ran", "Twice", "Quiet", "twice"])


@pytest.mark.parametrize("typed", ["42", "u42", "U42", "U0042", " u0042", "0042", "u00042"])
def test_zeros_and_capitals_come_before_spelling(typed: str) -> None:
    with pytest.raises(InputError, match=f"no user '{typed}' in RUN; nearest: u0042"):
        Names("user", USERS).find(typed, "RUN")


def test_letters_that_differ_are_no_number() -> None:
    assert Names("user", ["x7", "u0007", "U7"]).near("u7")[:2] == [2, 1]
    assert [USERS[place] for place in Names("user", USERS).near("")] == []
    assert Names("user", ["a" * 9, "1" * 5000]).near("0" + "1" * 5000) == [1]


@given(
    st.lists(st.text("abc", min_size=1, max_size=5), min_size=1, max_size=8, unique=True),
    st.text("abc", max_size=5),
)
def test_what_is_spelled_alike_comes_in_the_order_of_likeness_then_of_the_data(
    ids: list[str], typed: str
) -> None:
    alike = [difflib.SequenceMatcher(None, name, typed).ratio() for name in ids]
    order = sorted((p for p in range(len(ids)) if alike[p] >= CUTOFF), key=lambda p: (-alike[p], p))
    assert Names("user", ids).near(typed) == order[:3]


def test_an_item_is_its_id_or_the_only_title() -> None:
    assert ITEMS.find("f2", "RUN") == 1
    assert ITEMS.find("HEAT", "RUN") == 0
    assert ITEMS.find("ran", "RUN") == 3, "an id goes before a title"
    with pytest.raises(
        InputError, match="'TWICE' is the title of 2 items in RUN; name one by its id: f3, f5"
    ):
        ITEMS.find("TWICE", "RUN")


def test_a_miss_names_ids_with_their_titles() -> None:
    with pytest.raises(InputError, match=r"no item 'hea' in RUN; nearest: f1 \(Heat\)"):
        ITEMS.find("hea", "RUN")
    with pytest.raises(InputError, match="no item '§§§§' in RUN; ids look like: f1, f2, f3"):
        ITEMS.find("§§§§", "RUN")
    nameless = Names("item", ["a", "b"], ["", ""])
    with pytest.raises(InputError, match="no item '' in RUN; ids look like: a, b"):
        nameless.find("", "RUN")
