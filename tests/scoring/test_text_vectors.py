"""Vectors of texts: equal to a naive reading of one text at a time, for several shapes of models."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_models import tiny_model
from transformers import AutoTokenizer

from guided_refine.errors import InputError
from guided_refine.scoring.language_model import LanguageModel
from guided_refine.scoring.text_vectors import text_vectors

TEXTS = [
    "A cat sat down.",
    "",
    "Once there was a very long day, and nobody knew why it was so long.",
    "Sun",
    "  ",
]


def model_of(shared: Path, kind: str, tokenizer: str) -> LanguageModel:
    read = AutoTokenizer.from_pretrained(shared / "tokenizers" / tokenizer)
    model = tiny_model(kind, len(read)).eval()
    return LanguageModel(model, read, kind, "x", torch.device("cpu"))


@pytest.mark.parametrize(
    ("kind", "tokenizer"),
    [("llama", "llama2"), ("qwen3", "qwen3"), ("gpt2", "gpt2"), ("gpt_neox", "smollm2")],
)
def test_as_one_text_at_a_time_without_padding(shared: Path, kind: str, tokenizer: str) -> None:
    model = model_of(shared, kind, tokenizer)
    got = text_vectors(model, TEXTS, longest=9)
    start = [] if model.tokenizer.bos_token_id is None else [model.tokenizer.bos_token_id]
    for text, vector in zip(TEXTS, got, strict=True):
        ids = model.tokenizer(text.strip(), add_special_tokens=False)["input_ids"][:9]
        if not ids:
            assert np.isnan(vector).all()
            continue
        with torch.no_grad():
            output = model.model(torch.tensor([start + ids]), output_hidden_states=True)
        own = output.hidden_states[-1][0, len(start) :]
        np.testing.assert_allclose(vector, own.mean(0).numpy(), atol=1e-5)


def test_neighbours_and_order_do_not_matter(stories: LanguageModel) -> None:
    texts = [f"The {word} ran {'and ran ' * i}home." for i, word in enumerate(["cat", "dog", "boy", "girl"])]
    together = text_vectors(stories, texts, longest=64)
    np.testing.assert_allclose(text_vectors(stories, texts[::-1], longest=64)[::-1], together, atol=1e-5)
    np.testing.assert_allclose(text_vectors(stories, texts[1:2], longest=64)[0], together[1], atol=1e-5)
    assert np.linalg.norm(together[0] - together[1]) > 1e-3


def test_an_adapter_is_read_through(stories: LanguageModel) -> None:
    from peft import LoraConfig, get_peft_model

    adapted: Any = get_peft_model(stories.model, LoraConfig(r=2, target_modules=["q_proj"]))
    try:
        got = text_vectors(replace(stories, model=adapted), ["A cat."], longest=8)
    finally:
        adapted.unload()
    np.testing.assert_allclose(got, text_vectors(stories, ["A cat."], longest=8), atol=1e-6)


def test_damaged_weights_are_named(shared: Path) -> None:
    model = model_of(shared, "llama", "llama2")
    model.model.get_input_embeddings().weight.data.fill_(float("nan"))
    with pytest.raises(InputError, match="llama gives states that are not finite"):
        text_vectors(model, ["A cat."], longest=8)
