"""User ids from a file: one a line, or a column of a CSV or Parquet table."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from guided_refine.data.raw import as_id
from guided_refine.errors import InputError
from guided_refine.files import read_parquet

COLUMN = "user_id"


def read_users(path: Path) -> list[tuple[str, str]]:
    """Each id with where it stands ("line 3", "row 3"), in the file's order; an id that comes again is left out.

    `.csv` and `.parquet` hold a column `user_id`; where they have one column only it may have another name, and a
    `.csv` none at all. Any other file has one id a line. Empty lines are passed over. Raises `InputError` for a file that
    cannot be read, has no such column, a row without an id, or no id at all.
    """
    if path.is_dir():
        raise InputError(f"{path} is a folder; --users takes a file with one user id a line")
    if not path.is_file():
        raise InputError(f"{path} does not exist; --users takes a file with one user id a line")
    found: dict[str, str] = {}
    for name, place in _parquet(path) if path.suffix == ".parquet" else _text(path):
        if not name:
            raise InputError(f"{path}, {place}: there is no user id; fill it in or take the row out")
        found.setdefault(name, place)
    if not found:
        raise InputError(f"{path} names no user; write one user id a line")
    return list(found.items())


def _parquet(path: Path) -> Iterator[tuple[str, str]]:
    # A list of the user's own, which no command of ours makes again.
    frame = read_parquet(path, remedy="save it again as Parquet")
    names = [str(name) for name in frame.columns]
    column = 0 if len(names) == 1 else _column(path, names)
    for row, value in enumerate(frame.iloc[:, column].tolist(), 1):
        yield as_id(value), f"row {row}"


def _text(path: Path) -> Iterator[tuple[str, str]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            if path.suffix == ".csv":
                yield from _csv(path, stream)
                return
            for number, line in enumerate(stream, 1):
                if line.strip():
                    yield line.strip(), f"line {number}"
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text ({error.reason}); save it as UTF-8") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error


def _csv(path: Path, stream: Iterator[str]) -> Iterator[tuple[str, str]]:
    reader = csv.reader(stream)
    try:
        first = next(reader, [])
        if len(first) == 1 and first[0].strip() != COLUMN:
            # One column without our header: its first line may well be a user.
            yield first[0].strip(), "line 1"
        column = 0 if len(first) < 2 else _column(path, [name.strip() for name in first])
        for row in reader:
            if row:
                yield (row[column].strip() if column < len(row) else ""), f"line {reader.line_num}"
    except csv.Error as error:
        raise InputError(f"{path}, line {reader.line_num}: not a row of a csv file ({error})") from error


def _column(path: Path, names: list[str]) -> int:
    if COLUMN in names:
        return names.index(COLUMN)
    raise InputError(
        f"{path} has no column '{COLUMN}' (it has: {', '.join(names[:10]) or 'none'}); name one so"
    )
