"""The scoring bench runs, its rows keep the contract, and both ways of reading give equal numbers."""

from __future__ import annotations

import pytest

from guided_refine.bench.scoring import run


@pytest.mark.slow
def test_rows_keep_the_contract() -> None:
    rows = run(items=4, repeats=1)
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
        assert row["ratio"] == pytest.approx(row["ours"] / row["peer"])
        assert row["work"]["peer_tokens"] > 0
    assert rows[1]["equal_results"] is True
