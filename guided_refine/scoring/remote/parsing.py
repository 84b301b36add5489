"""What a remote model answered, as digits and distributions over 1..9; whatever cannot be read is None."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

_DIGITS = "123456789"
_OBJECTS_TRIED = 50
# Models that think aloud do it before the answer; blanks of the same length keep every place where it was.
_THINKING = re.compile(r"<think>.*?(?:</think>|\Z)", re.DOTALL)
# Each class ends where what follows it begins, so that a run of one sign is read once and not once from each of its places:
# an answer of any length is read in a time that grows with its length.
_BEFORE_LABEL = r"^[ >*•|\-–\d.)\]\"'`]*(?:_[*_\"'`]*)?"
_TO_DIGIT = r"(?:[*_\"'`|]*\s*[:=]|[*_\"'`]*\s*\|)[\s*_\"'`|]*([1-9])"
_AFTER_DIGIT = r"(?:\s*/\s*9)?(?=[\s*_`|.,;)\]]*?(?:$|(?<= )[-–—(]))"
# Tokens as some servers spell them: the visible signs for a space and a line break.
_SPELLED = str.maketrans({"\u2581": " ", "\u0120": " ", "\u010a": "\n"})


@dataclass(frozen=True)
class Reading:
    """One attribute in one answer: `probability` (9,) over the digits; `mass` (0..1] of it that the server named.

    `mass` is None where the answer is a bare digit and nothing is known of the distribution.
    """

    probability: np.ndarray
    mass: float | None


def digit_places(answer: str, labels: Sequence[str]) -> list[int | None]:
    r"""Where in `answer` the digit of each "label: digit" line stands; None where there is no such line, or two that differ.

    Forgiving about case, bullets, bold, underscores, "7/9" and a remark behind the digit; never about 0, 10 or 7.5.

    >>> digit_places("- **Humour**: 3\npace: 10\n", ["humour", "pace"])
    [14, None]
    """
    text = _THINKING.sub(lambda found: re.sub(r"[^\n]", " ", found.group()), answer)
    text = re.sub(r"[^\S\n]", " ", text)
    places: list[int | None] = []
    for label in labels:
        words = r"[ _-]+".join(re.escape(word) for word in label.replace("_", " ").split())
        line = f"{_BEFORE_LABEL}{words}{_TO_DIGIT}{_AFTER_DIGIT}"
        found = list(re.finditer(line, text, re.IGNORECASE | re.MULTILINE))
        agree = len({match.group(1) for match in found}) == 1
        places.append(found[0].start(1) if agree else None)
    return places


def read_lines(answer: str, labels: Sequence[str]) -> list[Reading | None]:
    r"""One reading per label from lines "label: digit".

    >>> [r and int(r.probability.argmax()) + 1 for r in read_lines("pace: 9\nhumour: lots", ["humour", "pace"])]
    [None, 9]
    """
    return [
        None if place is None else Reading(_one_digit(int(answer[place])), None)
        for place in digit_places(answer, labels)
    ]


def read_json(answer: str, names: Sequence[str]) -> list[Reading | None]:
    """One reading per name from a JSON object of whole numbers 1..9, also where it stands in a fence or among words.

    >>> [r and int(r.probability.argmax()) + 1 for r in read_json('{"pace": 9, "humour": 0}', ["humour", "pace"])]
    [None, 9]
    """
    found = _object_in(_THINKING.sub(" ", answer))
    given = {_folded(key): value for key, value in found.items()}
    digits = [_whole(given.get(_folded(name))) for name in names]
    return [None if digit is None else Reading(_one_digit(digit), None) for digit in digits]


def read_logprobs(content: Any, labels: Sequence[str]) -> list[Reading | None] | None:
    """One reading per label from `choices[].logprobs.content`: at each line's digit, what `top_logprobs` says of 1..9.

    The returned digits are renormalised; `mass` is the probability that they had together. None where there are no
    log-probabilities in `content` at all, which is another thing than lines that cannot be read.
    """
    tokens = _tokens(content)
    if tokens is None:
        return None
    ends = np.cumsum([len(token.text) for token in tokens])
    readings: list[Reading | None] = []
    for place in digit_places("".join(token.text for token in tokens), labels):
        if place is None:
            readings.append(None)
            continue
        index = int(np.searchsorted(ends, place, side="right"))
        before = tokens[index].text[: place - (int(ends[index]) - len(tokens[index].text))]
        readings.append(_distribution(tokens[index], before))
    return readings


@dataclass(frozen=True)
class _Token:
    text: str
    alternatives: list[tuple[str, float]]


def _tokens(content: Any) -> list[_Token] | None:
    """The answer's tokens with what else might have stood there, the token itself among it."""
    if not isinstance(content, list) or not content:
        return None
    tokens = []
    for entry in content:
        chosen = _candidate(entry)
        if chosen is None:
            return None
        others = entry.get("top_logprobs")
        named = [c for c in map(_candidate, others if isinstance(others, list) else []) if c is not None]
        if chosen[0] not in {text for text, _ in named}:
            named.append(chosen)
        tokens.append(_Token(chosen[0], named))
    # A server may return the chosen tokens' own probabilities only; then nothing is known of the other digits.
    return tokens if any(len(token.alternatives) > 1 for token in tokens) else None


def _candidate(entry: Any) -> tuple[str, float] | None:
    if not isinstance(entry, Mapping):
        return None
    token, logprob = entry.get("token"), entry.get("logprob")
    if not isinstance(token, str) or isinstance(logprob, bool) or not isinstance(logprob, (int, float)):
        return None
    return None if math.isnan(logprob) else (token.translate(_SPELLED), min(float(logprob), 0.0))


def _distribution(token: _Token, before: str) -> Reading | None:
    """Renormalised probabilities of the digits among a token's alternatives; `before`: what it holds ahead of the digit."""
    logs: list[list[float]] = [[] for _ in _DIGITS]
    for text, logprob in token.alternatives:
        if before.strip():
            if not text.startswith(before):
                continue
            text = text[len(before) :]
        digit = text.strip()
        if len(digit) == 1 and digit in _DIGITS and logprob > -math.inf:
            logs[int(digit) - 1].append(logprob)
    named = [value for row in logs for value in row]
    if not named:
        return None
    highest = max(named)
    weight = np.array([sum(math.exp(value - highest) for value in row) for row in logs])
    mass = min(1.0, float(weight.sum()) * math.exp(highest))
    return Reading(weight / weight.sum(), mass)


def soft_score(probability: np.ndarray) -> tuple[float, float]:
    """Value in [0, 1] and spread in [0, 0.5] of a distribution (9,), as `guided_refine.scoring.slots.soft_scores`.

    >>> soft_score(np.array([0.5, 0, 0, 0, 0, 0, 0, 0, 0.5]))
    (0.5, 0.5)
    """
    scale = np.arange(9) / 8
    value = float(probability @ scale)
    return value, math.sqrt(float(probability @ (scale - value) ** 2))


def _one_digit(digit: int) -> np.ndarray:
    probability = np.zeros(9)
    probability[digit - 1] = 1.0
    return probability


def _whole(value: Any) -> int | None:
    if isinstance(value, str) and value.strip() in tuple(_DIGITS):
        return int(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value not in range(1, 10):
        return None
    return int(value)


def _folded(key: str) -> str:
    return re.sub(r"[\s_-]+", "_", key.strip().casefold())


def _object_in(text: str) -> dict[str, Any]:
    """The first JSON object in a text, empty where there is none."""
    decoder = json.JSONDecoder()
    start = text.find("{")
    tries = 0
    # A long answer of nothing but brackets would take for ever.
    while start >= 0 and tries < _OBJECTS_TRIED:
        tries += 1
        try:
            found, _ = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            found = None
        if isinstance(found, dict):
            return found
        start = text.find("{", start + 1)
    return {}
