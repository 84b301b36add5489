"""Amazon 2014, 2018, 2023: literals and JSON, entities, lists in lists, items listed twice, milliseconds."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from guided_refine.data.prepare import prepare
from guided_refine.errors import InputError


def write(path: Path, lines: list[Any]) -> None:
    text = "".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())


def review_2014(user: str, item: str, when: int, stars: float = 5.0) -> dict[str, Any]:
    text = {"reviewText": "ok", "summary": "s", "reviewTime": "01 1, 2014", "helpful": [0, 0]}
    return {"reviewerID": user, "asin": item, "overall": stars, "unixReviewTime": when, **text}


def folder_2014(folder: Path) -> Path:
    folder.mkdir()
    write(
        folder / "meta_Toys.json.gz",
        [
            "{'asin': '0001', 'title': \"Bear &amp; Cub's tale\", 'categories': [['Toys', 'Plush'], ['Toys']], "
            "'imUrl': 'http://x/y.jpg', 'related': {'also_bought': ['0002']}, 'salesRank': {'Toys': 3}, "
            "'brand': 'by Acme', 'price': 9.5, 'description': 'Soft.<br>Washable; safe.'}",
            "{'asin': '0002', 'categories': [['Toys']]}",
            "{'asin': '0003', 'title': 'Kite'}",
            "{'asin': '0003', 'title': 'Kite, listed again'}",
            "{'asin': ",
        ],
    )
    rows = [("u", "0003", 30), ("u", "0001", 10), ("u", "0002", 20), ("v", "9999", 5), ("u", "0001", 10)]
    write(folder / "reviews_Toys_5.json.gz", [review_2014(*row) for row in rows] + ["not json"])
    return folder


def folder_2018(folder: Path) -> Path:
    folder.mkdir()
    item = {
        "asin": "0001", "title": "Bear", "category": ["Toys", "Plush"], "brand": "Acme", "rank": "1,234 in Toys",
        "also_buy": ["0002"], "also_view": [], "feature": ["Soft", "Small"], "description": ["Line one", ""],
        "tech1": "<div>x</div>", "fit": "", "main_cat": "<img src='x' alt='Toys'/>", "similar_item": "y",
        "details": {"\n Product Dimensions: \n": "1 x 1", "Shipping Weight:": "1 lb", "ASIN:": "0001"},
        "imageURL": ["http://x"], "date": "May 5, 2014", "price": "$3.99",
    }  # fmt: skip
    write(
        folder / "meta_Toys.json.gz",
        [item, {"asin": "0002", "title": "Kite"}, {"asin": "0003", "title": "Ball"}],
    )
    write(folder / "Toys.json.gz", [review_2014("u", f"000{k}", 10 * k) for k in (3, 1, 2)])
    return folder


def folder_2023(folder: Path) -> Path:
    folder.mkdir()
    item = {
        "main_category": "Toys", "title": "Bear", "average_rating": 4.5, "rating_number": 9, "features": ["Soft"],
        "description": ["A bear."], "price": None, "images": [{"hi_res": "http://x"}], "videos": [], "store": "Acme",
        "categories": ["Toys"], "details": {"Material": "Plush", "Best Sellers Rank": {"Toys": 3}},
        "parent_asin": "P1", "bought_together": None,
    }  # fmt: skip
    write(
        folder / "meta_Toys.jsonl",
        [item, {"parent_asin": "P2", "title": "Kite"}, {"parent_asin": "P3", "title": "Ball"}],
    )
    rows = [
        {"user_id": "u", "asin": f"C{k}", "parent_asin": f"P{k}", "rating": 5.0, "timestamp": 1588687728923 + k * 1000,
         "title": "nice", "text": "t"}
        for k in (2, 1, 3)
    ]  # fmt: skip
    write(folder / "Toys.jsonl", rows)
    return folder


def read(folder: Path, out: Path, **options: Any) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, Any]]:
    info = prepare("amazon", folder, out, **options)
    return pd.read_parquet(out / "items.parquet"), pd.read_parquet(out / "interactions.parquet"), info


def test_2014(tmp_path: Path) -> None:
    items, rows, info = read(folder_2014(tmp_path / "in"), tmp_path / "out")
    assert rows["item_id"].tolist() == ["0001", "0002", "0003"]
    assert items["title"].tolist() == ["Bear & Cub's tale", "0002", "Kite"]
    assert items["text"][0] == (
        "Bear & Cub's tale; brand: Acme; categories: Toys, Plush; price: 9.5; description: Soft. Washable, safe."
    )
    assert items["text"][1] == "categories: Toys"
    assert {reason: d["rows"] for reason, d in info["dropped"].items()} == {
        "unknown item": 1,
        "row that is neither JSON nor a Python dictionary": 1,
        "exact duplicate": 1,
    }
    assert info["noted"]["item listed more than once (first kept)"]["rows"] == 1


def test_2018(tmp_path: Path) -> None:
    items, rows, _ = read(folder_2018(tmp_path / "in"), tmp_path / "out", strict=True)
    assert rows["item_id"].tolist() == ["0001", "0002", "0003"]
    assert items["text"][0] == (
        "Bear; brand: Acme; categories: Toys, Plush; price: $3.99; features: Soft, Small; description: Line one"
    )


def test_2023_counts_items_by_parent_and_times_in_seconds(tmp_path: Path) -> None:
    items, rows, _ = read(folder_2023(tmp_path / "in"), tmp_path / "out", strict=True)
    assert rows["item_id"].tolist() == ["P1", "P2", "P3"]
    assert rows["timestamp"].tolist() == pytest.approx([1588687729.923, 1588687730.923, 1588687731.923])
    text = items["text"][0]
    assert "Material Plush" in text
    for leak in ("4.5", "rank", "Rank", "http"):
        assert leak not in text


def test_one_review_file_finds_its_own_metadata(tmp_path: Path) -> None:
    folder = folder_2018(tmp_path / "in")
    write(folder / "meta_Garden.json.gz", [{"asin": "0009", "title": "Rake"}])
    _, _, info = read(folder / "Toys.json.gz", tmp_path / "out")
    assert info["catalog"]["listed"] == 3


def test_code_in_a_literal_is_never_run(tmp_path: Path) -> None:
    folder, mark = folder_2018(tmp_path / "in"), tmp_path / "mark"
    with gzip.open(folder / "Toys.json.gz", "at") as stream:
        stream.write(f"__import__('pathlib').Path({str(mark)!r}).touch()\n")
    _, _, info = read(folder, tmp_path / "out")
    assert not mark.exists()
    assert info["dropped"]["row that is neither JSON nor a Python dictionary"]["rows"] == 1


def test_missing_metadata_or_a_cut_archive_is_told(tmp_path: Path) -> None:
    folder = folder_2018(tmp_path / "in")
    data = (folder / "Toys.json.gz").read_bytes()
    (folder / "Toys.json.gz").write_bytes(data[:-12])
    with pytest.raises(InputError, match=r"Toys\.json\.gz is damaged or cut off"):
        read(folder, tmp_path / "out")
    (folder / "meta_Toys.json.gz").unlink()
    with pytest.raises(InputError, match=r"has no metadata file \(meta_\*"):
        read(folder, tmp_path / "out")
