"""RecBole atomic files: NAME.inter and NAME.item, tab-separated, with `name:type` headers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from guided_refine.data.raw import RawData, Row
from guided_refine.data.readers.source import OnFault, Source, SourceFile, known_options, need_columns
from guided_refine.errors import InputError

_TYPES = ("token", "float", "token_seq", "float_seq")
_PROSE = ("title", "name", "description", "text", "plot", "overview")


def read(source: Path | None, options: dict[str, Any], raw: RawData) -> None:
    """A folder with one .inter and one .item file, or the .inter file itself.

    Options `user`, `item`, `rating`, `time`, `title`: field names where they differ from user_id, item_id,
    rating, timestamp and title (any field whose name holds "title" or "name" is found without).
    """
    known_options("recbole", options, ("user", "item", "rating", "time", "title"))
    place = Source(source, "recbole")
    events = place.given or _only(place, ".inter")
    stem = events.name.removesuffix(".inter")
    item_name = str(options.get("item", "item_id"))
    _read_items(place.find(f"{stem}.item") or _only(place, ".item"), item_name, options.get("title"), raw)
    header, _, rows = _atomic(events, raw.tally.broken)
    user_name = str(options.get("user", "user_id"))
    need_columns(events, header, user_name, item_name)
    for option in ("rating", "time"):
        if option in options:
            need_columns(events, header, str(options[option]))
    user, item = header.index(user_name), header.index(item_name)
    rating = _at(header, str(options.get("rating", "rating")))
    time = _at(header, str(options.get("time", "timestamp")))

    def interactions() -> Iterator[Row]:
        for row, v in rows:
            yield (
                row,
                v[user],
                v[item],
                v[rating] if rating >= 0 else None,
                v[time] if time >= 0 else None,
                None,
            )

    raw.events.extend(events.label, interactions())


def _only(place: Source, suffix: str) -> SourceFile:
    found = [file for file in place.files if file.name.endswith(suffix)]
    if len(found) != 1:
        what = "no" if not found else "more than one"
        raise InputError(f"{place.path} has {what} *{suffix} file (found: {place.listing()})")
    return found[0]


def _at(header: list[str], name: str) -> int:
    return header.index(name) if name in header else -1


def _read_items(file: SourceFile, item_name: str, title: Any, raw: RawData) -> None:
    header, types, rows = _atomic(file, raw.tally.catalog_fault)
    need_columns(file, header, item_name)
    if title is None:
        named = [name for name in header if "title" in name] + [n for n in header if n.endswith("name")]
        if not named:
            raise InputError(
                f"{file} has no title field (found: {', '.join(header)}); name one with data.options.title"
            )
        title = named[0]
    need_columns(file, header, str(title))
    id_at, title_at = header.index(item_name), header.index(str(title))
    others = [
        (at, name, kind == "token_seq" and not any(word in name for word in _PROSE))
        for at, (name, kind) in enumerate(zip(header, types, strict=True))
        if at not in (id_at, title_at) and kind != "float_seq"
    ]
    for row, values in rows:
        fields = {name: values[at].split(" ") if listed else values[at] for at, name, listed in others}
        raw.catalog.add(file.label, row, values[id_at], values[title_at], fields, path=file)


def _atomic(
    file: SourceFile, on_fault: OnFault
) -> tuple[list[str], list[str], Iterator[tuple[int, list[str]]]]:
    """Field names, types and rows; the header is row 1."""
    lines = file.lines()
    first = next(lines, None)
    if first is None:
        raise InputError(f"{file} is empty; expected a header such as user_id:token")
    names, types = [], []
    for part in first[1].split("\t"):
        name, colon, kind = part.strip().partition(":")
        if not colon or kind not in _TYPES:
            raise InputError(
                f"{file} row 1: '{part.strip()}' is not a field header; expected name:type, "
                f"the type one of {', '.join(_TYPES)}"
            )
        names.append(name)
        types.append(kind)

    def rows() -> Iterator[tuple[int, list[str]]]:
        for row, line in lines:
            values = line.split("\t")
            if len(values) != len(names):
                on_fault(f"row without {len(names)} values", file.label, row, line)
            else:
                yield row, values

    return names, types, rows()
