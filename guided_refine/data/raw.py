"""What a reader fills: a catalog, an event log in compact arrays, and a tally of dropped rows.

Rows are judged while they stream by, so memory grows with distinct users, distinct items and kept rows,
never with the file.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timezone
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from guided_refine.data.text import clean, flatten
from guided_refine.errors import InputError
from guided_refine.progress import Progress

if TYPE_CHECKING:
    import pandas as pd

# (row number in the file, user id, item id, rating, time, position); the last three may be None.
Row = tuple[int, Any, Any, Any, Any, Any]

_MISSING = frozenset({"", "nan", "none", "null", "na", "<na>", "\\n"})
_BLOCK = 10_000
BLANKS = "unknown item (known without the blanks around its id)"
"""Reason of a dropped row whose item is in the catalog, but for blanks."""
# Further columns must not stand where ours do; `text` is what `prepare` writes.
_RESERVED = {"item_id": "other_id", "title": "other_title", "text": "about"}


@dataclass
class Dropped:
    """How many rows one reason cost, and the first of them in words."""

    rows: int = 0
    first: str = ""


class Tally:
    """Counts dropped rows by reason; under `strict` the first faulty row stops instead.

    >>> tally = Tally(strict=False)
    >>> tally.fault("unknown item", "ratings.csv", 7, "x9")
    >>> tally.dropped["unknown item"]
    Dropped(rows=1, first="ratings.csv row 7: 'x9'")
    """

    def __init__(self, *, strict: bool) -> None:
        self.strict = strict
        self.rows_read = 0
        self.dropped: dict[str, Dropped] = {}
        self.noted: dict[str, Dropped] = {}

    def fault(self, reason: str, file: str, row: int, value: object = None) -> None:
        """Count a row that is wrong; raises `InputError` under `strict`."""
        if self.strict:
            shown = "" if value is None else f" {_short(value)}"
            raise InputError(
                f"{file} row {row}: {reason}{shown}; correct the row, "
                "or leave --strict out to have such rows dropped and counted"
            )
        self._count(self.dropped, reason, file, row, value)

    def broken(self, reason: str, file: str, row: int, value: object = None) -> None:
        """Like `fault`, for an interaction that could not even be taken apart."""
        self.rows_read += 1
        self.fault(reason, file, row, value)

    def catalog_fault(self, reason: str, file: str, row: int, value: object = None) -> None:
        """Note a wrong catalog row (it costs no interaction by itself); raises `InputError` under `strict`."""
        if self.strict:
            self.fault(reason, file, row, value)
        self.note(reason, file, row, value)

    def filtered(self, reason: str, rows: int, first: str = "") -> None:
        """Count rows that the configuration asked to leave out; never stops."""
        if rows:
            entry = self.dropped.setdefault(reason, Dropped(first=first))
            entry.rows += rows

    def note(self, reason: str, file: str, row: int, value: object = None) -> None:
        """Count something odd that costs nothing, such as an item that a catalog lists twice."""
        self._count(self.noted, reason, file, row, value)

    @staticmethod
    def _count(into: dict[str, Dropped], reason: str, file: str, row: int, value: object) -> None:
        entry = into.get(reason)
        if entry is None:
            shown = "" if value is None else f": {_short(value)}"
            entry = into[reason] = Dropped(first=f"{file} row {row}{shown}")
        entry.rows += 1

    def summary(self) -> str:
        """Reasons with counts and first examples, for an error sentence."""
        return "; ".join(
            f"{reason} {d.rows}" + (f" (first: {d.first})" if d.first else "")
            for reason, d in self.dropped.items()
        )


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


class Catalog:
    """Items in the order of the file: id, title, and cleaned further values.

    >>> catalog = Catalog(Tally(strict=False))
    >>> catalog.add("items.csv", 2, "a", "Tea &amp; Cake", {"genres": ["x", "y"]})
    >>> catalog.frame().to_dict("records")
    [{'item_id': 'a', 'title': 'Tea & Cake', 'genres': 'x, y'}]
    """

    def __init__(self, tally: Tally) -> None:
        self.codes: dict[str, int] = {}
        self._tally = tally
        self._titles: list[str] = []
        self._rows = array("q")
        self._fields: list[dict[str, str]] = []

    def __len__(self) -> int:
        return len(self._titles)

    def add(
        self,
        file: str,
        row: int,
        item_id: Any,
        title: Any,
        fields: Mapping[str, Any],
        *,
        path: object = None,
        on_duplicate: Literal["stop", "keep_first"] = "stop",
    ) -> None:
        """Take one item. `on_duplicate`: raise `InputError` that names `path`, or keep the first and count the rest."""
        name = as_id(item_id)
        if not name:
            self._tally.catalog_fault("item without an id", file, row)
            return
        if name in self.codes:
            if on_duplicate == "stop":
                first = self._rows[self.codes[name]]
                raise InputError(
                    f"{path or file} row {row}: item_id '{name}' occurs twice, first in row {first}; "
                    "keep one row per item"
                )
            self._tally.note("item listed more than once (first kept)", file, row, name)
            return
        self.codes[name] = len(self._titles)
        self._rows.append(row)
        self._titles.append(clean(flatten(title)))
        cleaned = ((_RESERVED.get(key, key), clean(flatten(value))) for key, value in fields.items())
        self._fields.append({key: text for key, text in cleaned if text})

    def extend_fields(self, item_id: Any, fields: Mapping[str, Any]) -> bool:
        """Add values from a second file to a known item, where it has none; False when it is not known."""
        code = self.codes.get(as_id(item_id))
        if code is None:
            return False
        for key, value in fields.items():
            if key not in self._fields[code] and (text := clean(flatten(value))):
                self._fields[code][key] = text
        return True

    def frame(self) -> pd.DataFrame:
        """All items as strings: item_id, title, further columns in order of first appearance ("" = none)."""
        import pandas as pd

        columns = list(dict.fromkeys(key for fields in self._fields for key in fields))
        data: dict[str, list[str]] = {"item_id": list(self.codes), "title": self._titles}
        for column in columns:
            data[column] = [fields.get(column, "") for fields in self._fields]
        return pd.DataFrame(data)


def as_id(value: Any) -> str:
    """An id as a string; whole floats (a column that holds gaps) lose their ".0"; "" when there is none.

    >>> as_id(12), as_id(12.0), as_id("0439"), as_id(None)
    ('12', '12', '0439', '')
    """
    if value is None:
        return ""
    if isinstance(value, float):
        if math.isnan(value):
            return ""
        return str(int(value)) if value.is_integer() else str(value)
    return str(value)


def number(value: Any) -> float:
    """A finite number, NaN where the value is missing; raises `ValueError` for anything else.

    >>> number("4.5"), number("")
    (4.5, nan)
    """
    if value is None:
        return math.nan
    try:
        result = float(value)
    except ValueError:
        # Tried last: nearly every value is a number.
        if isinstance(value, str) and value.strip().lower() in _MISSING:
            return math.nan
        raise
    if math.isinf(result):
        raise ValueError(value)
    return result


def seconds(value: Any) -> float:
    """Seconds since 1970 (UTC) from a number or an ISO date; NaN where missing; `ValueError` otherwise.

    >>> seconds("964980499"), seconds("1970-01-02"), seconds("1970-01-01T00:00:05Z")
    (964980499.0, 86400.0, 5.0)
    """
    if isinstance(value, str):
        try:
            return _within_reach(number(value))
        except ValueError:
            text = value.strip()
            value = datetime.fromisoformat(text[:-1] + "+00:00" if text.endswith("Z") else text)
    if isinstance(value, datetime):
        aware = value if value.tzinfo else value.replace(tzinfo=timezone.utc)
        return aware.timestamp()
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=timezone.utc).timestamp()
    return _within_reach(number(value))


def _within_reach(time: float) -> float:
    """Refuse what is no time in any unit: nanoseconds up to the year 2262 fit into 64 bits."""
    if abs(time) >= 2**63:
        raise ValueError(time)
    return time


@dataclass
class Arrays:
    """Kept rows in file order; every array has shape (rows,). `time`, `position`: None where nobody has one."""

    user: np.ndarray
    item: np.ndarray
    rating: np.ndarray
    time: np.ndarray | None
    position: np.ndarray | None
    row: np.ndarray

    def take(self, index: np.ndarray) -> Arrays:
        """The rows of a mask or of positions, in that order."""
        return Arrays(
            self.user[index],
            self.item[index],
            self.rating[index],
            None if self.time is None else self.time[index],
            None if self.position is None else self.position[index],
            self.row[index],
        )

    def __len__(self) -> int:
        return len(self.user)


class Events:
    """A growing log of interactions with known items, 40 bytes a row."""

    def __init__(
        self, catalog: Catalog, tally: Tally, *, min_rating: float | None, progress: Progress
    ) -> None:
        self.users: dict[str, int] = {}
        self._catalog, self._tally = catalog, tally
        self._min_rating, self._progress = min_rating, progress
        self._user, self._item = array("i"), array("i")
        self._rating, self._time, self._position = array("f"), array("d"), array("d")
        self._row = array("q")
        self._bare: set[str] | None = None
        self._starts: list[int] = []
        self._files: list[str] = []

    def __len__(self) -> int:
        return len(self._user)

    def extend(self, file: str, rows: Iterable[Row], *, parse_time: Callable[[Any], float] = seconds) -> None:
        """Judge rows one by one and keep the good ones; `parse_time` raises `ValueError` for a faulty time."""
        known, users, fault, minimum = self._catalog.codes, self.users, self._tally.fault, self._min_rating
        self._starts.append(len(self))
        self._files.append(file)
        seen = low = unrated = 0
        with self._progress.task(f"read {file}") as task:
            for row, user_id, item_id, rating, time, position in rows:
                seen += 1
                if not seen % _BLOCK:
                    task.advance(_BLOCK)
                user = user_id if type(user_id) is str else as_id(user_id)
                item = item_id if type(item_id) is str else as_id(item_id)
                if not user or not item:
                    fault("missing user_id" if not user else "missing item_id", file, row)
                    continue
                code = known.get(item)
                if code is None:
                    fault(BLANKS if self._is_known_bare(item) else "unknown item", file, row, item)
                    continue
                try:
                    value = number(rating)
                except (ValueError, TypeError):
                    fault("unparsable rating", file, row, rating)
                    continue
                try:
                    moment = parse_time(time)
                except (ValueError, TypeError, OverflowError):
                    fault("unparsable time", file, row, time)
                    continue
                try:
                    place = math.nan if position is None else number(position)
                except (ValueError, TypeError):
                    fault("unparsable position", file, row, position)
                    continue
                if minimum is not None and not value >= minimum:
                    unrated += math.isnan(value)
                    low += not math.isnan(value)
                    continue
                self._user.append(users.setdefault(user, len(users)))
                self._item.append(code)
                self._rating.append(value)
                self._time.append(moment)
                self._position.append(place)
                self._row.append(row)
        self._tally.rows_read += seen
        self._tally.filtered("below min_rating", low)
        self._tally.filtered("no rating (min_rating is set)", unrated)

    def _is_known_bare(self, item: str) -> bool:
        """True when only blanks around an id, here or in the catalog, keep it from being known."""
        if self._bare is None:
            # Only what differs: most catalogs have no such id.
            self._bare = {name.strip() for name in self._catalog.codes if name != name.strip()}
        bare = item.strip()
        return bare in self._bare or bare in self._catalog.codes

    def place(self, index: int, row: int) -> tuple[str, int]:
        """File and row number of the kept row `index` (counted in file order)."""
        return self._files[bisect_right(self._starts, index) - 1], row

    def arrays(self) -> Arrays:
        """Views on the log (no copy); times and positions that nobody has become None."""
        if not len(self):
            # A view on an empty buffer is refused by some numpy versions.
            none = np.zeros(0)
            return Arrays(none.astype(np.intc), none.astype(np.intc), none, None, None, none.astype(np.int64))
        time, position = np.frombuffer(self._time), np.frombuffer(self._position)
        return Arrays(
            np.frombuffer(self._user, dtype=np.intc),
            np.frombuffer(self._item, dtype=np.intc),
            np.frombuffer(self._rating, dtype=np.float32),
            None if np.isnan(time).all() else time,
            None if np.isnan(position).all() else position,
            np.frombuffer(self._row, dtype=np.int64),
        )


@dataclass
class RawData:
    """What a reader fills. `extras`: further frames to lie beside the dataset, by file name without suffix.

    `id_types`: user_id and item_id where the source holds whole numbers, with their numpy type; elsewhere ids are
    text. `progress` is told of what takes long.
    """

    catalog: Catalog
    events: Events
    tally: Tally
    extras: dict[str, pd.DataFrame] = field(default_factory=dict)
    id_types: dict[str, str] = field(default_factory=dict)
    progress: Progress = field(default_factory=lambda: Progress(quiet=True))

    @classmethod
    def empty(
        cls, *, min_rating: float | None = None, strict: bool = False, progress: Progress | None = None
    ) -> RawData:
        """Nothing read yet.

        >>> raw = RawData.empty()
        >>> raw.catalog.add("items", 1, "a", "A", {})
        >>> raw.events.extend("rows", [(1, "u", "a", "5", "10", None), (2, "u", "b", "5", "11", None)])
        >>> len(raw.events), raw.tally.dropped["unknown item"].rows
        (1, 1)
        """
        tally = Tally(strict=strict)
        catalog = Catalog(tally)
        progress = progress or Progress(quiet=True)
        events = Events(catalog, tally, min_rating=min_rating, progress=progress)
        return cls(catalog, events, tally, progress=progress)
