"""Any catalog: a folder with `interactions` and `items`, each as .parquet, .csv or .csv.gz."""

from __future__ import annotations

from collections.abc import Callable, Iterator
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
from guided_refine.errors import InputError, nearest

_OPTIONS = ("extra_items", "columns", "encoding", "article_last")
_EVENT_COLUMNS = ("user_id", "item_id", "rating", "timestamp", "position")


def read(source: Path | None, options: dict[str, Any], raw: RawData) -> None:
    """interactions: user_id, item_id, optional rating, timestamp, position; items: item_id, title, more.

    Options: `extra_items` (files beside, joined by item_id), `columns` (our name -> the file's name),
    `encoding` of csv files, `article_last` (titles such as "Postman, The" are put right).
    """
    known_options("tables", options, _OPTIONS)
    place = Source(source, "tables")
    encoding = str(options.get("encoding", "utf-8"))
    if encoding.lower() in ("utf-8", "utf8"):
        encoding = "utf-8-sig"  # with or without a byte order mark
    names = _Names(options.get("columns", {}))
    extra = options.get("extra_items", [])
    extra = [extra] if isinstance(extra, str) else extra
    if not isinstance(extra, list) or not all(isinstance(name, str) for name in extra):
        raise InputError(f"data.options.extra_items is {extra!r}, expected a file name or a list of them")
    article_last = options.get("article_last", False)
    if not isinstance(article_last, bool):
        raise InputError(f"data.options.article_last is {article_last!r}, expected true or false")
    items = place.need("items.parquet", "items.csv")
    _read_items(items, names, encoding, raw, article_last=article_last)
    for name in extra:
        _read_extra(place.need(name.removesuffix(".gz")), names, encoding, raw)
    events = place.given or place.need("interactions.parquet", "interactions.csv")
    _read_events(events, names, encoding, raw)


class _Names:
    """Column names of the user's files; raises `InputError` for a name that is none of ours."""

    def __init__(self, renamed: Any) -> None:
        if not isinstance(renamed, dict):
            raise InputError("data.options.columns must map our names to the file's: {user_id: customer}")
        ours = (*_EVENT_COLUMNS, "title")
        for name, theirs in renamed.items():
            if name not in ours:
                raise InputError(
                    f"data.options.columns: '{name}' is none of our columns: {nearest(str(name), ours)}"
                )
            if not isinstance(theirs, str):
                raise InputError(f"data.options.columns: {name} is {theirs!r}, expected a column name")
        self._renamed: dict[str, str] = renamed

    def __getitem__(self, ours: str) -> str:
        return self._renamed.get(ours, ours)

    def renamed(self, ours: str) -> bool:
        return ours in self._renamed

    def check(self, file: SourceFile, header: list[str], *ours: str) -> None:
        """Refuse a table without these columns, or with one of them twice."""
        for name in ours:
            remedy = f"name it with data.options.columns: {{{{{name}: {{}}}}}}"
            if self.renamed(name):
                remedy = f"correct data.options.columns, which says that {name} is called so"
            need_columns(file, header, self[name], remedy=remedy)


def _read_items(file: SourceFile, names: _Names, encoding: str, raw: RawData, *, article_last: bool) -> None:
    def check(header: list[str]) -> None:
        names.check(file, header, "item_id", "title")
        # The text takes one value per name.
        for name in header:
            if name:
                need_columns(file, header, name)

    header, rows = _table(file, raw.tally.catalog_fault, encoding, check)
    id_at, title_at = header.index(names["item_id"]), header.index(names["title"])
    others = [(at, name) for at, name in enumerate(header) if at not in (id_at, title_at)]
    for row, values in rows:
        title = values[title_at]
        if article_last and isinstance(title, str):
            title = article_first(title)
        fields = {name: values[at] for at, name in others}
        raw.catalog.add(file.label, row, values[id_at], title, fields, path=file)


def _read_extra(file: SourceFile, names: _Names, encoding: str, raw: RawData) -> None:
    def check(header: list[str]) -> None:
        names.check(file, header, "item_id")

    header, rows = _table(file, raw.tally.catalog_fault, encoding, check)
    id_at = header.index(names["item_id"])
    for row, values in rows:
        fields = {name: values[at] for at, name in enumerate(header) if at != id_at and name != "title"}
        if not raw.catalog.extend_fields(values[id_at], fields):
            raw.tally.note("extra_items row for an item that is not in the catalog", file.label, row)


def _read_events(file: SourceFile, names: _Names, encoding: str, raw: RawData) -> None:
    def check(header: list[str]) -> None:
        optional = [name for name in _EVENT_COLUMNS[2:] if names.renamed(name) or name in header]
        names.check(file, header, *_EVENT_COLUMNS[:2], *optional)

    wanted = [names[name] for name in _EVENT_COLUMNS]
    header, rows = _table(file, raw.tally.broken, encoding, check, only=wanted)
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
    if file.name.endswith(".parquet"):
        raw.id_types = _whole_numbers(file, names)


def _whole_numbers(file: SourceFile, names: _Names) -> dict[str, str]:
    """Which ids are whole numbers, and of which numpy type; a csv file does not say."""
    import pyarrow
    from pyarrow.parquet import read_schema

    kinds = {name: read_schema(file.path).field(names[name]).type for name in ("user_id", "item_id")}
    return {name: str(kind) for name, kind in kinds.items() if pyarrow.types.is_integer(kind)}


def _table(
    file: SourceFile,
    on_fault: OnFault,
    encoding: str,
    check: Callable[[list[str]], None],
    only: list[str] | None = None,
) -> tuple[list[str], Iterator[tuple[int, list[Any]]]]:
    if file.name.endswith(".parquet"):
        return parquet_rows(file, check, only)
    header, rows = csv_rows(file, on_fault, encoding=encoding)
    check(header)
    return header, rows


def parquet_rows(
    file: SourceFile, check: Callable[[list[str]], None], only: list[str] | None = None
) -> tuple[list[str], Iterator[tuple[int, list[Any]]]]:
    """Header and rows, read batch by batch; the first data row is row 1. `check` refuses a wrong header."""
    import pyarrow
    from pyarrow.parquet import ParquetFile

    if file.member is not None:
        raise InputError(f"{file}: Parquet inside a zip archive is not read; unpack it first")
    try:
        table = ParquetFile(file.path)
        header = [name for name in table.schema_arrow.names if only is None or name in only]
    except (OSError, pyarrow.ArrowException) as error:
        raise InputError(f"{file} is not a readable Parquet file ({error}); fetch it again") from error
    check(table.schema_arrow.names)

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
