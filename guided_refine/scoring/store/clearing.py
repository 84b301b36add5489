"""Clearing out scores that nobody needs any more."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, delete, false, func, or_, select, text

from guided_refine.errors import InputError
from guided_refine.scoring.store.records import UNKNOWN
from guided_refine.scoring.store.schema import (
    POSTGRESQL_SCHEMA,
    WRITE_ORDER,
    attributes,
    cut_offs,
    readers,
    scores,
    texts,
)
from guided_refine.scoring.store.score_store import ScoreStore

_SECONDS_OF_A_DAY = 86_400


@dataclass(frozen=True)
class Reference:
    """What a run reads from a store: the scores of these attributes (their hashes) by the model with this fingerprint."""

    fingerprint: str
    attributes: frozenset[str]


def clear(
    store: ScoreStore,
    *,
    keep: Sequence[Reference] | None = None,
    older_than_days: float | None = None,
    delete_them: bool = False,
) -> dict[str, Any]:
    """Count, or with `delete_them` delete, what may go; returns `scores` (that many) `of` (so many), and `deleted`.

    With `keep`, scores that none of these references names may go; with `older_than_days`, scores that were made before
    that; with both, only scores for which both hold. Scores that do not say who made them (of version 1) go by age only.

    Raises `InputError` when neither is given.
    """
    if keep is None and older_than_days is None:
        raise InputError(
            "say what may go: what no run needs (--keep RUN ...), or what is old (--older-than DAYS)"
        )
    with store.writing() if delete_them else store.reading() as connection:
        if delete_them and connection.dialect.name == "postgresql":
            # Writers wait: a text that loses its last score here must not gain one there at the same time.
            names = ", ".join(f"{POSTGRESQL_SCHEMA}.{table.name}" for table in WRITE_ORDER)
            connection.execute(text(f"LOCK TABLE {names} IN EXCLUSIVE MODE"))
        may_go = _unneeded(connection, keep) if keep is not None else None
        if older_than_days is not None:
            old = scores.c.time < int(time.time() - older_than_days * _SECONDS_OF_A_DAY)
            may_go = old if may_go is None else and_(may_go, old)
        assert may_go is not None
        total = connection.execute(select(func.count()).select_from(scores)).scalar_one()
        count = connection.execute(select(func.count()).select_from(scores).where(may_go)).scalar_one()
        if delete_them:
            connection.execute(delete(scores).where(may_go))
            _delete_unused(connection)
    if delete_them and count:
        store.compact()
    return {"scores": count, "of": total, "deleted": delete_them}


def _unneeded(connection: Connection, keep: Sequence[Reference]) -> ColumnElement[bool]:
    """True for scores that no reference names."""
    needed: dict[str, set[str]] = {}
    for reference in keep:
        needed.setdefault(reference.fingerprint, set()).update(reference.attributes)
    number = {row.sha256: row.id for row in connection.execute(select(attributes))}
    parts: list[ColumnElement[bool]] = []
    for row in connection.execute(select(readers)):
        if row.sha256 == UNKNOWN.sha256:
            continue
        kept = [number[sha256] for sha256 in needed.get(row.fingerprint, ()) if sha256 in number]
        its = scores.c.text.in_(select(texts.c.id).where(texts.c.reader == row.id))
        parts.append(and_(its, scores.c.attribute.not_in(kept)) if kept else its)
    return or_(false(), *parts)


def _delete_unused(connection: Connection) -> None:
    """Rows of side tables to which no score points any more."""
    for table, column in (
        (texts, scores.c.text),
        (attributes, scores.c.attribute),
        (cut_offs, scores.c.cut_off),
    ):
        connection.execute(delete(table).where(table.c.id.not_in(select(column))))
    connection.execute(delete(readers).where(readers.c.id.not_in(select(texts.c.reader))))
