"""Reading slots without any mask of ours: one ordinary prompt for each text, read and attribute.

For models that cannot be told who sees whom: recurrent ones, and those whose attention counts places in the sequence
by itself. A prompt is [instructions, definition a, opening, text before the read, slot a] under the model's own
attention, so scores still depend on no other attribute, read or text. They cost as many prompts as there are attributes.
"""

from __future__ import annotations

from collections.abc import Sequence
from inspect import signature
from typing import Any

import torch

from guided_refine.errors import InputError
from guided_refine.scoring.prompt import PromptPlan

_TOKENS = 8192
"""Tokens in one forward pass, with padding."""
_LOGITS = 1 << 27
"""Of a model that gives logits of every token or of none: half a gigabyte of them."""


class LastStates:
    """States of the tokens that are read. `decoder`: a causal model without its head."""

    tokens = _TOKENS

    def __init__(self, decoder: Any) -> None:
        self._decoder = decoder

    def __call__(self, ids: torch.Tensor, real: torch.Tensor, last: torch.Tensor) -> torch.Tensor:
        """Ids and which of them are real (batch, length), the place that is read (batch,): rows (batch, dim)."""
        states = self._decoder(input_ids=ids, attention_mask=real, use_cache=False).last_hidden_state
        return states[torch.arange(len(ids), device=ids.device), last]


class LastLogits:
    """A causal model's own logits at the tokens that are read, of all its vocabulary or of `columns`."""

    def __init__(self, causal: Any, columns: torch.Tensor | None) -> None:
        self._causal, self._columns = causal, columns
        # Without it every token of every prompt gets logits of all the vocabulary.
        self._chooses = "logits_to_keep" in signature(causal.forward).parameters
        vocabulary = causal.get_input_embeddings().weight.shape[0]
        self.tokens = _TOKENS if self._chooses else min(_TOKENS, _LOGITS // vocabulary)

    def __call__(self, ids: torch.Tensor, real: torch.Tensor, last: torch.Tensor) -> torch.Tensor:
        """As `LastStates`."""
        places, row = last.unique(return_inverse=True)
        chosen = {"logits_to_keep": places} if self._chooses else {}
        logits = self._causal(input_ids=ids, attention_mask=real, use_cache=False, **chosen).logits
        rows = logits[torch.arange(len(ids), device=ids.device), row if self._chooses else last]
        return rows if self._columns is None else rows[:, self._columns]


def read_one_by_one(
    read: LastStates | LastLogits,
    plan: PromptPlan,
    reads: Sequence[tuple[Sequence[int], int]],
    device: torch.device,
    *,
    positions: int,
) -> torch.Tensor:
    """What `read` gives for the slots' last tokens, (slots, dim), in order of read and attribute.

    `reads`: texts, and after how many of their tokens slots hang; `positions`: how many the model has. Raises `InputError`
    when a prompt is longer than that.
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
    size = max(1, read.tokens // longest)
    rows = []
    for start in range(0, len(prompts), size):
        some = prompts[start : start + size]
        width = max(map(len, some))
        # Padding stands on the right, where no real token of a causal model looks.
        ids = torch.tensor([p + [0] * (width - len(p)) for p in some], device=device)
        real = torch.tensor([[1] * len(p) + [0] * (width - len(p)) for p in some], device=device)
        rows.append(read(ids, real, torch.tensor([len(p) - 1 for p in some], device=device)))
    return torch.cat(rows)
