"""Threads that ask side by side; whoever started them gets the answers as they come and decides when it is enough."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

Q = TypeVar("Q")
A = TypeVar("A")


_LOOK_UP = 1.0
"""Seconds after which a thread that waits looks whether anybody is still there."""


class Crew(Generic[Q, A]):
    """`ask` is called on every question by up to `threads` threads at once.

    `results` yields what came of them, in the order in which they end, in bunches of all that is there: (question,
    answer) or (question, exception). A thread takes its next question when its last answer has been dealt with, so that
    never more than `threads` answers are unkept. After `stop` no further question is taken; the ones in flight still
    come. Threads are daemons: an interrupted program does not wait for a server.
    """

    def __init__(
        self, ask: Callable[[Q], A], questions: Iterable[Q], *, threads: int, stop: threading.Event
    ) -> None:
        self._ask = ask
        self._left = iter(questions)
        self._taking = threading.Lock()
        self._done: queue.SimpleQueue[tuple[Q, A | BaseException, threading.Event] | None] = (
            queue.SimpleQueue()
        )
        self._stop = stop
        self._deserted = False
        self._threads = threads

    def stop(self) -> None:
        """Take no further question."""
        self._stop.set()

    def results(self) -> Iterator[list[tuple[Q, A | BaseException]]]:
        """Answers and failures, until every thread has ended."""
        working = self._threads
        for number in range(working):
            threading.Thread(target=self._work, name=f"ask-{number}", daemon=True).start()
        try:
            while working:
                bunch = [self._done.get()]
                while True:
                    try:
                        bunch.append(self._done.get_nowait())
                    except queue.Empty:
                        break
                working -= bunch.count(None)
                found = [one for one in bunch if one is not None]
                if found:
                    yield [(question, answer) for question, answer, _ in found]
                for _, _, dealt_with in found:
                    dealt_with.set()
        finally:
            self._stop.set()
            self._deserted = True

    def _work(self) -> None:
        while (question := self._next()) is not None:
            answer: A | BaseException
            try:
                answer = self._ask(question)
            except BaseException as error:
                answer = error
            dealt_with = threading.Event()
            self._done.put((question, answer, dealt_with))
            while not dealt_with.wait(_LOOK_UP):
                if self._deserted:
                    return
        self._done.put(None)

    def _next(self) -> Q | None:
        with self._taking:
            return None if self._stop.is_set() else next(self._left, None)
