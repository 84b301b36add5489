"""A server of the tests' own that follows the published chat-completions protocol, and fails on request.

What it says comes from a `Brain`: for each label of a prompt, the logarithms of nine digit probabilities.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Protocol

import numpy as np


class Brain(Protocol):
    """Says how likely each digit is."""

    def digits(self, content: str, labels: Sequence[str]) -> np.ndarray:
        """Log-probabilities (labels, 9) of the digits at each line of the answer; they need not sum to 1."""


class HashBrain:
    """Draws distributions from a hash of the prompt and the label; the digits have 90 % of the probability."""

    def digits(self, content: str, labels: Sequence[str]) -> np.ndarray:
        rows = []
        for label in labels:
            seed = hashlib.sha256(f"{content}|{label.replace('_', ' ')}".encode()).digest()
            rows.append(np.random.default_rng(list(seed)).dirichlet(np.ones(9)) * 0.9)
        return np.log(np.array(rows).reshape(-1, 9))


@dataclass
class Fault:
    """What goes wrong with one request. `status` with `headers` and `body`, or what `how` names."""

    how: str = "status"
    status: int = 500
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0


def labels_of(content: str) -> list[str]:
    """The scales that a prompt asks for."""
    return re.findall(r"^- ([a-z0-9 ]+): .* 1 = ", content, re.MULTILINE)


class ProtocolServer:
    """Listens on this machine only; a context manager.

    `offers`: which of "logprobs", "json", "n" it knows; the others it ignores, or refuses with 400 where `refuses`.
    `fault(number, body)` is asked for every request, counted from 1. `write(content, digits)` replaces the lines of a plain
    answer. `keys`: accepted bearer tokens (None: no key is needed).
    """

    def __init__(
        self,
        brain: Brain | None = None,
        *,
        offers: Sequence[str] = ("logprobs", "json", "n"),
        refuses: bool = False,
        fault: Callable[[int, dict[str, Any]], Fault | None] = lambda number, body: None,
        write: Callable[[str, dict[str, int]], str] | None = None,
        keys: Sequence[str] | None = None,
        model: str = "tiny",
        usage: Callable[[str, str], tuple[int, int]] | None = None,
        top: int = 20,
    ) -> None:
        self.brain = brain or HashBrain()
        self.offers, self.refuses, self.fault, self.write = set(offers), refuses, fault, write
        self.keys, self.model, self.top = keys, model, top
        self.usage = usage or (lambda content, answer: (len(content.split()), len(answer.split())))
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.times: list[float] = []
        self.in_flight = self.most_in_flight = self.tokens = 0
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        outer = self

        class Handler(_Handler):
            server_side = outer

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._http.server_address[1]}/v1"

    def __enter__(self) -> ProtocolServer:
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._http.shutdown()
        self._http.server_close()

    def arrived(self, body: dict[str, Any], headers: dict[str, str]) -> int:
        with self._lock:
            self.bodies.append(body)
            self.headers.append(headers)
            self.times.append(time.monotonic())
            self.in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self.in_flight)
            return len(self.bodies)

    def left(self) -> None:
        with self._lock:
            self.in_flight -= 1

    def sleep(self, seconds: float) -> None:
        self._stopping.wait(seconds)

    # ------------------------------------------------------------------ the protocol

    def complete(self, body: dict[str, Any]) -> tuple[int, Any]:
        """Status and answer of a request that nothing went wrong with."""
        wrong = self._validate(body)
        if wrong is not None:
            return wrong
        content = body["messages"][-1]["content"]
        labels = labels_of(content)
        asked = content.split("\n\nAnswer in exactly this form")[0]
        log_digits = self.brain.digits(asked, labels)
        as_json = body.get("response_format", {}).get("type") == "json_schema" and "json" in self.offers
        choices = []
        answer = ""
        for index in range(body.get("n", 1) if "n" in self.offers else 1):
            chosen = self._choose(log_digits, body.get("temperature", 1.0), len(self.bodies), index)
            named = dict(zip(labels, chosen, strict=True))
            if as_json:
                answer = json.dumps({label.replace(" ", "_"): digit for label, digit in named.items()})
            elif self.write is not None:
                answer = self.write(content, named)
            else:
                answer = "\n".join(f"{label}: {digit}" for label, digit in named.items())
            choice = {
                "index": index,
                "message": {"role": "assistant", "content": answer},
                "finish_reason": "stop",
            }
            if body.get("logprobs") and "logprobs" in self.offers:
                choice["logprobs"] = {
                    "content": self._tokens(answer, labels, log_digits, body["top_logprobs"])
                }
            choices.append(choice)
        prompt, written = self.usage(content, answer)
        with self._lock:
            self.tokens += prompt + written * len(choices)
        return 200, {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1,
            "model": body["model"],
            "choices": choices,
            "usage": {
                "prompt_tokens": prompt,
                "completion_tokens": written * len(choices),
                "total_tokens": prompt + written * len(choices),
            },
        }

    def _validate(self, body: dict[str, Any]) -> tuple[int, Any] | None:
        if body.get("model") != self.model:
            return 404, _error(f"The model `{body.get('model')}` does not exist", "model_not_found")
        if "top_logprobs" in body and not body.get("logprobs"):
            return 400, _error("top_logprobs needs logprobs: true", "invalid_value")
        if body.get("top_logprobs", 0) > 20:
            return 400, _error("Invalid 'top_logprobs': must be at most 20", "invalid_value")
        if self.refuses:
            for key, feature in (("logprobs", "logprobs"), ("response_format", "json"), ("n", "n")):
                if key in body and feature not in self.offers:
                    return 400, _error(f"Unsupported parameter: '{key}'", "unsupported_parameter")
        return None

    @staticmethod
    def _choose(log_digits: np.ndarray, temperature: float, number: int, index: int) -> list[int]:
        if temperature == 0:
            return [int(digit) + 1 for digit in log_digits.argmax(axis=1)]
        draw = np.random.default_rng([index, number])
        weights = np.exp(log_digits - log_digits.max(axis=1, keepdims=True))
        return [int(draw.choice(9, p=row / row.sum())) + 1 for row in weights]

    def _tokens(
        self, answer: str, labels: Sequence[str], log_digits: np.ndarray, top: int
    ) -> list[dict[str, Any]]:
        """The answer cut into words, signs and digits with their spaces; digits with their alternatives."""
        tokens, line = [], -1
        for text in re.findall(r"\n| ?[1-9](?![0-9])| ?[^\W\d]+|.", answer):
            others = [{"token": text, "logprob": -0.01}, {"token": " the", "logprob": -4.7}]
            if re.fullmatch(r" ?[1-9]", text):
                line += 1
                space = text[:-1]
                others = [
                    {"token": f"{space}{digit + 1}", "logprob": float(log_digits[line, digit])}
                    for digit in range(9)
                ]
                others += [
                    {"token": "\n", "logprob": math.log(0.06)},
                    {"token": " ten", "logprob": math.log(0.04)},
                ]
                others.sort(key=lambda entry: -entry["logprob"])
            others = [
                {**entry, "bytes": list(entry["token"].encode())} for entry in others[: min(top, self.top)]
            ]
            chosen = next(
                (entry for entry in others if entry["token"] == text), {"token": text, "logprob": -9.0}
            )
            tokens.append({**chosen, "bytes": list(text.encode()), "top_logprobs": others})
        return tokens


class _Handler(BaseHTTPRequestHandler):
    server_side: ProtocolServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        self._answer(405, _error("use POST", "method_not_allowed"))

    def do_POST(self) -> None:
        outer = self.server_side
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        number = outer.arrived(body, dict(self.headers))
        try:
            self._handle(outer, body, outer.fault(number, body))
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
        finally:
            outer.left()

    def _handle(self, outer: ProtocolServer, body: dict[str, Any], fault: Fault | None) -> None:
        if self.path != "/v1/chat/completions":
            self._answer(404, {"detail": "Not Found"})
        elif (
            outer.keys is not None
            and self.headers.get("Authorization", "").removeprefix("Bearer ") not in outer.keys
        ):
            given = self.headers.get("Authorization", "").removeprefix("Bearer ")
            self._answer(401, _error(f"Incorrect API key provided: {given}.", "invalid_api_key"))
        elif fault is None:
            self._answer(*outer.complete(body))
        elif fault.how == "status":
            self._answer(
                fault.status, fault.body or _error("The server had an error", "server_error"), fault.headers
            )
        elif fault.how == "slow":
            outer.sleep(fault.seconds)
            self._answer(*outer.complete(body))
        elif fault.how == "cut":  # a reset, before or within the answer
            if fault.seconds:
                self.wfile.write(b'HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{"choices": [')
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            self.close_connection = True
        elif fault.how == "short":  # a clean end in the middle of the promised length
            self.wfile.write(b'HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{"choices": [')
            self.close_connection = True
        elif fault.how == "drip":
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
            while not outer._stopping.wait(0.05):
                self.wfile.write(b" ")
        elif fault.how == "raw":
            self._send(200, fault.body, fault.headers)

    def _answer(self, status: int, payload: Any, headers: dict[str, str] | None = None) -> None:
        self._send(status, json.dumps(payload).encode(), headers or {})

    def _send(self, status: int, data: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)


def _error(message: str, code: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": code}}
