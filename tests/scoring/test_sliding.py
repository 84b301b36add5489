"""Prompts that reach beyond a model's sliding window: slower, exact, and said in the log."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import make_attributes, make_dataset, naive_logits, tiny_model
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from guided_refine.config import LLMOptions
from guided_refine.progress import Progress
from guided_refine.scoring.language_model import LanguageModel, reading_context
from guided_refine.scoring.prompt import PromptPlan, build_prompt, tokenise_text
from guided_refine.scoring.scorer import score_dataset
from guided_refine.scoring.slots import SlotReader
from guided_refine.scoring.store import ScoreStore

ALTERNATING = ["sliding_attention", "full_attention", "sliding_attention"]
#: Every layer with a window; some; some, and an attention that only a mask can steer.
SHAPES: dict[str, dict[str, Any]] = {
    "mistral": {},
    "phi3": {},
    "qwen3": {"use_sliding_window": True, "layer_types": ALTERNATING},
    "gemma2": {"layer_types": ALTERNATING},
}


@pytest.fixture(scope="module")
def tokenizer(shared: Path) -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(shared / "tokenizers" / "stories260K")


@pytest.fixture(scope="module")
def plan(tokenizer: PreTrainedTokenizerBase) -> PromptPlan:
    return build_prompt(tokenizer, make_attributes("humour", "darkness"), "item")


def windowed(shape: str, width: int) -> Any:
    return tiny_model(shape, 512, sliding_window=width, **SHAPES[shape])


@pytest.mark.parametrize("beyond", ["the instructions", "the definitions", "the text"])
@pytest.mark.parametrize("shape", SHAPES)
def test_slots_equal_the_naive_oracle_with_its_window(
    shape: str, beyond: str, plan: PromptPlan, tokenizer: PreTrainedTokenizerBase
) -> None:
    width = {
        "the instructions": len(plan.head) // 2,
        "the definitions": plan.definition_start + 20,
        "the text": plan.text_start + 12,
    }[beyond]
    model = windowed(shape, width)
    texts = [tokenise_text(tokenizer, text, 60)[0] for text in ("A merry tale of a ghost. " * 3, "War")]
    reads = [[3, len(texts[0])], [len(texts[1])]]
    rows = [(text, p) for text, row in zip(texts, reads, strict=True) for p in row]
    with torch.no_grad():
        reader = SlotReader(model, plan)
        read = reader.digit_logits(texts, reads).logits
        expected = torch.stack(
            [
                torch.stack([naive_logits(model, plan, text[:p], a)[plan.digits] for a in range(2)])
                for text, p in rows
            ]
        )
        blind = tiny_model(shape, 512, **{**SHAPES[shape], "sliding_window": 512})
        unlimited = SlotReader(blind, plan).digit_logits(texts, reads).logits
    torch.testing.assert_close(read, expected, atol=1e-5, rtol=1e-5)
    assert f"beyond its sliding window of {width} tokens" in reader.slower
    assert (read - unlimited).abs().max() > 1e-3  # the window does matter


def test_texts_inside_of_the_window_are_read_as_ever(plan: PromptPlan) -> None:
    text = plan.opening * 2
    model = windowed("mistral", plan.text_start + 40)
    with torch.no_grad():
        reader = SlotReader(model, plan)
        short = reader.digit_logits([text]).logits
        assert (reader._way, reader.slower) == ("blocks", "")
        long = reader.digit_logits([text, text * 8]).logits
        assert reader.slower
    torch.testing.assert_close(short[0], long[0], atol=1e-5, rtol=1e-5)


def test_the_context_leaves_the_window_only_where_prompts_do_not_fit(
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    attributes, options = make_attributes("humour"), LLMOptions(event_tokens=8)

    def context(width: int) -> int:
        model = windowed("mistral", width)
        return reading_context(model.config, tokenizer, attributes, options)

    user = build_prompt(tokenizer, attributes, "user")
    needed = user.text_start + 2 * (8 + len(user.newline)) + len(user.slots[0])
    assert (context(needed), context(needed - 1), context(1000)) == (needed, 512, 512)


def test_a_dataset_is_scored_beyond_the_window_and_the_log_says_so(
    tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    model = windowed("mistral", 64)
    lm = LanguageModel(model, tokenizer, "mistral", "f" * 64, torch.device("cpu"))
    attributes, dataset = make_attributes("humour", "darkness"), make_dataset()
    options = LLMOptions(text_tokens=40, event_tokens=8, history_events=6, snapshots=2)
    log = tmp_path / "run.log"
    with ScoreStore(tmp_path / "s.sqlite") as store:
        scores, summary = score_dataset(
            lm, dataset, attributes, options, store, source="untuned", progress=Progress(quiet=True, log=log)
        )
    assert (summary.text_tokens, summary.history_events) == (40, 6)
    assert ((scores.item_value >= 0) & (scores.item_value <= 1)).all()
    said = log.read_text().count(
        "MistralForCausalLM: prompts reach beyond its sliding window of 64 tokens; exact, but slower"
    )
    assert said == 1


def test_where_no_mask_keeps_the_window_a_score_does_not_depend_on_its_neighbours(plan: PromptPlan) -> None:
    model = windowed("mistral", plan.text_start + 40)
    short, long = plan.opening * 2, plan.opening * 16
    reads = [[2, len(long)], [len(short)]]
    with torch.no_grad():
        reader = SlotReader(model, plan)
        alone = reader.digit_logits([short]).logits
        reader._windows_followed = False  # no family is known of which this is true
        both = reader.digit_logits([long, short], reads).logits
        assert "cannot be kept by a mask" in reader.slower
        first = reader.digit_logits([long[:2]]).logits
        beyond = torch.stack(
            [
                model(
                    input_ids=torch.tensor([[*plan.head, *definition, *plan.opening, *long, *slot]])
                ).logits[0, -1]
                for definition, slot in zip(plan.definitions, plan.slots, strict=True)
            ]
        )
    torch.testing.assert_close(both[2:], alone, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(both[:1], first, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(both[1], beyond[:, plan.digits], atol=1e-5, rtol=1e-5)


def test_gradients_equal_those_of_the_oracle_with_its_window(plan: PromptPlan) -> None:
    model = windowed("mistral", plan.text_start + 4)
    text = plan.opening * 3
    SlotReader(model, plan).digit_logits([text]).logits[0, 1].sum().backward()
    packed = {name: weight.grad.clone() for name, weight in model.named_parameters()}
    model.zero_grad()
    naive_logits(model, plan, text, 1)[plan.digits].sum().backward()
    for name, weight in model.named_parameters():
        torch.testing.assert_close(packed[name], weight.grad, atol=1e-3, rtol=1e-3, msg=name)
