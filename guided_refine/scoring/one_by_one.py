"""Reading slots without any mask of ours: one ordinary prompt for each text, read and attribute.

For models that cannot be told who sees whom: recurrent ones, and those whose attention counts places in the sequence
by itself. A prompt is [instructions, definition a, opening, text before the read, slot a] under the model's own
attention, so scores still depend on no other attribute, read or text. They cost as many prompts as there are attributes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from guided_refine.errors import InputError
from guided_refine.scoring.prompt import PromptPlan

Reading = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Token ids and which of them are real, (batch, length) each, to states or logits (batch, length, dim)."""

_TOKENS = 8192
"""Tokens in one forward pass, with padding, where a state is kept of each."""
_LOGITS = 1 << 27
"""Where logits are kept: half a gigabyte of them."""


def read_one_by_one(
    read: Reading,
    plan: PromptPlan,
    reads: Sequence[tuple[Sequence[int], int]],
    device: torch.device,
    *,
    positions: int,
    vocabulary: int | None = None,
) -> torch.Tensor:
    """What `read` gives for the slots' last tokens, (slots, dim), in order of read and attribute.

    `reads`: texts, and after how many of their tokens slots hang; `positions`: how many the model has; `vocabulary`: how
    many logits `read` gives per token, None for states. Raises `InputError` when a prompt is longer than `positions`.
    """
    prompts = [
        [*plan.head, *plan.definitions[a], *plan.opening, *text[:point], *plan.slots[a]]
        for text, point in reads
        for a in range(len(plan.names))
    ]
    longest = max(map(len, prompts))
    if longest > positions:
        raise InputError(
            f"a prompt takes {longest} tokens, more than the model's context of {positions}; "
            "lower llm_options.text_tokens or llm_options.history_events, or use shorter definitions"
        )
    size = max(1, (_TOKENS if vocabulary is None else min(_TOKENS, _LOGITS // vocabulary)) // longest)
    states = []
    for start in range(0, len(prompts), size):
        some = prompts[start : start + size]
        width = max(map(len, some))
        # Padding stands on the right, where no real token of a causal model looks.
        ids = torch.tensor([p + [0] * (width - len(p)) for p in some], device=device)
        real = torch.tensor([[1] * len(p) + [0] * (width - len(p)) for p in some], device=device)
        hidden = read(ids, real)
        last = torch.tensor([len(p) - 1 for p in some], device=device)
        states.append(hidden[torch.arange(len(some), device=device), last])
    return torch.cat(states)
