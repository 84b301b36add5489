"""What went wrong with one request, and what that means: ask again, ask differently, leave it, or stop."""

from __future__ import annotations

import email.utils
import re
import time
from collections.abc import Mapping
from typing import Any, Literal

Kind = Literal["again", "refused", "stop"]

_LONGEST_WAIT = 600.0
_OUT_OF_CREDIT = ("insufficient_quota", "billing", "credit balance", "insufficient balance")
_TOO_LONG = (
    "context length",
    "context_length",
    "context window",
    "maximum context",
    "too long",
    "too many tokens",
)
_NOT_OFFERED = {400, 404, 415, 422, 501}


class Trouble(Exception):
    """One request failed.

    `kind`: "again", another try may help; "refused", the same request will fail again; "stop", every request will.
    `wait`: seconds that the server asks to be left alone. `spent`: it may have cost tokens. `reached`: False when no
    server was there. `features`: what the request asked for and the server does not offer.
    """

    def __init__(
        self,
        kind: Kind,
        reason: str,
        *,
        wait: float | None = None,
        spent: bool = False,
        reached: bool = True,
        features: frozenset[str] = frozenset(),
    ) -> None:
        super().__init__(reason)
        self.kind: Kind = kind
        self.reason = reason
        self.wait = wait
        self.spent = spent
        self.reached = reached
        self.features = features


def judge(status: int, headers: Mapping[str, str], payload: Any, key_variable: str, model: str) -> Trouble:
    """What an HTTP status other than 200 means; `payload` is the body, as JSON where it is JSON, else as text.

    >>> judge(429, {"Retry-After": "7"}, {}, "KEY", "m").wait
    7.0
    >>> judge(401, {}, {"error": {"message": "no such key"}}, "KEY", "m").reason
    'refuses the key in KEY (401: no such key)'
    """
    said = f"{status}: {_message(payload)}"
    folded = said.casefold()
    if status in (401, 403):
        return Trouble("stop", f"refuses the key in {key_variable} ({said})")
    if status == 402 or any(sign in folded for sign in _OUT_OF_CREDIT):
        return Trouble("stop", f"takes no more requests on this account ({said})")
    if 300 <= status < 400:
        return Trouble("stop", f"sends requests elsewhere ({said}); give the address that it names")
    if status in (408, 409, 425, 429) or (status >= 500 and status != 501):
        wait = _retry_after(headers)
        if wait is not None and wait > _LONGEST_WAIT:
            return Trouble(
                "stop", f"asks to be left alone for {wait:.0f} seconds ({said}); run again after that"
            )
        return Trouble("again", f"answers {said}", wait=wait, spent=status in (408, 409) or status >= 500)
    features = _features(folded) if status in _NOT_OFFERED else frozenset()
    if status in (404, 405) and not features:
        return Trouble("stop", f"has no model '{model}', or no chat completions at this address ({said})")
    if status == 413 or any(sign in folded for sign in _TOO_LONG):
        return Trouble(
            "refused",
            f"finds a prompt too long ({said}); lower llm_options.text_tokens or llm_options.history_events",
        )
    return Trouble("refused", f"refuses a request ({said})", features=features)


def _message(payload: Any) -> str:
    """What a server says went wrong, short and on one line."""
    if isinstance(payload, Mapping):
        error = payload.get("error", payload)
        if isinstance(error, Mapping):
            error = error.get("message") or error.get("detail") or error.get("code") or error
        payload = error
    text = " ".join(str(payload).split())
    return f"{text[:240]}..." if len(text) > 240 else text or "no reason given"


def _features(said: str) -> frozenset[str]:
    """What of our request a refusal is about."""
    signs = {
        "logprobs": r"logprob|log.?probabilit",
        "json": r"response_format|json_schema|structured output|guided",
        "max_tokens": r"max_completion_tokens",
        "temperature": r"temperature",
        "n": r"'n'|\"n\"|`n`|\bn\b must|\bn\b (?:is|=)|multiple choices|parameter:? n\b",
    }
    return frozenset(name for name, sign in signs.items() if re.search(sign, said))


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds of a Retry-After header, given as seconds or as a date; None where there is none that can be read."""
    value = next((v for k, v in headers.items() if k.lower() == "retry-after"), "").strip()
    if re.fullmatch(r"\d{1,9}(\.\d+)?", value):
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (TypeError, ValueError, OverflowError):
        return None
