"""Memory grows with distinct users and items and the kept rows, not with the file."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import pandas as pd
import pytest

from guided_refine.data.raw import RawData
from guided_refine.data.readers import READERS

KEEP_EVERY = 1000


def write_csv(folder: Path, rows: int) -> None:
    (folder / "items.csv").write_text("item_id,title\na,A\n")
    with (folder / "interactions.csv").open("w") as stream:
        stream.write("user_id,item_id,timestamp\n")
        stream.writelines(f"u{i},{'zz' if i % KEEP_EVERY else 'a'},{i}\n" for i in range(rows))


def write_parquet(folder: Path, rows: int) -> None:
    (folder / "items.csv").write_text("item_id,title\na,A\n")
    items = ["zz" if i % KEEP_EVERY else "a" for i in range(rows)]
    frame = pd.DataFrame({"user_id": range(rows), "item_id": items, "timestamp": range(rows)})
    frame.to_parquet(folder / "interactions.parquet")


def write_amazon(folder: Path, rows: int) -> None:
    (folder / "meta_X.json").write_text(json.dumps({"asin": "a", "title": "A"}) + "\n")
    with (folder / "X.json").open("w") as stream:
        for i in range(rows):
            item = "zz" if i % KEEP_EVERY else "a"
            stream.write(
                f'{{"reviewerID": "u{i}", "asin": "{item}", "overall": 5.0, "unixReviewTime": {i}}}\n'
            )


def write_movielens(folder: Path, rows: int) -> None:
    (folder / "movies.dat").write_text("7::A (1990)::War\n")
    with (folder / "ratings.dat").open("w") as stream:
        stream.writelines(f"{i}::{9 if i % KEEP_EVERY else 7}::4::{i}\n" for i in range(rows))


@pytest.mark.parametrize(
    ("reader", "write"),
    [
        ("tables", write_csv),
        ("tables", write_parquet),
        ("amazon", write_amazon),
        ("movielens", write_movielens),
    ],
)
def test_a_larger_file_of_dropped_rows_takes_no_more_memory(reader: str, write, tmp_path: Path) -> None:
    def peak(rows: int) -> int:
        folder = tmp_path / str(rows)
        folder.mkdir()
        write(folder, rows)
        raw = RawData.empty()
        tracemalloc.start()
        READERS[reader](folder, {}, raw)
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert len(raw.events) == rows // KEEP_EVERY
        return used

    # Both fill a whole batch of the Parquet reader, whose size is fixed.
    peak(KEEP_EVERY)
    small, large = peak(40_000), peak(120_000)
    assert large - small < 100_000, "80,000 more rows, of which 80 are kept"
