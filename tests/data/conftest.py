"""Small sources, written by the tests themselves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

ITEMS = "item_id,title,genre\na,Alpha,x\nb,Beta,y\nc,Gamma,x\nd,Delta,y\n"
ROWS = "user_id,item_id,timestamp\nu,b,2\nu,a,1\nu,c,3\nv,d,1\nv,a,5\nv,b,9\n"

MakeTables = Callable[..., Path]


@pytest.fixture
def make_tables(tmp_path: Path) -> MakeTables:
    """Write a folder for the reader `tables`: make_tables(items=..., interactions=...)."""

    def make(items: str | bytes = ITEMS, interactions: str | bytes = ROWS, name: str = "source") -> Path:
        folder = tmp_path / name
        folder.mkdir()
        for file, content in (("items.csv", items), ("interactions.csv", interactions)):
            data = content.encode() if isinstance(content, str) else content
            (folder / file).write_bytes(data)
        return folder

    return make
