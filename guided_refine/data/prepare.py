"""From a source as it is distributed to a prepared dataset: read, order, filter, write text, describe.

The folder gets items.parquet, interactions.parquet, splits.parquet (places of the targets) and, last,
info.json: a folder without it is not a dataset, so a kill at any moment leaves nothing that looks whole.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from guided_refine.config import DataConfig
from guided_refine.data import filtering
from guided_refine.data.raw import BLANKS, Arrays, RawData
from guided_refine.data.readers import READERS
from guided_refine.data.text import item_texts, text_columns
from guided_refine.errors import InputError, nearest
from guided_refine.files import cannot_write, sha256_file, write_json, write_parquet
from guided_refine.progress import Progress

if TYPE_CHECKING:
    import pandas as pd

# Larger medians cannot be seconds: (bound, units in a second). 1e11 seconds is the year 5138.
_FINER_UNITS = ((1e17, 1e9), (1e14, 1e6), (1e11, 1e3))


def prepare(
    reader: str,
    source: Path | None,
    out: Path,
    *,
    options: DataConfig | None = None,
    name: str | None = None,
    strict: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Read `source` with `reader` and write a prepared dataset to `out`; returns what info.json holds.

    Users come in order of first appearance in the source, their events by time, then position, then the
    file's order; items in the catalog's order, those without any event left out. Faulty rows are dropped and
    counted by reason; under `strict` the first one raises. Raises `InputError` for anything structural:
    missing file or column, empty table, nothing left, items listed twice, unparsable times, wrong encoding.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> _ = (folder / "items.csv").write_text("item_id,title,genre\\na,Alpha,x\\nb,Beta,y\\nc,Gamma,x\\n")
    >>> rows = "user_id,item_id,timestamp\\nu,b,2\\nu,a,1\\nu,c,3\\nu,z,4\\n"
    >>> _ = (folder / "interactions.csv").write_text(rows)
    >>> info = prepare("tables", folder, folder / "out")
    >>> info["interactions"], info["dropped"]["unknown item"]["rows"]
    (3, 1)
    """
    options = options or DataConfig()
    check_reader(reader)
    source, out = (None if source is None else Path(source)), Path(out)
    _refuse_own_source(source, out)
    progress = progress or Progress(quiet=True)
    raw = RawData.empty(min_rating=options.min_rating, strict=strict, progress=progress)
    READERS[reader](source, options.options, raw)
    left = tidy(raw, options, str(source) if source is not None else f"reader {reader}")
    info: dict[str, Any] = {
        "name": name or (source.name.split(".")[0] if source is not None else reader),
        "reader": reader,
        "source": None if source is None else source.name,
        **left.facts,
        "options": options.model_dump(mode="json", exclude={"path", "reader"}),
    }
    extras, dropped = raw.extras, raw.tally.summary() or "none"
    # The log of a large source weighs more than what follows.
    del raw
    _write(out, left.items, left.interactions(), extras, options, info)
    progress.log(
        f"data: {info['users']} users, {info['items']} items, {info['interactions']} interactions "
        f"of {info['rows_read']} rows; dropped: {dropped}"
    )
    return info


@dataclass(frozen=True)
class Tidy:
    """What is left of a source: `items` with their text, events in history order, and `facts` for info.json."""

    items: pd.DataFrame
    facts: dict[str, Any]
    _rows: Arrays
    _users: list[str]

    def interactions(self) -> pd.DataFrame:
        """user_id, item_id and, where there are any, rating and timestamp; one row per event."""
        return _frame(self.items, self._rows, self._users)


def tidy(raw: RawData, options: DataConfig, shown: str) -> Tidy:
    """Order, filter and describe what a reader filled in; `shown` is what error sentences call the source.

    Raises `InputError` where nothing is left, or nothing to choose from.
    """
    if not len(raw.catalog):
        raise InputError(f"{shown}: the items are empty, so there is nothing to recommend; list at least two")
    rows = _complete(raw, shown)
    heard_of = len(np.unique(rows.item))
    items = raw.catalog.frame()
    items.insert(2, "text", item_texts(items, text_columns(items, options.text_columns)))
    rows, counts = _filter(rows, items, raw, options, shown)
    items, rows, users = _renumber(items, rows, list(raw.events.users))
    if len(items) < 2:
        raise InputError(
            f"{shown}: all interactions that are left are with one item; a ranking needs two or more"
        )
    facts: dict[str, Any] = {
        "users": len(users),
        "items": len(items),
        "interactions": len(rows),
        "order": _ordered_by(rows),
        "rows_read": raw.tally.rows_read,
        "dropped": {reason: asdict(d) for reason, d in raw.tally.dropped.items()},
        "noted": {reason: asdict(d) for reason, d in raw.tally.noted.items()},
        "catalog": {"listed": len(raw.catalog), "without_interactions": len(raw.catalog) - heard_of},
        **counts,
    }
    if raw.id_types:
        facts["id_types"] = raw.id_types
    return Tidy(items, facts, rows, users)


def check_reader(reader: str) -> None:
    """Raise `InputError` for a reader that does not exist, with the nearest that does."""
    if reader not in READERS:
        raise InputError(f"there is no reader '{reader}': {nearest(reader, READERS)}")


def _ordered_by(rows: Arrays) -> str:
    if rows.time is not None:
        return "timestamp"
    return "position" if rows.position is not None else "file"


def _refuse_own_source(source: Path | None, out: Path) -> None:
    try:
        file = next((place for place in (out, *out.parents) if place.exists() and not place.is_dir()), None)
    except OSError as error:  # a name that is too long, a folder that cannot be entered
        raise cannot_write(error, out) from error
    if file is not None:
        within = "" if file == out else f" lies in {file}, which"
        raise InputError(f"--out {out}{within} is a file; name a folder")
    if source is None or not source.exists():
        return
    folder = source if source.is_dir() else source.parent
    if folder.resolve() == out.resolve():
        raise InputError(f"--out {out} is the source's own folder; name another one, or the source is lost")


def _complete(raw: RawData, shown: str) -> Arrays:
    """The kept rows; refuses an empty or a wholly faulty source, and drops rows without the time others have."""
    tally = raw.tally
    if not tally.rows_read:
        raise InputError(f"{shown}: the interactions are empty; expected one row per event below the header")
    bad_times = tally.dropped.get("unparsable time")
    if bad_times is not None and bad_times.rows == tally.rows_read:
        raise InputError(
            f"{shown}: no time can be read (first: {bad_times.first}); "
            "expected seconds since 1970 or ISO dates such as 2014-07-21"
        )
    rows = raw.events.arrays()
    if rows.time is not None:
        rows = _without(np.isnan(rows.time), "time", rows, raw)
    if rows.time is None and rows.position is not None:  # with times, positions only order equal ones
        rows = _without(np.isnan(rows.position), "position", rows, raw)
    if rows.time is not None and len(rows):
        middle = float(np.median(rows.time))
        for bound, units in _FINER_UNITS:
            if middle > bound:
                rows.time = rows.time / units
                break
    _refuse_empty(rows, raw, shown)
    return rows


def _without(missing: np.ndarray, what: str, rows: Arrays, raw: RawData) -> Arrays:
    """Drop and count rows that lack what others have; under --strict the first one stops the run."""
    if not missing.any():
        return rows
    file, row = raw.events.place(int(np.argmax(missing)), int(rows.row[np.argmax(missing)]))
    if raw.tally.strict:
        raw.tally.fault(f"no {what}, where other rows have one", file, row)
    raw.tally.filtered(f"no {what}", int(missing.sum()), f"{file} row {row}")
    return rows.take(~missing)


def _refuse_empty(rows: Arrays, raw: RawData, shown: str) -> None:
    if not len(rows):
        blanks = raw.tally.dropped.get(BLANKS)
        remedy = ""
        lowered = [key for key in ("k_core", "min_rating") if key in raw.tally.summary()]
        if lowered:
            remedy = f"; lower data.{' or data.'.join(lowered)}"
        if blanks:
            remedy = (
                f"; {blanks.rows} of them match without blanks before and after the ids: remove such blanks"
            )
        raise InputError(
            f"{shown}: nothing is left of {raw.tally.rows_read} rows; dropped: {raw.tally.summary()}{remedy}"
        )


def _filter(
    rows: Arrays, items: pd.DataFrame, raw: RawData, options: DataConfig, shown: str
) -> tuple[Arrays, dict[str, Any]]:
    """Duplicates, items without text, repeats, cores; the rows come back in history order."""
    tally = raw.tally

    def leave_out(rows: Arrays, gone: np.ndarray, reason: str) -> Arrays:
        tally.filtered(reason, int(gone.sum()))
        return rows.take(~gone) if gone.any() else rows

    twins = filtering.exact_duplicates(rows)
    silent = (items["text"] == "").to_numpy()[rows.item]
    for marked, reason in ((twins, "exact duplicate of an earlier row"), (silent, "item without text")):
        if tally.strict and marked.any():
            at = int(np.argmax(marked))
            item_id = items["item_id"].iloc[rows.item[at]]
            tally.fault(reason, *raw.events.place(at, int(rows.row[at])), item_id)
    if options.without_text == "drop":
        rows = leave_out(rows, silent, "item without text")
        twins = twins[~silent]
    rows = leave_out(rows, twins, "exact duplicate")
    rows = rows.take(filtering.history_order(rows))
    again = filtering.repeats(rows.user, rows.item)
    repeated = int(again.sum())
    if options.repeats == "first":
        rows = leave_out(rows, again, "repeat (a user's later event with the same item)")
    _refuse_empty(rows, raw, shown)
    keep = filtering.k_core(rows.user, rows.item, options.k_core, options.k_core_mode)
    counts = {
        "duplicates": int(twins.sum()),
        "repeats": repeated,
        "removed_by_core": {
            "users": len(np.unique(rows.user)) - len(np.unique(rows.user[keep])),
            "items": len(np.unique(rows.item)) - len(np.unique(rows.item[keep])),
        },
    }
    rows = leave_out(rows, ~keep, f"k_core {options.k_core} ({options.k_core_mode})")
    _refuse_empty(rows, raw, shown)
    return rows, counts


def _renumber(items: pd.DataFrame, rows: Arrays, users: list[str]) -> tuple[pd.DataFrame, Arrays, list[str]]:
    """Leave out items and users without events; codes become places in what is left."""
    item_codes, rows.item = np.unique(rows.item, return_inverse=True)
    user_codes, rows.user = np.unique(rows.user, return_inverse=True)
    items = items.iloc[item_codes].reset_index(drop=True)
    # A catalog entry without a title still needs a name on a chart; its text stays as it is.
    items["title"] = items["title"].where(items["title"] != "", items["item_id"])
    return items, rows, [users[code] for code in user_codes]


def _frame(items: pd.DataFrame, rows: Arrays, users: list[str]) -> pd.DataFrame:
    import pandas as pd

    data: dict[str, Any] = {
        "user_id": np.array(users, dtype=object)[rows.user],
        "item_id": items["item_id"].to_numpy(dtype=object)[rows.item],
    }
    if not np.isnan(rows.rating).all():
        data["rating"] = rows.rating
    if rows.time is not None:
        whole = bool((rows.time == np.floor(rows.time)).all())
        data["timestamp"] = rows.time.astype(np.int64) if whole else rows.time
    return pd.DataFrame(data)


def _write(
    out: Path,
    items: pd.DataFrame,
    interactions: pd.DataFrame,
    extras: dict[str, pd.DataFrame],
    options: DataConfig,
    info: dict[str, Any],
) -> None:
    splits, frame = split_places(str(info["name"]), items, interactions, options)
    # From here until the new info.json the folder must not pass for the old dataset.
    try:
        (out / "info.json").unlink(missing_ok=True)
    except OSError as error:
        raise cannot_write(error, out / "info.json") from error
    tables = {"items": items, "interactions": interactions, "splits": frame, **extras}
    for table, content in tables.items():
        write_parquet(out / f"{table}.parquet", content)
    info["splits"] = splits
    info["files"] = {f"{table}.parquet": sha256_file(out / f"{table}.parquet") for table in tables}
    write_json(out / "info.json", info)


def split_places(
    name: str, items: pd.DataFrame, interactions: pd.DataFrame, options: DataConfig
) -> tuple[dict[str, Any], pd.DataFrame]:
    """Both splits: their hashes (or why there is none), and per split and user the places of the targets.

    Raises `InputError` when the configured split leaves nobody to test.
    """
    import pandas as pd

    from guided_refine.data.dataset import from_frames
    from guided_refine.data.split import SplitKind

    kinds: tuple[SplitKind, ...] = ("leave_one_out", "global_time")
    hashes: dict[str, Any] = {}
    places = []
    for kind in kinds:
        try:
            dataset = from_frames(
                name,
                items,
                interactions,
                split=kind,
                valid_share=options.valid_share,
                test_share=options.test_share,
            )
        except InputError as error:
            if kind == options.split:
                raise
            hashes[kind] = {"sha256": None, "reason": str(error)}
            continue
        split = dataset.split
        hashes[kind] = {
            "sha256": split.sha256,
            "valid_users": int((split.valid >= 0).sum()),
            "test_users": int((split.test >= 0).sum()),
        }
        columns = {"user_id": dataset.user_ids, "n_train": split.n_train, "valid": split.valid}
        places.append(pd.DataFrame({"split": kind, **columns, "test": split.test}))
    return hashes, pd.concat(places, ignore_index=True)
