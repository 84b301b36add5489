"""The budget holds under any order of requests, under threads, and over a kill."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guided_refine.errors import InputError
from guided_refine.scoring.remote.budget import Budget, spent_before

STEPS = st.lists(st.tuples(st.booleans(), st.integers(1, 60), st.floats(0, 1)), max_size=60)


@given(st.integers(1, 400), STEPS)
def test_never_more_than_the_limit_is_spent_or_set_aside(
    limit: int, steps: list[tuple[bool, int, float]]
) -> None:
    budget, flying, spent = Budget(limit), [], 0
    for ask, tokens, share in steps:
        if flying and not ask:
            reserved = flying.pop()
            budget.settle(reserved, int(share * reserved))
            spent += int(share * reserved)
        # With others in flight, `reserve` would wait for them where it does not fit.
        elif spent + sum(flying) + tokens <= limit:
            assert budget.reserve(tokens) == tokens
            flying.append(tokens)
        elif not flying:
            assert budget.reserve(tokens) is None
        assert budget.spent == spent
        assert budget.left == limit - spent - sum(flying) >= 0


@settings(max_examples=15)
@given(st.integers(50, 3000), st.integers(0, 10_000), st.integers(2, 12))
def test_threads_never_overdraw_it_together(limit: int, seed: int, threads: int) -> None:
    budget = Budget(limit)
    lock = threading.Lock()
    outside = {"worst": 0, "flying": 0, "spent": 0, "refused": 0}

    def work(number: int) -> None:
        draw = random.Random(f"{seed}:{number}")
        for _ in range(30):
            tokens = draw.randint(1, 60)
            if budget.reserve(tokens) is None:
                with lock:
                    outside["refused"] += 1
                return
            with lock:
                outside["flying"] += tokens
                outside["worst"] = max(outside["worst"], outside["flying"] + outside["spent"])
            used = draw.choice([0, tokens // 2, tokens])
            with lock:  # what this thread holds is given back before the budget hears of it, never after
                outside["flying"] -= tokens
                outside["spent"] += used
            budget.settle(tokens, used if draw.random() < 0.8 or used < tokens else None)

    crew = [threading.Thread(target=work, args=(n,)) for n in range(threads)]
    for thread in crew:
        thread.start()
    for thread in crew:
        thread.join(30)
        assert not thread.is_alive()
    assert outside["worst"] <= limit
    assert budget.spent == outside["spent"] <= limit
    if outside["refused"]:
        assert limit - budget.spent < 60  # refused only what really does not fit


def test_a_request_waits_for_what_others_may_give_back() -> None:
    budget = Budget(100)
    assert budget.reserve(70) == 70
    got: list[int | None] = []
    waiting = threading.Thread(target=lambda: got.append(budget.reserve(60)))
    waiting.start()
    waiting.join(0.05)
    assert waiting.is_alive()
    budget.settle(70, 40)
    waiting.join(10)
    assert got == [60]


def test_closing_frees_whoever_waits_and_counts_what_is_in_flight(tmp_path: Path) -> None:
    ledger = tmp_path / "tokens.json"
    budget = Budget(100, ledger)
    budget.reserve(70)
    got: list[int | None] = []
    waiting = threading.Thread(target=lambda: got.append(budget.reserve(60)))
    waiting.start()
    budget.close()
    waiting.join(10)
    assert got == [None]
    assert spent_before(ledger) == 70
    assert budget.reserve(1) is None


def test_the_account_goes_on_in_the_next_run(tmp_path: Path) -> None:
    ledger = tmp_path / "tokens.json"
    for expected in (30, 60, 90):
        with Budget(100, ledger) as budget:
            reserved = budget.reserve(40)
            assert reserved == 40
            budget.settle(reserved, 30)
        assert spent_before(ledger) == expected
    with Budget(100, ledger) as budget:
        assert budget.reserve(11) is None
        assert budget.reserve(10) == 10


@settings(max_examples=12)
@given(STEPS, st.sampled_from([None, 40, 500]))
def test_the_file_never_says_less_than_was_spent(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[bool, int, float]], limit: int | None
) -> None:
    ledger = tmp_path_factory.mktemp("ledger") / "tokens.json"
    budget, spent = Budget(limit, ledger), 0
    for _, tokens, share in steps[:12]:
        reserved = budget.reserve(tokens)
        if reserved is None:
            continue
        assert spent_before(ledger) >= spent + reserved
        assert limit is None or spent_before(ledger) <= limit
        budget.settle(reserved, int(share * reserved))
        spent += int(share * reserved)
    budget.close()
    assert spent_before(ledger) == spent


def test_a_request_of_unknown_cost_counts_as_all_that_was_set_aside() -> None:
    with Budget(100) as budget:
        reserved = budget.reserve(60)
        assert reserved == 60
        budget.settle(reserved, None)
        assert (budget.spent, budget.left, budget.reserve(41)) == (60, 40, None)


def test_a_server_that_counts_more_is_believed_from_then_on() -> None:
    budget = Budget(1000)
    first = budget.reserve(50)
    assert first == 50
    budget.settle(first, 70)
    assert budget.spent == 70
    second = budget.reserve(50)
    assert second == 70
    budget.settle(second, 70)
    assert budget.reserve(900) is None
    assert budget.reserve(840) == 860


CHILD = """
import sys
from pathlib import Path
from guided_refine.scoring.remote.budget import Budget
budget = Budget(100_000, Path(sys.argv[1]))
while (reserved := budget.reserve(10)) is not None:
    print(10, flush=True)
    budget.settle(reserved, 10)
"""


def test_a_kill_never_makes_room_for_more(tmp_path: Path) -> None:
    ledger = tmp_path / "tokens.json"
    spent = 0
    for _ in range(2):
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(ledger)], stdout=subprocess.PIPE, text=True
        )
        assert child.stdout is not None
        for number, line in enumerate(child.stdout):
            spent += int(line)
            if number > 400:
                os.kill(child.pid, signal.SIGKILL)
                break
        spent += sum(map(int, child.stdout.read().split()))
        child.wait()
        assert spent <= spent_before(ledger) <= 100_000


@pytest.mark.parametrize("text", ["{", "[]", '{"tokens": -1}', '{"tokens": true}', '{"tokens": "9"}'])
def test_a_damaged_account_is_an_input_error(tmp_path: Path, text: str) -> None:
    ledger = tmp_path / "tokens.json"
    ledger.write_text(text)
    with pytest.raises(InputError, match=r"tokens\.json"):
        Budget(100, ledger)
    ledger.write_text(json.dumps({"tokens": 7}))
    assert Budget(100, ledger).spent == 7
