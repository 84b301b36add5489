"""The reader `tables`: formats, renamed columns, extra item files, faults of single files."""

from __future__ import annotations

import gzip
from pathlib import Path

import pandas as pd
import pytest

from guided_refine.config import DataConfig
from guided_refine.data.prepare import prepare
from guided_refine.errors import InputError

ITEMS = pd.DataFrame({"item_id": [1, 2, 3], "title": ["A", "B", "C"], "genres": ["x|y", "x", None]})
ROWS = pd.DataFrame(
    {"user_id": [7] * 4, "item_id": [2, 1, 3, 2], "rating": [4.0, None, 5, 1], "timestamp": [1, 2, 3, 4]}
)


def write(folder: Path, kind: str) -> Path:
    folder.mkdir()
    for name, frame in (("items", ITEMS), ("interactions", ROWS)):
        path = folder / f"{name}.{kind}"
        if kind == "parquet":
            frame.to_parquet(path)
        else:
            frame.to_csv(path, index=False)
    return folder


def frames(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    return pd.read_parquet(folder / "items.parquet"), pd.read_parquet(folder / "interactions.parquet")


def test_parquet_csv_and_gzip_give_the_same_dataset(tmp_path: Path) -> None:
    found = []
    for kind in ("parquet", "csv", "csv.gz"):
        prepare("tables", write(tmp_path / f"in_{kind}", kind), tmp_path / f"out_{kind}")
        found.append(frames(tmp_path / f"out_{kind}"))
    for items, rows in found[1:]:
        pd.testing.assert_frame_equal(items, found[0][0])
        pd.testing.assert_frame_equal(rows, found[0][1])
    items, rows = found[0]
    assert items["text"].tolist() == ["A; genres: x, y", "B; genres: x", "C"]
    assert rows["item_id"].tolist() == ["2", "1", "3", "2"]
    assert rows["rating"].tolist()[2:] == [5.0, 1.0]


def test_the_interactions_file_may_be_named_itself(tmp_path: Path) -> None:
    folder = write(tmp_path / "in", "csv")
    (folder / "interactions.csv").rename(folder / "clicks.csv")
    assert prepare("tables", folder / "clicks.csv", tmp_path / "out")["interactions"] == 4


def test_dates_in_parquet_become_seconds(tmp_path: Path) -> None:
    folder = write(tmp_path / "in", "parquet")
    dated = ROWS.assign(timestamp=pd.to_datetime(ROWS["timestamp"], unit="D"))
    dated.to_parquet(folder / "interactions.parquet")
    prepare("tables", folder, tmp_path / "out")
    assert frames(tmp_path / "out")[1]["timestamp"].tolist() == [86400, 172800, 259200, 345600]


def test_quoted_commas_line_breaks_and_leading_zeros_survive(make_tables, tmp_path: Path) -> None:
    items = '\ufeffitem_id,title\n007,"One, ""two""\nthree"\n008,Eight\n009,Nine\n'
    source = make_tables(items=items, interactions="user_id,item_id\n0u,007\n0u,008\n0u,009\n")
    prepare("tables", source, tmp_path / "out", strict=True)
    items_out, rows = frames(tmp_path / "out")
    assert items_out["title"][0] == 'One, "two" three'
    assert rows["item_id"].tolist() == ["007", "008", "009"]
    assert rows["user_id"].unique().tolist() == ["0u"]


def test_columns_may_have_other_names(make_tables, tmp_path: Path) -> None:
    source = make_tables(
        items="sku,name\na,A\nb,B\nc,C\n", interactions="customer,sku,when\nu,b,2\nu,a,1\nu,c,2020-01-01\n"
    )
    names = {"user_id": "customer", "item_id": "sku", "title": "name", "timestamp": "when"}
    prepare("tables", source, tmp_path / "out", options=DataConfig(options={"columns": names}))
    assert frames(tmp_path / "out")[1]["item_id"].tolist() == ["a", "b", "c"]


def test_extra_item_files_fill_gaps_and_win_nothing(make_tables, tmp_path: Path) -> None:
    source = make_tables()
    extra = "item_id,genre,plot\na,other,A tale\nzz,x,Nobody\n"
    (source / "plots.csv.gz").write_bytes(gzip.compress(extra.encode()))
    info = prepare(
        "tables", source, tmp_path / "out", options=DataConfig(options={"extra_items": "plots.csv.gz"})
    )
    items = frames(tmp_path / "out")[0].set_index("item_id")
    assert items.loc["a", "text"] == "Alpha; genre: x; plot: A tale"
    assert sum(d["rows"] for d in info["noted"].values()) == 1
    with pytest.raises(InputError, match=r"has no missing\.csv \(found: interactions\.csv, items\.csv"):
        prepare(
            "tables", source, tmp_path / "x", options=DataConfig(options={"extra_items": ["missing.csv"]})
        )


def test_latin1_is_read_when_it_is_named(make_tables, tmp_path: Path) -> None:
    source = make_tables(items="item_id,title\na,Amélie\nb,B\nc,C\nd,D\n".encode("latin-1"))
    with pytest.raises(InputError, match=r"items\.csv is not UTF-8 \(row 2, byte 18 is 0xe9\)"):
        prepare("tables", source, tmp_path / "x")
    prepare("tables", source, tmp_path / "out", options=DataConfig(options={"encoding": "latin-1"}))
    assert frames(tmp_path / "out")[0]["title"][0] == "Amélie"
    with pytest.raises(InputError, match="there is no encoding 'latin-99'"):
        prepare("tables", source, tmp_path / "x", options=DataConfig(options={"encoding": "latin-99"}))


@pytest.mark.parametrize("kind", ["parquet", "csv.gz"])
def test_a_file_that_was_cut_off_is_named(tmp_path: Path, kind: str) -> None:
    folder = write(tmp_path / "in", kind)
    path = folder / f"interactions.{kind}"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InputError, match=rf"interactions\.{kind}.*(cut off|not a readable)"):
        prepare("tables", folder, tmp_path / "out")


def test_a_folder_without_the_files_lists_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/data.xlsx").write_bytes(b"")
    with pytest.raises(InputError, match=r"has no items\.parquet or items\.csv \(found: data\.xlsx\)"):
        prepare("tables", tmp_path / "in", tmp_path / "out")
