"""Every model shape with every real tokenizer, tied and untied heads: packed slots against one slow forward per slot."""

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


@pytest.mark.parametrize("shape", SHAPES)
def test_slots_equal_the_naive_oracle(shape: str, spoken: tuple[Any, PromptPlan]) -> None:
    tokenizer, plan = spoken
    # GPT-2's layout takes no such keyword here; its head is tied by default.
    changes = {} if shape == "gpt2" else {"tie_word_embeddings": len(tokenizer) % 2 == 0}
    model = tiny_model(shape, len(tokenizer), **changes)
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
