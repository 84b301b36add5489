"""Reading and writing scores. Every write is one transaction."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from sqlalchemy import Connection, func, select
from sqlalchemy.exc import DBAPIError

from guided_refine.errors import InputError
from guided_refine.scoring.store import schema, writing
from guided_refine.scoring.store.address import is_postgresql, shown, store_url
from guided_refine.scoring.store.claims import Claims
from guided_refine.scoring.store.engine import compact, make_engine
from guided_refine.scoring.store.faults import readable
from guided_refine.scoring.store.opening import bring_up_to_date
from guided_refine.scoring.store.records import Claim, ScoreRow, StoredScore, text_key
from guided_refine.scoring.store.writing import KEYS_IN_ONE_QUERY, chunks

_SECONDS_TO_WAIT_FOR_A_LOCK = 30.0
_ROWS_AT_ONCE = 2000

Pair = tuple[tuple[str, str], tuple[float, float]]
"""((text, attribute), (value, spread))"""


class ScoreStore:
    """Scores in one SQLite file or one PostgreSQL database; a context manager.

    `address` is a path, or a URL such as `postgresql://USER@HOST:PORT/DATABASE`. Every `put_many` is one transaction: a kill
    loses the batch in flight and nothing else. With `create=False` a store that is not there is an error. A file of
    version 1 is brought up to date once, when it is opened.

    Raises `InputError`, here and in every method, when the store is damaged, of another version, or no store at all, when
    it is locked by others for longer than `lock_seconds`, when the disk is full, and when the server cannot be reached
    or lets nobody in.

    >>> import tempfile
    >>> with ScoreStore(Path(tempfile.mkdtemp()) / "store.sqlite") as store:
    ...     store.put_many([StoredScore("t", "a", 0.5, 0.1, "leave_one_out:0")])
    ...     store.get_many(["t", "other"], ["a"])
    {('t', 'a'): (0.5, 0.1)}
    """

    def __init__(
        self,
        address: Path | str,
        *,
        lock_seconds: float = _SECONDS_TO_WAIT_FOR_A_LOCK,
        create: bool = True,
    ) -> None:
        self.url = store_url(address)
        self.name = shown(self.url)
        if not is_postgresql(self.url):
            self._find_file(Path(self.name), create)
        self._engine = make_engine(self.url, lock_seconds)
        # SQLite has one writer at a time; threads of one process line up here rather than at the file.
        self._one_writer = threading.Lock()
        try:
            with self._readable():
                bring_up_to_date(self._engine, self.name, create=create)
        except BaseException:
            self._engine.dispose()
            raise
        self._claims = Claims(self.writing)

    @staticmethod
    def _find_file(path: Path, create: bool) -> None:
        if not create and not path.is_file():
            raise InputError(
                f"{path} does not exist; give a store's file, a run folder or a postgresql:// address"
            )
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{path} cannot be written: {error.strerror or error}") from error

    def __enter__(self) -> ScoreStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give back what was claimed and not computed, and the connections."""
        self._claims.close()
        self._engine.dispose()

    # ------------------------------------------------------------------ transactions

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection that sees one state of the store; faults become `InputError`."""
        with self._readable(), self._engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A connection in a transaction that writes all or nothing; faults become `InputError`."""
        with self._readable(), self._one_writer, self._engine.connect() as plain:
            connection = plain.execution_options(writes=True)
            with connection.begin():
                yield connection

    @contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            raise readable(error, self.url) from error

    # ------------------------------------------------------------------ scores

    def get_many(
        self, texts: Iterable[str], attributes: Sequence[str]
    ) -> dict[tuple[str, str], tuple[float, float]]:
        """(value, spread) of every stored pair of the given texts and attributes, keyed by (text, attribute)."""
        return dict(self.read_many(texts, attributes))

    def read_many(self, texts: Iterable[str], attributes: Sequence[str]) -> Iterator[Pair]:
        """What `get_many` gives, pair by pair: a million scores need no more memory than a few hundred."""
        wanted = iter(dict.fromkeys(texts))
        for some in chunks(wanted, KEYS_IN_ONE_QUERY):
            with self.reading() as connection:
                found = list(pairs(connection, some, attributes))
            yield from found

    def put_many(self, scores: Iterable[StoredScore]) -> None:
        """Store scores in one transaction; a pair that is already there is replaced. Claims on their texts end."""
        batch = list(scores)
        if not batch:
            return
        with self.writing() as connection:
            writing.write(connection, batch, int(time.time()))
            self._claims.end(connection, {text_key(score.text) for score in batch})

    def claim(self, texts: Iterable[str], attributes: Sequence[str], *, partly: bool = False) -> Claim:
        """Take texts on for computing `attributes`, so that no other process computes them at the same time.

        Granted is a text that nobody else has taken on and of which no attribute is there yet (with `partly`: not every
        attribute). A claim ends when scores of its text are put, when it is released, when the store is closed, and when
        its process is gone.

        >>> import tempfile
        >>> with ScoreStore(Path(tempfile.mkdtemp()) / "store.sqlite") as store:
        ...     store.put_many([StoredScore("t", "a", 0.5, 0.1, "leave_one_out:0")])
        ...     store.claim(["t", "u"], ["a"])
        Claim(granted=frozenset({'u'}), scores={('t', 'a'): (0.5, 0.1)})
        """
        wanted = {text_key(text): text for text in texts}
        if not wanted:
            return Claim(frozenset(), {})
        with self.writing() as connection:
            mine = self._claims.take(connection, sorted(wanted))
            # Read behind the claim: what another process put before it let go is then seen.
            found = dict(pairs(connection, [wanted[key] for key in mine], attributes))
            there = Counter(text for text, _ in found)
            enough = len(set(attributes)) if partly else 1
            done = {text for text, count in there.items() if count >= enough}
            granted = frozenset(wanted[key] for key in mine) - done
            self._claims.end(connection, {text_key(text) for text in done})
        return Claim(granted, found)

    def release(self, texts: Iterable[str]) -> None:
        """Let go of texts that were claimed and got no score, so that others may try them at once.

        >>> import tempfile
        >>> address = Path(tempfile.mkdtemp()) / "store.sqlite"
        >>> with ScoreStore(address) as one, ScoreStore(address) as other:
        ...     mine = one.claim(["t"], ["a"]).granted
        ...     one.release(mine)
        ...     other.claim(["t"], ["a"]).granted
        frozenset({'t'})
        """
        with self.writing() as connection:
            self._claims.end(connection, {text_key(text) for text in texts})

    def count(self) -> int:
        """Number of scores in the store."""
        with self.reading() as connection:
            return int(connection.execute(select(func.count()).select_from(schema.scores)).scalar_one())

    def rows(self) -> Iterator[ScoreRow]:
        """Every score with its names, in an order that stays; memory does not grow with the store."""
        s, t, r, a, c = (
            schema.scores.c,
            schema.texts.c,
            schema.readers.c,
            schema.attributes.c,
            schema.cut_offs.c,
        )
        query = (
            select(
                t.hash, r.kind, a.name, a.sha256, r.model, r.fingerprint, r.base, r.prompt, c.name, s.time,
                s.value, s.spread, s.raw,
            )
            .select_from(
                schema.scores.join(schema.texts, s.text == t.id)
                .join(schema.readers, t.reader == r.id)
                .join(schema.attributes, s.attribute == a.id)
                .join(schema.cut_offs, s.cut_off == c.id)
            )
            .order_by(s.text, s.attribute)
        )  # fmt: skip
        with self.reading() as connection:
            streamed = connection.execution_options(yield_per=_ROWS_AT_ONCE).execute(query)
            for key, kind, name, sha256, model, fingerprint, base, prompt, *rest in streamed:
                adapter = fingerprint if base != fingerprint else ""
                yield ScoreRow(
                    bytes(key).hex(), kind, name, sha256, model, fingerprint, adapter, prompt, *rest
                )

    def compact(self) -> None:
        """Give the disk back what deleted scores held."""
        with self._readable():
            compact(self._engine)


def pairs(connection: Connection, texts: Sequence[str], attributes: Sequence[str]) -> Iterator[Pair]:
    """Stored pairs of these texts and attributes."""
    s, t, a = schema.scores.c, schema.texts.c, schema.attributes.c
    named = {
        number: sha256
        for some in chunks(attributes, KEYS_IN_ONE_QUERY)
        for number, sha256 in connection.execute(select(a.id, a.sha256).where(a.sha256.in_(some)))
    }
    for some in chunks(texts, KEYS_IN_ONE_QUERY) if named else ():
        keys = {text_key(text): text for text in some}
        query = select(t.hash, s.attribute, s.value, s.spread).join(schema.scores, s.text == t.id)
        for key, attribute, value, spread in connection.execute(query.where(t.hash.in_(list(keys)))):
            if attribute in named:
                yield (keys[bytes(key)], named[attribute]), (value, math.nan if spread is None else spread)
