"""The score store: what a model once said is never asked again. SQLite, through SQLAlchemy Core.

A row is one score: `text` hashes what was read (tokens, prompt, model and adapter), `attribute` hashes the scale.
Nothing in it names a run or a dataset, so runs can share one file.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from sqlalchemy import (
    URL,
    Column,
    Connection,
    Engine,
    Float,
    Integer,
    MetaData,
    String,
    Table,
    create_engine,
    event,
    inspect,
    select,
)
from sqlalchemy.exc import DatabaseError, OperationalError

from guided_refine.errors import InputError

SCHEMA_VERSION = 1
_KEYS_IN_ONE_QUERY = 400
_SECONDS_TO_WAIT_FOR_A_LOCK = 30.0

_metadata = MetaData()
_scores = Table(
    "scores",
    _metadata,
    Column("text", String(64), primary_key=True),
    Column("attribute", String(64), primary_key=True),
    Column("value", Float, nullable=False),
    Column("spread", Float, nullable=False),
    Column("cut_off", String(64), nullable=False),
    Column("time", Float, nullable=False),
    sqlite_with_rowid=False,
)
_schema = Table("schema_version", _metadata, Column("version", Integer, nullable=False))


@dataclass(frozen=True)
class StoredScore:
    """One score: hashes of what was read and of the scale, value in [0, 1], spread in [0, 0.5], the split's name."""

    text: str
    attribute: str
    value: float
    spread: float
    cut_off: str


class ScoreStore:
    """Scores in one SQLite file; a context manager.

    Every `put_many` is one transaction: a kill loses the batch in flight and nothing else. Raises `InputError` when
    the file is not a score store, damaged, locked by another run for long, or of another version.

    >>> import tempfile
    >>> with ScoreStore(Path(tempfile.mkdtemp()) / "store.sqlite") as store:
    ...     store.put_many([StoredScore("t", "a", 0.5, 0.1, "leave_one_out:0")])
    ...     store.get_many(["t", "other"], ["a"])
    {('t', 'a'): (0.5, 0.1)}
    """

    def __init__(self, path: Path | str, *, lock_seconds: float = _SECONDS_TO_WAIT_FOR_A_LOCK) -> None:
        self.path = Path(path)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{self.path} cannot be written: {error.strerror or error}") from error
        self._engine: Engine = create_engine(
            # Put together by hand, a "?" in the path would begin options, and the file would lie elsewhere.
            URL.create("sqlite", database=str(self.path)),
            connect_args={"timeout": lock_seconds, "check_same_thread": False},
        )
        event.listen(self._engine, "connect", _set_up_connection)
        self._writing = threading.Lock()
        try:
            with self._engine.begin() as connection:
                self._check_schema(connection)
        except DatabaseError as error:
            self._engine.dispose()
            raise self._readable(error) from error
        except InputError:
            self._engine.dispose()
            raise

    def __enter__(self) -> ScoreStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the file back."""
        self._engine.dispose()

    def get_many(
        self, texts: Iterable[str], attributes: Sequence[str]
    ) -> dict[tuple[str, str], tuple[float, float]]:
        """(value, spread) of every stored pair of the given texts and attributes, keyed by (text, attribute)."""
        wanted = list(dict.fromkeys(texts))
        found: dict[tuple[str, str], tuple[float, float]] = {}
        try:
            with self._engine.connect() as connection:
                for begin in range(0, len(wanted), _KEYS_IN_ONE_QUERY):
                    query = select(
                        _scores.c.text, _scores.c.attribute, _scores.c.value, _scores.c.spread
                    ).where(
                        _scores.c.text.in_(wanted[begin : begin + _KEYS_IN_ONE_QUERY]),
                        _scores.c.attribute.in_(list(attributes)),
                    )
                    for text, attribute, value, spread in connection.execute(query):
                        found[text, attribute] = (value, spread)
        except DatabaseError as error:
            raise self._readable(error) from error
        return found

    def put_many(self, scores: Iterable[StoredScore]) -> None:
        """Store scores in one transaction; a pair that is already there is replaced."""
        now = time.time()
        rows = [
            {
                "text": s.text,
                "attribute": s.attribute,
                "value": s.value,
                "spread": s.spread,
                "cut_off": s.cut_off,
                "time": now,
            }
            for s in scores
        ]
        if not rows:
            return
        try:
            with self._writing, self._engine.begin() as connection:
                self._replace(connection, rows)
        except DatabaseError as error:
            raise self._readable(error) from error

    def count(self) -> int:
        """Number of scores in the store."""
        from sqlalchemy import func

        with self._engine.connect() as connection:
            return int(connection.execute(select(func.count()).select_from(_scores)).scalar_one())

    @staticmethod
    def _replace(connection: Connection, rows: list[dict[str, object]]) -> None:
        from sqlalchemy.dialects.sqlite import insert

        statement = insert(_scores)
        fresh = {name: statement.excluded[name] for name in ("value", "spread", "cut_off", "time")}
        connection.execute(
            statement.on_conflict_do_update(index_elements=["text", "attribute"], set_=fresh), rows
        )

    def _check_schema(self, connection: Connection) -> None:
        tables = set(inspect(connection).get_table_names())
        if not tables:
            _metadata.create_all(connection)
            connection.execute(_schema.insert().values(version=SCHEMA_VERSION))
            return
        if not {"scores", "schema_version"} <= tables:
            raise InputError(f"{self.path} is a database, but not a score store; give another file")
        version = connection.execute(select(_schema.c.version)).scalar()
        if version != SCHEMA_VERSION:
            raise InputError(
                f"{self.path} is a score store of version {version}, this program reads version {SCHEMA_VERSION}; "
                "delete it to score again, or use the program that wrote it"
            )

    def _readable(self, error: DatabaseError) -> InputError:
        reason = str(error.orig or error)
        if isinstance(error, OperationalError) and ("locked" in reason or "busy" in reason):
            return InputError(f"{self.path} is in use by another run; wait for it to end")
        if "full" in reason:
            return InputError(
                f"the disk is full: {self.path} keeps all scores but the last batch; free some space and run again"
            )
        if isinstance(error, OperationalError) and ("unable to open" in reason or "readonly" in reason):
            return InputError(f"{self.path} cannot be opened for writing: {reason}")
        return InputError(f"{self.path} is damaged ({reason}); delete it and run the same command again")


def _set_up_connection(connection: object, _record: object) -> None:
    cursor = connection.cursor()  # type: ignore[attr-defined]
    # Readers and one writer at a time do not block each other, and a batch costs one flush.
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.close()
