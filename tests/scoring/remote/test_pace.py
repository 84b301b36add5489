"""Pacing by a clock of the test's own: no minute holds more than is allowed, nobody sends while the server rests."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from guided_refine.scoring.remote.pace import Pace, pause


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@given(
    st.integers(1, 120),
    st.integers(100, 5000),
    st.lists(st.tuples(st.integers(1, 100), st.floats(0, 5)), min_size=1, max_size=80),
)
def test_no_minute_holds_more_than_allowed(
    requests: int, tokens: int, steps: list[tuple[int, float]]
) -> None:
    clock = Clock()
    pace = Pace(requests, tokens, clock)
    sent: list[tuple[float, int]] = []
    for cost, idle in steps:
        clock.now += idle
        sent.append((clock.now + pace.delay(cost), cost))
    for begin, _ in sent:
        minute = [cost for at, cost in sent if begin <= at < begin + 60 - 1e-6]
        assert len(minute) <= requests
        assert sum(minute[:-1]) <= tokens + 1e-6  # the last one's tokens are paid for by the wait behind it


@given(st.lists(st.integers(1, 50), min_size=2, max_size=30))
def test_tokens_that_were_not_used_shorten_the_wait(costs: list[int]) -> None:
    clock = Clock()
    kept, refunded = Pace(None, 60, clock), Pace(None, 60, clock)
    total = [0.0, 0.0]
    for cost in costs:
        for number, pace in enumerate((kept, refunded)):
            total[number] += pace.delay(cost)
        refunded.unused(cost // 2)
    assert total[1] <= total[0]


def test_without_limits_nobody_waits_until_the_server_asks_for_it() -> None:
    clock = Clock()
    pace = Pace(clock=clock)
    assert [pace.delay(10_000) for _ in range(3)] == [0, 0, 0]
    pace.hold(7)
    pace.hold(3)
    assert pace.delay(1) == pace.held() == 7
    clock.now += 8
    assert pace.delay(1) == pace.held() == 0


@given(st.integers(0, 9), st.text(max_size=5), st.integers(1, 3000))
def test_pauses_double_are_drawn_by_seed_and_stay_bounded(seed: int, key: str, attempt: int) -> None:
    longest = min(60.0, 2.0 ** (min(attempt, 20) - 1))
    assert longest / 2 <= pause(seed, key, attempt) <= longest
    assert pause(seed, key, attempt) == pause(seed, key, attempt)
