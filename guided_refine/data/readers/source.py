"""Finding and opening a source's files: a folder, a zip archive or one file, plain or gzip.

Every fault of a file (missing, cut off, wrong encoding) becomes one sentence that names it.
"""

from __future__ import annotations

import ast
import codecs
import csv
import gzip
import io
import json
import shlex
import zipfile
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice, tee
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, cast

from guided_refine.errors import InputError, closest, nearest

# Told of a row that cannot be taken apart: reason, file, row, content. It counts, or stops under --strict.
OnFault = Callable[[str, str, int, object], None]

_DATA_ENDINGS = (".csv", ".parquet", ".json", ".jsonl", ".dat", ".data", ".item", ".inter", ".user")
# A folder with one of these was written by this package.
_OUR_OWN = ("info.json", "manifest.json")
_LONGEST_VALUE = 1 << 24
_LINES_HELD = 1_000
_OR_NAMED = "; for reader tables it is enough to name its encoding with data.options.encoding"
_MARKS = {";": "semicolons", "\t": "tabs", "|": "bars"}
# The longer ones first: UTF-32 begins like UTF-16.
_BYTE_ORDER_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


@dataclass(frozen=True)
class SourceFile:
    """A file on disk, or a member of a zip archive."""

    path: Path
    member: str | None = None

    @property
    def label(self) -> str:
        """Base name: what counts of dropped rows call the file, the same on every machine."""
        return self.path.name if self.member is None else PurePosixPath(self.member).name

    @property
    def name(self) -> str:
        """Base name without `.gz`."""
        return self.label.removesuffix(".gz")

    @property
    def folder(self) -> PurePosixPath | Path:
        """Where it lies, on disk or in its archive."""
        return self.path.parent if self.member is None else PurePosixPath(self.member).parent

    def __str__(self) -> str:
        return str(self.path) if self.member is None else f"{self.path}/{self.member}"

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """Bytes of the file, decompressed; faults of the archive are raised as `InputError`."""
        try:
            with self._raw() as raw:
                if str(self).endswith(".gz"):
                    with gzip.open(raw) as stream:
                        yield cast(BinaryIO, stream)
                else:
                    yield raw
        except (EOFError, gzip.BadGzipFile, zlib.error, zipfile.BadZipFile) as error:
            raise InputError(f"{self} is damaged or cut off ({error}); fetch it again") from error
        except OSError as error:
            raise InputError(f"{self} cannot be read: {error.strerror or error}") from error

    @contextmanager
    def _raw(self) -> Iterator[BinaryIO]:
        if self.member is None:
            with self.path.open("rb") as stream:
                yield stream
        else:
            with zipfile.ZipFile(self.path) as archive, archive.open(self.member) as member:
                yield cast(BinaryIO, member)

    @contextmanager
    def text(self, encoding: str = "utf-8-sig", newline: str | None = None) -> Iterator[io.TextIOWrapper]:
        """Decoded text; raises `InputError` with row and byte where the encoding is another one."""
        try:
            with self.open() as raw:
                yield io.TextIOWrapper(raw, encoding=encoding, newline=newline)
        except UnicodeDecodeError as error:
            raise InputError(self._encoding_fault(encoding)) from error
        except LookupError as error:
            raise InputError(f"{self}: there is no encoding '{encoding}'; try utf-8 or latin-1") from error

    def lines(self, encoding: str = "utf-8-sig") -> Iterator[tuple[int, str]]:
        """Row number (from 1) and line, without its end; blank lines are left out."""
        with self.text(encoding) as stream:
            for row, line in enumerate(stream, start=1):
                if line := line.rstrip("\n"):
                    yield row, line

    def utf8_or_latin1(self) -> str:
        """The encoding to read with: UTF-8 when every byte fits it, else latin-1 (older MovieLens files)."""
        with self.open() as stream:
            for line in stream:
                try:
                    line.decode("utf-8")
                except UnicodeDecodeError:
                    return "latin-1"
        return "utf-8-sig"

    def _encoding_fault(self, encoding: str) -> str:
        spoken = encoding.upper().removesuffix("-SIG")
        offset = 0
        with self.open() as stream:
            begins = stream.read(4)
        for mark, name in _BYTE_ORDER_MARKS.items():
            if begins.startswith(mark):
                return f"{self} is not {spoken} but {name.upper()}; {self._convert(name)}"
        with self.open() as stream:
            for row, line in enumerate(stream, start=1):
                try:
                    line.decode(encoding)
                except UnicodeDecodeError as error:
                    where = f"row {row}, byte {offset + error.start} is 0x{line[error.start]:02x}"
                    return (
                        f"{self} is not {spoken} ({where}); convert it, for example with "
                        f"'iconv -f latin1 -t utf-8'{_OR_NAMED}"
                    )
                offset += len(line)
        return f"{self} is not {spoken}; convert it to UTF-8"

    def _convert(self, encoding: str) -> str:
        """How to make this file UTF-8."""
        command = f"iconv -f {encoding} -t utf-8 {shlex.quote(str(self))}"
        return f"convert it with '{command} > NEW'{_OR_NAMED}"


class Source:
    """All files of a source: of a folder, of a zip archive, or beside one file."""

    def __init__(self, path: Path | None, reader: str) -> None:
        if path is None:
            raise InputError(f"reader {reader} needs a source: the folder or file with the data (data.path)")
        if not path.exists():
            raise InputError(f"{path} does not exist; expected the folder or file for reader {reader}")
        self.path = path
        self.given: SourceFile | None = None
        if path.is_dir():
            self.files = [SourceFile(p) for p in _files_in(path)]
        elif zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                names = [n for n in sorted(archive.namelist()) if not n.endswith("/") and "__MACOSX" not in n]
            self.files = [SourceFile(path, name) for name in names]
        else:
            if path.suffix == ".zip":
                raise InputError(f"{path} is damaged or cut off (not a zip archive); fetch it again")
            self.given = SourceFile(path)
            self.files = [SourceFile(p) for p in _files_beside(path)]

    def find(self, *names: str) -> SourceFile | None:
        """The file with one of these base names (`.gz` may follow): the folder itself comes before its subfolders, and
        within a folder the names in their order."""
        found = [file for file in self.files if file.name in names]
        if not found:
            return None
        return min((f for f in found if f.folder == found[0].folder), key=lambda f: names.index(f.name))

    def need(self, *names: str) -> SourceFile:
        """Like `find`; raises `InputError` that lists what is there."""
        file = self.find(*names)
        if file is None:
            raise InputError(f"{self.path} has no {' or '.join(names)} (found: {self.listing()})")
        return file

    def listing(self) -> str:
        """Names of the files, for an error sentence."""
        names = [file.name for file in self.files]
        return ", ".join(names[:12]) + (", ..." if len(names) > 12 else "") if names else "no files"


def source_paths(path: Path) -> list[Path]:
    """Every file on disk that a `Source` of this path may read: what the prepared data depend on."""
    if path.is_dir():
        return _files_in(path)
    return [path] if zipfile.is_zipfile(path) else _files_beside(path)


def _files_in(folder: Path) -> list[Path]:
    """Files of the folder, then of its subfolders; runs and prepared datasets that lie in it are not its data."""
    inner = sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
    folders = [folder, *(p for p in inner if not any((p / name).exists() for name in _OUR_OWN))]
    return [p for place in folders for p in sorted(place.iterdir()) if p.is_file()]


def _files_beside(path: Path) -> list[Path]:
    """The file given, and what lies beside it and may belong to it."""
    beside = (p for p in sorted(path.parent.iterdir()) if p.is_file())
    return [p for p in beside if p == path or p.name.removesuffix(".gz").endswith(_DATA_ENDINGS)]


def known_options(reader: str, options: dict[str, Any], known: tuple[str, ...]) -> None:
    """Refuse an option that the reader does not have."""
    for option in options:
        if option not in known:
            hint = nearest(option, known) if known else "it has none"
            raise InputError(f"data.options: reader {reader} has no option '{option}': {hint}")


def csv_rows(
    file: SourceFile, on_fault: OnFault, *, encoding: str = "utf-8-sig"
) -> tuple[list[str], Iterator[tuple[int, list[str]]]]:
    """Header, and (row number, values) of a comma-separated file; the header is row 1.

    Rows with another number of values than the header are counted as faulty. A quote that is left open swallows
    the rows behind it, and nobody knows how many: it raises `InputError` with the row in which it opened.
    """

    def rows() -> Iterator[tuple[int, list[str]]]:
        before = csv.field_size_limit(_LONGEST_VALUE)
        try:
            with file.text(encoding, newline="") as stream:
                width = 0
                for row, (values, lines) in enumerate(_parsed(file, stream), start=1):
                    if row == 1:
                        width = len(values)
                    elif not values:
                        continue
                    elif len(values) != width:
                        if lines > 1:
                            raise _open_quote(file, row, lines)
                        on_fault(f"row without {width} values", file.label, row, values)
                        continue
                    yield row, values
        finally:
            csv.field_size_limit(before)

    every = rows()
    first = next(every, None)
    if first is None or not any(first[1]):
        raise InputError(f"{file} is empty; expected a header and rows")
    header = [name.strip() for name in first[1]]
    if any("\0" in name for name in header):
        raise InputError(
            f"{file} is not {encoding.upper().removesuffix('-SIG')}; {file._convert('utf-16le')}"
        )
    return header, every


def _parsed(file: SourceFile, stream: io.TextIOWrapper) -> Iterator[tuple[list[str], int]]:
    """Values of each record, and how many lines it takes up."""
    # The second of the two follows in steps and holds the lines of a record that does not parse.
    ahead, behind = tee(stream)
    reader = csv.reader(ahead, strict=True)
    row = done = followed = 0
    while True:
        try:
            for values in reader:
                row += 1
                lines = reader.line_num - done
                done += lines
                if done - followed >= _LINES_HELD:
                    deque(islice(behind, done - followed), maxlen=0)
                    followed = done
                yield values, lines
            return
        except csv.Error as error:
            row += 1
            deque(islice(behind, done - followed), maxlen=0)
            faulty = list(islice(behind, reader.line_num - done))
            done = followed = reader.line_num
            if "limit" in str(error) and len(faulty) == 1:
                raise InputError(
                    f"{file} row {row}: a value is longer than {_LONGEST_VALUE:,} characters; shorten it"
                ) from error
            if len(faulty) > 1 or "unexpected end" in str(error):
                raise _open_quote(file, row, len(faulty)) from error
            # Quotes inside a value that nobody doubled: within one line nothing else can get lost.
            yield next(csv.reader(faulty)), 1


def _open_quote(file: SourceFile, row: int, lines: int) -> InputError:
    reach = f" and takes up {lines:,} lines" if lines > 1 else ""
    return InputError(
        f'{file} row {row}: a quote (") opens here{reach}, but does not close where a value ends; '
        'close it, or double a quote that belongs to the value ("")'
    )


def records(file: SourceFile, on_fault: OnFault) -> Iterator[tuple[int, dict[str, Any]]]:
    """Row number and record of a file with one JSON object or one Python literal per line.

    UCSD's older files write Python dictionaries; they are read by `ast.literal_eval`, which runs no code.
    """
    for row, line in file.lines():
        record = _record(line)
        if record is None:
            on_fault("row that is neither JSON nor a Python dictionary", file.label, row, line)
        else:
            yield row, record


def _record(line: str) -> dict[str, Any] | None:
    loads: tuple[Callable[[str], Any], ...] = (json.loads, ast.literal_eval)
    for load in loads:
        try:
            value = load(line)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
        return value if isinstance(value, dict) else None
    return None


def need_columns(file: SourceFile, header: list[str], *names: str, remedy: str = "") -> None:
    """Refuse a table that lacks a column or has it twice; the sentence says which columns were found.

    `remedy`: how to name a column that is called otherwise, `{}` standing for its name.
    """
    for name in names:
        if header.count(name) > 1:
            raise InputError(f"{file} has the column '{name}' more than once; keep one")
        if name in header:
            continue
        lacking = f"{file} has no column '{name}' (found: {', '.join(header) or 'none'})"
        marks = [spoken for mark, spoken in _MARKS.items() if len(header) == 1 and mark in header[0]]
        if marks:
            raise InputError(
                f"{lacking}; it must be comma-separated, but seems to be separated by {marks[0]}"
            )
        close = closest(name, [column for column in header if column not in names])
        if close is not None:
            lacking += f": did you mean '{close}'?"
        if remedy:
            lacking += f"{' ' if close else '; '}{remedy.format(close or 'YOURS')}"
        raise InputError(lacking)
