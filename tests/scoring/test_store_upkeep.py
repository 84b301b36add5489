"""What a store holds, what is wrong with it, what may go, and what an older store becomes."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

import pandas as pd
import pytest
from sqlalchemy import text

from guided_refine.errors import InputError
from guided_refine.scoring.store import Reader, ScoreStore, StoredScore
from guided_refine.scoring.store.clearing import Reference, clear
from guided_refine.scoring.store.export import export
from guided_refine.scoring.store.info import format_info, info
from guided_refine.scoring.store.verify import verify

PLAIN = Reader("qwen", "plain", "plain", "item", "p")
TUNED = Reader("qwen", "tuned", "plain", "user", "p")


def fill(store: ScoreStore) -> None:
    """Two models, two attributes, ten texts each: 40 scores."""
    for reader in (PLAIN, TUNED):
        store.put_many(
            StoredScore(f"{reader.fingerprint}{i}", key, i / 10, 0.1, "cut", name, reader)
            for i in range(10)
            for key, name in (("h", "humour"), ("d", "darkness"))
        )


def sql(store: ScoreStore, statement: str) -> None:
    with store.writing() as connection:
        schema = "guided_refine." if connection.dialect.name == "postgresql" else ""
        connection.execute(text(statement.format(schema=schema)))


def test_info_counts_by_model_adapter_kind_and_attribute(address: str) -> None:
    with ScoreStore(address) as store:
        assert info(store)["scores"] == 0 and "0 scores" in format_info(info(store))
        fill(store)
        facts = info(store)
        shown = format_info(facts)
    groups = {(g["adapter"], g["kind"], g["attribute"]): g["scores"] for g in facts["groups"]}
    assert groups == {
        (a, k, n): 10 for a, k in (("", "item"), ("tuned", "user")) for n in ("humour", "darkness")
    }
    assert facts["scores"] == 40 and facts["bytes"] > 0 and facts["cut_offs"] == ["cut"]
    assert all(abs(g["first"] - time.time()) < 600 and g["first"] <= g["last"] for g in facts["groups"])
    assert "40 scores" in shown and "qwen, adapter tuned, user" in shown and "humour" in shown


@pytest.mark.parametrize("ending", [".parquet", ".csv", ".csv.gz"])
def test_an_export_holds_every_score_under_its_names(address: str, tmp_path: Path, ending: str) -> None:
    target = tmp_path / f"scores{ending}"
    with ScoreStore(address) as store:
        fill(store)
        store.put_many(
            [StoredScore("x", "h", 1 / 3, float("nan"), "cut", "humour", PLAIN, 'a "quoted",\nanswer')]
        )
        assert export(store, target) == 41
    frame = pd.read_parquet(target) if ending == ".parquet" else pd.read_csv(target)
    assert len(frame) == 41 and set(frame["attribute"]) == {"humour", "darkness"}
    assert frame.groupby("fingerprint")["value"].sum().to_dict() == pytest.approx(
        {"plain": 9 + 1 / 3, "tuned": 9.0}
    )
    assert (pd.to_datetime(frame["time"], utc=True) > pd.Timestamp("2020", tz="UTC")).all()
    row = frame[frame["raw"].notna()].iloc[0]
    assert row["value"] == 1 / 3 and pd.isna(row["spread"]) and row["raw"] == 'a "quoted",\nanswer'


def test_an_export_to_something_else_is_refused(tmp_path: Path) -> None:
    with ScoreStore(tmp_path / "s.sqlite") as store, pytest.raises(InputError, match="must end in"):
        export(store, tmp_path / "scores.xlsx")


@pytest.mark.parametrize(
    ("spoil", "found"),
    [
        ("UPDATE {schema}scores SET value = 1.5 WHERE text = 1", ["scores with a value outside [0, 1]"]),
        ("UPDATE {schema}scores SET spread = -0.1 WHERE text = 1", ["scores with a spread outside [0, 0.5]"]),
        ("UPDATE {schema}scores SET time = 0 WHERE text = 1", ["scores from the future or without a time"]),
        ("UPDATE {schema}scores SET cut_off = 99 WHERE text = 1", ["scores whose split is not there"]),
        ("DELETE FROM {schema}texts WHERE id = 1", ["scores whose text is not there"]),
    ],
)
def test_verify_finds_faults_and_mends_them(address: str, spoil: str, found: list[str]) -> None:
    with ScoreStore(address) as store:
        fill(store)
        assert verify(store) == []
        sql(store, spoil)
        findings = verify(store, mend=True)
        assert [finding.what for finding in findings] == found and findings[0].rows == 2
        assert verify(store) == [] and store.count() == 38


def test_verify_finds_lost_attributes_and_readers(address: str) -> None:
    with ScoreStore(address) as store:
        fill(store)
        sql(store, "DELETE FROM {schema}readers WHERE fingerprint = 'tuned'")
        sql(store, "DELETE FROM {schema}attributes WHERE name = 'humour'")
        assert {finding.what: finding.rows for finding in verify(store, mend=True)} == {
            "texts whose reader is not there": 10,
            "scores whose attribute is not there": 20,
        }
        assert verify(store) == [] and store.count() == 10


def test_verify_finds_a_damaged_file(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    with ScoreStore(path) as store:
        store.put_many(StoredScore(f"t{i}", "h", 0.5, 0.1, "cut") for i in range(3000))
    whole = bytearray(path.read_bytes())
    whole[-4096 * 3 :] = b"\x07" * (4096 * 3)
    path.write_bytes(bytes(whole))
    with ScoreStore(path) as store, pytest.raises(InputError, match="is damaged"):
        verify(store)


def test_clearing_counts_first_and_deletes_only_what_no_run_reads(address: str) -> None:
    with ScoreStore(address) as store:
        fill(store)
        keep = [Reference("plain", frozenset({"h", "other"})), Reference("elsewhere", frozenset({"h"}))]
        assert clear(store, keep=keep) == {"scores": 30, "of": 40, "deleted": False}
        assert store.count() == 40
        assert clear(store, keep=keep, delete_them=True)["scores"] == 30
        assert {(r.fingerprint, r.attribute_sha256) for r in store.rows()} == {("plain", "h")}
        assert verify(store) == [] and len(info(store)["groups"]) == 1
        assert clear(store, keep=keep, delete_them=True)["scores"] == 0
        # What is gone can be scored again, and takes a place of its own.
        fill(store)
        assert store.count() == 40 and verify(store) == []
        assert clear(store, keep=[], delete_them=True)["scores"] == 40 and store.count() == 0


def test_clearing_by_age_alone_and_with_runs(address: str) -> None:
    with ScoreStore(address) as store:
        fill(store)
        sql(store, f"UPDATE {{schema}}scores SET time = {int(time.time()) - 10 * 86_400} WHERE value < 0.45")
        assert clear(store, older_than_days=20)["scores"] == 0
        assert clear(store, older_than_days=9)["scores"] == 20
        keep = [Reference("plain", frozenset({"h", "d"}))]
        assert clear(store, keep=keep, older_than_days=9, delete_them=True)["scores"] == 10
        assert store.count() == 30
        with pytest.raises(InputError, match="say what may go"):
            clear(store)


def test_a_cleared_file_gives_the_disk_back(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    with ScoreStore(path) as store:
        store.put_many(StoredScore(f"t{i}", "h", 0.5, 0.1, "cut", "humour", PLAIN) for i in range(5000))
    before = path.stat().st_size
    with ScoreStore(path) as store:
        clear(store, keep=[], delete_them=True)
    assert path.stat().st_size < before / 3


def old_store(path: Path, rows: list[tuple[str, str, float]]) -> None:
    """A file as version 1 wrote it."""
    with sqlite3.connect(path) as connection:
        connection.execute(
            "CREATE TABLE scores (text VARCHAR(64) NOT NULL, attribute VARCHAR(64) NOT NULL, value FLOAT NOT NULL, "
            "spread FLOAT NOT NULL, cut_off VARCHAR(64) NOT NULL, time FLOAT NOT NULL, PRIMARY KEY (text, attribute)) "
            "WITHOUT ROWID"
        )
        connection.execute("CREATE TABLE schema_version (version INTEGER NOT NULL)")
        connection.execute("INSERT INTO schema_version VALUES (1)")
        connection.executemany("INSERT INTO scores VALUES (?, ?, ?, 0.1, 'cut', 1700000000.5)", rows)


def test_a_file_of_version_1_is_brought_up_to_date(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    h, d = ("h" * 64, "d" * 64)
    rows = [(f"{i:064}", a, i / 1000) for i in range(1000) for a in (h, d)]
    old_store(path, rows)
    before = path.stat().st_size
    with ScoreStore(path) as store:
        found = store.get_many([f"{i:064}" for i in range(1000)], [h, d])
        assert found == {(t, a): (v, 0.1) for t, a, v in rows}
        assert verify(store) == []
        assert {(g["model"], g["attribute"], g["first"]) for g in info(store)["groups"]} == {
            ("", "", 1_700_000_000)
        }
        assert "unknown model" in format_info(info(store))
        # Nobody knows whose they are, so only age clears them; names come with the first new score.
        assert clear(store, keep=[])["scores"] == 0 and clear(store, older_than_days=1)["scores"] == 2000
        store.put_many([StoredScore("new", h, 0.5, 0.1, "cut", "humour", PLAIN)])
        assert {row.attribute for row in store.rows()} == {"humour", ""}
    assert path.stat().st_size < before / 2
    with ScoreStore(path) as store:
        assert store.count() == 2001


def test_a_version_1_file_survives_a_disk_too_full_for_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from guided_refine.scoring.store import engine

    path = tmp_path / "s.sqlite"
    old_store(path, [(f"t{i}", "h", 0.5) for i in range(3000)])
    whole = engine._write_ahead

    def cramped(connection: sqlite3.Connection, seconds: float) -> None:
        whole(connection, seconds)
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count={pages + 5}")

    with monkeypatch.context() as patched:
        patched.setattr(engine, "_write_ahead", cramped)
        with pytest.raises(InputError, match="the disk is full"):
            ScoreStore(path)
    with ScoreStore(path) as store:
        assert store.count() == 3000
