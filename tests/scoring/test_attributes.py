"""Attribute sets: those that travel with the package, and the sentences for those that are wrong."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

from guided_refine.errors import InputError
from guided_refine.scoring.attributes import AttributeSet, available, load_attributes

DOMAINS = ["beauty", "clothing", "general", "movies", "office_products", "video_games"]


def content_words(text: str) -> set[str]:
    return {w for w in re.findall(r"[a-z]+", text.lower()) if len(w) > 1} - ENGLISH_STOP_WORDS


def one(**changes: Any) -> dict[str, Any]:
    return {
        "name": "warmth",
        "definition": "How warm it is.",
        "low": "cold",
        "high": "warm",
        "item_question": "How warm?",
        "user_question": "How warm a one?",
        **changes,
    }


def write(folder: Path, content: Any) -> Path:
    path = folder / "mine.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content), encoding="utf-8")
    return path


def test_the_six_sets_are_there() -> None:
    assert available() == DOMAINS


@pytest.mark.parametrize("domain", DOMAINS)
def test_every_set_is_complete_and_its_poles_are_apart(domain: str) -> None:
    loaded = load_attributes(domain)
    assert loaded.domain == domain
    assert loaded.version == 1
    assert 8 <= len(loaded.attributes) <= 12
    assert len(set(loaded.names)) == len(loaded.names)
    for attribute in loaded.attributes:
        low, high = content_words(attribute.low), content_words(attribute.high)
        # A teacher that counts the poles' words must not find one word on both sides.
        assert not low & high, attribute.name
        assert len(low) >= 5, attribute.name
        assert len(high) >= 8, attribute.name
        # Poles are said in words of their own: a denied word would count for the wrong side.
        for pole in (attribute.low, attribute.high):
            assert not re.search(r"\b(no|not|without|never|nothing|nobody)\b", pole)
        for question in (attribute.item_question, attribute.user_question):
            assert question.endswith("?")
        assert "this person" in attribute.user_question
        assert attribute.definition.count(".") == 1


def test_movies_cover_what_people_tag() -> None:
    wanted = {
        "story_complexity", "suspense", "emotional_intensity", "action", "humour", "romance", "visual_spectacle",
        "darkness", "thought_provoking",
    }  # fmt: skip
    assert wanted <= set(load_attributes("movies").names)


@pytest.mark.parametrize("domain", DOMAINS)
def test_definitions_leave_room_for_the_text(domain: str, shared: Path) -> None:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(shared / "tokenizers" / "gpt2" / "tokenizer.json"))
    tokens = sum(
        len(tokenizer.encode(f"{a.label}: {a.definition} 1: {a.low} 9: {a.high}\n").ids)
        for a in load_attributes(domain).attributes
    )
    assert tokens < 720


def test_own_file_and_round_trip(tmp_path: Path) -> None:
    path = write(tmp_path, {"domain": "tea", "version": 3, "attributes": [one()]})
    loaded = load_attributes(path)
    assert loaded.names == ["warmth"]
    assert load_attributes(write(tmp_path, loaded.model_dump(mode="json"))) == loaded


@given(
    st.lists(
        st.from_regex(r"[a-z][a-z0-9]{0,8}(_[a-z0-9]{1,5})?", fullmatch=True),
        min_size=1,
        max_size=8,
        unique=True,
    )
)
def test_hash_follows_content_and_a_set_keeps_its_order(names: list[str]) -> None:
    made = AttributeSet.model_validate(
        {"domain": "x", "version": 1, "attributes": [one(name=n) for n in names]}
    )
    assert made.names == names
    hashes = [a.sha256 for a in made.attributes]
    assert len(set(hashes)) == len(names)
    later = made.model_copy(update={"version": 2})
    assert later.sha256 != made.sha256
    assert [a.sha256 for a in later.attributes] == hashes


def test_unknown_set_names_the_nearest() -> None:
    with pytest.raises(InputError, match=r"no attribute set 'movis': did you mean 'movies'\?"):
        load_attributes("movis")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("domain: [unclosed", "not valid YAML"),
        ("just words", "mine.yaml: the file: expected keys and values"),
        ("", "mine.yaml"),
        ({"domain": "x", "version": 1, "attributes": []}, "attributes: needs at least 1 entry"),
        ({"domain": 5, "version": 1, "attributes": [one()]}, "domain: expected text, not 5"),
        ({"domain": "x", "version": 0, "attributes": [one()]}, "version"),
        (
            {"domain": "x", "version": 1, "attributes": [one(colour="red")]},
            r"attributes\.0\.colour: is not known",
        ),
        ({"domain": "x", "version": 1, "attributes": [one()], "extra": 1}, "extra"),
        ({"domain": "x", "version": 1, "attributes": [one(), one()]}, "'warmth' is defined twice"),
        ({"domain": "x", "version": 1, "attributes": [one(name="Warm Feet")]}, "'Warm Feet' is not a name"),
        (
            {"domain": "x", "version": 1, "attributes": [one(low="")]},
            r"attributes\.0\.low: needs at least 3 char",
        ),
        (
            {
                "domain": "x",
                "version": 1,
                "attributes": [{k: v for k, v in one().items() if k != "user_question"}],
            },
            r"attributes\.0\.user_question: is missing",
        ),
    ],
)
def test_a_faulty_file_is_named_with_its_key(tmp_path: Path, content: Any, sentence: str) -> None:
    path = write(tmp_path, content)
    with pytest.raises(InputError, match=sentence) as caught:
        load_attributes(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.yaml cannot be read"):
        load_attributes(tmp_path / "nowhere.yaml")
    (tmp_path / "latin.yaml").write_bytes("domain: caf\xe9".encode("latin-1"))
    with pytest.raises(InputError, match="cannot be read"):
        load_attributes(tmp_path / "latin.yaml")
