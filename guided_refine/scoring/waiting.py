"""How long it will take, and waiting for what others compute."""

from __future__ import annotations

import time

from guided_refine.progress import Progress

_SECONDS_TO_TELL = 5.0


class Forecast:
    """Says once, when enough was measured, how long reading `tokens` tokens will take."""

    def __init__(self, progress: Progress, name: str, tokens: int) -> None:
        self._progress, self._name, self._tokens = progress, name, tokens
        self._done = 0
        self._started: float | None = None
        self._told = False

    def add(self, tokens: int) -> None:
        """So many tokens were read since the last call. The first call starts the clock: what a model does once is no
        measure of its pace."""
        now = time.monotonic()
        if self._started is None:
            self._started = now
            self._tokens -= tokens
            return
        self._done += tokens
        spent = now - self._started
        if self._told or spent < _SECONDS_TO_TELL:
            return
        self._told = True
        left = (self._tokens - self._done) * spent / self._done
        if left > _SECONDS_TO_TELL:
            pace = f"{self._done / spent:,.0f} tokens a second"
            self._progress.log(f"{self._name}: about {in_words(left)} to go ({pace})")


class Pause:
    """Between two looks at what other processes are computing: short at first, two seconds later on."""

    _SHORT, _LONG = 0.1, 2.0

    def __init__(self, progress: Progress, name: str) -> None:
        self._progress, self._name = progress, name
        self._seconds = self._SHORT
        self._passes: int | None = None
        self._told = False

    def before_another_look(self, passes: int) -> None:
        """Wait, unless model passes were made here since the last call."""
        if passes != self._passes:
            self._passes, self._seconds = passes, self._SHORT
            return
        if not self._told:
            self._told = True
            self._progress.log(f"{self._name}: waiting for another process that computes the rest")
        time.sleep(self._seconds)
        self._seconds = min(self._LONG, 2 * self._seconds)


def in_words(seconds: float) -> str:
    """A duration as people say it.

    >>> in_words(42), in_words(400), in_words(9000)
    ('42 s', '7 min', '2.5 h')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
