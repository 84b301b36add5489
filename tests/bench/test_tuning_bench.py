"""The tuning bench runs and its rows keep the contract."""

from __future__ import annotations

from typing import Literal

import pytest

from guided_refine.bench.tuning import run


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_rows_keep_the_contract(dtype: Literal["float32", "bfloat16"]) -> None:
    rows = run(quick=True, threads=1, dtype=dtype)
    assert [row["case"].partition(", ")[2].rpartition(", ")[0].rpartition(", ")[0] for row in rows] == [
        "whole steps",
        "whole steps, gradient checkpointing",
        "pieces of 8",
    ]
    for row in rows:
        assert (
            row["case"].endswith(dtype)
            and row["name"] == "tuning"
            and row["unit"] == "tokens/s"
            and row["ours"] > 0
        )
        assert row["peer"] is row["ratio"] is row["equal_results"] is None
        assert row["share_of_matmul_rate"] > 0 and row["peak_memory_mib"] > 0
