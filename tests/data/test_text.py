"""Item text: one line, title first, caps, nothing that leaks what users did."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guided_refine.data import text
from guided_refine.errors import InputError


@given(st.text(max_size=300))
def test_cleaned_text_is_one_line_that_can_be_written(raw: str) -> None:
    line = text.clean(raw)
    assert "\n" not in line
    assert line == line.strip()
    assert "  " not in line
    line.encode("utf-8")


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("Tom &amp; Jerry", "Tom & Jerry"),
        ("Rock &amp;amp; Roll", "Rock & Roll"),
        ("&lt;b&gt;Loud&lt;/b&gt; <i>and</i> clear", "Loud and clear"),
        ("a<br />b\r\n\tc\x00d", "a b c d"),
        ("before<script>if (a < b) alert('x')</script>after", "before after"),
        ("cut <script>never closed", "cut"),
        ("see <!-- <b>hidden</b> --> this", "see this"),
        ("5 < 6 and 7 > 3", "5 < 6 and 7 > 3"),
        ("zero\u200bwidth\u202e", "zerowidth"),
        ("bad \ud800 half", "bad half"),
        ("Cafe\u0301", "Café"),
        ("(no genres listed)", ""),
        ("N/A", ""),
        ("var aPageStart = (new Date()).getTime();", ""),
    ],
)
def test_markup_entities_and_invisible_characters_go(raw: str, expected: str) -> None:
    assert text.clean(raw) == expected


def test_a_very_long_value_with_many_open_tags_is_quick_and_short() -> None:
    assert len(text.clean("<script " * 200_000)) <= text.STORED_CHARS
    assert len(text.clean("word " * 100_000)) <= text.STORED_CHARS


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (["x", "", "y", "x"], "x, y"),
        ([["Home", "Kitchen"], ["Home", "Dining"]], "Home, Kitchen, Dining"),
        (np.array(["x", "y"], dtype=object), "x, y"),
        ("Action|Comedy|Sci-Fi", "Action, Comedy, Sci-Fi"),
        ("Dune | Special edition", "Dune | Special edition"),
        (1995.0, "1995"),
        (float("nan"), ""),
        (None, ""),
        ([], ""),
        ({"Material": "Oak", "Best Sellers Rank": {"Home": 3}, "Item Weight": "3 lb"}, "Material Oak"),
    ],
)
def test_values_are_flattened(value: object, expected: str) -> None:
    assert text.flatten(value) == expected


@pytest.mark.parametrize(
    ("listed", "spoken"),
    [
        ("Postman, The (1994)", "The Postman (1994)"),
        ("American President, The (1995)", "The American President (1995)"),
        ("City of Lamps, The (Cité, La) (1995)", "The City of Lamps (La Cité) (1995)"),
        ("Beautiful Day, A", "A Beautiful Day"),
        ("Eclisse, L' (1962)", "L'Eclisse (1962)"),
        (
            "Good, the Bad, The (Buono, il brutto, Il) (1966)",
            "The Good, the Bad (Il Buono, il brutto) (1966)",
        ),
        ("Crouching Tiger, Hidden Dragon (2000)", "Crouching Tiger, Hidden Dragon (2000)"),
        ("Me, Myself & Irene (2000)", "Me, Myself & Irene (2000)"),
        ("I, The Jury (1953)", "I, The Jury (1953)"),
        ("Toy Story (1995)", "Toy Story (1995)"),
    ],
)
def test_articles_come_back_in_front(listed: str, spoken: str) -> None:
    assert text.article_first(listed) == spoken


def catalog(**columns: list[str]) -> pd.DataFrame:
    n = len(next(iter(columns.values())))
    return pd.DataFrame(
        {"item_id": [f"i{k}" for k in range(n)], "title": [f"T{k}" for k in range(n)], **columns}
    )


def test_columns_that_say_nothing_or_leak_are_left_out() -> None:
    names = [
        *(
            "imdbId",
            "source_id",
            "imUrl",
            "imageURL",
            "salesRank",
            "also_bought",
            "related",
            "average_rating",
        ),
        *("rating_number", "sentiment", "asin"),
    ]
    items = catalog(
        genre=["x", "y"],
        android=["yes, 4.0", "no"],
        title_ok=["True", "False"],
        everywhere=["same", "same"],
        **{name: ["1", "2"] for name in names},
    )
    assert text.text_columns(items) == ["genre", "android"]


def test_named_columns_are_taken_as_named_and_a_wrong_name_is_told() -> None:
    items = catalog(genre=["x", "y"], imdbId=["1", "2"])
    assert text.text_columns(items, ["imdbId", "title"]) == ["imdbId"]
    with pytest.raises(InputError, match="no column 'gerne': did you mean 'genre'"):
        text.text_columns(items, ["gerne"])


def test_text_is_title_then_pairs_with_caps_and_one_meaning_per_separator() -> None:
    items = catalog(
        brand=["b " * 300, "", "Acme; Sons"], description=["d " * 900, "Fine", ""], year=["1999", "2001", ""]
    )
    items["title"] = ["One (1999)", "", "Three"]
    first, second, third = text.item_texts(items, ["brand", "description", "year"])
    title, brand, description = first.split("; ")
    assert title == "One (1999)", "the year is in the title already"
    assert len(brand.removeprefix("brand: ")) <= text.VALUE_CHARS
    assert text.VALUE_CHARS < len(description.removeprefix("description: ")) <= text.LONG_CHARS
    assert second == "description: Fine; year: 2001"
    assert third == "Three; brand: Acme, Sons"
