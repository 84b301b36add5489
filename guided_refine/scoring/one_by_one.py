"""Reading slots without any mask of ours: one ordinary prompt for each text, read and attribute.

For models that cannot be told who sees whom: recurrent ones, and those whose attention counts places in the sequence
by itself. A prompt is [instructions, definition a, opening, text before the read, slot a] under the model's own
attention, so scores still depend on no other attribute, read or text. They cost as many prompts as there are attributes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from guided_refine.errors import InputError
from guided_refine.scoring.prompt import PromptPlan

_TOKENS = 8192
"""Tokens in one forward pass, with padding."""


def read_one_by_one(
    decoder: Any,
    plan: PromptPlan,
    texts: Sequence[Sequence[int]],
    points: Sequence[Sequence[int]],
    positions: int,
    device: torch.device,
) -> torch.Tensor:
    """States (slots, dim) of the slots' last tokens, in order of text, read, attribute.

    `decoder`: a causal model without its head; `points[b]`: after how many tokens of text b slots hang; `positions`: how
    many the model has. Raises `InputError` when a prompt is longer than that.
    """
    prompts = [
        [*plan.head, *plan.definitions[a], *plan.opening, *text[:point], *plan.slots[a]]
        for text, row in zip(texts, points, strict=True)
        for point in row
        for a in range(len(plan.names))
    ]
    longest = max(map(len, prompts))
    if longest > positions:
        raise InputError(
            f"a prompt takes {longest} tokens, more than the model's context of {positions}; "
            "lower llm_options.text_tokens or llm_options.history_events, or use shorter definitions"
        )
    size = max(1, _TOKENS // longest)
    states = []
    for start in range(0, len(prompts), size):
        some = prompts[start : start + size]
        width = max(map(len, some))
        # Padding stands on the right, where no real token of a causal model looks.
        ids = torch.tensor([p + [0] * (width - len(p)) for p in some], device=device)
        real = torch.tensor([[1] * len(p) + [0] * (width - len(p)) for p in some], device=device)
        hidden = decoder(input_ids=ids, attention_mask=real, use_cache=False).last_hidden_state
        last = torch.tensor([len(p) - 1 for p in some], device=device)
        states.append(hidden[torch.arange(len(some), device=device), last])
    return torch.cat(states)
