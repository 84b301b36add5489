"""Real processes on one store: killed at any moment, and computing side by side."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from guided_refine.scoring.store import ScoreStore, StoredScore, process
from guided_refine.scoring.store.process import ProcessName, this_process
from guided_refine.scoring.store.verify import verify

HERE = Path(__file__).parent


def program(name: str, *arguments: object) -> Any:
    done = subprocess.run(
        [sys.executable, str(HERE / f"{name}.py"), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_twenty_kills_lose_the_batch_in_flight_only(address: str) -> None:
    """Signal 9 at random moments, some before the store is made: all that was said to be written is there, what was
    not is there as a whole or not at all, and nobody waits for the dead."""
    found = program("store_workers", "kill", address, 7)
    assert (found["lost"], found["torn"], found["refused"]) == (0, 0, 0)
    assert found["batches"] >= 15 and found["rows"] == 50 * found["batches"]
    with ScoreStore(address) as store:
        assert verify(store) == []


def test_processes_share_work_and_take_over_from_a_killed_one(address: str, tmp_path: Path) -> None:
    found = program("store_workers", "share", address, tmp_path / "log")
    killed, *others = found["by"]
    assert found["codes"] == [0, 0] and found["rows"] == 150
    computed = [text for one in others for text in one]
    assert len(computed) == len(set(computed)) == 150
    assert len(killed) == 10 and set(killed) < set(computed)


def test_a_process_is_known_by_more_than_its_number() -> None:
    me = this_process()
    assert not me.is_gone()
    assert ProcessName(me.machine, me.process, "12345").is_gone()
    assert not ProcessName("elsewhere", 2**22 + 1, "1").is_gone()
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    name = ProcessName(me.machine, child.pid, process._started(child.pid))
    assert name.started not in ("", me.started) and not name.is_gone()
    child.kill()
    while not name.is_gone():  # also before anybody waits for it
        time.sleep(0.01)
    child.wait()
    assert name.is_gone()


def test_a_silent_worker_loses_its_claims(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On another machine nobody can look for the process; there only its silence tells."""
    from guided_refine.scoring.store import claims

    with ScoreStore(address) as one, ScoreStore(address) as other:
        assert one.claim(["t"], ["a"]).granted
        assert not other.claim(["t"], ["a"]).granted
        monkeypatch.setattr(claims, "SILENT_SECONDS", -1.0)
        assert other.claim(["t"], ["a"]).granted == {"t"}
        monkeypatch.undo()
        # It was only asleep: what it puts is right, and it may go on.
        one.put_many([StoredScore("t", "a", 0.5, 0.1, "x")])
        assert one.claim(["u"], ["a"]).granted == {"u"}


@pytest.mark.parametrize("place", ["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def test_two_processes_never_read_a_text_twice(
    place: str, shared: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Two real scorers start on an empty store at once: together they compute each score once and get the same."""
    address = str(tmp_path / "s.sqlite")
    if place == "postgresql":
        address = request.getfixturevalue("postgresql").fresh_store()
    stories = shared / "tokenizers" / "stories260K"
    command = [sys.executable, str(HERE / "store_scorer.py"), address, str(stories)]
    path = os.pathsep.join([str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])])
    both = [
        subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": path},
        )
        for _ in range(2)
    ]
    for one in both:
        assert one.stdout is not None and one.stdout.readline() == "ready\n"
    answers = []
    for one in both:
        assert one.stdin is not None
        one.stdin.write("go\n")
        one.stdin.flush()
    for one in both:
        out, _ = one.communicate(timeout=300)
        assert one.returncode == 0
        answers.append(json.loads(out))
    first, second = answers
    assert first["scored"] and second["scored"]
    assert first["scored"] + first["from_store"] == second["scored"] + second["from_store"]
    with ScoreStore(address) as store:
        assert store.count() == first["scored"] + second["scored"]
    assert first["values"] == second["values"]
    for one in answers:
        assert one["read"] == one["scored"]
