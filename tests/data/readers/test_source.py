"""Comma-separated files: what is read as the standard says, what stops, and in which row."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from guided_refine.data.readers.source import (
    Source,
    SourceFile,
    csv_rows,
    need_columns,
    source_paths,
)
from guided_refine.errors import InputError


def read(folder: Path, text: str | bytes) -> tuple[list[str], list[tuple[int, list[str]]], list[object]]:
    """Header, rows and faults of a csv file."""
    path = folder / "t.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    faults: list[object] = []
    header, rows = csv_rows(SourceFile(path), lambda *fault: faults.append(fault))
    return header, list(rows), faults


def test_the_folder_itself_comes_before_its_subfolders(tmp_path: Path) -> None:
    for name in ("t.csv", "inner/t.parquet", "run/t.csv", "run/manifest.json", ".git/t.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    source = Source(tmp_path, "tables")
    assert source.need("t.parquet", "t.csv").path == tmp_path / "t.csv"
    assert source_paths(tmp_path) == [tmp_path / "t.csv", tmp_path / "inner/t.parquet"]


def test_what_lies_beside_a_single_file_and_may_belong_to_it(tmp_path: Path) -> None:
    for name in ("events.csv", "items.csv.gz", "notes.md", "holiday.jpg"):
        (tmp_path / name).write_text("")
    assert [p.name for p in source_paths(tmp_path / "events.csv")] == ["events.csv", "items.csv.gz"]


@given(
    table=st.lists(
        st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0")), min_size=3, max_size=3),
        max_size=6,
    )
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
def test_what_the_csv_module_writes_comes_back(tmp_path: Path, table: list[list[str]]) -> None:
    stream = io.StringIO(newline="")
    csv.writer(stream).writerows([["a", "b", "c"], *table])
    header, rows, faults = read(tmp_path, stream.getvalue())
    assert header == ["a", "b", "c"] and not faults
    assert rows == [(row, values) for row, values in enumerate(table, start=2)]


@pytest.mark.parametrize(
    ("body", "row", "lines"),
    [
        ('u,"b,2\nu,a,1\nu,c,3\n', 3, 3),
        ('u,"b,2\nu,a,1\nv,"c",3\n', 3, 3),
        ('u,"b,2\nu,",1\nu,c,3\n', 3, None),
        ('u,"b\nu",1,5\nu,c,3\n', 3, 2),
        ('u,b,2\nu,c,3\nu,"d,4\n', 5, 1),
        ('u,b,2\nu,c,3\nu,d,"4', 5, 1),
    ],
)
def test_an_open_quote_stops_with_its_row(tmp_path: Path, body: str, row: int, lines: int | None) -> None:
    text = 'user_id,item_id,timestamp\n"w","a\n""b""",1\n' + body
    if lines is None:
        # Legal: a value with a comma and a line break in quotes.
        assert read(tmp_path, text)[1][1] == (3, ["u", "b,2\nu,", "1"])
        return
    reach = f" and takes up {lines} lines" if lines > 1 else ""
    with pytest.raises(InputError) as caught:
        read(tmp_path, text)
    assert f't.csv row {row}: a quote (") opens here{reach}, but' in str(caught.value)


def test_an_open_quote_in_a_large_file_is_no_question_of_its_length(tmp_path: Path) -> None:
    text = 'a,b\n1,2\n3,"4\n' + "5,6\n" * 5_000_000
    with pytest.raises(InputError, match=r't\.csv row 3: a quote \("\) opens here and takes up [\d,]+ lines'):
        read(tmp_path, text)


def test_quotes_inside_one_line_lose_nothing(tmp_path: Path) -> None:
    _, rows, faults = read(tmp_path, 'a,b\n1,"Weird Al" Yankovic\n2,5" disc\n3,"x"\n')
    assert rows == [(2, ["1", "Weird Al Yankovic"]), (3, ["2", '5" disc']), (4, ["3", "x"])]
    assert not faults


def test_a_value_that_is_too_long_names_its_row(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"t\.csv row 3: a value is longer than 16,777,216 characters"):
        read(tmp_path, "a,b\n1,2\n3," + "x" * ((1 << 24) + 1) + "\n")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-16-le", "utf-32"])
def test_utf16_is_told_and_how_to_convert_it(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "a b").mkdir()
    mark = "\ufeff" if encoding == "utf-16-be" else ""
    with pytest.raises(InputError, match=r"iconv -f utf-(16|16le|32) -t utf-8 '.*/a b/t\.csv' > NEW"):
        read(tmp_path / "a b", (mark + "user_id,item_id\nu,a\n").encode(encoding))


def test_columns_that_lack_or_stand_twice(tmp_path: Path) -> None:
    file = SourceFile(tmp_path / "t.csv")
    remedy = "name it with columns: {{user_id: {}}}"
    for header, said in (
        (["usr", "item_id"], "did you mean 'usr'? name it with columns: {user_id: usr}"),
        (["x", "y"], "(found: x, y); name it with columns: {user_id: YOURS}"),
        (["user_id;item_id"], "must be comma-separated, but seems to be separated by semicolons"),
        (["user_id\titem_id"], "separated by tabs"),
        (["user_id", "user_id"], "has the column 'user_id' more than once"),
    ):
        with pytest.raises(InputError) as caught:
            need_columns(file, header, "user_id", remedy=remedy)
        assert said in str(caught.value)
