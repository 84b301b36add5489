from __future__ import annotations

import numpy as np
import pytest
import torch
from toy_catalog import attributes, catalog

from guided_refine.config import LLMOptions
from guided_refine.scoring.builtin import pretrain
from guided_refine.scoring.builtin.start import make_layout, start_weights
from guided_refine.scoring.builtin.tokenizer import train_tokenizer
from guided_refine.scoring.prompt import build_prompt, tokenise_texts
from guided_refine.scoring.slots import SlotReader, soft_scores


@pytest.mark.parametrize(("width", "count"), [(128, 10), (32, 2), (32, 12), (16, 64), (512, 40)])
def test_parts_of_the_layout_do_not_overlap_and_codes_are_unit_vectors(width: int, count: int) -> None:
    layout = make_layout(width, count, seed=0)
    used = [d for part in range(4) for d in range(width)[layout.part(part)]]
    used += [layout.value, *range(width)[layout.company]]
    assert sorted(used) == list(range(width))
    np.testing.assert_allclose(np.linalg.norm(layout.code, axis=1), 1)
    if count <= min(32, width // 8):
        np.testing.assert_allclose(layout.code @ layout.code.T, np.eye(count))


@pytest.mark.parametrize("seed", [0, 1])
def test_it_reads_each_attribute_before_any_training(seed: int) -> None:
    texts, funny = catalog(n=200)
    other = np.random.default_rng(1).permutation(len(texts)) < 100
    # A word of its own for the second attribute, so that both have something to read.
    texts = [f"{text} {'rocket' if fast else 'snail'}" for text, fast in zip(texts, other, strict=True)]
    labels = np.column_stack([funny, other]).astype(float)
    options = LLMOptions(hidden=64, layers=2, vocabulary=400)
    tokenizer = train_tokenizer(pretrain.tokenizer_texts(texts, attributes()), options.vocabulary)
    ids = [row for row, _ in tokenise_texts(tokenizer, texts, 64)]
    torch.manual_seed(seed)
    model = pretrain.fresh_model(options, tokenizer).eval()
    plans = [build_prompt(tokenizer, attributes(), kind) for kind in ("item", "user")]
    start_weights(model, plans, ids, labels, np.arange(len(tokenizer)), seed=seed)
    with torch.no_grad():
        value = soft_scores(SlotReader(model, plans[0]).digit_logits(ids).logits)[0].numpy()
    correlation = np.corrcoef(np.column_stack([value, labels]), rowvar=False)[:2, 2:]
    assert np.diag(correlation).min() > 0.7
    assert np.abs(correlation - np.diag(np.diag(correlation))).max() < 0.5
