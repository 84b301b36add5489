"""One question to one endpoint: paced, paid for, tried again, asked again where the answer cannot be read."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from guided_refine.config_remote import RemoteOptions
from guided_refine.scoring.remote.budget import Budget
from guided_refine.scoring.remote.pace import Pace, pause
from guided_refine.scoring.remote.parsing import Reading, read_json, read_lines, read_logprobs, soft_score
from guided_refine.scoring.remote.questions import Form, Question
from guided_refine.scoring.remote.trouble import Trouble


class Exhausted(Exception):
    """The next request does not fit the token budget."""


class Stopped(Exception):
    """The run ends; nothing more is asked."""


@dataclass(frozen=True)
class Answer:
    """What one question brought: arrays (attributes,) with NaN where nothing could be read, and what was written.

    `spread` is NaN for a single bare digit, `mass` (the digits' share of the probability) wherever it is not known.
    """

    question: Question
    value: np.ndarray
    spread: np.ndarray
    mass: np.ndarray
    raw: str


@dataclass
class Tally:
    """What asking has cost so far, and what the server was found not to take; threads add to it."""

    requests: int = 0
    retries: int = 0
    asked_again: int = 0
    answered: bool = False
    dropped: set[str] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def add(self, *, requests: int = 0, retries: int = 0, asked_again: int = 0) -> None:
        with self.lock:
            self.requests += requests
            self.retries += retries
            self.asked_again += asked_again


class Asker:
    """Asks the questions of one form; threads share it.

    `chat` sends one request body and returns the answer's JSON or raises `Trouble`. `stop` ends every wait.
    """

    def __init__(
        self,
        chat: Callable[[dict[str, Any]], dict[str, Any]],
        form: Form,
        options: RemoteOptions,
        budget: Budget,
        pace: Pace,
        stop: threading.Event,
        tally: Tally,
        seed: int,
    ) -> None:
        self._chat = chat
        self.form = form
        self._options = options
        self._budget = budget
        self._pace = pace
        self._stop = stop
        self._tally = tally
        self._seed = seed

    def ask(self, question: Question) -> Answer:
        """The answer, with NaN for what stayed unreadable.

        Raises `Trouble` when the server does not give one, `Exhausted` when the budget does not allow the request.
        """
        form, wanted = self.form, 1 if self.form.mode == "logprobs" else self._options.samples
        found: list[list[Reading]] = [[] for _ in form.labels]
        written: list[str] = []
        whole = unreadable = 0
        while whole < wanted and unreadable < self._options.asks:
            content = form.content(question.text, again=unreadable > 0)
            if unreadable:
                self._tally.add(asked_again=1)
            for choice in self._send(question.key, content, wanted - whole):
                text, readings = self._read(choice)
                written.append(text)
                # An attribute that is there already takes nothing from a question that is asked again.
                for row, reading in zip(found, readings, strict=True):
                    if reading is not None and len(row) < wanted:
                        row.append(reading)
                complete = all(reading is not None for reading in readings)
                whole, unreadable = whole + complete, unreadable + (not complete)
            if all(len(row) >= wanted for row in found):
                break
        return _answer(question, found, "\n---\n".join(written))

    # ------------------------------------------------------------------ one request

    def _send(self, key: str, content: str, answers: int) -> list[dict[str, Any]]:
        """Choices of one request that was answered; tries again after failures that may pass."""
        failures = 0
        while True:
            answers = 1 if "n" in self._tally.dropped else answers
            body = self._spoken(self.form.body(content, answers))
            try:
                return self._once(body, self.form.tokens(content, answers))
            except Trouble as trouble:
                if self._adapted(trouble, body):
                    continue
                failures += 1
                mistyped = not trouble.reached and not self._tally.answered
                if trouble.kind != "again" or failures > self._options.retries or mistyped:
                    raise
                if trouble.wait is not None:
                    self._pace.hold(trouble.wait)
                self._tally.add(retries=1)
                self._wait(pause(self._seed, key, failures))

    def _once(self, body: dict[str, Any], tokens: int) -> list[dict[str, Any]]:
        self._wait(self._pace.delay(tokens))
        while (held := self._pace.held()) > 0:
            self._wait(held)
        reserved = self._budget.reserve(tokens)
        if reserved is None:
            raise Stopped if self._stop.is_set() else Exhausted
        used: int | None = None
        try:
            self._tally.add(requests=1)
            payload = self._chat(body)
            used = _used(payload)
            choices = _choices(payload)
            self._tally.answered = True
        except Trouble as trouble:
            used = None if trouble.spent else 0
            raise
        finally:
            self._budget.settle(reserved, used)
            if used is not None and used < tokens:
                self._pace.unused(tokens - used)
        return choices

    def _wait(self, seconds: float) -> None:
        if self._stop.wait(seconds) if seconds > 0 else self._stop.is_set():
            raise Stopped

    # ------------------------------------------------------------------ what differs between servers

    def _spoken(self, body: dict[str, Any]) -> dict[str, Any]:
        """The request without what this server was found not to take."""
        if "max_tokens" in self._tally.dropped:
            body["max_completion_tokens"] = body.pop("max_tokens")
        if "temperature" in self._tally.dropped:
            del body["temperature"]
        return body

    def _adapted(self, trouble: Trouble, body: dict[str, Any]) -> bool:
        """Whether to send again at once without what was refused; True at most once per request and feature."""
        for feature in ("max_tokens", "temperature", "n"):
            if feature in trouble.features and feature in body:
                self._tally.dropped.add(feature)
                return True
        return False

    # ------------------------------------------------------------------ reading

    def _read(self, choice: dict[str, Any]) -> tuple[str, list[Reading | None]]:
        message = choice.get("message")
        content = message.get("content") if isinstance(message, dict) else None
        text = content if isinstance(content, str) else ""
        if self.form.mode == "text":
            return text, list(read_lines(text, self.form.labels))
        if self.form.mode == "json":
            return text, list(read_json(text, self.form.labels))
        given = choice.get("logprobs")
        readings = read_logprobs(given.get("content") if isinstance(given, dict) else None, self.form.labels)
        if readings is None and text:
            raise Trouble(
                "stop",
                "answers without log-probabilities of alternatives; set llm_options.remote.mode to json or text",
                features=frozenset({"logprobs"}),
            )
        return text, readings or [None] * len(self.form.labels)


def _choices(payload: dict[str, Any]) -> list[dict[str, Any]]:
    choices = payload.get("choices")
    if not isinstance(choices, list) or not choices or not all(isinstance(c, dict) for c in choices):
        raise Trouble("again", "answers JSON that is not a chat completion", spent=True)
    return choices


def _used(payload: dict[str, Any]) -> int | None:
    """Tokens that the server counted, None where it does not say; what it says of the sum and the parts, the larger."""
    usage = payload.get("usage")
    if not isinstance(usage, dict):
        return None
    parts = [usage.get(key) for key in ("prompt_tokens", "completion_tokens", "total_tokens")]
    counted = [part if isinstance(part, int) and part > 0 else 0 for part in parts]
    return max(counted[0] + counted[1], counted[2]) or None


def _answer(question: Question, found: list[list[Reading]], raw: str) -> Answer:
    """Value and spread of the mean distribution of the readings of each attribute."""
    value, spread, mass = np.full((3, len(found)), np.nan)
    for column, readings in enumerate(found):
        if not readings:
            continue
        value[column], deviation = soft_score(np.mean([r.probability for r in readings], axis=0))
        known = [r.mass for r in readings if r.mass is not None]
        if known or len(readings) > 1:
            spread[column] = deviation
        if known:
            mass[column] = float(np.mean(known))
    return Answer(question, value, spread, mass, raw)
