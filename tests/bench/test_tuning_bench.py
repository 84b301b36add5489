"""The tuning bench runs and its rows keep the contract."""

from __future__ import annotations

import pytest

from guided_refine.bench.tuning import run


@pytest.mark.slow
def test_rows_keep_the_contract() -> None:
    rows = run(quick=True, threads=1)
    assert [row["case"].split(", ")[1] for row in rows] == ["whole steps", "pieces of 8"]
    for row in rows:
        assert row["name"] == "tuning" and row["unit"] == "tokens/s" and row["ours"] > 0
        assert row["peer"] is row["ratio"] is row["equal_results"] is None
        assert row["share_of_matmul_rate"] > 0 and row["peak_memory_mib"] > 0
