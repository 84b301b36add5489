"""Scores of another model, for the builtin model to learn from: read from a run folder or from a table."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from guided_refine.errors import InputError, nearest
from guided_refine.files import read_parquet, sha256_file, sha256_json
from guided_refine.runfolder import RunFolder
from guided_refine.scoring.attributes import AttributeSet
from guided_refine.scoring.scores import load_scores

if TYPE_CHECKING:
    import pandas as pd

KEY = "llm_options.teacher.distil"
FEWEST = 20
"""Scored items of the catalog, per attribute, below which nothing can be learned from them."""


@dataclass(frozen=True)
class GivenScores:
    """Item scores of a better model.

    `table`: columns item_id and attribute (text), value in [0, 1], spread in [0, 0.5] or NaN. `model` is what to call
    who gave them, `where` the file or folder that they come from.
    """

    table: pd.DataFrame
    model: str
    where: Path

    def check(self, attributes: AttributeSet) -> None:
        """Raise `InputError` unless the scores are of these attributes and of no others."""
        names = list(dict.fromkeys(self.table["attribute"]))
        for name in names:
            if name not in attributes.names:
                raise InputError(
                    f"{KEY}: {self.where} scores '{name}', which the attribute set '{attributes.domain}' does not have: "
                    f"{nearest(name, attributes.names)}"
                )
        for name in attributes.names:
            if name not in names:
                raise InputError(
                    f"{KEY}: {self.where} has no scores of {name}; score it too or leave it out of the set"
                )

    def on(self, item_ids: list[str], attributes: AttributeSet) -> tuple[np.ndarray, np.ndarray]:
        """Value and spread on a catalog, each (items, attributes), NaN where nothing is known.

        Raises `InputError` where an attribute has scores of fewer than `FEWEST` of these items.
        """
        rows = self.table[self.table["item_id"].isin(set(item_ids))]
        sides = []
        for side in ("value", "spread"):
            wide = rows.pivot(index="item_id", columns="attribute", values=side)
            sides.append(wide.reindex(index=item_ids, columns=attributes.names).to_numpy(dtype=np.float64))
        value, spread = sides
        for name, count in zip(attributes.names, np.isfinite(value).sum(axis=0), strict=True):
            if count < FEWEST:
                raise InputError(
                    f"{KEY}: {self.where} has scores of {name} for {count} items of this catalog that have a text, "
                    f"but at least {FEWEST} are needed; score more of them"
                )
        return value, spread


def fingerprint(where: Path) -> str:
    """Hash of the scores that lie at `where`. Raises `InputError` where there are none."""
    if where.is_dir():
        folder = RunFolder(where)
        return sha256_json([sha256_file(path) for path in (_run_scores(folder), _run_items(folder))])
    if not where.is_file():
        raise InputError(f"{KEY}: {where} is neither a run folder nor a table")
    return sha256_file(where)


def read_given(where: Path) -> GivenScores:
    """Read untuned item scores: of a run folder that `score` or `run` filled, or of a table.

    A table (.parquet, .csv, .csv.gz) has the columns item_id, attribute, value and, if known, spread; a run's own
    `scores.parquet` is one. Values are all in 0..1, as this package writes them, or all in 1..9. Tuned scores are not
    taken: they come from interactions, and nothing says from which. Raises `InputError` for anything else.
    """
    return _of_run(where) if where.is_dir() else _of_table(where)


def _run_scores(folder: RunFolder) -> Path:
    return _there(folder, folder.scores("untuned"))


def _run_items(folder: RunFolder) -> Path:
    return _there(folder, folder.data / "items.parquet")


def _there(folder: RunFolder, path: Path) -> Path:
    if not path.is_file():
        raise InputError(
            f"{KEY}: {folder.root} is no run with scores ({path.relative_to(folder.root)} is not there); make one "
            f"with: guided-refine score CONFIG --out {folder.root}"
        )
    return path


def _of_run(where: Path) -> GivenScores:
    import pandas as pd

    from guided_refine.data.dataset import load_dataset

    folder = RunFolder(where)
    scores = load_scores(_run_scores(folder))
    _run_items(folder)
    items = [str(item) for item in load_dataset(folder.data).item_ids]
    if len(items) != len(scores.item_value):
        raise InputError(f"{KEY}: the scores in {where} are not of the items in it; score that run again")
    count = len(scores.attributes)
    table = pd.DataFrame(
        {
            "item_id": np.repeat(np.array(items, dtype=object), count),
            "attribute": np.tile(np.array(scores.attributes, dtype=object), len(items)),
            "value": scores.item_value.ravel(),
            "spread": scores.item_spread.ravel(),
        }
    )
    return GivenScores(table[np.isfinite(table["value"])].reset_index(drop=True), scores.model, where)


def _of_table(where: Path) -> GivenScores:
    import pandas as pd

    frame = _untuned_items(_read(where), where)
    table = pd.DataFrame(
        {
            "item_id": frame["item_id"].astype(str),
            "attribute": frame["attribute"].astype(str),
            "value": _numbers(frame["value"]),
            "spread": _numbers(frame["spread"]) if "spread" in frame else np.nan,
        }
    )
    # An empty cell is an item that could not be scored.
    kept = frame["value"].notna() & (frame["value"].astype(str).str.strip() != "")
    table = table[kept]
    if table.empty:
        raise InputError(f"{KEY}: {where} has no row with a value")
    _check_values(table, where)
    if (twice := table.duplicated(["item_id", "attribute"])).any():
        first = table[twice].iloc[0]
        raise InputError(
            f"{KEY}: {where}, row {table.index[twice][0] + 2}: {first['attribute']} of item {first['item_id']} "
            "is given twice; keep one of them"
        )
    if (table["value"] > 1).any():
        table = table.assign(value=(table["value"] - 1) / 8, spread=table["spread"] / 8)
    return GivenScores(table.reset_index(drop=True), where.name, where)


def _read(where: Path) -> pd.DataFrame:
    import pandas as pd

    if where.suffix == ".parquet":
        return read_parquet(where)
    if not where.name.endswith((".csv", ".csv.gz")):
        raise InputError(f"{KEY}: {where} must be a run folder or end in .parquet, .csv or .csv.gz")
    try:
        return pd.read_csv(where, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"{KEY}: {where} cannot be read: {error.strerror or error}") from error
    except (UnicodeDecodeError, EOFError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise InputError(f"{KEY}: {where} is not a CSV file in UTF-8 ({error})") from error


def _untuned_items(frame: pd.DataFrame, where: Path) -> pd.DataFrame:
    """The rows that speak of items; a run's table also has users, and the same items after tuning."""
    if {"kind", "id"} <= set(frame.columns):
        frame = frame[frame["kind"] == "item"].rename(columns={"id": "item_id"})
    if "source" in frame:
        frame = frame[frame["source"] == "untuned"]
    for column in ("item_id", "attribute", "value"):
        if column not in frame:
            hint = (
                "; a store's export names texts, not items: give the run folder instead"
                if {"text", "fingerprint"} <= set(frame.columns)
                else ""
            )
            raise InputError(
                f"{KEY}: {where} has no column '{column}' (it has {', '.join(map(str, frame.columns))}){hint}"
            )
    return frame


def _numbers(column: pd.Series) -> pd.Series:
    import pandas as pd

    return pd.to_numeric(column, errors="coerce").astype(float)


def _check_values(table: pd.DataFrame, where: Path) -> None:
    def refuse(bad: pd.Series, said: str) -> None:
        if bad.any():
            raise InputError(f"{KEY}: {where}, row {table.index[bad][0] + 2}: {said}")

    value, spread = table["value"], table["spread"]
    refuse(~np.isfinite(value), "the value is not a number")
    # The row to name is one that is not on the scale of the most.
    small, digits = value.between(0, 1), value.between(1, 9)
    refuse(~(small if small.sum() >= digits.sum() else digits), "values must all lie in 1..9, or all in 0..1")
    refuse(spread < 0, "the spread is negative")
