"""A folder that `data prepare` wrote, read again (to filter it further, or to share one preparation)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from guided_refine.data.raw import RawData, Row
from guided_refine.data.readers.source import Source, known_options, need_columns
from guided_refine.data.readers.tables import parquet_rows
from guided_refine.errors import InputError


def read(source: Path | None, options: dict[str, Any], raw: RawData) -> None:
    """Items, their values and the order of events come back as they were; the text is made anew."""
    known_options("prepared", options, ())
    place = Source(source, "prepared")
    if place.find("info.json") is None:
        raise InputError(f"{place.path} is not a prepared dataset (no info.json); use reader tables for it")
    items, events = place.need("items.parquet"), place.need("interactions.parquet")
    header, rows = parquet_rows(items, lambda h: need_columns(items, h, "item_id", "title", "text"))
    for row, values in rows:
        fields = dict(zip(header, values, strict=True))
        item_id, title, text = (fields.pop(name) for name in ("item_id", "title", "text"))
        # `prepare` shows the id where an item has no title.
        untitled = title == item_id and not text.startswith(title)
        raw.catalog.add(items.label, row, item_id, "" if untitled else title, fields)
    header, rows = parquet_rows(events, lambda h: need_columns(events, h, "user_id", "item_id"))

    def interactions() -> Iterator[Row]:
        for place_in_file, (row, values) in enumerate(rows):
            fields = dict(zip(header, values, strict=True))
            rating, time = fields.get("rating"), fields.get("timestamp")
            # The place keeps the order of data without times.
            yield row, fields["user_id"], fields["item_id"], rating, time, place_in_file

    raw.events.extend(events.label, interactions())
