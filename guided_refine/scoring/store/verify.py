"""Is a store sound? Pages, ranges, and rows that point at nothing."""

from __future__ import annotations

import time
from dataclasses import dataclass

from sqlalchemy import Column, ColumnElement, Connection, Table, delete, func, not_, or_, select

from guided_refine.errors import InputError
from guided_refine.scoring.store.schema import attributes, cut_offs, readers, scores, texts
from guided_refine.scoring.store.score_store import ScoreStore

_A_CLOCK_MAY_BE_WRONG_BY = 3600


@dataclass(frozen=True)
class Finding:
    """A fault and how many rows have it."""

    what: str
    rows: int


def verify(store: ScoreStore, *, mend: bool = False) -> list[Finding]:
    """Faulty rows of a store; an empty list is the good answer. With `mend` they are deleted, to be scored again.

    Looked at: values in [0, 1], spreads in [0, 0.5], times that have been, and that every text, attribute, split and
    reader that a row names is there. Raises `InputError` when SQLite's own check finds the file damaged.
    """
    findings = []
    with store.reading() as connection:
        if connection.dialect.name == "sqlite":
            said = [row[0] for row in connection.exec_driver_sql("PRAGMA integrity_check(20)")]
            if said != ["ok"]:
                reason = " ".join(said[0].split())
                raise InputError(
                    f"{store.name} is damaged ({reason}); put a copy in its place, or delete it and score again"
                )
        for what, table, faulty in _faults():
            rows = connection.execute(select(func.count()).select_from(table).where(faulty)).scalar_one()
            if rows:
                findings.append(Finding(what, rows))
    if findings and mend:
        with store.writing() as connection:
            _delete_faulty(connection)
    return findings


def _faults() -> list[tuple[str, Table, ColumnElement[bool]]]:
    """What is wrong, where, and how such a row is told. Scores first: without its text a score is an orphan too."""
    s, t = scores.c, texts.c
    times = or_(s.time <= 0, s.time > int(time.time()) + _A_CLOCK_MAY_BE_WRONG_BY)
    return [
        ("texts whose reader is not there", texts, _lost(t.reader, readers)),
        ("texts whose key has another length than 16 bytes", texts, func.length(t.hash) != 16),
        ("scores with a value outside [0, 1]", scores, not_(s.value.between(0.0, 1.0))),
        ("scores with a spread outside [0, 0.5]", scores, not_(s.spread.between(0.0, 0.5))),
        ("scores from the future or without a time", scores, times),
        ("scores whose text is not there", scores, _lost(s.text, texts)),
        ("scores whose attribute is not there", scores, _lost(s.attribute, attributes)),
        ("scores whose split is not there", scores, _lost(s.cut_off, cut_offs)),
    ]


def _lost(column: Column[int], table: Table) -> ColumnElement[bool]:
    return column.not_in(select(table.c.id))


def _delete_faulty(connection: Connection) -> None:
    for _, table, faulty in _faults():
        connection.execute(delete(table).where(faulty))
