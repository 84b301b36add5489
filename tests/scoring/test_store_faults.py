"""Whatever is wrong with a store's place: one sentence that says what to do, and what was stored stays."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from postgresql import Server
from sqlalchemy import event
from sqlalchemy.exc import OperationalError

from guided_refine.errors import InputError
from guided_refine.scoring.store import ScoreStore, StoredScore
from guided_refine.scoring.store.address import store_url
from guided_refine.scoring.store.faults import readable


def score(text: str, value: float = 0.25) -> StoredScore:
    return StoredScore(text, "a", value, 0.125, "leave_one_out:x")


def refusal(address: Path | str, **options: object) -> str:
    """The sentence with which a store is refused."""
    with pytest.raises(InputError) as caught:
        ScoreStore(address, **options)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value) and "s3cret" not in str(caught.value)
    return str(caught.value)


# ---------------------------------------------------------------- a file


def test_a_locked_file(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    with ScoreStore(path, lock_seconds=0.1) as store:
        holder = sqlite3.connect(path)
        holder.execute("BEGIN EXCLUSIVE")
        with pytest.raises(InputError, match="in use by another run"):
            store.put_many([score("t")])
        with pytest.raises(InputError, match="in use by another run"):
            store.claim(["t"], ["a"])
        holder.rollback()
        holder.close()
        store.put_many([score("t")])
        assert store.count() == 1


def test_a_full_disk_keeps_what_is_stored(tmp_path: Path) -> None:
    with ScoreStore(tmp_path / "s.sqlite") as store:
        store.put_many([score("kept")])
        store._engine.dispose()
        event.listen(store._engine, "connect", lambda c, _: c.execute("PRAGMA max_page_count=30"))
        with pytest.raises(
            InputError, match=r"the disk is full: .*s\.sqlite.* all scores but the last batch"
        ):
            store.put_many([score(f"t{i}") for i in range(5000)])
        assert store.count() == 1
        store.put_many([score("fits")])
    with ScoreStore(tmp_path / "s.sqlite") as store:
        assert store.count() == 2


@pytest.mark.parametrize(("free", "said"), [(4096, "the disk is full"), (10**9, "check the disk")])
def test_a_disk_too_full_to_open_a_file_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, said: str
) -> None:
    """Without room for the file beside it that its readers share, SQLite speaks of a "disk I/O error"."""
    usage = shutil.disk_usage(tmp_path)._replace(free=free)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    fault = OperationalError("PRAGMA", None, sqlite3.OperationalError("disk I/O error"))
    assert said in str(readable(fault, store_url(tmp_path / "s.sqlite")))


def test_another_version(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    ScoreStore(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE schema_version SET version = 99")
    assert "version 99, this program reads version 2" in refusal(path)


def test_other_files(tmp_path: Path) -> None:
    text = tmp_path / "text.sqlite"
    text.write_text("not a database, but long enough to have a header of its own " * 20)
    assert "is damaged" in refusal(text)
    other = tmp_path / "other.sqlite"
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE films (name TEXT)")
    assert "not a score store" in refusal(other)
    assert "cannot be" in refusal(text / "inside" / "s.sqlite")
    assert "does not exist" in refusal(tmp_path / "none.sqlite", create=False)
    assert not (tmp_path / "none.sqlite").exists()
    assert "cannot be opened" in refusal(tmp_path)


def test_a_damaged_file(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    with ScoreStore(path) as store:
        store.put_many([score(f"t{i}") for i in range(3000)])
    whole = bytearray(path.read_bytes())
    whole[4096 * 2 :] = b"\xff" * (len(whole) - 4096 * 2)
    path.write_bytes(bytes(whole))
    with pytest.raises(InputError, match="is damaged"), ScoreStore(path) as store:
        store.get_many([f"t{i}" for i in range(3000)], ["a"])


@pytest.mark.skipif(
    not Path("/proc/self").exists(), reason="a folder in which nobody may write, root included"
)
def test_a_place_where_nobody_may_write() -> None:
    assert "cannot be opened for writing" in refusal("/proc/s.sqlite")


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("mysql://ann:s3cret@db/x", "store address mysql://ann@db/x: known: postgresql, sqlite"),
        ("postgres://ann:s3cret@db:port/x", "cannot be read"),
        ("postgresql://ann:s3cret@db", "names no database"),
        (" ", "is empty"),
    ],
)
def test_addresses_that_are_none(address: str, said: str) -> None:
    assert said in refusal(address)


# ---------------------------------------------------------------- a server


def test_nobody_answers(postgresql: Server) -> None:
    said = refusal("postgresql://ann:s3cret@127.0.0.1:1/scores")
    assert "score store postgresql://ann@127.0.0.1:1/scores cannot be reached" in said
    assert "cannot be reached" in refusal("postgresql://ann:s3cret@no-such-host.invalid/scores")


def test_a_wrong_password_or_name(postgresql: Server) -> None:
    for address in (
        postgresql.address("postgres", password="wrong"),
        postgresql.address("postgres", user="nobody"),
        postgresql.address("postgres", password=None),
    ):
        assert "does not let this user in" in refusal(address)
    assert "has no such database" in refusal(postgresql.address("none"))


def test_a_user_who_may_not_create_tables(postgresql: Server) -> None:
    postgresql.fresh_store()
    postgresql.sql("CREATE ROLE bob LOGIN PASSWORD 's3cret'")
    address = postgresql.address("scores", user="bob")
    assert "this user may not do that" in refusal(address)
    assert "not a score store" in refusal(address, create=False)


def test_a_table_that_is_locked(postgresql: Server) -> None:
    address = postgresql.fresh_store()
    with ScoreStore(address, lock_seconds=0.1) as store, psycopg.connect(address) as holder:
        holder.execute("LOCK TABLE guided_refine.texts IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(InputError, match="is locked by somebody else"):
            store.put_many([score("t")])
        holder.rollback()
        store.put_many([score("t")])
        assert store.count() == 1


def test_another_version_in_a_database(postgresql: Server) -> None:
    address = postgresql.fresh_store()
    ScoreStore(address).close()
    postgresql.sql("UPDATE guided_refine.schema_version SET version = 99", "scores")
    assert "version 99, this program reads version 2" in refusal(address)


def test_a_full_disk_of_the_server(postgresql: Server) -> None:
    """The server's own code for it, raised by the server in the middle of a batch."""
    address = postgresql.fresh_store()
    with ScoreStore(address) as store:
        store.put_many([score("kept")])
        postgresql.sql(
            "CREATE FUNCTION guided_refine.refuse() RETURNS trigger AS $$ BEGIN RAISE EXCEPTION "
            "'could not extend file: No space left on device' USING ERRCODE = '53100'; END $$ LANGUAGE plpgsql",
            "scores",
        )
        postgresql.sql(
            "CREATE TRIGGER refuse BEFORE INSERT ON guided_refine.scores "
            "FOR EACH ROW EXECUTE FUNCTION guided_refine.refuse()",
            "scores",
        )
        with pytest.raises(InputError, match=r"the disk of score store .* is full"):
            store.put_many([score("t"), score("u")])
        assert store.count() == 1
        assert set(store.get_many(["kept", "t"], ["a"])) == {("kept", "a")}


@pytest.fixture()
def restarted(postgresql: Server) -> Iterator[Server]:
    yield postgresql
    if not (postgresql.folder / "data" / "postmaster.pid").exists():
        postgresql.start()


def test_a_server_that_goes_away_and_comes_back(restarted: Server) -> None:
    address = restarted.fresh_store()
    with ScoreStore(address) as store:
        store.put_many([score("before")])
        assert store.claim(["t"], ["a"]).granted
        # One connection is cut: the next batch goes through another one.
        restarted.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'scores'")
        store.put_many([score("u")])
        restarted.stop()
        with pytest.raises(InputError, match=r"cannot be reached|went away"):
            store.put_many([score("lost")])
        restarted.start()
        store.put_many([score("after")])
        assert {text for text, _ in store.get_many(["before", "u", "lost", "after"], ["a"])} == {
            "before",
            "u",
            "after",
        }


def test_other_tables_of_a_database_stay_as_they_are(postgresql: Server) -> None:
    address = postgresql.new_database("busy")
    postgresql.sql("CREATE TABLE scores (id int); INSERT INTO scores VALUES (1)", "busy")
    with ScoreStore(address) as store:
        store.put_many([score("t")])
    assert postgresql.sql("SELECT * FROM public.scores", "busy") == [(1,)]
