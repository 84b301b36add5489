"""Steam (UCSD, Kang & McAuley 2018; Pathak et al. 2017): Python literals, one per line, plain or gzip.

Reviews come in two layouts: `australian_user_reviews` (one user per line with nested reviews and dates such as
"Posted November 5, 2011.") and `steam_reviews`/`steam_new` (one review per line: username, product_id, date).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from guided_refine.data.raw import RawData, Row, seconds
from guided_refine.data.readers.source import Source, SourceFile, known_options, records
from guided_refine.errors import InputError

_FIELDS = ("genres", "tags", "specs", "developer", "publisher", "release_date", "price")
_MONTHS = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)
_POSTED = re.compile(r"(?:Posted\s+)?([A-Za-z]+)\s+(\d{1,2})(?:,\s*(\d{4}))?\.?\s*$")
_APP = re.compile(r"/app/(\d+)")


def read(source: Path | None, options: dict[str, Any], raw: RawData) -> None:
    """A folder with `steam_games` and a review file, or the review file itself with the games beside it.

    Posts without a year ("Posted August 22.") have no time and are dropped and counted.
    """
    known_options("steam", options, ())
    place = Source(source, "steam")
    lines = [file for file in place.files if file.name.endswith((".json", ".jsonl"))]
    games = [file for file in lines if "games" in file.name]
    reviews = [file for file in lines if "review" in file.name or file.name.startswith("steam_new")]
    if place.given is not None:
        reviews = [place.given]
    if not reviews or not games:
        lacking = "review file (*reviews*.json)" if not reviews else "game metadata (*games*.json)"
        raise InputError(f"{place.path} has no {lacking} (found: {place.listing()})")
    for file in games:
        _read_games(file, raw)
    for file in reviews:
        raw.events.extend(file.label, _events(file, raw), parse_time=posted)


def _read_games(file: SourceFile, raw: RawData) -> None:
    for row, record in records(file, raw.tally.catalog_fault):
        item_id = record.get("id")
        if item_id is None:
            app = _APP.search(str(record.get("url", "")))
            item_id = app[1] if app else None
        fields = {name: record[name] for name in _FIELDS if record.get(name) is not None}
        title = record.get("title") or record.get("app_name")
        raw.catalog.add(file.label, row, item_id, title, fields, on_duplicate="keep_first")


def _events(file: SourceFile, raw: RawData) -> Iterator[Row]:
    for row, record in records(file, raw.tally.broken):
        nested = record.get("reviews")
        if isinstance(nested, list):
            for review in nested:
                if not isinstance(review, dict):
                    raw.tally.broken("review that is not a record", file.label, row, review)
                    continue
                liked = review.get("recommend")
                rating = None if liked is None else float(bool(liked))
                yield row, record.get("user_id"), review.get("item_id"), rating, review.get("posted"), None
        else:
            # `user_id` is missing in most lines of this layout; the name never is.
            yield row, record.get("username"), record.get("product_id"), None, record.get("date"), None


def posted(value: Any) -> float:
    """Seconds since 1970 of "Posted November 5, 2011." or an ISO date; NaN where the post shows no year.

    >>> posted("Posted November 5, 2011."), posted("2011-11-05"), posted("Posted August 22.")
    (1320451200.0, 1320451200.0, nan)
    """
    match = _POSTED.match(value) if isinstance(value, str) else None
    if match is None:
        return seconds(value)
    month, day, year = match.groups()
    if month.lower() not in _MONTHS:
        raise ValueError(value)
    if year is None:
        return math.nan
    moment = datetime(int(year), _MONTHS.index(month.lower()) + 1, int(day), tzinfo=timezone.utc)
    return moment.timestamp()
