"""A store as one table with readable names, written row by row: memory does not grow with the store."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterator
from dataclasses import fields
from datetime import datetime, timezone
from pathlib import Path
from typing import IO, Any

from guided_refine.errors import InputError
from guided_refine.files import atomic_path
from guided_refine.scoring.store.records import ScoreRow
from guided_refine.scoring.store.score_store import ScoreStore
from guided_refine.scoring.store.writing import chunks

COLUMNS = [field.name for field in fields(ScoreRow)]
FORMATS = (".parquet", ".csv", ".csv.gz")
_ROWS_AT_ONCE = 20_000


def export(store: ScoreStore, target: Path) -> int:
    """Write every score to `target` (.parquet, .csv or .csv.gz) in one atomic step; returns their number.

    Columns: text (the store's key), kind, attribute and its hash, model, fingerprint, adapter, prompt, cut_off, time
    (UTC), value in [0, 1], spread in [0, 0.5] or none, raw. Raises `InputError` for another ending and a full disk.
    """
    check_format(target)
    with atomic_path(target) as path:
        return (_to_parquet if target.suffix == ".parquet" else _to_csv)(store, path)


def check_format(target: Path) -> None:
    """Raise `InputError` unless the file's ending is one that `export` writes."""
    if not target.name.endswith(FORMATS):
        raise InputError(f"--out {target} must end in {', '.join(FORMATS[:-1])} or {FORMATS[-1]}")


def _records(store: ScoreStore) -> Iterator[dict[str, Any]]:
    for row in store.rows():
        record = {name: getattr(row, name) for name in COLUMNS}
        record["time"] = datetime.fromtimestamp(row.time, timezone.utc)
        yield record


def _to_parquet(store: ScoreStore, path: Path) -> int:
    import pyarrow as pa
    from pyarrow import parquet

    kinds = {"time": pa.timestamp("s", tz="UTC"), "value": pa.float64(), "spread": pa.float64()}
    layout = pa.schema([(name, kinds.get(name, pa.string())) for name in COLUMNS])
    count = 0
    with parquet.ParquetWriter(path, layout) as writer:
        for some in chunks(_records(store), _ROWS_AT_ONCE):
            writer.write_table(pa.Table.from_pylist(some, schema=layout))
            count += len(some)
    return count


def _to_csv(store: ScoreStore, path: Path) -> int:
    # The temporary file ends in .gz where the target does.
    stream: IO[str]
    with (
        gzip.open(path, "wt", encoding="utf-8", newline="")
        if path.suffix == ".gz"
        else path.open("w", encoding="utf-8", newline="")
    ) as stream:
        writer = csv.DictWriter(stream, COLUMNS)
        writer.writeheader()
        count = 0
        for record in _records(store):
            record["time"] = record["time"].isoformat()
            writer.writerow(record)
            count += 1
    return count
