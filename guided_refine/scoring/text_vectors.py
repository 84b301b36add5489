"""One vector per text, read off the language model: what a few readable scores are held against.

The mean of the last layer's states over a text's own tokens, which RecXplore (https://arxiv.org/abs/2509.14979) found
ahead of maximum, last token and one-word prompts. The beginning-of-sequence token is read but not averaged: its state is far
larger than any other's.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from guided_refine.errors import InputError
from guided_refine.progress import Progress
from guided_refine.scoring.language_model import LanguageModel

_TOKENS = 8192


def text_vectors(
    model: LanguageModel, texts: Sequence[str], *, longest: int, progress: Progress | None = None
) -> np.ndarray:
    """Vectors (texts, hidden), float32, in batches of one length; NaN where there is no text.

    `longest`: tokens at which a text is cut. A vector does not depend on what else is in its batch.

    Raises `InputError` when the model gives numbers that are not finite.
    """
    import torch

    causal = model.model.get_base_model() if hasattr(model.model, "get_base_model") else model.model
    decoder, tokenizer = causal.base_model, model.tokenizer
    start = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
    longest = min(longest, model.context - len(start))
    read = tokenizer([text.strip() for text in texts], add_special_tokens=False, verbose=False)["input_ids"]
    rows = [start + ids[:longest] if ids else [] for ids in read]
    order = sorted((i for i, row in enumerate(rows) if row), key=lambda i: len(rows[i]))
    out = np.full((len(texts), causal.get_input_embeddings().embedding_dim), np.nan, dtype=np.float32)
    with torch.inference_mode(), (progress or Progress(quiet=True)).task("read texts", len(order)) as task:
        begin = 0
        while begin < len(order):
            length = len(rows[order[begin]])
            end = begin + 1
            # No padding, which some models do not leave alone.
            while (
                end < len(order) and len(rows[order[end]]) == length and (end + 1 - begin) * length <= _TOKENS
            ):
                end += 1
            some = order[begin:end]
            ids = torch.tensor([rows[i] for i in some], device=model.device)
            state = decoder(
                input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False
            ).last_hidden_state.float()
            out[some] = state[:, len(start) :].mean(1).cpu().numpy()
            begin = end
            task.advance(len(some))
    if not np.isfinite(out[order]).all():
        raise InputError(f"{model.name} gives states that are not finite numbers; its weights are damaged")
    return out
