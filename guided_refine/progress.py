"""What a long stage tells the person who waits: a bar per task, and lines in the run's log."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from guided_refine.files import cannot_write


class Task:
    """A running piece of work; `advance` moves its bar."""

    def __init__(self, bar: Any) -> None:
        self._bar = bar

    def advance(self, n: int = 1, **shown: object) -> None:
        """Move by `n`; keyword values (loss, metric) are shown behind the bar."""
        if self._bar is None:
            return
        if shown:
            text = ", ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in shown.items())
            self._bar.set_postfix_str(text, refresh=False)
        self._bar.update(n)


class Progress:
    """Bars on standard error (unless quiet) and time-stamped lines in a log file (where given).

    >>> progress = Progress(quiet=True)
    >>> with progress.task("score items", total=2) as task:
    ...     task.advance()
    """

    def __init__(self, *, quiet: bool = False, log: Path | None = None) -> None:
        self.quiet = quiet
        self._log = log

    def log_to(self, log: Path) -> None:
        """Write further lines to this file too."""
        self._log = log

    @contextmanager
    def bar(self, name: str, total: int | None = None) -> Iterator[Task]:
        """A bar on screen only; it vanishes when done. Without a terminal nothing is drawn."""
        if self.quiet or not sys.stderr.isatty():
            yield Task(None)
            return
        from tqdm import tqdm

        with tqdm(
            total=total, desc=name, file=sys.stderr, leave=False, dynamic_ncols=True, mininterval=0.5
        ) as bar:
            yield Task(bar)

    @contextmanager
    def task(self, name: str, total: int | None = None) -> Iterator[Task]:
        """Open a bar for `total` steps; the log keeps one line when it is done."""
        started = time.monotonic()
        with self.bar(name, total) as task:
            yield task
        self.note(f"{name}: done in {time.monotonic() - started:.1f} s")

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
        self.say(message)
        self.note(message)
