"""What a status and its words mean: again, differently, not this one, or stop."""

from __future__ import annotations

import email.utils
import time
from typing import Any

import pytest

from guided_refine.scoring.remote.trouble import judge


def error(message: str, **more: Any) -> dict[str, Any]:
    return {"error": {"message": message, "type": "x", **more}}


@pytest.mark.parametrize(
    ("status", "payload", "kind", "words"),
    [
        (401, error("bad key"), "stop", "refuses the key in MY_KEY (401: bad key)"),
        (403, "Forbidden", "stop", "refuses the key in MY_KEY (403: Forbidden)"),
        (402, error("pay"), "stop", "no more requests on this account"),
        (429, error("You exceeded your current quota", code="insufficient_quota"), "again", "429"),
        (
            429,
            error("insufficient_quota: check your billing details"),
            "stop",
            "no more requests on this account",
        ),
        (404, error("The model `m` does not exist"), "stop", "no model 'm'"),
        (404, {"detail": "Not Found"}, "stop", "no model 'm', or no chat completions at this address"),
        (405, "", "stop", "no chat completions at this address (405: no reason given)"),
        (308, "", "stop", "sends requests elsewhere"),
        (429, error("slow down"), "again", "429: slow down"),
        (500, "<html>oops</html>", "again", "500: <html>oops</html>"),
        (503, error("loading"), "again", "503: loading"),
        (400, error("maximum context length is 512"), "refused", "llm_options.text_tokens"),
        (413, "too big", "refused", "llm_options.text_tokens"),
        (400, error("content filter"), "refused", "refuses a request (400: content filter)"),
        (422, {"detail": [{"loc": ["body", "x"], "msg": "no"}]}, "refused", "422"),
    ],
)
def test_meanings(status: int, payload: Any, kind: str, words: str) -> None:
    trouble = judge(status, {}, payload, "MY_KEY", "m")
    assert trouble.kind == kind
    assert words in trouble.reason
    assert "\n" not in trouble.reason and len(trouble.reason) < 400


@pytest.mark.parametrize(
    ("message", "feature"),
    [
        ("Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.", "max_tokens"),
        ("Unsupported value: 'temperature' does not support 0.0 with this model.", "temperature"),
        ("logprobs is not supported", "logprobs"),
        ("This model does not support log probabilities", "logprobs"),
        ("Invalid parameter: 'response_format' of type 'json_schema' is not supported", "json"),
        ("Unsupported parameter: 'n'", "n"),
        ("Only one completion choice is allowed: `n` must be 1", "n"),
    ],
)
def test_what_is_not_offered_is_named(message: str, feature: str) -> None:
    assert feature in judge(400, {}, error(message), "K", "m").features
    assert judge(500, {}, error(message), "K", "m").features == frozenset()
    assert judge(404, {}, error(message), "K", "m").kind == "refused"


def test_ordinary_refusals_name_no_feature() -> None:
    for message in ("content filter", "The prompt was refused in this region.", "bad request"):
        assert judge(400, {}, error(message), "K", "m").features == frozenset()


def test_only_what_may_have_been_worked_on_may_have_cost_something() -> None:
    assert [judge(s, {}, "", "K", "m").spent for s in (500, 502, 504, 408)] == [True] * 4
    assert [judge(s, {}, "", "K", "m").spent for s in (400, 401, 404, 425, 429)] == [False] * 5


def test_retry_after_as_seconds_and_as_a_date() -> None:
    assert judge(429, {"retry-after": "12"}, "", "K", "m").wait == 12
    assert judge(503, {"Retry-After": "1.5"}, "", "K", "m").wait == 1.5
    soon = email.utils.formatdate(time.time() + 100, usegmt=True)
    wait = judge(429, {"Retry-After": soon}, "", "K", "m").wait
    assert wait is not None and 60 < wait <= 100
    past = email.utils.formatdate(time.time() - 100, usegmt=True)
    assert judge(429, {"Retry-After": past}, "", "K", "m").wait == 0
    for junk in ("soon", "", "-5", "nan", "9" * 20):
        assert judge(429, {"Retry-After": junk}, "", "K", "m").wait is None
    stop = judge(429, {"Retry-After": "86400"}, "daily limit", "K", "m")
    assert stop.kind == "stop" and "86400 seconds" in stop.reason
