"""Prompts with real tokenizers: digits, spaces, chat templates, and texts that try to break out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tiny_models import make_attributes
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Digits, Sequence, Whitespace
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from guided_refine.errors import InputError
from guided_refine.scoring import prompt
from guided_refine.scoring.prompt import (
    build_prompt,
    generation_lines,
    segment_ids,
    token_rows,
    tokenise_text,
    tokenise_texts,
)

FAMILIES = ["gpt2", "llama2", "llama3", "mistral-v3", "phi-3-mini", "qwen3", "smollm2", "stories260K"]
WITH_TEMPLATE = {"llama2", "llama3", "mistral-v3", "phi-3-mini", "qwen3", "smollm2"}
# What must stand between the text and the answer, by the family's own format.
HEADER = {
    "llama2": "[/INST]",
    "llama3": "<|start_header_id|>assistant<|end_header_id|>",
    "mistral-v3": "[/INST]",
    "phi-3-mini": "<|assistant|>",
    "qwen3": "</think>",
    "smollm2": "<|im_start|>assistant",
}


@pytest.fixture(scope="module", params=FAMILIES)
def named(request: pytest.FixtureRequest, shared: Path) -> tuple[str, Any]:
    return request.param, AutoTokenizer.from_pretrained(
        shared / "tokenizers" / request.param, local_files_only=True
    )


@pytest.mark.parametrize("kind", ["item", "user"])
def test_slots_end_right_before_nine_single_digits(named: tuple[str, Any], kind: Any) -> None:
    name, tokenizer = named
    plan = build_prompt(tokenizer, make_attributes(), kind)
    assert [tokenizer.decode([d]).strip() for d in plan.digits] == list("123456789")
    assert plan.chat == (name in WITH_TEMPLATE)
    for slot, label in zip(plan.slots, ["humour", "story complexity", "darkness", "romance"], strict=True):
        written = tokenizer.decode([*slot, plan.digits[6]])
        assert written.endswith(f"{label}: 7")
        assert HEADER.get(name, "\n") in written


def test_the_beginning_of_sequence_stands_once_and_first(named: tuple[str, Any]) -> None:
    name, tokenizer = named
    for chat in ("auto", "never"):
        plan = build_prompt(tokenizer, make_attributes(), "item", chat=chat)
        parts = [plan.head, *plan.definitions, plan.opening, *plan.slots]
        whole = [token for part in parts for token in part]
        if name in {"llama2", "llama3", "mistral-v3", "stories260K"}:
            assert whole.index(tokenizer.bos_token_id) == 0
            assert whole.count(tokenizer.bos_token_id) == 1
        assert plan.chat == (chat == "auto" and name in WITH_TEMPLATE)


def test_segments_join_as_if_they_were_written_in_one_go(named: tuple[str, Any]) -> None:
    _, tokenizer = named
    plan = build_prompt(tokenizer, make_attributes(), "item")
    text, cut = tokenise_text(tokenizer, "Heat (1995). A thief and a cop.", 100)
    joined = tokenizer.decode(plan.opening + text + plan.newline)
    assert joined.endswith("Item:\nHeat (1995). A thief and a cop.\n")
    assert not cut
    assert "  " not in tokenizer.decode(plan.definitions[0] + plan.definitions[1])


def test_positions_depend_neither_on_attributes_nor_on_their_order(named: tuple[str, Any]) -> None:
    _, tokenizer = named
    all_four = build_prompt(tokenizer, make_attributes(), "item")
    one = build_prompt(tokenizer, make_attributes("darkness"), "item")
    assert (one.definition_start, one.text_start) == (all_four.definition_start, all_four.text_start)
    assert one.sha256 == all_four.sha256
    assert one.attribute_sha256(0) == all_four.attribute_sha256(2)
    assert one.attribute_sha256(0) != all_four.attribute_sha256(0)
    assert all_four.select([2]) == one


def test_generation_lines_hold_the_template_in_order(named: tuple[str, Any]) -> None:
    name, tokenizer = named
    plan = build_prompt(tokenizer, make_attributes(), "item")
    text, _ = tokenise_text(tokenizer, "A merry tale.", 20)
    lines = generation_lines(plan, text, [3, 1, 9, 5])
    answer = tokenizer.decode(lines.ids[lines.prompt_length :])
    assert answer.strip() == "humour: 3\nstory complexity: 1\ndarkness: 9\nromance: 5"
    digits = [tokenizer.decode([lines.ids[place]]).strip() for place in lines.digit_places]
    assert digits == ["3", "1", "9", "5"]
    prompt = tokenizer.decode(lines.ids[: lines.prompt_length])
    for part in ("Rate one item", "full of romance", "A merry tale.", HEADER.get(name, "")):
        assert part in prompt


@pytest.mark.parametrize("kind", ["item", "user"])
def test_generation_lines_fit_the_limit_or_say_why_not(named: tuple[str, Any], kind: Any) -> None:
    """Of an item's text the beginning stays, of a history the newest events."""
    _, tokenizer = named
    plan = build_prompt(tokenizer, make_attributes(), kind)
    text = list(range(300, 500))
    fixed = len(generation_lines(plan, [], limit=None).ids) - sum(map(len, plan.definitions))
    lines = generation_lines(plan, text, limit=fixed + 20)
    assert len(lines.ids) == fixed + 20
    before = len(plan.head) + len(plan.opening)
    assert lines.ids[before : before + 20] == (text[:20] if kind == "item" else text[-20:])
    assert [lines.ids[p] for p in lines.digit_places] == [plan.digits[4]] * 4
    with pytest.raises(InputError, match="context"):
        generation_lines(plan, text, limit=fixed)


def test_texts_are_cut_and_counted_and_cannot_leave_their_turn(named: tuple[str, Any]) -> None:
    _, tokenizer = named
    assert tokenise_text(tokenizer, "", 5) == ([], False)
    ids, cut = tokenise_text(tokenizer, "one two three four five six seven", 3)
    assert (len(ids), cut) == (3, True)
    control = [t for t in tokenizer.all_special_tokens if t] + ["<|im_end|>", "</s>", "<|end|>"]
    for token in control:
        ids, _ = tokenise_text(tokenizer, f"Good {token} film", 50)
        assert not set(ids) & set(tokenizer.all_special_ids), token
    together = tokenise_texts(tokenizer, ["A film", "Another film"], 50)
    assert together == [tokenise_text(tokenizer, t, 50) for t in ("A film", "Another film")]


def test_texts_are_the_same_in_whatever_portions_they_are_tokenised(
    named: tuple[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, tokenizer = named
    texts = ["A film", "", "Another <|im_end|> film", "one two three four five six", "A film"]
    together = tokenise_texts(tokenizer, texts, 5)
    assert together == [tokenise_text(tokenizer, text, 5) for text in texts]
    for portion in (1, 2, 5):
        monkeypatch.setattr(prompt, "_AT_ONCE", portion)
        rows = list(token_rows(tokenizer, iter(texts), 5))
        assert [(list(ids), cut) for ids, cut in rows] == together
        assert {ids.itemsize for ids, _ in rows} == {4}
    assert list(token_rows(tokenizer, iter([]), 5)) == []


def test_a_segment_has_no_space_of_the_tokenizers_own(named: tuple[str, Any]) -> None:
    _, tokenizer = named
    ids = segment_ids(tokenizer, "The film")
    assert not str(tokenizer.convert_ids_to_tokens(ids)[0]).startswith(("\u2581", "\u0120"))


def test_the_day_does_not_change_the_prompt(shared: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(shared / "tokenizers" / "smollm2")
    tokenizer.chat_template = (
        "{{ 'Today: ' + strftime_now('%d %B %Y %H:%M:%S.%f') }}"
        "{% for m in messages %}{{ '<|im_start|>user\n' + m['content'] + '<|im_end|>' }}{% endfor %}"
    )
    plan = build_prompt(tokenizer, make_attributes(), "item")
    assert "Today: 1 January 2025" in tokenizer.decode(plan.head)


@pytest.mark.parametrize("template", ["{{ raise_exception('no') }}", "{{ 'fixed' }}"])
def test_a_template_that_takes_no_user_turn_is_left_out(shared: Path, template: str) -> None:
    tokenizer = AutoTokenizer.from_pretrained(shared / "tokenizers" / "smollm2")
    tokenizer.chat_template = template
    assert build_prompt(tokenizer, make_attributes(), "item") == build_prompt(
        tokenizer, make_attributes(), "item", chat="never"
    )


def test_tokenizer_without_digits_is_an_input_error() -> None:
    inner = Tokenizer(WordLevel({"<unk>": 0, "a": 1, ":": 2}, unk_token="<unk>"))
    inner.pre_tokenizer = Sequence([Whitespace(), Digits(individual_digits=True)])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="<unk>")
    with pytest.raises(InputError, match="no single-token digits"):
        build_prompt(tokenizer, make_attributes(), "item")


def test_a_short_context_is_an_input_error_with_numbers(shared: Path) -> None:
    plan = build_prompt(
        AutoTokenizer.from_pretrained(shared / "tokenizers" / "gpt2"), make_attributes(), "item"
    )
    assert plan.text_room(512) == 512 - plan.text_start - max(map(len, plan.slots))
    with pytest.raises(InputError, match=r"context of 128 tokens is too short: instructions take \d+"):
        plan.text_room(128)
