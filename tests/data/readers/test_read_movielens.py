"""MovieLens in its four layouts, with their quirks: `::`, latin-1, flags, articles at the end, zip archives."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pandas as pd
import pytest

from guided_refine.data.prepare import prepare
from guided_refine.errors import InputError

TITLES = ["Lamp, The (1994)", "Été, L' (Summer, The) (1995)", "Quiet: A Story (1996)"]
EXPECTED = ["The Lamp (1994)", "L'Été (The Summer) (1995)", "Quiet: A Story (1996)"]
RATINGS = [(1, 3, 4, 30), (1, 1, 5, 10), (2, 2, 3, 5), (1, 2, 2, 20), (2, 9, 1, 6)]


def layout_100k(folder: Path) -> None:
    def flags(*on: int) -> str:
        return "|".join("1" if at in on else "0" for at in range(19))

    genres = [flags(5, 8), flags(1), flags(0)]
    lines = [
        f"{n}|{t}|01-Jan-1994||http://x/{n}|{g}"
        for n, (t, g) in enumerate(zip(TITLES, genres, strict=True), start=1)
    ]
    (folder / "u.item").write_bytes(("\n".join(lines) + "\n\n").encode("latin-1"))
    (folder / "u.data").write_text("".join("\t".join(map(str, row)) + "\n" for row in RATINGS))


def layout_1m(folder: Path) -> None:
    genres = ["Comedy|Drama", "Action", ""]
    lines = [f"{n}::{t}::{g}" for n, (t, g) in enumerate(zip(TITLES, genres, strict=True), start=1)]
    (folder / "movies.dat").write_bytes("\n".join(lines).encode("latin-1"))
    (folder / "ratings.dat").write_text("".join("::".join(map(str, row)) + "\n" for row in RATINGS))
    (folder / "users.dat").write_text("1::F::1::10::48067\n")


def layout_10m(folder: Path) -> None:
    layout_1m(folder)
    (folder / "movies.dat").write_bytes((folder / "movies.dat").read_bytes().decode("latin-1").encode())


def layout_csv(folder: Path) -> None:
    genres = ["Comedy|Drama", "Action", "(no genres listed)"]
    movies = pd.DataFrame({"movieId": [1, 2, 3], "title": TITLES, "genres": genres})
    movies.to_csv(folder / "movies.csv", index=False)
    pd.DataFrame(RATINGS, columns=["userId", "movieId", "rating", "timestamp"]).to_csv(
        folder / "ratings.csv", index=False
    )
    (folder / "tags.csv").write_text("userId,movieId,tag,timestamp\n1,1,funny,1\n")


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("layout", [layout_100k, layout_1m, layout_10m, layout_csv])
def test_every_layout_gives_the_same_dataset(layout, zipped: bool, tmp_path: Path) -> None:
    folder = tmp_path / "ml-x"
    folder.mkdir()
    layout(folder)
    source = folder
    if zipped:
        source = tmp_path / "ml-x.zip"
        with zipfile.ZipFile(source, "w") as archive:
            for path in sorted(folder.iterdir()):
                archive.write(path, f"ml-x/{path.name}")
    info = prepare("movielens", source, tmp_path / "out")
    items = pd.read_parquet(tmp_path / "out/items.parquet")
    rows = pd.read_parquet(tmp_path / "out/interactions.parquet")
    assert items["title"].tolist() == EXPECTED
    assert items["year"].tolist() == ["1994", "1995", "1996"]
    assert items["text"].tolist() == [
        f"{EXPECTED[0]}; genres: Comedy, Drama",
        f"{EXPECTED[1]}; genres: Action",
        EXPECTED[2],
    ]
    assert rows["item_id"].tolist() == ["1", "2", "3", "2"]
    assert rows["timestamp"].tolist() == [10, 20, 30, 5]
    assert rows["rating"].tolist() == [5, 2, 4, 3]
    assert info["dropped"]["unknown item"]["rows"] == 1


def test_a_title_may_hold_the_separator(tmp_path: Path) -> None:
    (tmp_path / "movies.dat").write_text("1::Odd::Title (1990)::Drama\n2::B (1991)::War\n3::C (1992)::War\n")
    (tmp_path / "ratings.dat").write_text("1::1::5::1\n1::2::5::2\n1::3::5::3\nbroken\n")
    info = prepare("movielens", tmp_path, tmp_path / "out")
    assert pd.read_parquet(tmp_path / "out/items.parquet")["title"][0] == "Odd::Title (1990)"
    assert info["dropped"] == {"row without 4 values": {"rows": 1, "first": "ratings.dat row 4: 'broken'"}}


def test_another_folder_is_refused_with_what_was_found(tmp_path: Path) -> None:
    (tmp_path / "data.txt").write_text("x")
    with pytest.raises(InputError, match=r"is not MovieLens: expected u\.data.*found: data\.txt"):
        prepare("movielens", tmp_path, tmp_path / "out")


def test_a_damaged_archive_is_named(tmp_path: Path) -> None:
    (tmp_path / "ml.zip").write_bytes(b"PK\x03\x04 cut")
    with pytest.raises(InputError, match=r"ml\.zip is damaged or cut off"):
        prepare("movielens", tmp_path / "ml.zip", tmp_path / "out")
