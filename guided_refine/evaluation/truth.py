"""Attribute scores held against a known truth: rank correlation, area under the curve, and what their spread is worth."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from guided_refine.errors import InputError
from guided_refine.evaluation.agreement import WeightedRanks, area_under_curve, spearman
from guided_refine.evaluation.rows import finite
from guided_refine.evaluation.spread import format_spread, worth_of_spread
from guided_refine.evaluation.statistics import resampling_weights, summarise
from guided_refine.evaluation.truth_table import AVERAGE, FEWEST_ITEMS, Truth, read_truth
from guided_refine.files import read_parquet

SOURCES = ("bag_of_words", "untuned", "tuned")
PAIRS = (("tuned", "untuned"), ("untuned", "bag_of_words"), ("tuned", "bag_of_words"))


def item_scores(run: Path | str, column: str = "value") -> dict[str, pd.DataFrame]:
    """Item scores of a run by source, each (items, attributes), indexed by item id; from `scores.parquet`.

    `column`: "value", or "spread".
    """
    path = Path(run) / "scores.parquet"
    if not path.exists():
        raise InputError(
            f"{path} does not exist; make it with: guided-refine run CONFIG --out {shlex.quote(str(run))}"
        )
    rows = read_parquet(path, ["kind", "id", "attribute", "source", column])
    rows = rows[rows["kind"] == "item"]
    order = list(dict.fromkeys(rows["attribute"]))
    return {
        str(source): part.pivot(index="id", columns="attribute", values=column)[order].rename(index=str)
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
    `_upper`; auc only where values are 0/1), `differences` (attribute, source, against, measure, mean, lower, upper, p) and
    `spread` (see `worth_of_spread`). The attribute `mean of all` averages over attributes, all on the same resampled
    items.
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
    answer["spread"] = worth_of_spread(
        truth, scores, item_scores(run, "spread"), bootstrap=bootstrap, confidence=confidence, seed=seed
    )
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
    lines += format_spread(answer)
    lines += [f"{count} rows dropped: {reason}" for reason, count in answer["dropped"].items()]
    return "\n".join(lines)


def _interval(row: dict[str, Any], measure: str) -> str:
    if row.get(measure) is None or row[f"{measure}_lower"] is None:
        return ""
    return f"{row[measure]:.3f} [{row[f'{measure}_lower']:.3f}, {row[f'{measure}_upper']:.3f}]"
