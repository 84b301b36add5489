"""Whole answers, for the template term: can the model still write all its lines one after the other?

A slot is read behind the prompt alone; in an answer all but the first line stand behind other lines. Tuning that only
looks at slots can leave a model that answers each question and still loses its way in a whole answer, so these are
written out with the digits that the model would write now, and every token of them is predicted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from guided_refine.scoring.prompt import PromptPlan, generation_lines


@dataclass(frozen=True)
class Answer:
    """Tokens of a prompt and its answer; `prompt` of them are the prompt's, `is_digit` (answer's tokens,) marks digits."""

    ids: list[int]
    prompt: int
    is_digit: np.ndarray
    digits: list[int]

    def __len__(self) -> int:
        return len(self.is_digit)


def written_answer(plan: PromptPlan, text: Sequence[int], value: np.ndarray, *, context: int) -> Answer:
    """The answer about `text` with the digits nearest to `value` (attributes,) in [0, 1]."""
    lines = generation_lines(plan, text, digits_of(value), limit=context)
    is_digit = np.zeros(len(lines.ids) - lines.prompt_length, dtype=bool)
    is_digit[np.array(lines.digit_places) - lines.prompt_length] = True
    return Answer(lines.ids, lines.prompt_length, is_digit, plan.digits)


def surprise(model: torch.nn.Module, answer: Answer, device: torch.device) -> Tensor:
    """Minus the log probability of each token of an answer, (answer's tokens,), in nats.

    Where a digit stands any of the nine will do: which one it is, is the other terms' business.
    """
    ids = torch.tensor([answer.ids], device=device)
    # One more place than the answer has tokens: a token is predicted one place before it stands.
    predicted = model(input_ids=ids, logits_to_keep=len(answer) + 1).logits[0, :-1].float()
    log_p = predicted.log_softmax(dim=-1)
    own = log_p.gather(1, ids[0, answer.prompt :].unsqueeze(1)).squeeze(1)
    some_digit = log_p[:, torch.tensor(answer.digits, device=device)].logsumexp(dim=1)
    return -torch.where(torch.as_tensor(answer.is_digit, device=device), some_digit, own)


def digits_of(value: np.ndarray) -> list[int]:
    """The digits 1..9 nearest to values in [0, 1].

    >>> digits_of(np.array([0.0, 0.49, 1.0]))
    [1, 5, 9]
    """
    return [int(d) for d in np.clip(np.rint(value * 8) + 1, 1, 9)]
