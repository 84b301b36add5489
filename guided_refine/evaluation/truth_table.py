"""The truth that scores are held against: a table `item_id, attribute, value` (CSV or Parquet), value real or 0/1.

What made an embedded sample, tags that people gave, labels of one's own. A map (CSV, JSON, YAML) says which of its
names is which attribute of the run, and whether it is reversed.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from guided_refine.errors import InputError, nearest
from guided_refine.files import read_parquet
from guided_refine.strict_yaml import parse_yaml

COLUMNS = ("item_id", "attribute", "value")
FEWEST_ITEMS = 10
"""An attribute that is known for fewer items gets no statistics."""
AVERAGE = "mean of all"
"""Stands for the mean over attributes where a row names its attribute."""


@dataclass(frozen=True)
class Truth:
    """Known values, `table` (items, attributes) with NaN where nothing is known, and what was dropped and why."""

    table: pd.DataFrame
    dropped: dict[str, int] = field(default_factory=dict)

    def is_binary(self, attribute: str) -> bool:
        """True where all known values are 0 or 1."""
        return bool(self.table[attribute].dropna().isin([0.0, 1.0]).all())


def read_truth(
    path: Path | str,
    attributes: Sequence[str],
    item_ids: Sequence[str],
    *,
    map_file: Path | str | None = None,
    only_known: bool = False,
    strict: bool = False,
) -> Truth:
    """Read a truth table and bring it onto the run's attributes and items.

    Without a map the file's attribute names must be the run's; `only_known` drops the others instead (for a truth
    that came with the data, whatever attributes the run chose). With a map, names that it leaves out are dropped.
    Rows with an unknown item, a value that is not a finite number, or an (item, attribute) met before are dropped
    and counted, or stop under `strict`.

    Raises `InputError`: file or column missing, unknown attribute (with the nearest right name), nothing left.
    """
    path = Path(path)
    rows = _read_table(path, COLUMNS)
    rows = rows.assign(item_id=rows["item_id"].astype(str), attribute=rows["attribute"].astype(str))
    sign = _signs(path, rows, attributes, map_file, only_known)
    dropped: dict[str, int] = {}

    def keep(rows: pd.DataFrame, good: pd.Series, reason: str) -> pd.DataFrame:
        bad = rows[~good]
        if len(bad) and strict and reason != "attribute not compared":
            raise InputError(f"{path}, row {int(bad.index[0]) + 2}: {reason} ({len(bad)} such rows)")
        if len(bad):
            dropped[reason] = len(bad)
        return rows[good]

    rows = keep(rows, rows["attribute"].isin(sign), "attribute not compared")
    rows = keep(rows, rows["item_id"].isin(set(item_ids)), "item not in the catalog")
    value = pd.to_numeric(rows["value"], errors="coerce").astype(float)
    rows = rows.assign(value=value)
    rows = keep(rows, value.abs() < np.inf, "value is not a number")
    rows = rows.assign(name=rows["attribute"], attribute=rows["attribute"].map(lambda name: sign[name][0]))
    rows = keep(rows, ~rows.duplicated(["item_id", "attribute"]), "item and attribute given before")
    if rows.empty:
        reasons = ", ".join(f"{n} {reason}" for reason, n in dropped.items())
        raise InputError(f"{path} has no row that can be used ({reasons or 'the table is empty'})")
    table = rows.pivot(index="item_id", columns="attribute", values="value")
    truth = Truth(table[[a for a in attributes if a in table]], dropped)
    for ours, direction in sign.values():
        if direction < 0 and ours in truth.table:
            # A reversed 0/1 stays 0/1; a reversed real value changes its sign.
            truth.table[ours] = float(truth.is_binary(ours)) - truth.table[ours]
    return truth


def _read_table(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    if path.suffix == ".parquet":
        frame = read_parquet(path)
    else:
        try:
            frame = pd.read_csv(path, dtype=str, keep_default_na=False)
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
        except (UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
            raise InputError(f"{path} is not a CSV file in UTF-8 ({error})") from error
    for column in columns:
        if column not in frame:
            raise InputError(
                f"{path} has no column '{column}' (it has {', '.join(map(str, frame.columns))}); "
                f"expected {', '.join(columns)}"
            )
    return frame


def _signs(
    path: Path, rows: pd.DataFrame, attributes: Sequence[str], map_file: Path | str | None, only_known: bool
) -> dict[str, tuple[str, int]]:
    """The file's name of an attribute -> (ours, +1 or -1)."""
    theirs = sorted(set(rows["attribute"]))
    if map_file is None:
        known = [name for name in theirs if name in attributes]
        for name in theirs:
            if name not in attributes and not (only_known and known):
                raise InputError(
                    f"{path}: the run has no attribute '{name}': {nearest(name, attributes)} "
                    "(or say which is meant with --map)"
                )
        return {name: (name, 1) for name in known}
    signs = read_map(map_file)
    for name, (ours, _) in signs.items():
        if ours not in attributes:
            raise InputError(f"{map_file}: the run has no attribute '{ours}': {nearest(ours, attributes)}")
        if name not in theirs:
            raise InputError(f"{map_file}: {path.name} has no attribute '{name}': {nearest(name, theirs)}")
    return signs


def read_map(path: Path | str) -> dict[str, tuple[str, int]]:
    """Read a map from a file's attribute names to the run's: name -> (attribute, +1 or -1 where reversed).

    JSON or YAML: `{"funny": "humour", "cosy": {"attribute": "darkness", "sign": -1}}`; CSV: a header, then their
    name, our attribute and optionally the sign, in this order. Raises `InputError` when it is anything else.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
        raw = _rows_of_map(text) if path.suffix == ".csv" else parse_yaml(text)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    except yaml.YAMLError as error:
        raise InputError(f"{path} is neither JSON nor YAML: {' '.join(str(error).split())}") from error
    raw = raw if isinstance(raw, dict) else {}
    entries = {str(k): v if isinstance(v, dict) else {"attribute": v} for k, v in raw.items()}
    signs = {}
    for name, entry in entries.items():
        ours, sign = entry.get("attribute"), str(entry.get("sign") or 1).lstrip("+")
        if not isinstance(ours, str) or sign not in ("1", "-1"):
            raise InputError(f"{path}: '{name}' needs an attribute of the run and a sign of 1 or -1")
        signs[name] = (ours, int(sign))
    if not signs:
        raise InputError(
            f"{path} must map names to attributes, such as  funny: humour  (CSV: name,attribute,sign)"
        )
    return signs


def _rows_of_map(text: str) -> dict[str, dict[str, str]]:
    rows = [[cell.strip() for cell in row] for row in csv.reader(text.splitlines()) if any(row)]
    return {row[0]: dict(zip(("attribute", "sign"), row[1:], strict=False)) for row in rows[1:]}
