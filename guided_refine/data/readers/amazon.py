"""Amazon reviews of 2014, 2018 and 2023 (McAuley lab): review files and their metadata, plain or gzip.

2014: `reviews_X.json.gz` and `meta_X.json.gz`, metadata as Python literals; 2018: `X.json.gz` and
`meta_X.json.gz`; 2023: `X.jsonl.gz` and `meta_X.jsonl.gz`, times in milliseconds, items by `parent_asin`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from guided_refine.data.raw import RawData, Row
from guided_refine.data.readers.source import Source, SourceFile, known_options, records
from guided_refine.errors import InputError

# What describes an item; everything else is links, pictures, or made from what users did.
_FIELDS = {
    "brand": "brand",
    "store": "brand",
    "author": "author",
    "subtitle": "subtitle",
    "main_cat": "main category",
    "main_category": "main category",
    "categories": "categories",
    "category": "categories",
    "price": "price",
    "features": "features",
    "feature": "features",
    "description": "description",
    "details": "details",
}


def read(source: Path | None, options: dict[str, Any], raw: RawData) -> None:
    """A folder with reviews and metadata, or one review file with its metadata beside it.

    Option `metadata`: name of the metadata file, where it is not `meta_<reviews>`.
    """
    known_options("amazon", options, ("metadata",))
    place = Source(source, "amazon")
    lines = [file for file in place.files if file.name.endswith((".json", ".jsonl"))]
    wanted = options.get("metadata")
    if wanted is not None:
        metadata = [place.need(str(wanted).removesuffix(".gz"))]
    else:
        metadata = [file for file in lines if file.name.startswith("meta_")]
    reviews = [file for file in lines if file not in metadata]
    if place.given is not None:
        reviews = [place.given]
        if wanted is None and len(metadata) > 1:
            metadata = [file for file in metadata if _category(file) == _category(place.given)]
    if not reviews or not metadata:
        lacking = "review file (*.json, *.jsonl)" if not reviews else "metadata file (meta_*.json, *.jsonl)"
        raise InputError(f"{place.path} has no {lacking} (found: {place.listing()})")
    for file in metadata:
        _read_items(file, raw)
    for file in reviews:
        raw.events.extend(file.label, _events(file, raw))


def _category(file: SourceFile) -> str:
    """The part of a file name that reviews and metadata share."""
    name = file.name.rsplit(".", 1)[0].removeprefix("meta_").removeprefix("reviews_")
    return name.removesuffix("_5").removesuffix("_10")


def _read_items(file: SourceFile, raw: RawData) -> None:
    for row, record in records(file, raw.tally.catalog_fault):
        fields: dict[str, Any] = {}
        for theirs, ours in _FIELDS.items():
            if record.get(theirs):
                fields.setdefault(ours, _value(theirs, record[theirs]))
        item_id = record.get("parent_asin") or record.get("asin")
        # The 2014 and 2018 files list many items twice.
        raw.catalog.add(file.label, row, item_id, record.get("title"), fields, on_duplicate="keep_first")


def _value(name: str, value: Any) -> Any:
    if name == "author" and isinstance(value, dict):
        return value.get("name")
    if name == "brand" and isinstance(value, str):
        return value.removeprefix("by ").strip()
    return value


def _events(file: SourceFile, raw: RawData) -> Iterator[Row]:
    for row, record in records(file, raw.tally.broken):
        millis = record.get("timestamp") if "unixReviewTime" not in record else None
        time = record.get("unixReviewTime") if millis is None else _from_millis(millis)
        yield (
            row,
            record.get("reviewerID") or record.get("user_id"),
            record.get("parent_asin") or record.get("asin"),
            record.get("overall", record.get("rating")),
            time,
            None,
        )


def _from_millis(value: Any) -> Any:
    # Faulty values pass through: the event log judges and counts them.
    return value / 1000 if isinstance(value, int | float) else value
