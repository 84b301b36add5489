"""A score store of a million rows: how long it takes to open, to read whole and to look scores up, in how much memory.

Beside it the same scores as version 1 of the store kept them, every hash in full in every row: sizes are compared, and
both must give back the same values.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from guided_refine.machine import machine, peak_memory
from guided_refine.progress import Progress, Task

_ATTRIBUTES = 10
_BATCH = 1000
_LOOKED_UP = 2000


def run(
    progress: Progress | None = None, *, quick: bool | None = None, out: Path | None = None
) -> list[dict[str, Any]]:
    """Measure on SQLite, in `out` (default: a temporary folder); one row per question.

    Writing, opening, reading and looking up each have a process of their own, without torch, so that memory is theirs.
    """
    progress = progress or Progress(quiet=True)
    rows = 5_000 if quick else 1_000_000
    with tempfile.TemporaryDirectory(dir=out) as temporary:
        ours, old = Path(temporary) / "store.sqlite", Path(temporary) / "version_1.sqlite"
        with progress.task("bench store", 5) as task:
            written, opened, read, found = (_alone(name, ours, rows, task) for name in PARTS)
            _write_version_1(old, rows)
            task.advance()
        sizes = [path.stat().st_size / rows for path in (ours, old)]
        equal = found["sum"] == _sum_of_version_1(old, rows) and read["rows"] == rows
    case = f"store of {rows:,} scores"
    memory = [f"peak memory {read['mib']} MiB, {opened['mib']} MiB after opening alone"]
    return [
        _row(f"{case}: open", opened["seconds"], "s", None, None, notes=[]),
        _row(f"{case}: read every row with its names", rows / read["seconds"], "rows/s", None, None, notes=memory),
        _row(f"{case}: look up {_LOOKED_UP:,} texts", found["pairs"] / found["seconds"], "scores/s", None, None, notes=[]),
        _row(f"{case}: write in batches of {_BATCH:,}", rows / written["seconds"], "scores/s", None, None, notes=[]),
        _row(f"{case}: size", sizes[0], "bytes/score", sizes[1], equal, notes=[]),
    ]  # fmt: skip


def _row(
    case: str, ours: float, unit: str, peer: float | None, equal: bool | None, *, notes: list[str]
) -> dict[str, Any]:
    return {
        "name": "store",
        "case": case,
        "ours": ours,
        "peer": peer,
        "peer_name": "version 1" if peer is not None else None,
        "unit": unit,
        "ratio": None if peer is None else peer / ours,
        "equal_results": equal,
        "machine": machine(),
        "notes": notes,
    }


def _text(number: int) -> str:
    return hashlib.sha256(f"text {number}".encode()).hexdigest()


def _attribute(number: int) -> str:
    return hashlib.sha256(f"attribute {number}".encode()).hexdigest()


def _scores(rows: int) -> Iterator[tuple[str, str, float]]:
    """Text, attribute and value of every score."""
    attributes = [_attribute(a) for a in range(_ATTRIBUTES)]
    for number in range(rows // _ATTRIBUTES):
        text = _text(number)
        for a, attribute in enumerate(attributes):
            yield text, attribute, ((number * _ATTRIBUTES + a) % 997) / 997


def _write(path: Path, rows: int) -> dict[str, Any]:
    from guided_refine.scoring.store import Reader, ScoreStore, StoredScore
    from guided_refine.scoring.store.writing import chunks

    reader = Reader("bench", "f" * 64, "f" * 64, "item", "p" * 64)
    seconds = 0.0
    with ScoreStore(path) as store:
        for some in chunks(_scores(rows), _BATCH):
            batch = [StoredScore(t, a, v, 0.1, "leave_one_out:0", a[:8], reader) for t, a, v in some]
            started = time.perf_counter()
            store.put_many(batch)
            seconds += time.perf_counter() - started
    return {"seconds": seconds}


def _open(path: Path, rows: int) -> dict[str, Any]:
    from guided_refine.scoring.store import ScoreStore

    started = time.perf_counter()
    with ScoreStore(path, create=False):
        seconds = time.perf_counter() - started
    return {"seconds": seconds, "mib": peak_memory()}


def _read(path: Path, rows: int) -> dict[str, Any]:
    from guided_refine.scoring.store import ScoreStore

    started = time.perf_counter()
    with ScoreStore(path, create=False) as store:
        count = sum(1 for _ in store.rows())
    return {"seconds": time.perf_counter() - started, "rows": count, "mib": peak_memory()}


def _look_up(path: Path, rows: int) -> dict[str, Any]:
    from guided_refine.scoring.store import ScoreStore

    texts = [_text(number) for number in _looked_up(rows)]
    with ScoreStore(path, create=False) as store:
        started = time.perf_counter()
        found = store.get_many(texts, [_attribute(a) for a in range(_ATTRIBUTES)])
        seconds = time.perf_counter() - started
    return {"seconds": seconds, "pairs": len(found), "sum": sum(sorted(value for value, _ in found.values()))}


PARTS: dict[str, Callable[[Path, int], dict[str, Any]]] = {
    "write": _write,
    "open": _open,
    "read": _read,
    "look_up": _look_up,
}


def _alone(name: str, path: Path, rows: int, task: Task) -> dict[str, Any]:
    """One part in a fresh process."""
    program = (
        "import json, sys; from pathlib import Path; from guided_refine.bench.store import PARTS; "
        "print(json.dumps(PARTS[sys.argv[1]](Path(sys.argv[2]), int(sys.argv[3]))))"
    )
    command = [sys.executable, "-c", program, name, str(path), str(rows)]
    answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    task.advance()
    found: dict[str, Any] = json.loads(answer)
    return found


def _looked_up(rows: int) -> range:
    """Texts from all over the store."""
    texts = rows // _ATTRIBUTES
    return range(0, texts, max(1, texts // _LOOKED_UP))


def _write_version_1(path: Path, rows: int) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute(
            "CREATE TABLE scores (text VARCHAR(64), attribute VARCHAR(64), value FLOAT, spread FLOAT, "
            "cut_off VARCHAR(64), time FLOAT, PRIMARY KEY (text, attribute)) WITHOUT ROWID"
        )
        connection.executemany(
            "INSERT INTO scores VALUES (?, ?, ?, 0.1, 'leave_one_out:0', 1700000000.5)", _scores(rows)
        )
    connection.close()


def _sum_of_version_1(path: Path, rows: int) -> float:
    connection = sqlite3.connect(path)
    values = [
        value
        for number in _looked_up(rows)
        for (value,) in connection.execute("SELECT value FROM scores WHERE text = ?", [_text(number)])
    ]
    connection.close()
    return sum(sorted(values))
