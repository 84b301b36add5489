"""Independent pieces of work in several processes: shared cores, progress bars, no orphans.

A worker ends itself when its parent is gone, so that a killed run never goes on writing behind the back of the
one that continues it.
"""

from __future__ import annotations

import multiprocessing
import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from guided_refine.progress import Progress, Task

_messages: Any = None


def in_processes(
    work: Callable[..., Any],
    arguments: Sequence[tuple[Any, ...]],
    *,
    jobs: int,
    threads: int,
    progress: Progress,
    log: Path | None,
) -> Iterator[tuple[int, Any]]:
    """Yield (index, `work(*arguments[index], progress)`) as results come, with at most `jobs` processes of `threads` each.

    `work` must be importable by name and its arguments picklable (they never leave this machine's memory). An
    error in one piece is raised here after the others in flight were stopped.
    """
    context = multiprocessing.get_context("spawn")
    messages = context.Queue()
    set_up = (os.getpid(), threads, messages, log)
    with ProcessPoolExecutor(jobs, mp_context=context, initializer=_begin, initargs=set_up) as pool:
        with _unseen_main():
            futures: dict[Future[Any], int] = {
                pool.submit(_call, work, args): index for index, args in enumerate(arguments)
            }
        display = _Display(progress)
        pending = set(futures)
        try:
            while pending:
                done, pending = wait(pending, timeout=0.2, return_when=FIRST_COMPLETED)
                display.show(messages)
                for future in done:
                    yield futures[future], future.result()
        except BaseException:
            for process in list((pool._processes or {}).values()):
                process.terminate()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        finally:
            display.close()


@contextmanager
def _unseen_main() -> Iterator[None]:
    """Hide the caller's script while processes start: a worker would run it again from its first line.

    Without this `guided_refine.run(...)` in a plain script, not under `if __name__ == "__main__"`, would start
    itself over and over.
    """
    main = sys.modules["__main__"]
    hidden: dict[str, Any] = {
        name: main.__dict__.pop(name) for name in ("__file__", "__spec__") if name in main.__dict__
    }
    main.__spec__ = None
    try:
        yield
    finally:
        main.__dict__.update(hidden)


def _begin(parent: int, threads: int, messages: Any, log: Path | None) -> None:
    global _messages
    _messages = (messages, log)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    os.environ["OMP_NUM_THREADS"] = str(threads)
    import torch

    torch.set_num_threads(threads)


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.2)
    os._exit(1)


def _call(work: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    messages, log = _messages
    return work(*args, _Forward(messages, log))


class _Forward(Progress):
    """A worker's progress: bars are shown by the parent, lines go to the log."""

    def __init__(self, messages: Any, log: Path | None) -> None:
        super().__init__(quiet=True, log=log)
        self._messages = messages

    @contextmanager
    def task(self, name: str, total: int | None = None) -> Iterator[Task]:
        started = time.monotonic()
        key = f"{os.getpid()}/{name}/{started}"
        self._messages.put(("open", key, self._subject + name, total))
        try:
            yield _ForwardTask(self._messages, key)
        finally:
            self._messages.put(("close", key, None, None))
        self.note(f"{name}: done in {time.monotonic() - started:.1f} s")

    def log(self, message: str) -> None:
        self._messages.put(("log", "", self._subject + message, None))
        self.note(message)


class _ForwardTask(Task):
    def __init__(self, messages: Any, key: str) -> None:
        super().__init__(None)
        self._messages = messages
        self._key = key

    def advance(self, n: int = 1, **shown: object) -> None:
        plain = {k: v for k, v in shown.items() if isinstance(v, (int, float, str))}
        self._messages.put(("advance", self._key, n, plain))

    def resume(self, done: int) -> None:
        self._messages.put(("resume", self._key, done, None))


class _Display:
    """The parent's side: one bar per open task."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._open: dict[str, tuple[Any, Task]] = {}

    def show(self, messages: Any) -> None:
        while True:
            try:
                kind, key, first, second = messages.get_nowait()
            except queue.Empty:
                return
            if kind == "log":
                self._progress.say(first)
            elif kind == "open":
                manager = self._progress.bar(first, second)
                self._open[key] = (manager, manager.__enter__())
            elif kind == "advance" and key in self._open:
                self._open[key][1].advance(first, **second)
            elif kind == "resume" and key in self._open:
                self._open[key][1].resume(first)
            elif kind == "close" and key in self._open:
                self._open.pop(key)[0].__exit__(None, None, None)

    def close(self) -> None:
        for manager, _ in self._open.values():
            manager.__exit__(None, None, None)
        self._open.clear()
