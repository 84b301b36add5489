"""The store on SQLite and on PostgreSQL: what was put is there, under its names, also when others write too."""

from __future__ import annotations

import itertools
import math
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from guided_refine.scoring.store import SCHEMA_VERSION, Reader, ScoreStore, StoredScore
from guided_refine.scoring.store.info import info

examples = itertools.count()
QWEN = Reader("qwen", "f" * 64, "b" * 64, "user", "p1")


def score(text: str, attribute: str = "a", value: float = 0.25, **more: object) -> StoredScore:
    return StoredScore(text, attribute, value, 0.125, "leave_one_out:x", **more)  # type: ignore[arg-type]


def test_round_trip_and_replacement(address: str) -> None:
    with ScoreStore(address) as store:
        store.put_many([score("t"), score("u"), score("t", "b")])
        store.put_many([score("t", value=0.75)])
        store.put_many([])
    with ScoreStore(address) as store:
        assert store.count() == 3
        assert store.get_many(["t", "u", "v", "t"], ["a"]) == {
            ("t", "a"): (0.75, 0.125),
            ("u", "a"): (0.25, 0.125),
        }
        assert store.get_many([], ["a"]) == store.get_many(["t"], []) == {}


def test_more_keys_than_one_query_takes(address: str) -> None:
    with ScoreStore(address) as store:
        store.put_many([score(f"t{i}", value=i / 2000) for i in range(2000)])
        found = store.get_many([f"t{i}" for i in range(2500)], ["a", "b"])
        assert list(store.read_many((f"t{i}" for i in range(2500)), ["a"])) == list(found.items())
    assert len(found) == 2000
    assert found["t1999", "a"][0] == 1999 / 2000


def test_rows_bring_back_every_name(address: str) -> None:
    with ScoreStore(address) as store:
        store.put_many(
            [score("t", "h1", 1.0, name="humour", reader=QWEN, raw="humour: 5"), score("u", "h1", 0.5)]
        )
        store.put_many([StoredScore("v", "h2", 0.0, math.nan, "other", "darkness", QWEN)])
        one, two, three = sorted(store.rows(), key=lambda row: row.value, reverse=True)
        assert (one.attribute, one.attribute_sha256, one.kind, one.model) == ("humour", "h1", "user", "qwen")
        assert (one.fingerprint, one.adapter, one.prompt) == ("f" * 64, "f" * 64, "p1")
        assert (one.value, one.spread, one.raw, one.cut_off) == (1.0, 0.125, "humour: 5", "leave_one_out:x")
        assert (two.model, two.kind, two.adapter, two.raw) == ("", "", "", None)
        assert (three.spread, three.cut_off) == (None, "other")
        assert math.isnan(store.get_many(["v"], ["h2"])["v", "h2"][1])


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(
            st.text(max_size=6), st.sampled_from("abc"), st.floats(0, 1), st.none() | st.text(max_size=9)
        ),
        max_size=30,
    ),
    st.integers(1, 7),
)
def test_a_store_is_a_dictionary(
    address: str, scores: list[tuple[str, str, float, str | None]], size: int
) -> None:
    """Whatever is put, in whatever batches, with whatever a model may write: the last value of a pair is its value."""
    example = f"{next(examples)}:"  # the store is one for all examples
    with ScoreStore(address) as store:
        for begin in range(0, len(scores), size):
            store.put_many(score(example + t, a, v, raw=raw) for t, a, v, raw in scores[begin : begin + size])
        expected = {(example + t, a): (v, 0.125) for t, a, v, _ in scores}
        found = store.get_many([example + t for t, *_ in scores], ["a", "b", "c"])
    assert found == expected


def test_two_stores_share_one_place(address: str) -> None:
    with ScoreStore(address) as one, ScoreStore(address) as other:
        one.put_many([score("t")])
        assert other.get_many(["t"], ["a"])
        other.put_many([score("u")])
        assert one.count() == 2


def test_many_threads_write_the_same_and_other_scores(address: str) -> None:
    """Eight stores at once, half of their rows the same ones and each in an order of its own: nobody fails."""
    faults: list[BaseException] = []

    def work(number: int) -> None:
        try:
            with ScoreStore(address) as store:
                for batch in range(5):
                    rows = [score(f"shared{i}", f"a{number % 3}") for i in range(40)]
                    rows += [score(f"{number}:{batch}:{i}") for i in range(10)]
                    store.put_many(rows[::-1] if number % 2 else rows)
        except BaseException as error:
            faults.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults
    with ScoreStore(address) as store:
        assert store.count() == 8 * 5 * 10 + 40 * 3
        assert info(store)["version"] == SCHEMA_VERSION


def test_claims_keep_others_out_until_the_scores_are_there(address: str) -> None:
    with ScoreStore(address) as one, ScoreStore(address) as other:
        assert one.claim(["t", "u"], ["a"]).granted == {"t", "u"}
        assert one.claim(["t"], ["a"]).granted == {"t"}
        assert other.claim(["t", "u", "v"], ["a", "b"]).granted == {"v"}
        assert info(other)["working"] == 3
        one.put_many([score("t")])
        claim = other.claim(["t", "u"], ["a"])
        assert (claim.granted, claim.scores) == (frozenset(), {("t", "a"): (0.25, 0.125)})
        # Of "t" another attribute may be computed; not together with the one that is there, unless asked for.
        assert not other.claim(["t"], ["a", "b"]).granted
        assert other.claim(["t"], ["a", "b"], partly=True).granted == {"t"}
        assert not one.claim(["t"], ["b"]).granted
        one.close()
        assert other.claim(["u"], ["a"]).granted == {"u"}
    with ScoreStore(address) as store:
        assert info(store)["working"] == 0


def test_a_claim_of_nothing(address: str) -> None:
    with ScoreStore(address) as store:
        assert store.claim([], ["a"]).granted == frozenset()
        assert store.claim(["t"], []).granted == {"t"}


@pytest.mark.parametrize("folder", ["q?x", "a#b", "100%41", "a b&c=d"])
def test_every_path_is_taken_as_it_is(tmp_path: Path, folder: str) -> None:
    path = tmp_path / folder / "s.sqlite"
    with ScoreStore(path) as store:
        store.put_many([score("t")])
    assert path.exists()
    assert [p.name for p in tmp_path.iterdir()] == [folder]
    with ScoreStore(str(path)) as store:
        assert store.count() == 1


def test_a_score_takes_few_bytes(tmp_path: Path) -> None:
    """Ten attributes a text: the first version took 240 bytes a score."""
    with ScoreStore(tmp_path / "s.sqlite") as store:
        for batch in range(20):
            store.put_many(score(f"{batch}:{i}", f"a{a}", 1 / 3) for i in range(100) for a in range(10))
        assert info(store)["scores"] == 20_000
    assert (tmp_path / "s.sqlite").stat().st_size < 20_000 * 55
