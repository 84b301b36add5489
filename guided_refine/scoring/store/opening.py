"""Opening a store: make its tables, refuse what is none, bring an older one up to date."""

from __future__ import annotations

import logging
import time

from sqlalchemy import Connection, Engine, func, select, text
from sqlalchemy.schema import CreateSchema

from guided_refine.errors import InputError
from guided_refine.scoring.store import schema
from guided_refine.scoring.store.engine import compact
from guided_refine.scoring.store.records import UNKNOWN, text_key

logger = logging.getLogger(__name__)

_OLD = 1
#: Any number: whoever makes the tables of a store holds this lock of the database.
_MAKING_TABLES = 7_240_511


def bring_up_to_date(engine: Engine, name: str, *, create: bool) -> None:
    """Leave a store of this version behind `engine`; `name` is what sentences call it.

    Raises `InputError` when it holds something else, or a store of a version that this program does not know.
    """
    with engine.connect() as connection, connection.begin():
        if _version(connection, name, create=create) == schema.SCHEMA_VERSION:
            return
    # Others may be opening it too; the state is looked at again by the one who may write.
    with engine.connect() as plain:
        connection = plain.execution_options(writes=True)
        with connection.begin():
            if connection.dialect.name == "postgresql":
                connection.execute(select(func.pg_advisory_xact_lock(_MAKING_TABLES)))
            found = _version(connection, name, create=create)
            if found == schema.SCHEMA_VERSION:
                return
            if found == _OLD:
                _from_version_1(connection, name)
            else:
                _make(connection)
    if found == _OLD:
        compact(engine)


def _version(connection: Connection, name: str, *, create: bool) -> int | None:
    tables = schema.tables_in(connection)
    if not tables and create:
        return None
    if not {"scores", "schema_version"} <= tables:
        raise InputError(f"{name} is a database, but not a score store; give another address")
    found = connection.execute(select(schema.version.c.version)).scalar()
    if found == schema.SCHEMA_VERSION or (found == _OLD and connection.dialect.name == "sqlite"):
        return found
    raise InputError(
        f"{name} is a score store of version {found}, this program reads version {schema.SCHEMA_VERSION}; "
        "give another address to score again, or use the program that wrote it"
    )


def _make(connection: Connection) -> None:
    own = schema.schema_of(connection)
    if own is not None and not connection.dialect.has_schema(connection, own):
        connection.execute(CreateSchema(own))
    schema.metadata.create_all(connection)
    connection.execute(schema.version.insert().values(version=schema.SCHEMA_VERSION))


def _from_version_1(connection: Connection, name: str) -> None:
    """Version 1 kept every hash in full in every row, and no names. One transaction: a kill leaves the old file."""
    logger.warning("%s is brought up to date, once", name)
    started = time.monotonic()
    driver = connection.connection.dbapi_connection
    assert driver is not None
    driver.create_function("text_key", 1, text_key, deterministic=True)  # type: ignore[attr-defined]
    connection.execute(text("ALTER TABLE scores RENAME TO scores_1"))
    connection.execute(text("DROP TABLE schema_version"))
    _make(connection)
    connection.execute(
        schema.readers.insert().values(
            id=1, sha256=UNKNOWN.sha256, model="", fingerprint="", base="", kind="", prompt=""
        )
    )
    for statement in (
        "INSERT INTO attributes (sha256, name) SELECT DISTINCT attribute, '' FROM scores_1",
        "INSERT INTO cut_offs (name) SELECT DISTINCT cut_off FROM scores_1",
        "INSERT INTO texts (hash, reader) SELECT DISTINCT text_key(text), 1 FROM scores_1",
        "INSERT INTO scores (text, attribute, value, spread, cut_off, time) "
        "SELECT t.id, a.id, o.value, o.spread, c.id, CAST(o.time AS INTEGER) FROM scores_1 o "
        "JOIN texts t ON t.hash = text_key(o.text) JOIN attributes a ON a.sha256 = o.attribute "
        "JOIN cut_offs c ON c.name = o.cut_off ORDER BY t.id, a.id",
        "DROP TABLE scores_1",
    ):
        connection.execute(text(statement))
    logger.info("%s was brought up to date in %.0f s", name, time.monotonic() - started)
