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


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"columns": {"timestamp": "whn"}},
            "no column 'whn' .*did you mean 'when'. correct data.options.columns",
        ),
        ({"columns": {"rating": "stars"}}, "interactions.csv has no column 'stars'"),
        ({"columns": {"title": "name"}}, "items.csv has no column 'name'"),
        ({"columns": {"tmestamp": "when"}}, "'tmestamp' is none of our columns: did you mean 'timestamp'"),
        ({"columns": {"timestamp": 5}}, "timestamp is 5, expected a column name"),
        ({"columns": ["when"]}, "must map our names"),
        ({"extra_items": 5}, "extra_items is 5, expected a file name or a list"),
        ({"extra_items": {"a": "b"}}, "expected a file name or a list"),
        ({"extra_items": [5]}, "expected a file name or a list"),
        ({"article_last": "no"}, "article_last is 'no', expected true or false"),
    ],
)
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_an_option_that_cannot_be_followed_stops(
    tmp_path: Path, kind: str, options: dict[str, object], said: str
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name, frame in (("items", ITEMS), ("interactions", ROWS.rename(columns={"timestamp": "when"}))):
        path = folder / f"{name}.{kind}"
        frame.to_parquet(path) if kind == "parquet" else frame.to_csv(path, index=False)
    with pytest.raises(InputError, match=said.replace(".csv", f".{kind}")):
        prepare("tables", folder, tmp_path / "out", options=DataConfig(options=options))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("items", "rows"),
    [
        ("item_id,title\na,A\nb,B\n", "user_id,item_id,user_id\nu,a,v\nu,b,v\n"),
        ("item_id,title\na,A\nb,B\n", "user_id,item_id,timestamp,timestamp\nu,a,1,2\nu,b,2,1\n"),
        ("item_id,title,title\na,A,X\nb,B,Y\n", "user_id,item_id\nu,a\nu,b\n"),
        ("item_id,title,tag,tag\na,A,X,Y\nb,B,Y,Z\n", "user_id,item_id\nu,a\nu,b\n"),
    ],
)
def test_a_column_that_stands_twice_is_refused(make_tables, tmp_path: Path, items: str, rows: str) -> None:
    with pytest.raises(InputError, match=r"(items|interactions)\.csv has the column '\w+' more than once"):
        prepare("tables", make_tables(items=items, interactions=rows), tmp_path / "out")


def test_a_byte_order_mark_does_not_hide_the_first_column(make_tables, tmp_path: Path) -> None:
    source = make_tables(items="\ufeffitem_id,title\na,A\nb,B\nc,C\nd,D\n")
    for place, options in enumerate(({}, {"encoding": "utf-8"}, {"encoding": "UTF8"})):
        info = prepare("tables", source, tmp_path / str(place), options=DataConfig(options=options))
        assert info["items"] == 4


@pytest.mark.parametrize("blank_in", ["items", "interactions"])
def test_ids_with_blanks_in_one_table_are_told(make_tables, tmp_path: Path, blank_in: str) -> None:
    def spoilt(table: str) -> str:
        return " " if table == blank_in else ""

    items = "item_id,title\n" + "".join(f"{i}{spoilt('items')},T\n" for i in "abcd")
    rows = "user_id,item_id\n" + "".join(f"u,{i}{spoilt('interactions')}\n" for i in "abcz")
    source = make_tables(items=items, interactions=rows)
    with pytest.raises(InputError, match=r"nothing is left of 4 rows.*; 3 of them match without blanks"):
        prepare("tables", source, tmp_path / "out")
    with pytest.raises(InputError, match=r"row 2: unknown item .known without the blanks"):
        prepare("tables", source, tmp_path / "out", strict=True)


def test_an_item_listed_twice_names_the_file_and_both_rows(make_tables, tmp_path: Path) -> None:
    source = make_tables(items="item_id,title\na,A\nb,B\nc,C\nb,D\n")
    with pytest.raises(InputError) as caught:
        prepare("tables", source, tmp_path / "out")
    assert f"{source / 'items.csv'} row 5: item_id 'b' occurs twice, first in row 3" in str(caught.value)


def test_a_folder_without_the_files_lists_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/data.xlsx").write_bytes(b"")
    with pytest.raises(InputError, match=r"has no items\.parquet or items\.csv \(found: data\.xlsx\)"):
        prepare("tables", tmp_path / "in", tmp_path / "out")
