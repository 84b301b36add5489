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


class Padding:
    """Whether padding behind a prompt leaves its numbers alone, tried on real prompts.

    No real token of a causal model looks there, but some models count or choose places over the whole row (CPM-Ant, sparse
    attention). Tried again when prompts are twice as long, since sparse attention differs for long prompts only.
    """

    def __init__(self) -> None:
        self.harmless = True
        self._tried = 0

    def try_on(
        self,
        read: LastStates | LastLogits,
        prompts: Sequence[list[int]],
        device: torch.device,
        positions: int,
    ) -> None:
        """Read the shortest and the longest alone and padded, unless some as long have been tried."""
        shortest, longest = min(prompts, key=len), max(prompts, key=len)
        if not self.harmless or len(longest) < 2 * self._tried:
            return
        self._tried = len(longest)
        width = min(len(longest) + 8, positions)
        for prompt in (shortest, longest):
            alone = _read(read, [prompt], len(prompt), device)
            padded = _read(read, [prompt], width, device)
            scale = max(1.0, float(alone.abs().max()))
            tolerance = 1e-4 if alone.dtype in (torch.float32, torch.float64) else 2e-2
            # What is no number is not equal either.
            if not float((alone - padded).abs().max()) <= tolerance * scale:
                self.harmless = False


def read_one_by_one(
    read: LastStates | LastLogits,
    plan: PromptPlan,
    reads: Sequence[tuple[Sequence[int], int]],
    device: torch.device,
    *,
    positions: int,
    padding: Padding | None,
) -> torch.Tensor:
    """What `read` gives for the slots' last tokens, (slots, dim), in order of read and attribute.

    `reads`: texts, and after how many of their tokens slots hang; `positions`: how many the model has. Without `padding`, or
    where it does harm, prompts of one length go together. Raises `InputError` when a prompt is longer than `positions`.
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
    if padding is not None:
        padding.try_on(read, prompts, device, positions)
    padded = padding is not None and padding.harmless
    size = max(1, read.tokens // longest)
    order = list(range(len(prompts)))
    if not padded:
        order.sort(key=lambda k: len(prompts[k]))
    rows = []
    start = 0
    while start < len(order):
        stop = min(start + size, len(order))
        if not padded:
            first = len(prompts[order[start]])
            stop = next((k for k in range(start, stop) if len(prompts[order[k]]) != first), stop)
        some = [prompts[k] for k in order[start:stop]]
        rows.append(_read(read, some, max(map(len, some)), device))
        start = stop
    back = torch.tensor(order, device=device).argsort()
    return torch.cat(rows)[back]


def _read(
    read: LastStates | LastLogits, prompts: list[list[int]], width: int, device: torch.device
) -> torch.Tensor:
    """The last tokens' rows of prompts padded to `width`."""
    ids = torch.tensor([p + [0] * (width - len(p)) for p in prompts], device=device)
    real = torch.tensor([[1] * len(p) + [0] * (width - len(p)) for p in prompts], device=device)
    return read(ids, real, torch.tensor([len(p) - 1 for p in prompts], device=device))
