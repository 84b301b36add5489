"""What is asked: the prompt of one text in one mode, its request, its worst case in tokens, and its key in the store."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal

from guided_refine.config_remote import RemoteOptions
from guided_refine.files import sha256_json
from guided_refine.scoring.attributes import AttributeSet
from guided_refine.scoring.prompt import RULES, Kind, written_prompt
from guided_refine.scoring.remote.texts import TextMeasure

Mode = Literal["logprobs", "json", "text"]
MODES: tuple[Mode, ...] = ("logprobs", "json", "text")
"""In the order in which `mode: auto` tries them."""

READING_VERSION = "1"
_JSON_RULES = (
    "Every scale runs from 1 to 9. Answer with one JSON object and nothing else: "
    "each scale's name as a key, a whole number from 1 to 9 as its value.\nScales:"
)
_SPARE_TOKENS = 24
"""For what an answer may have around its lines: a fence, a space per line, the end of the turn."""

#: Keys of the remote section on which no score depends: where, how fast and how dearly it is asked.
_ONLY_RUNNING = {
    "key_variable",
    "asks",
    "max_tokens_total",
    "requests_per_minute",
    "tokens_per_minute",
    "concurrency",
    "timeout",
    "retries",
}


def scores_depend_on(options: RemoteOptions) -> dict[str, Any]:
    """The values of the remote section that scores depend on; the address is not among them."""
    return {"reading": READING_VERSION, **options.model_dump(mode="json", exclude=_ONLY_RUNNING)}


@dataclass(frozen=True)
class Question:
    """One text to be scored on all attributes; `key` is its name in the store."""

    key: str
    text: str


class Form:
    """How one kind of text is asked about in one mode.

    `labels` are the names as the answer is to write them: words in lines, column names in JSON. `fingerprint`
    stands for the model: its name as given, how it is asked and read, not its address. `sha256` adds the prompt and names
    all that an answer depends on beside the text.
    """

    def __init__(
        self, attributes: AttributeSet, kind: Kind, mode: Mode, options: RemoteOptions, measure: TextMeasure
    ) -> None:
        self.mode = mode
        self.kind = kind
        self.labels = [a.name if mode == "json" else a.label for a in attributes.attributes]
        self._attributes = attributes
        self._options = options
        self._measure = measure
        self._rules = _JSON_RULES if mode == "json" else RULES
        self.fingerprint = sha256_json(
            [
                READING_VERSION,
                options.model,
                mode,
                options.samples if mode != "logprobs" else 1,
                options.top_logprobs if mode == "logprobs" else 0,
                options.answer_tokens,
                options.extra_body,
            ]
        )
        self.sha256 = sha256_json([self.fingerprint, attributes.names, self.content("")])
        # A digit or its brackets are at most a byte each, so the answer's bytes bound its tokens.
        self.answer_tokens = options.answer_tokens or _SPARE_TOKENS + len(self._example().encode())

    def question(self, text: str) -> Question:
        """The question about one text."""
        return Question(sha256_json([self.sha256, text]), text)

    def content(self, text: str, *, again: bool = False) -> str:
        """The user's turn; with `again` it ends in the form of the answer, because one could not be read."""
        asked = written_prompt(self._attributes, self.kind, text, rules=self._rules)
        if not again:
            return asked
        form = "Answer in exactly this form, with your own digit from 1 to 9 in place of each 5:"
        return f"{asked}\n\n{form}\n{self._example()}"

    def tokens(self, content: str, answers: int = 1) -> int:
        """What a request may cost at most: prompt, schema, and `answers` answers of full length."""
        asked = content + (json.dumps(self._schema()) if self.mode == "json" else "")
        return self._measure.count(asked) + answers * self.answer_tokens

    def body(self, content: str, answers: int = 1) -> dict[str, Any]:
        """The request, by the published chat-completions protocol."""
        sampled = answers > 1 or (self.mode != "logprobs" and self._options.samples > 1)
        body: dict[str, Any] = {
            **self._options.extra_body,
            "model": self._options.model,
            "messages": [{"role": "user", "content": content}],
            "max_tokens": self.answer_tokens,
            "temperature": 1.0 if sampled else 0.0,
        }
        if answers > 1:
            body["n"] = answers
        if self.mode == "logprobs":
            body |= {"logprobs": True, "top_logprobs": self._options.top_logprobs}
        if self.mode == "json":
            schema = {"name": "scores", "strict": True, "schema": self._schema()}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        return body

    def _schema(self) -> dict[str, Any]:
        # A list of the nine numbers, because strict modes of some servers know no minimum and maximum.
        digit = {"type": "integer", "enum": list(range(1, 10))}
        return {
            "type": "object",
            "properties": dict.fromkeys(self.labels, digit),
            "required": list(self.labels),
            "additionalProperties": False,
        }

    def _example(self) -> str:
        if self.mode == "json":
            return "{" + ", ".join(f'"{label}": 5' for label in self.labels) + "}"
        return "\n".join(f"{label}: 5" for label in self.labels)
