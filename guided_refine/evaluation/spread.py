"""Is the spread of a score worth anything: does it tell which scores are wrong?

Held against a known truth, an item's error is how wrongly the scores place it; the worth of spread is its rank correlation
with that error. Only where it is positive beyond chance may spread be shown to people as confidence; `spread_tracks_error`
is the one place that says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from guided_refine.evaluation.agreement import WeightedRanks, spearman
from guided_refine.evaluation.rows import finite
from guided_refine.evaluation.statistics import Interval, resampling_weights, summarise
from guided_refine.evaluation.truth_table import AVERAGE, FEWEST_ITEMS, Truth


def misplacement(score: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Error of every item, (items,) in [0, 1]: of the items with another true value, the share that the scores order
    wrongly against it; equal scores count half. 0 is faultless, 0.5 is chance.

    Scores and truth may be on any scales: only the order within each counts. For a 0/1 truth a positive's error is the
    share of negatives scored above it and the other way round, so the mean over either class is one minus the area under
    the curve; for a graded truth it is the item's part in Kendall's distance. NaN where all true values are equal.

    >>> misplacement(np.array([0.9, 0.2, 0.4, 0.1]), np.array([1, 1, 0, 0]))
    array([0. , 0.5, 0.5, 0. ])
    """
    s, t = (np.unique(values, return_inverse=True)[1].astype(np.int64) for values in (score, truth))
    wrong = _above_among_lower(s, t) + _above_among_lower(-s, -t)
    tied = _lower_among_equal(s, t) + _lower_among_equal(s, -t)
    others = len(t) - np.bincount(t, minlength=1)[t]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(others > 0, (wrong + tied / 2) / others, np.nan)


def _above_among_lower(s: np.ndarray, t: np.ndarray) -> np.ndarray:
    """For each item, how many with a lower `t` have a higher `s`: counted while merging halves, n log^2 n in all."""
    n = len(s)
    # Among equal t the lower s come first, so that none of them counts.
    order = np.lexsort((s, t))
    rank = s[order] - s.min(initial=0)
    room = int(rank.max(initial=0)) + 2
    place, count, width = np.arange(n), np.zeros(n, np.int64), 1
    while width < n:
        key = place // (2 * width) * room
        first = place // width % 2 == 0
        before = np.sort((key + rank)[first])
        later = ~first
        count[later] += np.searchsorted(before, key[later] + room - 1)
        count[later] -= np.searchsorted(before, (key + rank)[later], side="right")
        width *= 2
    out = np.empty(n, np.int64)
    out[order] = count
    return out


def _lower_among_equal(s: np.ndarray, t: np.ndarray) -> np.ndarray:
    """For each item, how many with the same `s` have a lower `t`."""
    pair = (s - s.min(initial=0)) * (len(t) + 1) + (t - t.min(initial=0))
    ordered = np.sort(pair)
    return np.searchsorted(ordered, pair) - np.searchsorted(ordered, pair - (t - t.min(initial=0)))


def worth_of_spread(
    truth: Truth,
    values: Mapping[str, pd.DataFrame],
    spreads: Mapping[str, pd.DataFrame],
    *,
    bootstrap: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> dict[str, Any]:
    """Spearman correlation of spread with `misplacement`, per attribute and in the mean, with a bootstrap interval.

    `values` and `spreads`: source -> (items, attributes), indexed by item id. Items are resampled; an item's error is
    that among all items, whatever the sample. An attribute has no correlation where fewer than ten items have a known
    value, a score and a spread, or where one of these does not vary. The mean of all counts it as 0 where its spread or
    error is flat, and leaves it out where there are too few items.

    Returns `rows` (attribute, source, n, correlation, lower, upper) and `tracks_error`: source -> whether the lower end
    of the mean's interval (the only attribute's, where there is one) is above 0, None where there is no interval. Sources
    without spread, such as a bag of words, are left out.
    """
    rows: list[dict[str, Any]] = []
    tracks: dict[str, bool | None] = {}
    for source in [s for s in values if s in spreads]:
        found: dict[str, tuple[int, float, np.ndarray] | None] = {
            name: _draws(truth, values[source], spreads[source], name, bootstrap, seed)
            for name in truth.table.columns
        }
        drawn = [one for one in found.values() if one is not None]
        if len(found) > 1:
            found[AVERAGE] = _mean(drawn) if drawn else None
        last: Interval | None = None
        for name, one in found.items():
            last = summarise(one[1], one[2], one[0], confidence) if one else None
            numbers = {"correlation": last.mean, "lower": last.lower, "upper": last.upper} if last else {}
            row = {"attribute": name, "source": source, "n": one[0] if one else 0}
            rows.append(row | {k: finite(numbers.get(k, np.nan)) for k in ("correlation", "lower", "upper")})
        tracks[source] = None if rows[-1]["lower"] is None else rows[-1]["lower"] > 0
    return {"rows": rows, "tracks_error": tracks}


def _draws(
    truth: Truth, values: pd.DataFrame, spreads: pd.DataFrame, name: str, bootstrap: int, seed: int
) -> tuple[int, float, np.ndarray] | None:
    """Number of items, observed correlation and its bootstrap values; None where there are too few items."""
    known = pd.DataFrame(
        {"truth": truth.table[name], "value": values[name], "spread": spreads[name]}
    ).dropna()
    if len(known) < FEWEST_ITEMS:
        return None
    value, target, spread = (known[c].to_numpy(float) for c in ("value", "truth", "spread"))
    if np.ptp(target) == 0 or np.ptp(value) == 0:
        return len(known), float("nan"), np.full(bootstrap, np.nan)
    wide, wrong = WeightedRanks(spread), WeightedRanks(misplacement(value, target))
    columns = truth.table.index.get_indexer(known.index)
    drawn = [
        spearman(wide, wrong, weights[:, columns])
        for weights in resampling_weights(len(truth.table), bootstrap, seed)
    ]
    observed = float(spearman(wide, wrong, np.ones((1, len(known))))[0])
    return len(known), observed, np.concatenate(drawn)


def _mean(parts: list[tuple[int, float, np.ndarray]]) -> tuple[int, float, np.ndarray]:
    observed = float(np.mean([np.nan_to_num(one) for _, one, _ in parts]))
    return max(n for n, _, _ in parts), observed, np.mean([np.nan_to_num(d) for _, _, d in parts], axis=0)


def spread_tracks_error(truth: Mapping[str, Any] | None, source: str, attribute: str | None = None) -> bool:
    """Whether spread may be shown to people as confidence in scores of `source` ("untuned" or "tuned").

    `truth`: what `truth.json` holds, None where a run has none. True only where the rank correlation of spread with error
    is positive with its whole interval: the attribute's own, or the mean's. Whatever is not known counts as no.

    >>> row = {"attribute": "pace", "source": "tuned", "correlation": 0.3, "lower": 0.1, "upper": 0.5}
    >>> truth = {"spread": {"rows": [row], "tracks_error": {"tuned": True}}}
    >>> spread_tracks_error(truth, "tuned"), spread_tracks_error(truth, "tuned", "humour"), spread_tracks_error({}, "tuned")
    (True, False, False)
    """
    found = (truth or {}).get("spread") or {}
    if attribute is None:
        return found.get("tracks_error", {}).get(source) is True
    return any(
        (row.get("lower") or 0) > 0
        for row in found.get("rows", [])
        if (row["source"], row["attribute"]) == (source, attribute)
    )


def verdict(truth: Mapping[str, Any], source: str) -> str:
    """What `spread_tracks_error` says about a source, as one sentence for people."""
    own = [row for row in truth["spread"]["rows"] if row["source"] == source]
    if not own or own[-1]["lower"] is None:
        return (
            f"The spread of {source} scores cannot be held against their error (there is none, or too few items are "
            "known), so it is not shown as confidence."
        )
    last = own[-1]
    found = f"rank correlation {last['correlation']:+.2f} [{last['lower']:+.2f}, {last['upper']:+.2f}]"
    if spread_tracks_error(truth, source):
        return (
            f"The spread of {source} scores tracks their error ({found}), so it may be shown as confidence."
        )
    return f"The spread of {source} scores does not track their error ({found}), so it is not shown as confidence."


def format_spread(truth: Mapping[str, Any]) -> list[str]:
    """Lines for a terminal: a row per attribute and source, then the verdicts; none for a truth without them."""
    found = truth.get("spread")
    if not found or not found["rows"]:
        return []
    lines = [f"{'attribute':21} {'source':13} {'n':>5}  spread with error, Spearman"]
    for row in found["rows"]:
        shown = ""
        if row["lower"] is not None:
            shown = f"{row['correlation']:.3f} [{row['lower']:.3f}, {row['upper']:.3f}]"
        lines.append(f"{row['attribute']:21} {row['source']:13} {row['n']:>5}  {shown}".rstrip())
    return lines + [verdict(truth, source) for source in found["tracks_error"]]
