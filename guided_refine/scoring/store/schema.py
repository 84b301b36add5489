"""The tables. A score is five small numbers; everything long stands once in a side table.

PostgreSQL keeps them in a schema of their own, `guided_refine`, so that a database can hold other things too.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    inspect,
)

SCHEMA_VERSION = 2
POSTGRESQL_SCHEMA = "guided_refine"

# SQLite numbers rows by itself only where the type is exactly INTEGER.
_ID = Integer().with_variant(BigInteger, "postgresql")

metadata = MetaData()
version = Table("schema_version", metadata, Column("version", Integer, nullable=False))
readers = Table(
    "readers",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("sha256", Text, nullable=False, unique=True),
    Column("model", Text, nullable=False),
    Column("fingerprint", Text, nullable=False),
    Column("base", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("prompt", Text, nullable=False),
)
attributes = Table(
    "attributes",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("sha256", Text, nullable=False, unique=True),
    Column("name", Text, nullable=False),
)
cut_offs = Table(
    "cut_offs",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
)
texts = Table(
    "texts",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("hash", LargeBinary(16), nullable=False, unique=True),
    Column("reader", Integer, nullable=False),
)
scores = Table(
    "scores",
    metadata,
    Column("text", _ID, primary_key=True, autoincrement=False),
    Column("attribute", Integer, primary_key=True, autoincrement=False),
    Column("value", Float(53), nullable=False),
    Column("spread", Float(53)),
    Column("cut_off", Integer, nullable=False),
    Column("time", Integer, nullable=False),
    Column("raw", Text),
    sqlite_with_rowid=False,
)
#: Processes that compute right now, and the texts that each has taken on.
workers = Table(
    "workers",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("machine", Text, nullable=False),
    Column("process", Integer, nullable=False),
    Column("started", Text, nullable=False),
    Column("seen", Float(53), nullable=False),
)
claims = Table(
    "claims",
    metadata,
    Column("text", LargeBinary(16), primary_key=True),
    Column("worker", String(32), nullable=False),
    sqlite_with_rowid=False,
)
Index("claims_of_worker", claims.c.worker)

#: In the order in which every writer touches them, so that no two wait for each other.
WRITE_ORDER = (readers, attributes, cut_offs, texts, scores)


def schema_of(connection: Connection) -> str | None:
    """The database schema that holds the tables: None on SQLite, which has none."""
    return POSTGRESQL_SCHEMA if connection.dialect.name == "postgresql" else None


def tables_in(connection: Connection) -> set[str]:
    """Names of the tables that are there."""
    return set(inspect(connection).get_table_names(schema=schema_of(connection)))
