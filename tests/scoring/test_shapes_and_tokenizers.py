"""Every model shape with every real tokenizer, tied and untied heads: packed slots against one slow forward per slot,
along histories too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import make_attributes, naive_logits, tiny_model
from transformers import AutoTokenizer

from guided_refine.scoring.prompt import PromptPlan, build_prompt, tokenise_text
from guided_refine.scoring.slots import SlotReader

# Grouped heads: the first four and Gemma 2; a key for every head: GPT-2 and GPT-NeoX.
SHAPES = ["llama", "qwen3", "mistral", "phi3", "gpt2", "gpt_neox", "gemma2"]
TOKENIZERS = ["gpt2", "llama2", "llama3", "mistral-v3", "phi-3-mini", "qwen3", "smollm2", "stories260K"]
TEXTS = ["A merry tale of two cats and a ghost.", "7"]


@pytest.fixture(scope="module", params=TOKENIZERS)
def spoken(request: pytest.FixtureRequest, shared: Path) -> tuple[Any, PromptPlan]:
    tokenizer = AutoTokenizer.from_pretrained(shared / "tokenizers" / request.param, local_files_only=True)
    return tokenizer, build_prompt(tokenizer, make_attributes("humour", "story_complexity"), "item")


def model_for(shape: str, tokenizer: Any) -> Any:
    # GPT-2's layout takes no such keyword here; its head is tied by default.
    changes = {} if shape == "gpt2" else {"tie_word_embeddings": len(tokenizer) % 2 == 0}
    return tiny_model(shape, len(tokenizer), **changes)


@pytest.mark.parametrize("shape", SHAPES)
def test_slots_equal_the_naive_oracle(shape: str, spoken: tuple[Any, PromptPlan]) -> None:
    tokenizer, plan = spoken
    model = model_for(shape, tokenizer)
    texts = [tokenise_text(tokenizer, text, 40)[0] for text in TEXTS]
    with torch.no_grad():
        read = SlotReader(model, plan).digit_logits(texts).logits
        expected = torch.stack(
            [
                torch.stack([naive_logits(model, plan, text, a)[plan.digits] for a in range(len(plan.names))])
                for text in texts
            ]
        )
    torch.testing.assert_close(read, expected, atol=1e-5, rtol=1e-5)
    assert read.std() > 0.01


@pytest.mark.parametrize(
    ("shape", "family"),
    [*((shape, "smollm2") for shape in SHAPES), *(("llama", family) for family in TOKENIZERS)],
)
def test_slots_along_a_history_equal_each_prefix_alone(shape: str, family: str, shared: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(shared / "tokenizers" / family, local_files_only=True)
    plan = build_prompt(tokenizer, make_attributes("humour"), "user")
    model = model_for(shape, tokenizer)
    events = [tokenise_text(tokenizer, f"The {thing}.", 8)[0] for thing in ("ghost", "ship", "sad king")]
    text, reads = list(events[0]), [len(events[0])]
    for event in events[1:]:
        text += [*plan.newline, *event]
        reads.append(len(text))
    with torch.no_grad():
        together = SlotReader(model, plan).digit_logits([text], [reads]).logits
        alone = torch.stack([naive_logits(model, plan, text[:read], 0)[plan.digits] for read in reads])
    torch.testing.assert_close(together[:, 0], alone, atol=1e-5, rtol=1e-5)
    assert (together[0] - together[2]).abs().max() > 1e-4
