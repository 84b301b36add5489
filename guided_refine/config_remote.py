"""The part of the configuration that is about a model behind an OpenAI-compatible address."""

from __future__ import annotations

import re
import urllib.parse
from typing import Any, Literal

from pydantic import Field, field_validator

from guided_refine.config_section import Section

#: What every request to a remote model says; budget and reading rest on it.
REMOTE_BODY = (
    "model",
    "messages",
    "n",
    "stream",
    "max_tokens",
    "max_completion_tokens",
    "temperature",
    "logprobs",
    "top_logprobs",
    "response_format",
)


class RemoteOptions(Section):
    """A model behind an OpenAI-compatible address; read where `llm` is that address."""

    model: str | None = Field(None, min_length=1, description="the model's name as the server knows it")
    mode: Literal["auto", "logprobs", "json", "text"] = Field(
        "auto", description="how digits are read; auto: the first that the server offers, in this order"
    )
    top_logprobs: int = Field(
        20, ge=2, le=100, description="alternatives asked for per token; most servers give 20"
    )
    samples: int = Field(
        1, ge=1, le=32, description="answers per text in modes json and text; two or more give a spread"
    )
    asks: int = Field(
        3, ge=1, description="answers that cannot be read, per text, before it is left without a score"
    )
    key_variable: str | None = Field(
        None, description="environment variable with the key; default OPENAI_API_KEY, where it is set"
    )
    max_tokens_total: int | None = Field(
        None, ge=1, description="tokens that all runs into one folder may cost together, prompts and answers"
    )
    answer_tokens: int | None = Field(
        None,
        ge=1,
        description="tokens of one answer; default: what the lines need. More for models that think first",
    )
    requests_per_minute: int | None = Field(None, ge=1)
    tokens_per_minute: int | None = Field(None, ge=1)
    concurrency: int = Field(8, ge=1, le=256, description="requests in flight at once")
    timeout: float = Field(120.0, gt=0, description="seconds for one answer")
    retries: int = Field(5, ge=0, description="further tries at one request after failures that may pass")
    tokenizer: str | None = Field(
        None, description="a folder with the model's tokenizer: texts are cut and tokens counted with it"
    )
    extra_body: dict[str, Any] = Field(
        default_factory=dict, description="more keys for every request, such as chat_template_kwargs"
    )

    @field_validator("key_variable")
    @classmethod
    def _a_name_not_a_key(cls, value: str | None) -> str | None:
        # The sentence does not repeat what was given: it may be the key itself.
        if value is not None and not re.fullmatch(r"[A-Z_][A-Z0-9_]{0,63}", value):
            raise ValueError(
                "expected the name of an environment variable, in capitals, and never the key itself"
            )
        return value

    @field_validator("extra_body")
    @classmethod
    def _only_more(cls, value: dict[str, Any]) -> dict[str, Any]:
        for key in REMOTE_BODY:
            if key in value:
                raise ValueError(f"{key} is set by guided-refine; remove it")
        return value


def is_address(llm: str) -> bool:
    """Whether the key `llm` names an endpoint; only then is anything sent anywhere.

    >>> is_address("https://host/v1"), is_address("org/model")
    (True, False)
    """
    return llm.startswith(("http://", "https://"))


def check_address(llm: str) -> None:
    """Refuse an address that is none, or that holds a key. Raises `ValueError` with a sentence that does not repeat it."""
    try:
        parts = urllib.parse.urlsplit(llm)
        complete = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        complete = False
    if not complete or not llm.isascii() or any(sign.isspace() for sign in llm):
        raise ValueError("llm: this is no address; expected one such as https://host/v1")
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise ValueError(
            "llm: the address must hold no key, user name or query; put the key into the environment variable "
            "that llm_options.remote.key_variable names"
        )
