"""Reading many texts by slots in passes of bounded size, with or without gradients, and with which dropout."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

import torch
from peft.tuners.lora import LoraLayer
from torch import Tensor

from guided_refine.scoring.prompt import PromptPlan
from guided_refine.scoring.slots import DigitLogits, SlotReader


class Texts(Protocol):
    """Where token ids come from."""

    def item(self, number: int) -> list[int]:
        """Tokens of an item's text; items are numbered from 1."""

    def user(self, user: int, position: int) -> list[int]:
        """Tokens of the history text of a user who has seen events 0..position-1."""


def passes(
    texts: Sequence[Sequence[int]], plan: PromptPlan, batch_tokens: int, most: int | None = None
) -> list[list[int]]:
    """Rows of `texts` for each forward pass: longest first, so that little is padded.

    A pass holds at most `batch_tokens` tokens with padding (one text may be longer) and at most `most` texts.
    """
    order = sorted(range(len(texts)), key=lambda i: (-len(texts[i]), i))
    answer = []
    start = 0
    while start < len(order):
        width = max(1, len(texts[order[start]])) + plan.slot_tokens
        size = max(1, batch_tokens // width)
        stop = start + (size if most is None else min(size, most))
        answer.append(order[start:stop])
        start = stop
    return answer


def read_texts(
    reader: SlotReader, texts: Sequence[list[int]], batch_tokens: int, *, inside: bool = False
) -> DigitLogits:
    """Read each text once after its end, in `passes`; the result is in the order of `texts`."""
    logits: list[Tensor] = []
    masses: list[Tensor] = []
    order: list[int] = []
    for rows in passes(texts, reader.plan, batch_tokens):
        found = reader.digit_logits([texts[i] for i in rows], inside=inside)
        logits.append(found.logits)
        if found.inside is not None:
            masses.append(found.inside)
        order += rows
    back = torch.empty(len(order), dtype=torch.long)
    back[torch.tensor(order, dtype=torch.long)] = torch.arange(len(order))
    back = back.to(logits[0].device)
    return DigitLogits(torch.cat(logits)[back], torch.cat(masses)[back] if masses else None)


def only_adapter_dropout(model: torch.nn.Module) -> None:
    """Training mode for the adapter's dropout alone: the base model's own would add noise to every score."""
    model.eval()
    for module in model.modules():
        if isinstance(module, LoraLayer):
            for dropout in module.lora_dropout.values():
                dropout.train()


@contextmanager
def evaluating(model: torch.nn.Module) -> Iterator[None]:
    """No gradients, no dropout; the adapter stays as it is."""
    model.eval()
    with torch.no_grad():
        yield
