"""One POST to an OpenAI-compatible address: JSON out, JSON in, a deadline, and the key in no text but its header."""

from __future__ import annotations

import json
import os
import time
import urllib.parse
import urllib.request
from typing import TYPE_CHECKING, Any

from guided_refine.config_remote import RemoteOptions
from guided_refine.errors import InputError
from guided_refine.scoring.remote.trouble import Trouble, judge

if TYPE_CHECKING:
    import urllib3

DEFAULT_KEY_VARIABLE = "OPENAI_API_KEY"
_LONGEST_ANSWER = 8 << 20
_CHUNK = 1 << 16


def read_key(options: RemoteOptions) -> str | None:
    """The key from the environment variable that `options` names; None where the default one is not set.

    Raises `InputError` when a variable is named and not set, or holds what no header can carry.
    """
    variable = options.key_variable or DEFAULT_KEY_VARIABLE
    key = os.environ.get(variable, "").strip()
    if not key and options.key_variable:
        raise InputError(
            f"llm_options.remote.key_variable: the environment variable {variable} is not set; put the key into it"
        )
    if not key.isascii() or not key.isprintable():
        raise InputError(
            f"the environment variable {variable} holds characters that no key has; set it again"
        )
    return key or None


class Endpoint:
    """The chat completions of one address (`https://host/v1`); threads share it and its open connections.

    Nothing is sent before `chat` is called. Redirects are not followed: a key goes to the given host only. Proxies and
    certificates are the system's (`HTTPS_PROXY`, `NO_PROXY`, `SSL_CERT_FILE`).
    """

    def __init__(self, address: str, options: RemoteOptions) -> None:
        self.address = address.rstrip("/")
        self._model = options.model or ""
        self._timeout = options.timeout
        self._key = read_key(options)
        self._key_variable = options.key_variable or DEFAULT_KEY_VARIABLE
        self._pool = _pool(self.address, options.concurrency)

    @property
    def key_in_the_clear(self) -> bool:
        """True when a key would travel unencrypted to another machine."""
        parts = urllib.parse.urlsplit(self.address)
        here = parts.hostname in ("localhost", "::1") or (parts.hostname or "").startswith("127.")
        return self._key is not None and parts.scheme == "http" and not here

    def chat(self, body: dict[str, Any]) -> dict[str, Any]:
        """The server's answer to one request, a JSON object. Raises `Trouble`."""
        import urllib3

        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self._key is not None:
            headers["Authorization"] = f"Bearer {self._key}"
        deadline = time.monotonic() + self._timeout
        try:
            response = self._pool.request(
                "POST",
                f"{self.address}/chat/completions",
                body=json.dumps(body, ensure_ascii=False).encode(),
                headers=headers,
                timeout=urllib3.Timeout(total=self._timeout),
                retries=False,
                redirect=False,
                preload_content=False,
            )
            status, text = response.status, self._read(response, deadline)
        except urllib3.exceptions.HTTPError as error:
            raise self._unanswered(error) from None
        payload = _parsed(text)
        if status != 200:
            trouble = judge(status, dict(response.headers), payload, self._key_variable, self._model)
            trouble.reason = self._without_key(trouble.reason)
            raise trouble
        if not isinstance(payload, dict):
            raise Trouble("again", "answers something that is not a JSON object", spent=True)
        return payload

    def _read(self, response: urllib3.BaseHTTPResponse, deadline: float) -> str:
        """The body; a server that drips it for longer than the timeout is given up."""
        parts, size = [], 0
        try:
            while chunk := response.read1(_CHUNK):
                parts.append(chunk)
                size += len(chunk)
                if size > _LONGEST_ANSWER:
                    raise Trouble("again", f"answers with more than {_LONGEST_ANSWER >> 20} MiB", spent=True)
                if time.monotonic() > deadline:
                    raise Trouble("again", f"takes longer than {self._timeout:g} s to answer", spent=True)
        except BaseException:
            response.close()  # the rest of the answer must not meet the next request
            raise
        response.release_conn()
        return b"".join(parts).decode("utf-8", "replace")

    def _unanswered(self, error: Exception) -> Trouble:
        """A request that brought no answer."""
        from urllib3 import exceptions as failed

        inner = error.reason if isinstance(error, failed.MaxRetryError) else error
        if isinstance(inner, failed.ProxyError):
            inner = inner.original_error
        if isinstance(
            inner, (failed.NewConnectionError, failed.NameResolutionError, failed.ConnectTimeoutError)
        ):
            cause = inner.__cause__ or inner
            why = getattr(cause, "strerror", None) or (
                "no answer" if isinstance(cause, TimeoutError) else str(cause)
            )
            return Trouble("again", f"cannot be reached ({self._without_key(str(why))})", reached=False)
        if isinstance(inner, failed.SSLError):
            return Trouble(
                "stop", f"cannot be reached safely ({self._without_key(str(inner))[:200]})", reached=False
            )
        if isinstance(inner, failed.TimeoutError):
            return Trouble("again", f"takes longer than {self._timeout:g} s to answer", spent=True)
        return Trouble("again", "cuts the connection before it has answered", spent=True)

    def _without_key(self, text: str) -> str:
        """Servers like to repeat a key that they refuse."""
        return text.replace(self._key, "***") if self._key else text


def _pool(address: str, connections: int) -> urllib3.PoolManager:
    import urllib3

    parts = urllib.parse.urlsplit(address)
    proxy = urllib.request.getproxies().get(parts.scheme)
    if proxy and not urllib.request.proxy_bypass(parts.netloc):
        return urllib3.ProxyManager(proxy, maxsize=connections, block=False)
    return urllib3.PoolManager(maxsize=connections, block=False)


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
