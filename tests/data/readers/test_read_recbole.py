"""RecBole atomic files: typed headers, token sequences, named fields, broken rows."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from guided_refine.config import DataConfig
from guided_refine.data.prepare import prepare
from guided_refine.errors import InputError

INTER = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
ITEM = "item_id:token\tmovie_title:token_seq\trelease_year:token\tgenre:token_seq\tvector:float_seq\n"


def write(folder: Path, inter: str, item: str) -> Path:
    folder.mkdir()
    (folder / "x.inter").write_text(inter, encoding="utf-8")
    (folder / "x.item").write_text(item, encoding="utf-8")
    return folder


def test_atomic_files(tmp_path: Path) -> None:
    item = (
        ITEM
        + '1\tRed Lamp\t1994\tComedy Drama\t0.1 0.2\n2\tBlue Lamp\t\t\t0 0\n3\tQuiet "Sea"\t1996\tWar\t0 1\n'
    )
    inter = INTER + "a\t3\t4.0\t30.0\na\t1\t5.0\t1e1\na\t2\t\t20\nbroken\n"
    info = prepare("recbole", write(tmp_path / "in", inter, item), tmp_path / "out")
    items = pd.read_parquet(tmp_path / "out/items.parquet")
    rows = pd.read_parquet(tmp_path / "out/interactions.parquet")
    assert rows["item_id"].tolist() == ["1", "2", "3"]
    assert items["text"].tolist() == [
        "Red Lamp; release year: 1994; genre: Comedy, Drama",
        "Blue Lamp",
        'Quiet "Sea"; release year: 1996; genre: War',
    ]
    assert info["dropped"]["row without 4 values"] == {"rows": 1, "first": "x.inter row 5: 'broken'"}


def test_fields_may_be_named_and_the_file_given(tmp_path: Path) -> None:
    inter = "uid:token\tsku:token\twhen:float\nu\tb\t2\nu\ta\t1\nu\tc\t3\n"
    folder = write(tmp_path / "in", inter, "sku:token\tlabel:token\na\tA\nb\tB\nc\tC\n")
    fields = {"user": "uid", "item": "sku", "time": "when", "title": "label"}
    prepare("recbole", folder / "x.inter", tmp_path / "out", options=DataConfig(options=fields))
    assert pd.read_parquet(tmp_path / "out/interactions.parquet")["item_id"].tolist() == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("inter", "item", "message"),
    [
        ("user_id\titem_id\nu\t1\n", ITEM, r"x\.inter row 1: 'user_id' is not a field header"),
        (INTER, "item_id:token\tyear:token\n1\t1990\n", r"has no title field \(found: item_id, year\)"),
        (
            "user_id:token\titem_id_list:token_seq\n",
            ITEM,
            r"x\.inter has no column 'item_id' \(found: user_id",
        ),
        (INTER, "", r"x\.item is empty"),
    ],
)
def test_faults(tmp_path: Path, inter: str, item: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        prepare("recbole", write(tmp_path / "in", inter, item), tmp_path / "out")


def test_no_item_file(tmp_path: Path) -> None:
    (tmp_path / "x.inter").write_text(INTER)
    with pytest.raises(InputError, match=r"has no \*\.item file \(found: x\.inter\)"):
        prepare("recbole", tmp_path, tmp_path / "out")
