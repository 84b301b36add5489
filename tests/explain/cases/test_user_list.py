"""Users from a file: the forms it may have, and clear words for the others."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from guided_refine.errors import InputError
from guided_refine.explain.cases.user_list import read_users


def names(path: Path) -> list[str]:
    return [name for name, _ in read_users(path)]


def test_one_id_a_line(tmp_path: Path) -> None:
    path = tmp_path / "users.txt"
    path.write_bytes("\ufeffu1\r\n\r\n  u 2 \r\nü3\r\nu1\r\n".encode())
    assert read_users(path) == [("u1", "line 1"), ("u 2", "line 3"), ("ü3", "line 4")]


def test_a_column_of_a_csv(tmp_path: Path) -> None:
    path = tmp_path / "users.csv"
    path.write_text('name,user_id\nA,u1\n"B\nb",007\n\nC,"u,3"\n', encoding="utf-8")
    assert read_users(path) == [("u1", "line 2"), ("007", "line 4"), ("u,3", "line 6")]


@pytest.mark.parametrize("head", ["user_id\n", ""])
def test_a_csv_of_one_column_with_and_without_a_head(tmp_path: Path, head: str) -> None:
    path = tmp_path / "users.csv"
    path.write_text(head + "u1\nu2\n", encoding="utf-8")
    assert names(path) == ["u1", "u2"]


def test_a_column_of_a_parquet_table(tmp_path: Path) -> None:
    path = tmp_path / "users.parquet"
    pd.DataFrame({"x": [0.5, 0.5], "user_id": [42, 7]}).to_parquet(path)
    assert read_users(path) == [("42", "row 1"), ("7", "row 2")]
    pd.DataFrame({"whoever": ["a", "b"]}).to_parquet(path)
    assert names(path) == ["a", "b"]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("none.txt", None, "does not exist"),
        ("empty.txt", b"\n \n", "names no user"),
        ("empty.csv", b"", "names no user"),
        ("latin.txt", b"u1\n\xff\xfe\n", "not UTF-8"),
        ("two.csv", b"a,b\n1,2\n", "no column 'user_id' (it has: a, b)"),
        ("gap.csv", b"user_id,x\nu1,1\n,2\n", "line 3: there is no user id"),
        ("broken.parquet", b"PAR1", "save it again as Parquet"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, name: str, content: bytes | None, said: str) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_users(path)
    assert said in str(caught.value) and name in str(caught.value)
    assert "delete" not in str(caught.value), "a list of one's own"


def test_a_folder_is_no_list(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a folder; --users takes a file"):
        read_users(tmp_path)


def test_a_gap_in_a_parquet_table(tmp_path: Path) -> None:
    path = tmp_path / "users.parquet"
    pd.DataFrame({"user_id": ["u1", None]}).to_parquet(path)
    with pytest.raises(InputError, match="row 2: there is no user id"):
        read_users(path)
