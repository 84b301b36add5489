"""The ways in which `bench scoring` has one model score the same texts on the same definitions."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from guided_refine.errors import InputError
from guided_refine.scoring.attributes import AttributeSet
from guided_refine.scoring.prompt import PromptPlan, generation_lines
from guided_refine.scoring.slots import SlotReader, soft_scores

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Task:
    """What is to be scored: a model, its tokenizer, attributes and their prompt, and the texts' tokens."""

    model: Any
    tokenizer: Any
    attributes: AttributeSet
    plan: PromptPlan
    texts: list[list[int]]

    @property
    def labels(self) -> list[str]:
        """Names as they stand in the lines."""
        return [attribute.label for attribute in self.attributes.attributes]

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        device: torch.device = self.model.get_input_embeddings().weight.device
        return device

    def batches(self, size: int) -> list[list[int]]:
        """Numbers of texts, those of similar length together."""
        order = sorted(range(len(self.texts)), key=lambda i: len(self.texts[i]))
        return [order[k : k + size] for k in range(0, len(order), size)]


@dataclass(frozen=True)
class Answer:
    """What a way of scoring gave: `scores` (texts, attributes), NaN where no digit was found, and the tokens it read or
    wrote, without padding and without what is read once for all texts."""

    scores: np.ndarray
    tokens: int


class Side(Protocol):
    """A way of scoring. What all texts share is read once for a whole catalog, so it is read, and timed, by itself."""

    def prepare(self, task: Task) -> int:
        """Read and keep what all texts share; its tokens."""
        ...

    def __call__(self, task: Task, size: int) -> Answer:
        """Score all texts in batches of this size."""
        ...


class Slots:
    """This package: one pass reads all digits of a text."""

    def __init__(self, task: Task) -> None:
        self._reader = SlotReader(task.model, task.plan)
        # The first call also looks for the fastest exact way.
        self._reader.digit_logits([task.texts[0]])
        if not self._reader.shares_prefix:
            raise InputError(
                f"{self._reader.slower}; so slots have nothing ahead of single prompts to measure"
            )

    def prepare(self, task: Task) -> int:
        """Instructions, definitions and opening."""
        self._reader.clear()
        self._reader.read_prefix()
        return self._reader.plan.prefix_tokens

    def __call__(self, task: Task, size: int) -> Answer:
        """Score all texts in batches."""
        return _read(task, self._reader, size)


def _read(task: Task, reader: SlotReader, size: int) -> Answer:
    scores = np.zeros((len(task.texts), len(reader.plan.names)))
    for some in task.batches(size):
        read = reader.digit_logits([task.texts[i] for i in some])
        scores[some] = soft_scores(read.logits)[0].cpu().numpy()
    tokens = sum(len(text) + reader.plan.slot_tokens for text in task.texts)
    return Answer(scores, tokens)


def alone_by_slots(task: Task, size: int) -> np.ndarray:
    """Each attribute in a pass of its own under the slots' rule of what sees what: must equal `Slots`."""
    parts = []
    for index in range(len(task.plan.names)):
        reader = SlotReader(task.model, task.plan.select([index]))
        reader._way = "mask"
        parts.append(_read(task, reader, size).scores)
    return np.concatenate(parts, axis=1)


class SinglePrompts:
    """One ordinary prompt per text and attribute, in batches.

    `cached`: what is before the text is read once per attribute and its keys and values are shared, else with every
    prompt.
    """

    def __init__(self, task: Task, *, cached: bool) -> None:
        plan = task.plan
        self._cached = cached
        self._prefixes = [[*plan.head, *definition, *plan.opening] for definition in plan.definitions]
        # None: read with every prompt.
        self._kept: list[Any] = [None] * len(self._prefixes)

    def prepare(self, task: Task) -> int:
        """Instructions, one definition and opening, for each attribute, where they are shared."""
        if not self._cached:
            return 0
        self._kept = [_encoded(task, prefix) for prefix in self._prefixes]
        return sum(map(len, self._prefixes))

    def __call__(self, task: Task, size: int) -> Answer:
        """Score all texts in batches."""
        import torch

        digits = torch.tensor(task.plan.digits, device=task.device)
        scores = np.zeros((len(task.texts), len(task.plan.names)))
        tokens = 0
        for index, (prefix, slot) in enumerate(zip(self._prefixes, task.plan.slots, strict=True)):
            for some in task.batches(size):
                rows = [[*task.texts[i], *slot] for i in some]
                tokens += sum(map(len, rows)) + (0 if self._cached else len(prefix) * len(rows))
                ids, seen, cache = _left_padded(task, prefix, self._kept[index], rows)
                known = len(prefix) if self._cached else 0
                positions = (seen.cumsum(-1) - 1).clamp_min(0)[:, known:]
                logits = task.model(
                    input_ids=ids[:, known:],
                    attention_mask=seen,
                    position_ids=positions,
                    past_key_values=cache,
                    logits_to_keep=1,
                ).logits[:, -1]
                scores[some, index] = soft_scores(logits[:, digits])[0].cpu().numpy()
        return Answer(scores, tokens)


class Written:
    """`generate()` writing all lines `name: digit` of a text.

    `cached`: what stands before the text is read once and its keys and values are shared, else each prompt is read
    whole. `constrained`: outlines-core leaves only such lines possible; otherwise as many tokens as the lines have are
    written, and digits are taken from what looks like a line.
    """

    def __init__(self, task: Task, *, cached: bool, constrained: bool) -> None:
        self._cached = cached
        plan = task.plan
        self._prefix = [*plan.head, *(t for d in plan.definitions for t in d), *plan.opening]
        lines = generation_lines(plan, [])
        # The part of the tail that is the prompt's; a tokenizer may join its end to the first name.
        self._tail = lines.ids[: lines.prompt_length][len(self._prefix) :]
        self._new = len(lines.ids) - lines.prompt_length
        self._index = _index(task, lines.ids[lines.prompt_length :]) if constrained else None
        self._kept: Any = None

    def prepare(self, task: Task) -> int:
        """Instructions, all definitions and opening, where they are shared."""
        if not self._cached:
            return 0
        self._kept = _encoded(task, self._prefix)
        return len(self._prefix)

    def __call__(self, task: Task, size: int) -> Answer:
        """Write the answers of all texts in batches."""
        scores = np.full((len(task.texts), len(task.labels)), np.nan)
        tokens = 0
        for some in task.batches(size):
            rows = [[*task.texts[i], *self._tail] for i in some]
            ids, seen, cache = _left_padded(task, self._prefix, self._kept, rows)
            written = task.model.generate(
                ids, attention_mask=seen, past_key_values=cache, do_sample=False, **self._settings(task)
            )[:, ids.shape[1] :]
            tokens += sum(map(len, rows)) + (0 if self._cached else len(self._prefix) * len(rows))
            for place, row in zip(some, written.tolist(), strict=True):
                own = (
                    row[: row.index(task.tokenizer.eos_token_id)]
                    if task.tokenizer.eos_token_id in row
                    else row
                )
                tokens += len(own)
                scores[place] = digits_of(task.tokenizer.decode(own), task.labels)
        return Answer(scores, tokens)

    def _settings(self, task: Task) -> dict[str, Any]:
        padding = task.tokenizer.pad_token_id if task.tokenizer.pad_token_id is not None else 0
        if self._index is None:
            return {"min_new_tokens": self._new, "max_new_tokens": self._new, "pad_token_id": padding}
        return {
            "logits_processor": [_Guided(self._index)],
            "max_new_tokens": self._new,
            "eos_token_id": task.tokenizer.eos_token_id,
            "pad_token_id": padding,
        }


class _Guided:
    """Leaves the tokens that outlines-core's guides allow after what was written.

    The tokens are set one by one: there are nine at most, and outlines' own masks over the whole vocabulary are compiled
    anew for every shape, which would count against it.
    """

    def __init__(self, index: Any) -> None:
        self._index = index
        self._guides: list[Any] = []

    def __call__(self, ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Scores (batch, vocabulary) with everything else at minus infinity."""
        from outlines_core import Guide

        if not self._guides:
            self._guides = [Guide(self._index) for _ in range(len(ids))]
            allowed = [guide.get_tokens() for guide in self._guides]
        else:
            last = ids[:, -1].tolist()
            allowed = [guide.advance(token) for guide, token in zip(self._guides, last, strict=True)]
        kept = scores.new_full(scores.shape, float("-inf"))
        for row, tokens in enumerate(allowed):
            kept[row, tokens] = scores[row, tokens]
        return kept


def _index(task: Task, line_tokens: list[int]) -> Any:
    """What outlines-core allows after every beginning of the lines: the tokens of the names, then one of nine digits.

    Each token is written as one letter of the expression. Over the characters of the names a model without training would
    spell them letter by letter, which costs it more steps than there are tokens in the lines.
    """
    from outlines_core import Index, Vocabulary

    letter = {token: chr(_LETTERS + n) for n, token in enumerate(sorted({*line_tokens, *task.plan.digits}))}
    digits = f"[{''.join(letter[token] for token in task.plan.digits)}]"
    places = set(generation_lines(task.plan, []).digit_places)
    start = len(generation_lines(task.plan, []).ids) - len(line_tokens)
    expression = [digits if start + n in places else letter[token] for n, token in enumerate(line_tokens)]
    vocabulary = Vocabulary(task.tokenizer.eos_token_id, {sign: [token] for token, sign in letter.items()})
    return Index("".join(expression), vocabulary)


_LETTERS = 0xE000
"""The first of Unicode's letters for private use."""


def digits_of(text: str, labels: list[str]) -> list[float]:
    """Scores in [0, 1] of the lines `label: digit` of a text, NaN for labels without one.

    >>> digits_of("humour: 9\\nspeed: fast", ["humour", "speed"])
    [1.0, nan]
    """
    found = [re.search(rf"^\s*{re.escape(label)}:\s*([1-9])\b", text, re.MULTILINE) for label in labels]
    return [float("nan") if match is None else (int(match[1]) - 1) / 8 for match in found]


def _encoded(task: Task, prefix: list[int]) -> Any:
    """Keys and values of a prefix."""
    import torch
    from transformers import DynamicCache

    return task.model(
        input_ids=torch.tensor([prefix], device=task.device), past_key_values=DynamicCache(), logits_to_keep=1
    ).past_key_values


def _left_padded(
    task: Task, prefix: list[int], kept: Any, rows: list[list[int]]
) -> tuple[torch.Tensor, torch.Tensor, Any]:
    """Ids and mask of prefix and rows, padded before the rows' own tokens (or, without `kept`, before everything), and a
    cache of the prefix for the batch."""
    import torch
    from transformers import DynamicCache

    longest = max(map(len, rows))
    filler = [[0] * (longest - len(row)) for row in rows]
    if kept is None:
        ids = [[*pad, *prefix, *row] for pad, row in zip(filler, rows, strict=True)]
        seen = [
            [0] * len(pad) + [1] * (len(prefix) + len(row)) for pad, row in zip(filler, rows, strict=True)
        ]
        cache = None
    else:
        ids = [[*prefix, *pad, *row] for pad, row in zip(filler, rows, strict=True)]
        seen = [
            [1] * len(prefix) + [0] * len(pad) + [1] * len(row) for pad, row in zip(filler, rows, strict=True)
        ]
        cache = DynamicCache()
        for index, layer in enumerate(kept.layers):
            shape = (len(rows), -1, -1, -1)
            cache.update(layer.keys.expand(shape), layer.values.expand(shape), index)
    return torch.tensor(ids, device=task.device), torch.tensor(seen, device=task.device), cache
