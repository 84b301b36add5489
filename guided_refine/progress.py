"""What a long stage tells the person who waits: a bar per task, and lines in the run's log."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from guided_refine.files import cannot_write

SIGN_OF_LIFE = 60.0
"""Seconds between two lines about a task that is still running."""


class Task:
    """A running piece of work; `advance` moves its bar, and now and then leaves a line in the log."""

    def __init__(
        self, bar: Any, name: str = "", total: int | None = None, tell: Callable[[str], None] | None = None
    ) -> None:
        self._bar = bar
        self._name, self._total, self._tell = name, total, tell
        self._done = self._before = 0
        self._started = self._told = time.monotonic()

    def resume(self, done: int) -> None:
        """Count `done` steps of an earlier start: they are done, but say nothing of how fast this one is."""
        self._done = self._before = done
        if self._bar is not None and done:
            # The bar reckons its speed from what it counted itself.
            self._bar.initial = self._bar.n = done
            self._bar.refresh()

    def advance(self, n: int = 1, **shown: object) -> None:
        """Move by `n`; keyword values (loss, metric) are shown behind the bar."""
        self._done += n
        text = ", ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in shown.items())
        if self._bar is not None:
            if text:
                self._bar.set_postfix_str(text, refresh=False)
            self._bar.update(n)
        now = time.monotonic()
        if self._tell is not None and now - self._told >= SIGN_OF_LIFE:
            self._told = now
            took = now - self._started
            far = f"{self._done / self._total:.0%}" if self._total else f"{self._done:,} steps"
            left = ""
            if self._total and self._done > self._before:
                seconds = took * (self._total - self._done) / (self._done - self._before)
                left = f", at most {shown_time(seconds)} left"
            self._tell(f"{self._name}: {far} after {shown_time(took)}{left}{f' ({text})' if text else ''}")


def shown_time(seconds: float) -> str:
    """A duration as people say it.

    >>> shown_time(42), shown_time(125), shown_time(8000)
    ('42 s', '2 min', '2 h 13 min')
    """
    minutes = round(seconds / 60)
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


class Progress:
    """Bars on standard error (unless quiet) and time-stamped lines in a log file (where given).

    >>> progress = Progress(quiet=True)
    >>> with progress.task("score items", total=2) as task:
    ...     task.advance()
    """

    def __init__(self, *, quiet: bool = False, log: Path | None = None) -> None:
        self.quiet = quiet
        self._log = log
        self._subject = ""

    def about(self, subject: str) -> None:
        """What all further bars and lines are about, say the model in training; written before each."""
        self._subject = f"{subject}: "

    def log_to(self, log: Path) -> None:
        """Write further lines to this file too."""
        self._log = log

    @contextmanager
    def bar(self, name: str, total: int | None = None) -> Iterator[Task]:
        """A bar that vanishes when done; without a terminal nothing is drawn. The log gets a line every minute."""
        name = self._subject + name
        if self.quiet or not sys.stderr.isatty():
            yield Task(None, name, total, self._alive)
            return
        from tqdm import tqdm

        with tqdm(
            total=total, desc=name, file=sys.stderr, leave=False, dynamic_ncols=True, mininterval=0.5
        ) as bar:
            yield Task(bar, name, total, self._alive)

    @contextmanager
    def task(self, name: str, total: int | None = None) -> Iterator[Task]:
        """A bar for `total` steps, and a line in the log when it is done."""
        started = time.monotonic()
        with self.bar(name, total) as task:
            yield task
        self.note(f"{name}: done in {time.monotonic() - started:.1f} s")

    def _alive(self, message: str) -> None:
        # On a terminal the bar tells it.
        if not sys.stderr.isatty():
            self.say(message)
        self._note(message)

    def say(self, message: str) -> None:
        """Write one line to the screen only."""
        if self.quiet:
            return
        if sys.stderr.isatty():
            from tqdm import tqdm

            tqdm.write(message, file=sys.stderr)
        else:
            print(message, file=sys.stderr, flush=True)

    def note(self, message: str) -> None:
        """Write one time-stamped line to the log only."""
        self._note(self._subject + message)

    def _note(self, message: str) -> None:
        if self._log is None:
            return
        stamp = time.strftime("%Y-%m-%d %H:%M:%S")
        try:
            with self._log.open("a", encoding="utf-8") as stream:
                stream.write(f"{stamp} {message}\n")
        except OSError as error:
            raise cannot_write(error, self._log) from error

    def log(self, message: str) -> None:
        """Say one line, on screen and in the log."""
        self.say(self._subject + message)
        self.note(message)
