"""MovieLens as GroupLens distributes it: 100K (u.data), 1M and 10M (::), latest-small, 20M, 25M, 32M (csv)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from guided_refine.data.raw import RawData, Row
from guided_refine.data.readers.source import (
    OnFault,
    Source,
    SourceFile,
    csv_rows,
    known_options,
    need_columns,
)
from guided_refine.data.text import article_first
from guided_refine.errors import InputError

_GENRES_100K = (
    *("unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama"),
    *(
        "Fantasy",
        "Film-Noir",
        "Horror",
        "Musical",
        "Mystery",
        "Romance",
        "Sci-Fi",
        "Thriller",
        "War",
        "Western",
    ),
)
_YEAR = re.compile(r"\((\d{4})(?:\s*[-–]\s*(?:\d{4})?)?\)\s*$")


def read(source: Path | None, options: dict[str, Any], raw: RawData) -> None:
    """A folder or .zip as downloaded. Genres and the year become text; titles get their article in front.

    People's tags (tags.csv) are not read: they are held against the scores, not given to the model.
    """
    known_options("movielens", options, ())
    place = Source(source, "movielens")
    if place.find("u.data"):
        _read_100k(place, raw)
    elif place.find("ratings.dat"):
        _read_dat(place, raw)
    elif place.find("ratings.csv"):
        _read_csv(place, raw)
    else:
        raise InputError(
            f"{place.path} is not MovieLens: expected u.data, ratings.dat or ratings.csv "
            f"(found: {place.listing()})"
        )


def _add(raw: RawData, file: SourceFile, row: int, item_id: str, title: str, genres: list[str]) -> None:
    title = article_first(title.strip())
    year = _YEAR.search(title)
    shown = [genre for genre in genres if genre not in ("(no genres listed)", "unknown", "")]
    fields = {"genres": ", ".join(shown), "year": year[1] if year else ""}
    raw.catalog.add(file.label, row, item_id, title, fields, path=file)


def _split(
    file: SourceFile, mark: str, least: int, on_fault: OnFault, encoding: str
) -> Iterator[tuple[int, list[str]]]:
    for row, line in file.lines(encoding):
        values = line.split(mark)
        if len(values) < least:
            on_fault(f"row without {least} values", file.label, row, line)
        else:
            yield row, values


def _read_100k(place: Source, raw: RawData) -> None:
    items, ratings = place.need("u.item"), place.need("u.data")
    for row, values in _split(items, "|", 5, raw.tally.catalog_fault, items.utf8_or_latin1()):
        flags = zip(values[5:], _GENRES_100K, strict=False)
        _add(raw, items, row, values[0], values[1], [genre for flag, genre in flags if flag == "1"])
    rows = _split(ratings, "\t", 4, raw.tally.broken, "utf-8-sig")
    raw.events.extend(ratings.label, ((row, v[0], v[1], v[2], v[3], None) for row, v in rows))


def _read_dat(place: Source, raw: RawData) -> None:
    items, ratings = place.need("movies.dat"), place.need("ratings.dat")
    for row, values in _split(items, "::", 3, raw.tally.catalog_fault, items.utf8_or_latin1()):
        # A title may itself hold "::".
        _add(raw, items, row, values[0], "::".join(values[1:-1]), values[-1].split("|"))
    rows = _split(ratings, "::", 4, raw.tally.broken, "utf-8-sig")
    raw.events.extend(ratings.label, ((row, v[0], v[1], v[2], v[3], None) for row, v in rows))


def _read_csv(place: Source, raw: RawData) -> None:
    items, ratings = place.need("movies.csv"), place.need("ratings.csv")
    header, rows = csv_rows(items, raw.tally.catalog_fault)
    need_columns(items, header, "movieId", "title", "genres")
    at = [header.index(name) for name in ("movieId", "title", "genres")]
    for row, values in rows:
        _add(raw, items, row, values[at[0]], values[at[1]], values[at[2]].split("|"))
    header, rows = csv_rows(ratings, raw.tally.broken)
    need_columns(ratings, header, "userId", "movieId", "rating", "timestamp")
    user, item, rating, time = [header.index(n) for n in ("userId", "movieId", "rating", "timestamp")]

    def events() -> Iterator[Row]:
        for row, values in rows:
            yield row, values[user], values[item], values[rating], values[time], None

    raw.events.extend(ratings.label, events())
