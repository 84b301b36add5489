"""What a store holds: counts by model, adapter, kind and attribute, the time they span, and the size."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, func, select, text

from guided_refine.scoring.store import schema
from guided_refine.scoring.store.schema import attributes, claims, cut_offs, readers, scores, texts
from guided_refine.scoring.store.score_store import ScoreStore


def info(store: ScoreStore) -> dict[str, Any]:
    """Counts and size.

    `scores`, `bytes`, `bytes_per_score`, `cut_offs` (the splits' names), `working` (texts that processes have taken on right
    now) and `groups`: one per model, adapter, kind and attribute, with how many scores, and when the first and
    the last were made (seconds since 1970).
    """
    grouped = (
        select(
            texts.c.reader, scores.c.attribute, func.count(), func.min(scores.c.time), func.max(scores.c.time)
        )
        .select_from(scores.join(texts, scores.c.text == texts.c.id))
        .group_by(texts.c.reader, scores.c.attribute)
    )
    with store.reading() as connection:
        who = {row.id: row for row in connection.execute(select(readers))}
        named = {row.id: row for row in connection.execute(select(attributes))}
        groups = [
            {
                "model": who[reader].model,
                "fingerprint": who[reader].fingerprint,
                "adapter": who[reader].fingerprint if who[reader].base != who[reader].fingerprint else "",
                "kind": who[reader].kind,
                "attribute": named[attribute].name,
                "attribute_sha256": named[attribute].sha256,
                "scores": count,
                "first": first,
                "last": last,
            }
            for reader, attribute, count, first, last in connection.execute(grouped)
            if reader in who and attribute in named  # the others are for `verify` to tell
        ]
        count = connection.execute(select(func.count()).select_from(scores)).scalar_one()
        working = connection.execute(select(func.count()).select_from(claims)).scalar_one()
        splits = list(connection.execute(select(cut_offs.c.name).order_by(cut_offs.c.id)).scalars())
        size = _bytes(connection, store)
    groups.sort(key=lambda g: (g["model"], g["fingerprint"], g["kind"], g["attribute"]))
    return {
        "store": store.name,
        "version": schema.SCHEMA_VERSION,
        "scores": count,
        "bytes": size,
        "bytes_per_score": round(size / count, 1) if count else None,
        "cut_offs": splits,
        "working": working,
        "groups": groups,
    }


def format_info(facts: dict[str, Any]) -> str:
    """`info` as lines for a terminal."""
    each = f", {facts['bytes_per_score']:g} bytes each" if facts["scores"] else ""
    lines = [f"{facts['store']}: {facts['scores']:,} scores, {facts['bytes'] / 1e6:,.1f} MB{each}"]
    if facts["working"]:
        lines.append(f"{facts['working']:,} texts are being scored right now")
    splits = len(facts["cut_offs"])
    if splits:
        lines.append(
            f"made under {splits} {'split' if splits == 1 else 'splits'}: {', '.join(facts['cut_offs'])}"
        )
    said: tuple[str, ...] = ()
    for group in facts["groups"]:
        who = (group["model"], group["fingerprint"], group["adapter"], group["kind"])
        if who != said:
            said = who
            model = group["model"] or "unknown model (scores of an earlier version)"
            adapter = f", adapter {group['adapter'][:12]}" if group["adapter"] else ""
            mark = f" {group['fingerprint'][:12]}" if group["fingerprint"] and not adapter else ""
            lines.append(f"{model}{mark}{adapter}{', ' if group['kind'] else ''}{group['kind']}")
        name = group["attribute"] or group["attribute_sha256"][:12]
        lines.append(f"  {name:<28} {group['scores']:>10,}  {_day(group['first'])} to {_day(group['last'])}")
    return "\n".join(lines)


def _day(seconds: int) -> str:
    return time.strftime("%Y-%m-%d", time.localtime(seconds))


def _bytes(connection: Connection, store: ScoreStore) -> int:
    if connection.dialect.name == "postgresql":
        query = text(
            "SELECT COALESCE(SUM(pg_total_relation_size(c.oid)), 0) FROM pg_class c "
            "JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = :own AND c.relkind = 'r'"
        )
        return int(connection.execute(query, {"own": schema.POSTGRESQL_SCHEMA}).scalar_one())
    files = (Path(store.name), Path(f"{store.name}-wal"))
    return sum(path.stat().st_size for path in files if path.exists())
