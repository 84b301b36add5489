"""A brain for the protocol server that is a real language model on this machine, and the oracle that reads it naively."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch


class ModelBrain:
    """Writes the lines as a server with a grammar would: the names are given, each digit is the likeliest of the nine.

    What it says of a digit are the model's log-probabilities over its whole vocabulary at that place. One forward with
    a key-value cache per line, as servers do.
    """

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self.model, self.tokenizer = model, tokenizer
        self._lock = threading.Lock()

    def digits(self, content: str, labels: Sequence[str]) -> np.ndarray:
        rows = []
        with self._lock, torch.no_grad():
            ids, cache, answer = chat_ids(self.tokenizer, content), None, ""
            for label in labels:
                wanted = f"{answer}\n{label}:" if answer else f"{label}:"
                ids += text_ids(self.tokenizer, wanted)[len(text_ids(self.tokenizer, answer)) :]
                candidates = [next_id(self.tokenizer, wanted, digit) for digit in range(1, 10)]
                common = candidates[0][:-1]
                ids += common
                step = self.model(
                    input_ids=torch.tensor([ids]), past_key_values=cache, use_cache=True, logits_to_keep=1
                )
                cache, logits = step.past_key_values, step.logits[0, -1].double()
                named = torch.log_softmax(logits, -1)[[c[-1] for c in candidates]].numpy()
                rows.append(named)
                best = int(named.argmax())
                ids, answer = [candidates[best][-1]], f"{wanted} {best + 1}"
        return np.array(rows)


def oracle(model: Any, tokenizer: Any, content: str, labels: Sequence[str]) -> np.ndarray:
    """Probabilities (labels, 9), renormalised over the digits: one plain forward of the prompt and the lines so far each."""
    answer, rows = "", []
    for label in labels:
        wanted = f"{answer}\n{label}:" if answer else f"{label}:"
        scores = []
        for digit in range(1, 10):
            ids = chat_ids(tokenizer, content) + text_ids(tokenizer, f"{wanted} {digit}")
            with torch.no_grad():
                logits = model(input_ids=torch.tensor([ids]), use_cache=False, logits_to_keep=2).logits[0, -2]
            scores.append(torch.log_softmax(logits.double(), -1)[ids[-1]])
        probability = torch.softmax(torch.stack(scores), -1)
        rows.append(probability.numpy())
        answer = f"{wanted} {int(probability.argmax()) + 1}"
    return np.array(rows)


def chat_ids(tokenizer: Any, content: str) -> list[int]:
    """The user's turn by the tokenizer's chat template, up to where the answer begins."""
    turn = [{"role": "user", "content": content}]
    return list(
        tokenizer.apply_chat_template(turn, add_generation_prompt=True, tokenize=True, return_dict=False)
    )


def text_ids(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False)["input_ids"]) if text else []


def next_id(tokenizer: Any, before: str, digit: int) -> list[int]:
    """Tokens that a space and a digit add behind `before`; the last one is the digit's."""
    return text_ids(tokenizer, f"{before} {digit}")[len(text_ids(tokenizer, before)) :]
