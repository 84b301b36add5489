"""Who computes what right now, so that processes that share a store never do the same work twice.

A process enters itself as a worker when it first claims something, and says every few seconds that it is alive. Its
claims are void once it has been silent for a minute, or at once where its machine can tell that it ended.
A worker that was wrongly taken for gone (a machine asleep) costs work done twice, never a wrong score.
"""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

from sqlalchemy import Connection, delete, func, insert, select, text, update

from guided_refine.errors import InputError
from guided_refine.scoring.store.process import ProcessName, this_process
from guided_refine.scoring.store.schema import claims, workers
from guided_refine.scoring.store.writing import KEYS_IN_ONE_QUERY, chunks, insert_into

SILENT_SECONDS = 60.0
_BEAT_SECONDS = 15.0

logger = logging.getLogger(__name__)


class Claims:
    """The claims of one open store. `writing` gives a connection in a transaction that writes."""

    def __init__(self, writing: Callable[[], AbstractContextManager[Connection]]) -> None:
        self._writing = writing
        self._worker = uuid.uuid4().hex
        self._beating: threading.Thread | None = None
        self._stop = threading.Event()

    def take(self, connection: Connection, keys: Sequence[bytes]) -> list[bytes]:
        """Claim texts by their keys (sorted); returns those that are now, or were already, this process's own."""
        now = _now(connection)
        self._say_alive(connection, now)
        _forget_the_gone(connection, now)
        connection.execute(
            insert_into(connection, claims).on_conflict_do_nothing(index_elements=["text"]),
            [{"text": key, "worker": self._worker} for key in keys],
        )
        if self._beating is None:
            self._beating = threading.Thread(target=self._beat, name="score store claims", daemon=True)
            self._beating.start()
        return [
            bytes(key)
            for some in chunks(keys, KEYS_IN_ONE_QUERY)
            for key in connection.execute(
                select(claims.c.text).where(claims.c.worker == self._worker, claims.c.text.in_(some))
            ).scalars()
        ]

    def end(self, connection: Connection, keys: set[bytes]) -> None:
        """Let go of texts, in the transaction that puts their scores."""
        if self._beating is None:
            return
        for some in chunks(sorted(keys), KEYS_IN_ONE_QUERY):
            connection.execute(delete(claims).where(claims.c.worker == self._worker, claims.c.text.in_(some)))

    def close(self) -> None:
        """Let go of everything."""
        if self._beating is None:
            return
        self._stop.set()
        self._beating.join()
        try:
            with self._writing() as connection:
                _forget(connection, [self._worker])
        except (
            InputError
        ) as error:  # what brought us here may be a store that is gone; others will notice our end
            logger.info("claims stay until others notice that this process ended: %s", error)

    def _say_alive(self, connection: Connection, now: float) -> None:
        mine = update(workers).where(workers.c.id == self._worker).values(seen=now)
        if connection.execute(mine).rowcount == 0:
            me = this_process()
            connection.execute(
                insert(workers).values(
                    id=self._worker, machine=me.machine, process=me.process, started=me.started, seen=now
                )
            )

    def _beat(self) -> None:
        while not self._stop.wait(_BEAT_SECONDS):
            try:
                with self._writing() as connection:
                    self._say_alive(connection, _now(connection))
            except InputError as error:  # the work itself meets the same fault and says so
                logger.info("could not say that this process is alive: %s", error)


def _now(connection: Connection) -> float:
    """Seconds since 1970 by the clock that all workers share: the server's, or that of the file's machine."""
    if connection.dialect.name == "postgresql":
        return float(connection.execute(select(func.extract("epoch", func.clock_timestamp()))).scalar_one())
    return float(connection.execute(text("SELECT (julianday('now') - 2440587.5) * 86400.0")).scalar_one())


def _forget_the_gone(connection: Connection, now: float) -> None:
    gone = [
        worker
        for worker, machine, process, started, seen in connection.execute(select(workers))
        if seen < now - SILENT_SECONDS or ProcessName(machine, process, started).is_gone()
    ]
    if gone:
        _forget(connection, gone)


def _forget(connection: Connection, gone: Sequence[str]) -> None:
    connection.execute(delete(claims).where(claims.c.worker.in_(gone)))
    connection.execute(delete(workers).where(workers.c.id.in_(gone)))
