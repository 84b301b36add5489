"""Any catalog: a folder with `interactions` and `items`, each as .parquet, .csv or .csv.gz."""

from __future__ import annotations

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

_OPTIONS = ("extra_items", "columns", "encoding", "article_last")


def read(source: Path | None, options: dict[str, Any], raw: RawData) -> None:
    """interactions: user_id, item_id, optional rating, timestamp, position; items: item_id, title, more.

    Options: `extra_items` (files beside, joined by item_id), `columns` (our name -> the file's name),
    `encoding` of csv files, `article_last` (titles such as "Postman, The" are put right).
    """
    known_options("tables", options, _OPTIONS)
    place = Source(source, "tables")
    encoding = str(options.get("encoding", "utf-8-sig"))
    renamed = options.get("columns", {})
    extra = options.get("extra_items", [])
    if not isinstance(renamed, dict):
        raise InputError("data.options.columns must map our names to the file's: {user_id: customer}")
    names = _Names({str(ours): str(theirs) for ours, theirs in renamed.items()})
    items = place.need("items.parquet", "items.csv")
    _read_items(items, names, encoding, raw, article_last=bool(options.get("article_last", False)))
    for name in [extra] if isinstance(extra, str) else extra:
        _read_extra(place.need(str(name).removesuffix(".gz")), names, encoding, raw)
    events = place.given or place.need("interactions.parquet", "interactions.csv")
    _read_events(events, names, encoding, raw)


class _Names:
    """Column names of the user's files."""

    def __init__(self, renamed: dict[str, str]) -> None:
        self._renamed = renamed

    def __getitem__(self, ours: str) -> str:
        return self._renamed.get(ours, ours)


def _read_items(file: SourceFile, names: _Names, encoding: str, raw: RawData, *, article_last: bool) -> None:
    header, rows = _table(file, raw.tally.catalog_fault, encoding, need=[names["item_id"], names["title"]])
    id_at, title_at = header.index(names["item_id"]), header.index(names["title"])
    others = [(at, name) for at, name in enumerate(header) if at not in (id_at, title_at)]
    for row, values in rows:
        title = values[title_at]
        if article_last and isinstance(title, str):
            title = article_first(title)
        raw.catalog.add(file.label, row, values[id_at], title, {name: values[at] for at, name in others})


def _read_extra(file: SourceFile, names: _Names, encoding: str, raw: RawData) -> None:
    header, rows = _table(file, raw.tally.catalog_fault, encoding, need=[names["item_id"]])
    id_at = header.index(names["item_id"])
    for row, values in rows:
        fields = {name: values[at] for at, name in enumerate(header) if at != id_at and name != "title"}
        if not raw.catalog.extend_fields(values[id_at], fields):
            raw.tally.note("extra_items row for an item that is not in the catalog", file.label, row)


def _read_events(file: SourceFile, names: _Names, encoding: str, raw: RawData) -> None:
    wanted = [names[name] for name in ("user_id", "item_id", "rating", "timestamp", "position")]
    header, rows = _table(file, raw.tally.broken, encoding, need=wanted[:2], only=wanted)
    user, item, *optional = [header.index(name) if name in header else -1 for name in wanted]

    def events() -> Iterator[Row]:
        rating, time, position = optional
        for row, values in rows:
            yield (
                row,
                values[user],
                values[item],
                values[rating] if rating >= 0 else None,
                values[time] if time >= 0 else None,
                values[position] if position >= 0 else None,
            )

    raw.events.extend(file.label, events())


def _table(
    file: SourceFile, on_fault: OnFault, encoding: str, *, need: list[str], only: list[str] | None = None
) -> tuple[list[str], Iterator[tuple[int, list[Any]]]]:
    if file.name.endswith(".parquet"):
        return parquet_rows(file, need, only)
    header, rows = csv_rows(file, on_fault, encoding=encoding)
    need_columns(file, header, *need)
    return header, rows


def parquet_rows(
    file: SourceFile, need: list[str], only: list[str] | None = None
) -> tuple[list[str], Iterator[tuple[int, list[Any]]]]:
    """Header and rows, read batch by batch; the first data row is row 1."""
    import pyarrow
    from pyarrow.parquet import ParquetFile

    if file.member is not None:
        raise InputError(f"{file}: Parquet inside a zip archive is not read; unpack it first")
    try:
        table = ParquetFile(file.path)
        header = [name for name in table.schema_arrow.names if only is None or name in only]
    except (OSError, pyarrow.ArrowException) as error:
        raise InputError(f"{file} is not a readable Parquet file ({error}); fetch it again") from error
    need_columns(file, table.schema_arrow.names, *need)

    def rows() -> Iterator[tuple[int, list[Any]]]:
        row = 0
        try:
            for batch in table.iter_batches(batch_size=8_192, columns=header):
                columns = [batch.column(name).to_pylist() for name in header]
                for values in zip(*columns, strict=True):
                    row += 1
                    yield row, list(values)
        except (OSError, pyarrow.ArrowException) as error:
            raise InputError(f"{file} is damaged or cut off ({error}); fetch it again") from error

    return header, rows()
