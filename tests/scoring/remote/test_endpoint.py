"""One request against a real server that behaves, and one that does not."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from typing import Any

import pytest
from protocol_server import Fault, ProtocolServer

from guided_refine.config_remote import RemoteOptions
from guided_refine.errors import InputError
from guided_refine.scoring.remote.endpoint import Endpoint, read_key
from guided_refine.scoring.remote.trouble import Trouble

BODY: dict[str, Any] = {"model": "tiny", "messages": [{"role": "user", "content": "grüße"}], "temperature": 0}
SECRET = "sk-test-0123456789"


@pytest.fixture(autouse=True)
def no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


def endpoint(address: str, **options: Any) -> Endpoint:
    return Endpoint(address, RemoteOptions(**{"model": "tiny", "timeout": 5, **options}))


def always(fault: Fault) -> Callable[[int, dict[str, Any]], Fault]:
    return lambda number, body: fault


def trouble_of(fault: Fault, **options: Any) -> Trouble:
    with ProtocolServer(fault=always(fault)) as server, pytest.raises(Trouble) as caught:
        endpoint(server.address, **options).chat(BODY)
    return caught.value


def test_an_answer_comes_back_and_connections_are_used_again() -> None:
    with ProtocolServer() as server:
        one = endpoint(server.address + "/")
        for _ in range(3):
            assert one.chat(BODY)["object"] == "chat.completion"
        assert server.bodies == [BODY] * 3
        assert "Authorization" not in server.headers[0]


def test_the_key_goes_into_its_header_and_nowhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", f" {SECRET}\n")
    with ProtocolServer(keys=[SECRET]) as server:
        one = endpoint(server.address, key_variable="MY_KEY")
        one.chat(BODY)
        assert server.headers[0]["Authorization"] == f"Bearer {SECRET}"
        assert SECRET not in json.dumps(server.bodies) + repr(one)
    monkeypatch.setenv("MY_KEY", SECRET)
    with ProtocolServer(keys=["another"]) as server, pytest.raises(Trouble) as caught:
        endpoint(server.address, key_variable="MY_KEY").chat(BODY)
    assert caught.value.kind == "stop"
    assert (
        "MY_KEY" in caught.value.reason and SECRET not in caught.value.reason and "***" in caught.value.reason
    )


def test_the_default_variable_is_used_where_it_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_key(RemoteOptions(model="m")) is None
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    assert read_key(RemoteOptions(model="m")) == SECRET
    with pytest.raises(InputError, match="MY_OTHER_KEY is not set"):
        read_key(RemoteOptions(model="m", key_variable="MY_OTHER_KEY"))
    monkeypatch.setenv("OPENAI_API_KEY", "sk-\nX-Evil: 1")
    with pytest.raises(InputError, match="holds characters that no key has") as caught:
        read_key(RemoteOptions(model="m"))
    assert "Evil" not in str(caught.value)


def test_a_key_in_the_clear_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not endpoint("http://models.example/v1").key_in_the_clear
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    assert endpoint("http://models.example/v1").key_in_the_clear
    for address in (
        "https://models.example/v1",
        "http://localhost:8000/v1",
        "http://127.0.0.1/v1",
        "http://[::1]/v1",
    ):
        assert not endpoint(address).key_in_the_clear


def test_a_redirect_is_not_followed() -> None:
    with ProtocolServer() as other:
        found = trouble_of(Fault(status=307, headers={"Location": f"{other.address}/chat/completions"}))
        assert other.bodies == []
    assert found.kind == "stop" and "sends requests elsewhere" in found.reason


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Fault("cut"), "cuts the connection"),
        (Fault("cut", seconds=1), "cuts the connection"),
        (Fault("short"), "cuts the connection"),
        (Fault("raw", body=b"<html>not JSON</html>"), "not a JSON object"),
        (Fault("raw", body=b'{"choices": ['), "not a JSON object"),
        (Fault("raw", body=b"[1, 2]"), "not a JSON object"),
        (Fault("raw", body=b""), "not a JSON object"),
        (Fault("raw", body=b"[" * 100_000), "not a JSON object"),
        (Fault("raw", body=b"\xff\xfe\x00"), "not a JSON object"),
        (Fault("raw", body=b"x", headers={"Content-Encoding": "gzip"}), "not a JSON object"),
        (Fault("raw", body=b" " * (9 << 20)), "more than 8 MiB"),
        (Fault(status=500), "500: The server had an error"),
    ],
)
def test_broken_answers_may_have_cost_something_and_are_worth_another_try(fault: Fault, words: str) -> None:
    found = trouble_of(fault)
    assert (found.kind, found.spent, found.reached) == ("again", True, True)
    assert words in found.reason


@pytest.mark.parametrize("how", ["slow", "drip"])
def test_a_slow_answer_is_given_up(how: str) -> None:
    found = trouble_of(Fault(how, seconds=30), timeout=0.3)
    assert (found.kind, found.spent) == ("again", True)
    assert "takes longer than 0.3 s" in found.reason


def test_nobody_there_costs_nothing() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: refused at once
        with pytest.raises(Trouble) as caught:
            endpoint(f"http://127.0.0.1:{taken.getsockname()[1]}/v1").chat(BODY)
    assert (caught.value.kind, caught.value.spent, caught.value.reached) == ("again", False, False)
    assert "cannot be reached (Connection refused)" in caught.value.reason


def test_plain_http_behind_https_is_a_clear_stop() -> None:
    with ProtocolServer() as server, pytest.raises(Trouble) as caught:
        endpoint(server.address.replace("http://", "https://")).chat(BODY)
    assert caught.value.kind == "stop" and "cannot be reached safely" in caught.value.reason


def test_a_connection_that_was_cut_does_not_spoil_the_next_request() -> None:
    faults = {1: Fault("cut", seconds=1), 2: Fault("raw", body=b" " * (9 << 20)), 3: Fault("short")}
    with ProtocolServer(fault=lambda number, body: faults.get(number)) as server:
        one = endpoint(server.address)
        for _ in faults:
            with pytest.raises(Trouble):
                one.chat(BODY)
        assert one.chat(BODY)["object"] == "chat.completion"
