from __future__ import annotations

import pytest

from guided_refine.scoring.builtin.words import content_words, stem


@pytest.mark.parametrize(
    ("text", "negated"),
    [
        ("It is not funny", True),
        ("never really very funny", True),
        ("Funny, not grim", False),
        ("not grim. funny", False),
        ("without a dull, slow or funny line", True),
        ("not one two long words before funny", True),
        ("no gloomy rainy lonely dreary funny", False),
        ("it isn't funny", True),
        ("it isn’t funny", True),
    ],
)
def test_negation_reaches_three_content_words_within_a_clause(text: str, negated: bool) -> None:
    assert dict(content_words(text))["funny"] is negated


def test_forms_of_a_word_meet() -> None:
    for forms in (
        ("chase", "chases", "chasing", "chased"),
        ("killer", "killers", "killing", "kills"),
        ("boy", "boys"),
    ):
        assert len({stem(form) for form in forms}) == 1


def test_short_and_foreign_words_pass() -> None:
    assert [stem(w) for w in ("war", "gas", "kiss", "virus")] == ["war", "gas", "kiss", "virus"]
    assert [w for w, _ in content_words("Größe 1995 Москва")] == ["größ", "москва"]
