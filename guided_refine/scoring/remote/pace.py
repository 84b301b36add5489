"""How fast requests go out: an even pace under the limits, longer and longer pauses after failures."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable

_FIRST_PAUSE = 1.0
_LONGEST_PAUSE = 60.0


class Pace:
    """Spaces requests evenly so that no minute holds more requests or tokens than allowed; None: no limit.

    Threads ask `delay` how long to wait before they send. `clock` gives seconds (default: the system's steady clock).

    >>> pace = Pace(requests_per_minute=60, tokens_per_minute=600, clock=lambda: 0.0)
    >>> [pace.delay(tokens) for tokens in (5, 40, 1)]
    [0.0, 1.0, 5.0]
    """

    def __init__(
        self,
        requests_per_minute: int | None = None,
        tokens_per_minute: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._per_request = 60 / requests_per_minute if requests_per_minute else 0.0
        self._per_token = 60 / tokens_per_minute if tokens_per_minute else 0.0
        self._clock = clock
        self._next_request = self._next_token = self._held_until = clock()
        self._lock = threading.Lock()

    def delay(self, tokens: int) -> float:
        """Take the next turn for a request of `tokens`; seconds to wait until it comes."""
        with self._lock:
            now = self._clock()
            turn = max(now, self._next_request, self._next_token, self._held_until)
            self._next_request = turn + self._per_request
            self._next_token = turn + tokens * self._per_token
            return turn - now

    def unused(self, tokens: int) -> None:
        """A request took this many tokens less than its turn was for: the next one may come earlier."""
        with self._lock:
            self._next_token -= tokens * self._per_token

    def hold(self, seconds: float) -> None:
        """Nobody sends for so long: a server that is asked too much says how long it wants to be left alone."""
        with self._lock:
            self._held_until = max(self._held_until, self._clock() + seconds)

    def held(self) -> float:
        """Seconds for which nobody may send."""
        with self._lock:
            return max(0.0, self._held_until - self._clock())


def pause(seed: int, key: str, attempt: int) -> float:
    """Seconds before try `attempt` (1, 2, ...) of one request: between a half and all of 1, 2, 4, ... 60.

    The same seed, request and attempt give the same pause, other requests other ones, so that they do not return at once.

    >>> 0.5 <= pause(0, "a", 1) <= 1 and 2 <= pause(0, "a", 3) <= 4 and 30 <= pause(0, "a", 99) <= 60
    True
    >>> pause(0, "a", 1) == pause(0, "a", 1) != pause(0, "b", 1)
    True
    """
    longest = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** min(attempt - 1, 16))
    return longest * random.Random(f"{seed}:{key}:{attempt}").uniform(0.5, 1.0)
