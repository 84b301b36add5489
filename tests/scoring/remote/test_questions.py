"""A question's name, its request and its worst case in tokens."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from tiny_models import make_attributes
from tokenizers import Tokenizer

from guided_refine.config_remote import RemoteOptions
from guided_refine.scoring.prompt import Kind, build_prompt, generation_lines, tokenise_text
from guided_refine.scoring.remote.parsing import read_json, read_lines
from guided_refine.scoring.remote.questions import MODES, Form, Mode, scores_depend_on
from guided_refine.scoring.remote.texts import TextMeasure

TEXT = "The dog. A sad story."


def form(mode: Mode = "text", kind: Kind = "item", names: tuple[str, ...] = (), **options: Any) -> Form:
    given = RemoteOptions(**{"model": "tiny", **options})
    return Form(make_attributes(*names), kind, mode, given, TextMeasure(None))


def test_a_key_names_all_that_an_answer_depends_on_and_nothing_else() -> None:
    key = form().question(TEXT).key
    others = [
        form("json"),
        form("logprobs"),
        form(kind="user"),
        form(names=("humour",)),
        form(names=("romance", "darkness", "story_complexity", "humour")),
        form(model="other"),
        form(samples=2),
        form(answer_tokens=500),
        form(extra_body={"seed": 1}),
    ]
    keys = {key, form().question(TEXT + "!").key, *(one.question(TEXT).key for one in others)}
    assert len(keys) == len(others) + 2
    same = form(
        concurrency=1, timeout=1, retries=0, max_tokens_total=9, requests_per_minute=1, key_variable="MY_KEY"
    )
    assert same.question(TEXT).key == key
    assert form(top_logprobs=5).question(TEXT).key == key
    assert form("logprobs", top_logprobs=5).question(TEXT).key != form("logprobs").question(TEXT).key


def test_what_only_changes_the_running_changes_no_stage() -> None:
    one = scores_depend_on(RemoteOptions(model="m"))
    assert one == scores_depend_on(
        RemoteOptions(model="m", concurrency=1, max_tokens_total=5, key_variable="K")
    )
    for other in ({"model": "n"}, {"mode": "json"}, {"samples": 3}, {"tokenizer": "x"}, {"top_logprobs": 5}):
        assert one != scores_depend_on(RemoteOptions(**{"model": "m", **other}))


def test_the_prompt_is_the_one_of_a_local_model(shared: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(shared / "tokenizers" / "gpt2")
    for kind in ("item", "user"):
        plan = build_prompt(tokenizer, make_attributes(), kind)
        lines = generation_lines(plan, tokenise_text(tokenizer, TEXT, 100)[0])
        assert tokenizer.decode(lines.ids[: lines.prompt_length]) == form(kind=kind).content(TEXT) + "\n"


@pytest.mark.parametrize("mode", MODES)
def test_requests_follow_the_protocol(mode: Mode) -> None:
    one = form(mode, samples=3, extra_body={"chat_template_kwargs": {"enable_thinking": False}})
    body = one.body(one.content(TEXT), 1 if mode == "logprobs" else 3)
    assert json.loads(json.dumps(body)) == body
    assert body["messages"] == [{"role": "user", "content": one.content(TEXT)}]
    assert body["chat_template_kwargs"] == {"enable_thinking": False}
    assert body["temperature"] == (0.0 if mode == "logprobs" else 1.0)
    assert ("logprobs" in body) == (mode == "logprobs")
    assert ("response_format" in body) == (mode == "json")
    assert body.get("n", 1) == (1 if mode == "logprobs" else 3)
    assert form(mode).body("x")["temperature"] == 0.0


def test_the_schema_takes_what_is_read_and_refuses_the_rest() -> None:
    one = form("json")
    schema = one.body("x")["response_format"]["json_schema"]["schema"]
    jsonschema.Draft202012Validator.check_schema(schema)
    right = dict.fromkeys(one.labels, 5)
    jsonschema.validate(right, schema)
    assert all(read_json(json.dumps(right), one.labels))
    for wrong in ({**right, "humour": 10}, {**right, "humour": 4.5}, {**right, "x": 1}, {"humour": 5}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, schema)


@pytest.mark.parametrize("mode", MODES)
def test_a_question_asked_again_shows_a_form_that_can_be_read(mode: Mode) -> None:
    one = form(mode)
    shown = one.content(TEXT, again=True).removeprefix(one.content(TEXT))
    read = read_json if mode == "json" else read_lines
    assert all(read(shown, one.labels))


@pytest.mark.parametrize("family", ["gpt2", "llama2", "qwen3", "stories260K"])
@pytest.mark.parametrize("mode", ["text", "json"])
def test_an_answer_of_full_length_fits(shared: Path, family: str, mode: Mode) -> None:
    tokenizer = Tokenizer.from_file(str(shared / "tokenizers" / family / "tokenizer.json"))
    one = form(mode)
    longest = (
        json.dumps(dict.fromkeys(one.labels, 5))
        if mode == "json"
        else "".join(f"{x}: 5\n" for x in one.labels)
    )
    assert len(tokenizer.encode(longest).ids) <= one.answer_tokens
    content = one.content(TEXT)
    assert one.tokens(content) >= len(tokenizer.encode(content).ids) + one.answer_tokens
