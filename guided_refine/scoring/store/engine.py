"""Connections to SQLite and PostgreSQL that behave alike: explicit transactions, bounded waits, faults as sentences."""

from __future__ import annotations

import logging
import sqlite3
import time
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event

from guided_refine.errors import InputError
from guided_refine.scoring.store.address import is_postgresql, shown
from guided_refine.scoring.store.schema import POSTGRESQL_SCHEMA

logger = logging.getLogger(__name__)

_SECONDS_TO_REACH_A_SERVER = 10


def make_engine(url: URL, lock_seconds: float) -> Engine:
    """An engine for `url`; whoever waits for a lock gives up after `lock_seconds`.

    Raises `InputError` when the driver for PostgreSQL is not installed.
    """
    return _postgresql(url, lock_seconds) if is_postgresql(url) else _sqlite(url, lock_seconds)


def _postgresql(url: URL, lock_seconds: float) -> Engine:
    try:
        engine = create_engine(
            url,
            connect_args={"connect_timeout": _SECONDS_TO_REACH_A_SERVER},
            # Minutes may pass between two batches, in which a server or a firewall drops the line.
            pool_pre_ping=True,
        )
    except ImportError as error:
        raise InputError(
            f"score store {shown(url)} needs a driver that is not installed; "
            "add it with: pip install 'guided-refine[postgresql]'"
        ) from error

    def set_up(connection: Any, _record: object) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"SET lock_timeout = {int(lock_seconds * 1000)}")
        connection.commit()

    event.listen(engine, "connect", set_up)
    return engine.execution_options(schema_translate_map={None: POSTGRESQL_SCHEMA})


def _sqlite(url: URL, lock_seconds: float) -> Engine:
    engine = create_engine(url, connect_args={"timeout": lock_seconds, "check_same_thread": False})

    def set_up(connection: sqlite3.Connection, _record: object) -> None:
        # The driver's own idea of when a transaction begins is no use to us; `begin` below says it.
        connection.isolation_level = None
        # Readers and one writer at a time do not block each other, and a batch costs one flush.
        _write_ahead(connection, lock_seconds)
        connection.execute("PRAGMA synchronous=NORMAL")

    event.listen(engine, "connect", set_up)
    event.listen(engine, "begin", _begin)
    return engine


def _write_ahead(connection: sqlite3.Connection, lock_seconds: float) -> None:
    """Turn write-ahead logging on; SQLite does not wait for others there, so we do."""
    until = time.monotonic() + lock_seconds
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > until:
                raise
            time.sleep(0.05)


def compact(engine: Engine) -> None:
    """Give the disk back what deleted rows held; a database that is busy or has no room for it stays as it is."""
    if engine.dialect.name != "sqlite":
        return  # PostgreSQL does it by itself
    pooled = engine.raw_connection()
    try:
        pooled.cursor().execute("VACUUM")
    except sqlite3.OperationalError as error:
        logger.info("the store keeps its size for now: %s", error)
    finally:
        pooled.close()


def _begin(connection: Connection) -> None:
    # A writer that begins as a reader may find, too late to wait, that another wrote in between.
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
