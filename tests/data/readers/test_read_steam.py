"""Steam in both layouts: literals, nested reviews, spoken dates, games without an id."""

from __future__ import annotations

import gzip
import math
from pathlib import Path

import pandas as pd
import pytest

from guided_refine.data.prepare import prepare
from guided_refine.data.readers.steam import posted
from guided_refine.errors import InputError

GAMES = [
    {"publisher": "P", "genres": ["Action", "Indie"], "app_name": "Orbit", "title": "Orbit", "id": "10",
     "url": "http://store/app/10/Orbit/", "tags": ["Fast"], "reviews_url": "http://r", "specs": ["Single-player"],
     "price": 4.99, "early_access": False, "release_date": "2010-01-01", "developer": "D", "sentiment": "Positive"},
    {"app_name": "Marsh &amp; Mire", "url": "http://store/app/20/Marsh/", "price": "Free to Play", "genres": ["RPG"]},
    {"app_name": "Vale", "title": "Vale", "id": "30", "genres": ["RPG"]},
    {"app_name": None, "url": "http://store/other"},
]  # fmt: skip


def write(path: Path, records: list[dict[str, object]]) -> None:
    data = "".join(f"{record!r}\n" for record in records).encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


def australian(folder: Path) -> Path:
    folder.mkdir()
    write(folder / "steam_games.json.gz", GAMES)
    when = ("Posted November 5, 2011.", "Posted July 15, 2010.", "Posted December 1, 2012.")
    reviews = [
        {"funny": "", "posted": day, "item_id": item, "recommend": like, "review": "it's \u2665"}
        for day, item, like in zip(when, ("10", "20", "30"), (True, False, True), strict=True)
    ]
    undated = {"posted": "Posted August 22.", "item_id": "10", "recommend": True}
    nonsense = {"posted": "Posted Smarch 1, 2011.", "item_id": "10", "recommend": True}
    users = [
        {"user_id": "u", "user_url": "x", "reviews": reviews},
        {"user_id": "v", "reviews": [undated, nonsense]},
    ]
    write(folder / "australian_user_reviews.json.gz", users)
    return folder


def test_nested_reviews_with_spoken_dates(tmp_path: Path) -> None:
    info = prepare("steam", australian(tmp_path / "in"), tmp_path / "out")
    items = pd.read_parquet(tmp_path / "out/items.parquet")
    rows = pd.read_parquet(tmp_path / "out/interactions.parquet")
    assert rows["item_id"].tolist() == ["20", "10", "30"]
    assert rows["rating"].tolist() == [0, 1, 1]
    assert rows["timestamp"][1] == 1320451200
    assert items["title"].tolist() == ["Orbit", "Marsh & Mire", "Vale"]
    assert items["text"][0] == (
        "Orbit; genres: Action, Indie; tags: Fast; specs: Single-player; developer: D; publisher: P; "
        "release date: 2010-01-01; price: 4.99"
    )
    assert {reason: d["rows"] for reason, d in info["dropped"].items()} == {
        "unparsable time": 1,
        "no time": 1,
    }
    assert info["noted"]["item without an id"]["rows"] == 1


def test_one_review_per_line(tmp_path: Path) -> None:
    write(tmp_path / "steam_games.json", GAMES)
    rows = [
        {
            "username": "Ann",
            "product_id": item,
            "date": day,
            "hours": 2.5,
            "page": 1,
            "early_access": False,
            "text": "t",
        }
        for item, day in (("30", "2017-12-31"), ("10", "2016-01-02"), ("20", "2016-01-02"))
    ]
    write(tmp_path / "steam_reviews.json", rows)
    prepare("steam", tmp_path / "steam_reviews.json", tmp_path / "out")
    frame = pd.read_parquet(tmp_path / "out/interactions.parquet")
    assert frame["item_id"].tolist() == ["10", "20", "30"]
    assert frame["user_id"].unique().tolist() == ["Ann"]
    assert "rating" not in frame


def test_dates() -> None:
    assert posted("Posted May 1, 2015.") == posted("2015-05-01") == pd.Timestamp("2015-05-01").timestamp()
    assert math.isnan(posted(None))
    for wrong in ("Posted February 30, 2011.", "Posted Smarch 3, 2011.", "yesterday"):
        with pytest.raises(ValueError):
            posted(wrong)


def test_without_games_nothing_can_be_described(tmp_path: Path) -> None:
    folder = australian(tmp_path / "in")
    (folder / "steam_games.json.gz").unlink()
    with pytest.raises(InputError, match="has no game metadata"):
        prepare("steam", folder, tmp_path / "out")


def test_a_nested_review_that_is_no_record_is_counted(tmp_path: Path) -> None:
    folder = australian(tmp_path / "in")
    good = [
        {"posted": f"Posted May {day}, 2011.", "item_id": i} for day, i in ((1, "10"), (2, "20"), (3, "30"))
    ]
    write(folder / "australian_user_reviews.json.gz", [{"user_id": "w", "reviews": [*good, 5, None, "x"]}])
    info = prepare("steam", folder, tmp_path / "out")
    assert info["interactions"] == 3
    assert info["dropped"]["review that is not a record"] == {
        "rows": 3,
        "first": "australian_user_reviews.json.gz row 1: 5",
    }
    assert info["rows_read"] == 6
