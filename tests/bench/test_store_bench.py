"""The store's bench runs, keeps the contract, and both layouts give back the same scores."""

from __future__ import annotations

from guided_refine.bench import BENCHES
from guided_refine.bench.store import run


def test_rows_keep_the_contract() -> None:
    rows = run(quick=True)
    assert len(rows) == 5 and "store" in BENCHES
    for row in rows:
        assert {
            "name",
            "case",
            "ours",
            "peer",
            "peer_name",
            "unit",
            "ratio",
            "equal_results",
            "machine",
        } <= set(row)
        assert row["ours"] > 0
    size = rows[-1]
    assert size["equal_results"] is True and size["ratio"] > 3
