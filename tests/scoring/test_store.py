"""The store: what was put is there, also after a kill; other files are refused in one sentence."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from guided_refine.errors import InputError
from guided_refine.scoring.store import ScoreStore, StoredScore


def score(text: str, attribute: str = "a", value: float = 0.25) -> StoredScore:
    return StoredScore(text, attribute, value, 0.125, "leave_one_out:x")


def test_round_trip_and_replacement(tmp_path: Path) -> None:
    with ScoreStore(tmp_path / "s.sqlite") as store:
        store.put_many([score("t"), score("u"), score("t", "b")])
        store.put_many([score("t", value=0.75)])
        store.put_many([])
    with ScoreStore(tmp_path / "s.sqlite") as store:
        assert store.count() == 3
        assert store.get_many(["t", "u", "v", "t"], ["a"]) == {
            ("t", "a"): (0.75, 0.125),
            ("u", "a"): (0.25, 0.125),
        }
        assert store.get_many([], ["a"]) == {}


def test_more_keys_than_one_query_takes(tmp_path: Path) -> None:
    with ScoreStore(tmp_path / "s.sqlite") as store:
        store.put_many([score(f"t{i}", value=i / 5000) for i in range(5000)])
        found = store.get_many([f"t{i}" for i in range(6000)], ["a", "b"])
    assert len(found) == 5000
    assert found["t4999", "a"][0] == 4999 / 5000


CHILD = """
import sys
from guided_refine.scoring.store import ScoreStore, StoredScore
with ScoreStore(sys.argv[1]) as store:
    for batch in range(100_000):
        store.put_many(StoredScore(f"{batch}:{i}", "a", 0.5, 0.1, "x") for i in range(50))
        print(batch, flush=True)
"""


def test_a_kill_loses_the_batch_in_flight_only(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    done = -1
    for _ in range(3):
        child = subprocess.Popen([sys.executable, "-c", CHILD, str(path)], stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        for line in child.stdout:
            done = max(done, int(line))
            if int(line) >= done and int(line) > 20:
                os.kill(child.pid, signal.SIGKILL)
                break
        # Batches that were committed before the signal arrived may still stand in the pipe.
        done = max([done, *[int(x) for x in child.stdout.read().split()]])
        child.wait()
        with ScoreStore(path) as store:
            found = store.get_many([f"{b}:{i}" for b in range(done + 2) for i in range(50)], ["a"])
        for batch in range(done + 1):
            assert all((f"{batch}:{i}", "a") in found for i in range(50))
        assert sum((f"{done + 1}:{i}", "a") in found for i in range(50)) in (0, 50)
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_two_stores_share_a_file(tmp_path: Path) -> None:
    with ScoreStore(tmp_path / "s.sqlite") as one, ScoreStore(tmp_path / "s.sqlite") as other:
        one.put_many([score("t")])
        assert other.get_many(["t"], ["a"])
        other.put_many([score("u")])
        assert one.count() == 2


def test_a_locked_file_is_an_input_error(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    with ScoreStore(path, lock_seconds=0.1) as store:
        holder = sqlite3.connect(path)
        holder.execute("BEGIN EXCLUSIVE")
        with pytest.raises(InputError, match="in use by another run"):
            store.put_many([score("t")])
        holder.rollback()
        holder.close()
        store.put_many([score("t")])
        assert store.count() == 1


def test_another_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    ScoreStore(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE schema_version SET version = 99")
    with pytest.raises(InputError, match="version 99"):
        ScoreStore(path)


def test_other_files_are_refused(tmp_path: Path) -> None:
    text = tmp_path / "text.sqlite"
    text.write_text("not a database, but long enough to have a header of its own " * 20)
    with pytest.raises(InputError, match="is damaged"):
        ScoreStore(text)
    other = tmp_path / "other.sqlite"
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE films (name TEXT)")
    with pytest.raises(InputError, match="not a score store"):
        ScoreStore(other)
    with pytest.raises(InputError, match="cannot be"):
        ScoreStore(text / "inside" / "s.sqlite")


def test_a_damaged_file_is_an_input_error(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    with ScoreStore(path) as store:
        store.put_many([score(f"t{i}") for i in range(3000)])
    whole = bytearray(path.read_bytes())
    whole[4096 * 2 :] = b"\xff" * (len(whole) - 4096 * 2)
    path.write_bytes(bytes(whole))
    with pytest.raises(InputError, match="is damaged"):
        store = ScoreStore(path)
        try:
            store.get_many([f"t{i}" for i in range(3000)], ["a"])
        finally:
            store.close()


@pytest.mark.parametrize("folder", ["q?x", "a#b", "100%41", "a b&c=d"])
def test_every_path_is_taken_as_it_is(tmp_path: Path, folder: str) -> None:
    path = tmp_path / folder / "s.sqlite"
    with ScoreStore(path) as store:
        store.put_many([score("t")])
    assert path.exists()
    assert [p.name for p in tmp_path.iterdir()] == [folder]
    with ScoreStore(path) as store:
        assert store.count() == 1
