"""Attribute scores held against a known truth: rank correlation and area under the curve, with intervals.

The truth is a table `item_id, attribute, value` (CSV or Parquet), value real or 0/1: what made an embedded sample,
tags that people gave, labels of one's own. A map (CSV, JSON, YAML) says which of its names is which attribute of
the run, and whether it is reversed.
"""

from __future__ import annotations

import csv
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from guided_refine.errors import InputError, nearest
from guided_refine.evaluation.agreement import WeightedRanks, area_under_curve, spearman
from guided_refine.evaluation.rows import finite
from guided_refine.evaluation.statistics import resampling_weights, summarise
from guided_refine.files import read_parquet
from guided_refine.strict_yaml import parse_yaml

COLUMNS = ("item_id", "attribute", "value")
SOURCES = ("bag_of_words", "untuned", "tuned")
PAIRS = (("tuned", "untuned"), ("untuned", "bag_of_words"), ("tuned", "bag_of_words"))
FEWEST_ITEMS = 10


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


def item_scores(run: Path | str) -> dict[str, pd.DataFrame]:
    """Item scores of a run by source, each (items, attributes), indexed by item id; from `scores.parquet`."""
    path = Path(run) / "scores.parquet"
    if not path.exists():
        raise InputError(
            f"{path} does not exist; make it with: guided-refine run CONFIG --out {shlex.quote(str(run))}"
        )
    rows = read_parquet(path, ["kind", "id", "attribute", "source", "value"])
    rows = rows[rows["kind"] == "item"]
    order = list(dict.fromkeys(rows["attribute"]))
    return {
        str(source): part.pivot(index="id", columns="attribute", values="value")[order].rename(index=str)
        for source, part in rows.groupby("source", sort=False)
    }


def compare_with_truth(
    run: Path | str,
    path: Path | str,
    map_file: Path | str | None = None,
    *,
    bag_of_words: pd.DataFrame | None = None,
    only_known: bool = False,
    strict: bool = False,
    bootstrap: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> dict[str, Any]:
    """Hold a run's item scores against a truth table.

    `bag_of_words`: further scores beside, columns item_id and the attributes. Returns what `truth.json` holds:
    `file`, `dropped` (reason -> rows), `rows` (attribute, source, n, positives, spearman and auc with `_lower` and
    `_upper`; auc only where values are 0/1) and `differences` (attribute, source, against, measure, mean, lower,
    upper, p). The attribute `mean of all` averages over attributes, all on the same resampled items.
    """
    scores = item_scores(run)
    if bag_of_words is not None:
        frame = bag_of_words.assign(item_id=bag_of_words["item_id"].astype(str)).set_index("item_id")
        scores["bag_of_words"] = frame
    first = next(iter(scores.values()))
    truth = read_truth(
        path, list(first.columns), list(first.index), map_file=map_file, only_known=only_known, strict=strict
    )
    answer = recovery(truth, scores, bootstrap=bootstrap, confidence=confidence, seed=seed)
    return {"file": Path(path).name, "dropped": truth.dropped, "confidence": confidence, **answer}


def recovery(
    truth: Truth,
    scores: dict[str, pd.DataFrame],
    *,
    bootstrap: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> dict[str, Any]:
    """Agreement of each source with the truth, and the differences between sources on the same items.

    `scores`: source -> (items, attributes) frame indexed by item id. Within an attribute only items that every
    source scored are used, so that sources are compared on equal terms; the others are counted in `unscored`.
    Attributes with fewer than ten such items, or one value only, get no statistics.
    """
    sources = [s for s in SOURCES if s in scores] + sorted(set(scores) - set(SOURCES))
    known = {a: _usable(truth, scores, a) for a in truth.table.columns}
    draws: dict[tuple[str, str, str], tuple[float, np.ndarray]] = {}
    for name, items in known.items():
        draws |= _draws(truth, scores, sources, name, items, bootstrap=bootstrap, seed=seed)
    draws |= _averages(draws, sources)
    rows = [
        _row(truth, name, source, known.get(name), draws, confidence)
        for name in [*truth.table.columns, *([AVERAGE] if len(known) > 1 else [])]
        for source in sources
    ]
    changes = []
    for name, source, measure in draws:
        for against in [b for a, b in PAIRS if a == source and (name, b, measure) in draws]:
            (mine, ours), (theirs, base) = draws[name, source, measure], draws[name, against, measure]
            n = len(known[name]) if name in known else len(truth.table)
            gain = summarise(mine - theirs, ours - base, n, confidence)
            head = {"attribute": name, "source": source, "against": against, "measure": measure}
            numbers = {"mean": gain.mean, "lower": gain.lower, "upper": gain.upper, "p": gain.p}
            changes.append(head | {k: finite(v) for k, v in numbers.items()})
    return {"rows": rows, "differences": changes}


AVERAGE = "mean of all"


def _usable(truth: Truth, scores: dict[str, pd.DataFrame], name: str) -> pd.Index:
    """Items with a known value and a score from every source."""
    items = truth.table[name].dropna().index
    for frame in scores.values():
        items = items.intersection(frame[name].dropna().index, sort=False)
    return items


def _draws(
    truth: Truth,
    scores: dict[str, pd.DataFrame],
    sources: Sequence[str],
    name: str,
    items: pd.Index,
    *,
    bootstrap: int,
    seed: int,
) -> dict[tuple[str, str, str], tuple[float, np.ndarray]]:
    """(attribute, source, measure) -> observed value and its bootstrap values; sources share the drawn items.

    Items are drawn from the whole truth table and the attribute takes those it knows, so that attributes share
    the drawn items too and can be averaged sample by sample.
    """
    value = truth.table.loc[items, name].to_numpy(dtype=float)
    if len(items) < FEWEST_ITEMS or np.ptp(value) == 0:
        return {}
    columns = truth.table.index.get_indexer(items)
    wanted, positive = WeightedRanks(value), value > 0
    ranks = {s: WeightedRanks(scores[s].loc[items, name].to_numpy(dtype=float)) for s in sources}

    def measure(kind: str, source: str, weights: np.ndarray) -> np.ndarray:
        if kind == "auc":
            return area_under_curve(ranks[source], positive, weights)
        return spearman(ranks[source], wanted, weights)

    keys = [
        (kind, s)
        for kind in (["spearman", "auc"] if truth.is_binary(name) else ["spearman"])
        for s in sources
    ]
    drawn: dict[tuple[str, str], list[np.ndarray]] = {key: [] for key in keys}
    for weights in resampling_weights(len(truth.table), bootstrap, seed):
        for kind, source in keys:
            drawn[kind, source].append(measure(kind, source, weights[:, columns]))
    whole = np.ones((1, len(items)))
    return {
        (name, source, kind): (float(measure(kind, source, whole)[0]), np.concatenate(drawn[kind, source]))
        for kind, source in keys
    }


def _averages(
    draws: dict[tuple[str, str, str], tuple[float, np.ndarray]], sources: Sequence[str]
) -> dict[tuple[str, str, str], tuple[float, np.ndarray]]:
    """Mean over attributes; one where a source is flat counts as no agreement, lest flatness pay."""
    out = {}
    for measure, chance in (("spearman", 0.0), ("auc", 0.5)):
        for source in sources:
            parts = [v for (_, s, m), v in draws.items() if s == source and m == measure]
            if len(parts) > 1:
                observed = float(np.mean([np.nan_to_num(o, nan=chance) for o, _ in parts]))
                stacked = np.mean([np.nan_to_num(d, nan=chance) for _, d in parts], axis=0)
                out[AVERAGE, source, measure] = (observed, stacked)
    return out


def _row(
    truth: Truth,
    name: str,
    source: str,
    items: pd.Index | None,
    draws: dict[tuple[str, str, str], tuple[float, np.ndarray]],
    confidence: float,
) -> dict[str, Any]:
    row: dict[str, Any] = {"attribute": name, "source": source}
    if items is not None:
        value = truth.table.loc[items, name]
        row |= {"n": len(items), "unscored": int(truth.table[name].notna().sum()) - len(items)}
        row["positives"] = int(value.sum()) if truth.is_binary(name) else None
    for measure in ("spearman", "auc"):
        observed, drawn = draws.get((name, source, measure), (float("nan"), np.zeros(0)))
        n = len(truth.table) if items is None else len(items)
        found = summarise(observed, drawn, n, confidence)
        row |= {measure: finite(found.mean), f"{measure}_lower": finite(found.lower)}
        row[f"{measure}_upper"] = finite(found.upper)
    return row


def format_truth(answer: dict[str, Any]) -> str:
    """What `compare_with_truth` returned as lines for a terminal.

    >>> row = {"attribute": "humour", "source": "tuned", "n": 40, "spearman": .5, "spearman_lower": .4}
    >>> print(format_truth({"dropped": {}, "rows": [row | {"spearman_upper": .6}], "differences": []}))
    attribute             source            n  Spearman                 area under the curve
    humour                tuned            40  0.500 [0.400, 0.600]
    """
    lines = [f"{'attribute':21} {'source':13} {'n':>5}  {'Spearman':24} area under the curve"]
    for row in answer["rows"]:
        shown = [_interval(row, measure) for measure in ("spearman", "auc")]
        n = row.get("n", "")
        lines.append(f"{row['attribute']:21} {row['source']:13} {n!s:>5}  {shown[0]:24} {shown[1]}".rstrip())
    lines += [f"{count} rows dropped: {reason}" for reason, count in answer["dropped"].items()]
    return "\n".join(lines)


def _interval(row: dict[str, Any], measure: str) -> str:
    if row.get(measure) is None or row[f"{measure}_lower"] is None:
        return ""
    return f"{row[measure]:.3f} [{row[f'{measure}_lower']:.3f}, {row[f'{measure}_upper']:.3f}]"
