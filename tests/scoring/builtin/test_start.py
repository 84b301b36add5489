from __future__ import annotations

import numpy as np
import pytest
import torch
from toy_catalog import attributes, catalog

from guided_refine.scoring.builtin.start import make_layout, start_weights
from guided_refine.scoring.builtin.tokenizer import train_tokenizer
from guided_refine.scoring.prompt import build_prompt, tokenise_texts
from guided_refine.scoring.slots import SlotReader, soft_scores


@pytest.mark.parametrize(("width", "count"), [(128, 10), (32, 2), (32, 12), (16, 64)])
def test_parts_of_the_layout_do_not_overlap_and_codes_are_unit_vectors(width: int, count: int) -> None:
    layout = make_layout(width, count, seed=0)
    used = [d for part in range(4) for d in range(width)[layout.part(part)]]
    used += [layout.value, *range(width)[layout.company]]
    assert sorted(used) == list(range(width))
    np.testing.assert_allclose(np.linalg.norm(layout.code, axis=1), 1)
    if count <= width // 8:
        np.testing.assert_allclose(layout.code @ layout.code.T, np.eye(count))


def test_it_reads_the_labels_of_words_before_any_training() -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    texts, funny = catalog(n=200)
    labels = np.column_stack([funny, np.random.default_rng(0).random(len(funny))]).astype(float)
    tokenizer = train_tokenizer([*texts, *["\nhumour: 5", "\nspeed: 5"] * 20], 400)
    ids = [row for row, _ in tokenise_texts(tokenizer, texts, 64)]
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=176,
        num_hidden_layers=2,
        num_attention_heads=2,
        initializer_range=0.1,
        tie_word_embeddings=True,
        attention_bias=True,
    )
    model = LlamaForCausalLM(config).eval()
    plan = build_prompt(tokenizer, attributes(), "item")
    start_weights(model, [plan], ids, labels, np.arange(len(tokenizer)), seed=0)
    with torch.no_grad():
        value = soft_scores(SlotReader(model, plan).digit_logits(ids).logits)[0].numpy()
    correlation = np.corrcoef(np.column_stack([value, labels]), rowvar=False)[:2, 2:]
    assert correlation[0, 0] > 0.4, "humour's slot reads humour's label"
    assert correlation[0, 0] > correlation[1, 0] + 0.2, "and the other slot reads less of it"
