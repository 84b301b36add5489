"""A prepared folder read again gives the same dataset."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from guided_refine.config import DataConfig
from guided_refine.data.prepare import prepare
from guided_refine.errors import InputError


@pytest.mark.parametrize("order", ["timestamp", "position"])
def test_reading_again_changes_nothing(make_tables, tmp_path: Path, order: str) -> None:
    items = "item_id,title,genre,text\na,Alpha,x,Long\nb,,y,\nc,,,\nd,Delta,y,Short\n"
    rows = f"user_id,item_id,{order}\nu,b,2\nu,a,1\nv,d,1\nu,c,3\nv,a,5\nv,b,5\n"
    first = prepare("tables", make_tables(items=items, interactions=rows), tmp_path / "one", name="x")
    second = prepare("prepared", tmp_path / "one", tmp_path / "two", name="x")
    assert first["splits"] == second["splits"]
    for table in ("items", "interactions", "splits"):
        one, two = (pd.read_parquet(tmp_path / f"{folder}/{table}.parquet") for folder in ("one", "two"))
        pd.testing.assert_frame_equal(one, two)
    assert pd.read_parquet(tmp_path / "one/items.parquet")["text"][0] == "Alpha; genre: x; about: Long"


def test_it_can_be_filtered_further(make_tables, tmp_path: Path) -> None:
    rows = (
        "user_id,item_id,timestamp\n"
        + "".join(f"u{i % 3},{'abcd'[i % 4]},{i}\n" for i in range(12))
        + "w,a,1\n"
    )
    prepare("tables", make_tables(interactions=rows), tmp_path / "one")
    info = prepare("prepared", tmp_path / "one", tmp_path / "two", options=DataConfig(k_core=3))
    assert (info["users"], info["interactions"]) == (3, 12)


def test_another_folder_is_refused(make_tables, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a prepared dataset"):
        prepare("prepared", make_tables(), tmp_path / "out")
