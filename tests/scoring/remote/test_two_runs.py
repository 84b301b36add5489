"""Runs that ask a server at the same time and share a store: each text is asked for once, whoever comes first."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from protocol_server import Fault, ProtocolServer
from remote_scorer import options
from tiny_models import make_attributes, make_dataset

from guided_refine.scoring.remote import asking
from guided_refine.scoring.remote.score import score_remote
from guided_refine.scoring.remote.workload import Asked, Workload
from guided_refine.scoring.store import ScoreStore, StoredScore

HERE = Path(__file__).parent


def start(server: ProtocolServer, store: object, mode: str) -> subprocess.Popen[str]:
    paths = [str(HERE), str(HERE.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    hidden = {k: v for k, v in os.environ.items() if k != "OPENAI_API_KEY"}
    process = subprocess.Popen(
        [sys.executable, str(HERE / "remote_scorer.py"), server.address, str(store), mode],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**hidden, "PYTHONPATH": os.pathsep.join(paths)},
    )
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    return process


def go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


def answer(process: subprocess.Popen[str]) -> Any:
    out, _ = process.communicate(timeout=300)
    assert process.returncode == 0
    return json.loads(out)


def content(body: dict[str, Any]) -> str:
    return str(body["messages"][-1]["content"])


def asked(server: ProtocolServer) -> Counter[str]:
    return Counter(content(body) for body in server.bodies)


def questions(work: Workload, mode: str) -> list[Asked]:
    return [work.asked(kind, mode) for kind in ("item", "user")]  # type: ignore[arg-type]


@pytest.fixture()
def work(monkeypatch: pytest.MonkeyPatch) -> Workload:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setattr(asking, "pause", lambda seed, key, attempt: 0.001)
    return Workload(make_dataset(), make_attributes(), options("json"))


def test_two_runs_ask_for_each_text_once(work: Workload, tmp_path: Path) -> None:
    """The server offers no log-probabilities, which one of the runs finds out for both."""
    store = tmp_path / "s.sqlite"
    distinct = sum(len(one.questions) for one in questions(work, "json"))
    fifth = threading.Event()

    def hold(number: int, body: dict[str, Any]) -> None:
        """Two requests were about the mode; each run has two in flight, so the fifth shows that both are asking."""
        if number >= 5:
            fifth.set()
        elif number >= 3:
            fifth.wait(120)

    with ProtocolServer(offers=("json",), refuses=True, fault=hold) as server:
        both = [start(server, store, "auto") for _ in range(2)]
        for one in both:
            go(one)
        first, second = map(answer, both)
        times = Counter((content(body), "logprobs" in body) for body in server.bodies)
    assert first["mode"] == second["mode"] == "json"
    assert sum(refused for _, refused in times) == 1
    assert len(times) == distinct + 1 and max(times.values()) == 1
    assert first["requests"] and second["requests"]
    assert first["requests"] + second["requests"] == distinct + 1
    assert first["values"] == second["values"]
    with ScoreStore(store) as kept:
        assert kept.count() == first["scored"] + second["scored"] == 4 * distinct
    # What the search for the mode brought is counted as asked for and, later, as found in the store.
    total = sum(one["scored"] + one["from_store"] for one in (first, second))
    assert total == 4 * (2 * distinct + 1)


def test_a_killed_runs_texts_are_asked_by_the_other(work: Workload, tmp_path: Path) -> None:
    """Of the killed run only what was in flight is asked again."""
    enough = threading.Event()

    def hold(number: int, body: dict[str, Any]) -> Fault | None:
        if number == 7:
            enough.set()
        return Fault("slow", seconds=300) if number in (6, 7) else None

    with ProtocolServer(fault=hold) as server:
        doomed, heir = (start(server, tmp_path / "s.sqlite", "json") for _ in range(2))
        go(doomed)
        assert enough.wait(120)
        go(heir)
        doomed.kill()
        doomed.communicate()
        done = answer(heir)
        times = asked(server)
    distinct = sum(len(one.questions) for one in questions(work, "json"))
    assert done["from_store"] >= 4 * 4 and done["scored"] + done["from_store"] == 4 * distinct
    assert len(times) == distinct and sum(times.values()) <= distinct + 2
    assert np.isfinite(np.concatenate([np.ravel(part) for part in done["values"]])).all()


def test_what_another_run_answers_meanwhile_is_taken_from_the_store(work: Workload, tmp_path: Path) -> None:
    """Texts that another run holds are waited for; those that it lets go without a score are asked."""
    items, users = questions(work, "json")
    answered, given_up = list(items.questions)[2:4], list(users.questions)[1:3]
    hashes = [attribute.sha256 for attribute in work.attributes.attributes]
    rest = len(items.questions) - len(answered)
    with ScoreStore(tmp_path / "s.sqlite") as store, ScoreStore(tmp_path / "s.sqlite") as other:
        assert len(other.claim([*answered, *given_up], hashes).granted) == 4

        def finish(number: int, body: dict[str, Any]) -> None:
            if number == rest:
                other.put_many(
                    StoredScore(key, sha256, 0.25, 0.125, "x") for key in answered for sha256 in hashes
                )
                other.release(given_up)

        with ProtocolServer(fault=finish) as server:
            scores, summary = score_remote(server.address, work, store)
            times = asked(server)
    assert sum(times.values()) == len(items.questions) + len(users.questions) - len(answered)
    assert summary.from_store == 8 and max(times.values()) == 1
    np.testing.assert_array_equal(scores.item_value[2:4], 0.25)
    np.testing.assert_array_equal(scores.item_spread[2:4], 0.125)
    assert np.isfinite(scores.item_value).all() and len(scores.users.user) == len(work.user)


def test_texts_left_without_a_score_are_let_go(work: Workload, tmp_path: Path) -> None:
    """One text is refused, one answered with junk: another run may try both at once, and the rest is there."""
    items, _ = questions(work, "json")
    hashes = [attribute.sha256 for attribute in work.attributes.attributes]
    key_of = {items.form.content(q.text): key for key, q in items.questions.items()}
    refused, junk = list(key_of)[3], list(key_of)[5]

    def fault(number: int, body: dict[str, Any]) -> Fault | None:
        return Fault(status=400) if content(body) == refused else None

    def write(said: str, digits: dict[str, int]) -> str:
        if said.split("\n\nAnswer in exactly")[0] == junk:
            return "I would rather not."
        return json.dumps({label.replace(" ", "_"): digit for label, digit in digits.items()})

    with ScoreStore(tmp_path / "s.sqlite") as store, ScoreStore(tmp_path / "s.sqlite") as other:
        with ProtocolServer(offers=(), write=write, fault=fault) as server:
            _, summary = score_remote(server.address, work, store)
        assert (summary.failed, summary.unreadable) == (1, 1)
        granted = other.claim(items.questions, hashes).granted
    assert granted == {key_of[refused], key_of[junk]}
