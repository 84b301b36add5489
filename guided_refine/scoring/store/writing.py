"""Writing scores: the long names into side tables once, the numbers into rows of their own."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, TypeVar

from sqlalchemy import Connection, Table, select, update
from sqlalchemy.dialects import postgresql, sqlite

from guided_refine.scoring.store import schema
from guided_refine.scoring.store.records import StoredScore, storable, text_key

KEYS_IN_ONE_QUERY = 400

_T = TypeVar("_T")


def chunks(values: Iterable[_T], size: int) -> Iterator[list[_T]]:
    """Lists of at most `size` values.

    >>> list(chunks("abc", 2))
    [['a', 'b'], ['c']]
    """
    rest = iter(values)
    while some := list(islice(rest, size)):
        yield some


def insert_into(connection: Connection, table: Table) -> Any:
    """An INSERT that knows ON CONFLICT, which both databases have and SQL itself has not."""
    return postgresql.insert(table) if connection.dialect.name == "postgresql" else sqlite.insert(table)


def write(connection: Connection, batch: Sequence[StoredScore], time: int) -> None:
    """Write a batch inside the caller's transaction; a pair that is there is replaced.

    Rows go in sorted: two processes that write the same ones then wait for each other in one order, never in a circle.
    """
    reader_of = {score.reader.sha256: score.reader for score in batch}
    readers = _numbers(
        connection,
        schema.readers,
        "sha256",
        {
            sha256: {
                "model": storable(r.model),
                "fingerprint": r.fingerprint,
                "base": r.base,
                "kind": r.kind,
                "prompt": r.prompt,
            }
            for sha256, r in reader_of.items()
        },
    )
    named = {score.attribute: "" for score in batch}
    named |= {score.attribute: storable(score.name) for score in batch if score.name}
    attributes = _numbers(
        connection, schema.attributes, "sha256", {sha256: {"name": name} for sha256, name in named.items()}
    )
    _name_the_nameless(connection, named)
    cut_offs = _numbers(connection, schema.cut_offs, "name", {storable(s.cut_off): {} for s in batch})
    texts = _numbers(
        connection,
        schema.texts,
        "hash",
        {text_key(s.text): {"reader": readers[s.reader.sha256]} for s in batch},
    )
    rows = {
        (texts[text_key(s.text)], attributes[s.attribute]): {
            "value": s.value,
            "spread": None if math.isnan(s.spread) else s.spread,
            "cut_off": cut_offs[storable(s.cut_off)],
            "time": time,
            "raw": None if s.raw is None else storable(s.raw),
        }
        for s in batch
    }
    statement = insert_into(connection, schema.scores)
    replaced = {name: statement.excluded[name] for name in ("value", "spread", "cut_off", "time", "raw")}
    connection.execute(
        statement.on_conflict_do_update(index_elements=["text", "attribute"], set_=replaced),
        [{"text": t, "attribute": a, **rows[t, a]} for t, a in sorted(rows)],
    )


def _name_the_nameless(connection: Connection, named: dict[str, str]) -> None:
    """Scores of version 1 came without their attributes' names."""
    column = schema.attributes.c
    for some in chunks(named, KEYS_IN_ONE_QUERY):
        nameless = select(column.sha256).where(column.name == "", column.sha256.in_(some))
        for sha256 in list(connection.execute(nameless).scalars()):
            if named[sha256]:
                connection.execute(
                    update(schema.attributes).where(column.sha256 == sha256).values(name=named[sha256])
                )


def _numbers(
    connection: Connection, table: Table, key: str, rows: dict[Any, dict[str, Any]]
) -> dict[Any, int]:
    """The number of each row of a side table by its key; rows that are not there are added."""
    numbers = _known(connection, table, key, rows)
    new = sorted(rows.keys() - numbers.keys())
    if new:
        statement = insert_into(connection, table).on_conflict_do_nothing(index_elements=[key])
        connection.execute(statement, [{key: value, **rows[value]} for value in new])
        numbers |= _known(connection, table, key, new)
    return numbers


def _known(connection: Connection, table: Table, key: str, values: Iterable[Any]) -> dict[Any, int]:
    column = table.c[key]
    return {
        bytes(value) if key == "hash" else value: int(number)
        for some in chunks(values, KEYS_IN_ONE_QUERY)
        for value, number in connection.execute(select(column, table.c.id).where(column.in_(some)))
    }
