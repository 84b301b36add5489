"""What `data info` says, recounted by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from guided_refine.data.info import describe, format_info
from guided_refine.data.prepare import prepare
from guided_refine.errors import InputError


def test_facts_are_counted_from_the_tables(make_tables, tmp_path: Path) -> None:
    items = "item_id,title\na,Alpha\nb,\nc,Gamma\nd,Delta\n"
    rows = (
        "user_id,item_id,timestamp\nu,b,2\nu,a,86400\nu,c,3\nv,d,1\nv,a,5\nv,b,9\nv,b,10\nv,zz,11\nv,b,10\n"
    )
    prepare("tables", make_tables(items=items, interactions=rows), tmp_path / "out", name="tiny")
    facts = describe(tmp_path / "out")
    assert (facts["users"], facts["items"], facts["interactions"]) == (2, 4, 7)
    assert facts["density"] == 6 / 8, "a repeat is no further pair"
    assert (facts["history_length"]["min"], facts["history_length"]["max"]) == (3, 4)
    assert facts["text_coverage"] == {"items": 3 / 4, "interactions": 4 / 7}
    assert facts["times"] == {"first": "1970-01-01", "last": "1970-01-02"}
    assert (facts["duplicates"], facts["repeats"]) == (1, 1)
    text = format_info(facts)
    for said in (
        "tiny (reader tables)",
        "unknown item: 1 (first: interactions.csv row 9: 'zz')",
        "75 %",
        "1970-01-02",
    ):
        assert said in text


def test_a_folder_that_is_not_prepared_or_is_damaged_is_told(make_tables, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a prepared dataset"):
        describe(tmp_path)
    out = tmp_path / "out"
    prepare("tables", make_tables(), out)
    (out / "items.parquet").write_bytes((out / "items.parquet").read_bytes()[:100])
    with pytest.raises(InputError, match=r"items\.parquet is not a readable Parquet file"):
        describe(out)
