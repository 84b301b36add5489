"""Where a gain lies: users grouped by how popular the item to predict is, how cold it is, how long their history is.

- popularity of the target: `head`, the most popular items that together hold a third of the training interactions;
  `mid`, the next third; `tail`, the rest. Items equally popular stay together.
- cold targets: `never`, with 0 training interactions, and `few`, with 1 to 5; part of the tail, as a rule.
- history: thirds of the tested users by number of events before the target. Equal lengths stay together.

The intervals are not corrected for the number of rows: strata show where to look, they claim nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from guided_refine.data.dataset import Dataset
from guided_refine.errors import InputError
from guided_refine.evaluation.metrics import headline_metrics
from guided_refine.evaluation.rows import GROUP, finite, metric_columns
from guided_refine.evaluation.statistics import bootstrap_means

FEW = 5
"""Items with at most this many training interactions count as cold."""
FEWEST_USERS = 20
"""Below this a bootstrap interval says less than it seems to; none is given."""


@dataclass(frozen=True)
class Stratum:
    """A group of tested users: those whose target (or history) has between `low` and `high` events, both included.

    `users`: booleans over the tested users; `n_items`: items of the catalog in the group (None for histories).
    """

    kind: str
    name: str
    low: int
    high: int
    users: np.ndarray
    n_items: int | None


def strata(dataset: Dataset) -> list[Stratum]:
    """The groups named above, in that order; groups without any tested user are there too.

    >>> import pandas as pd
    >>> from guided_refine.data.dataset import from_frames
    >>> items = pd.DataFrame({"item_id": list("abcd"), "title": "", "text": ""})
    >>> rows = pd.DataFrame({"user_id": list("uuuuvvvv"), "item_id": list("aabcaacd")})
    >>> for s in strata(from_frames("tiny", items, rows))[:4]:
    ...     print(s.kind, s.name, s.low, s.high, s.users.tolist())
    popularity head 4 4 [False, False]
    popularity mid 4 3 [False, False]
    popularity tail 0 3 [True, True]
    cold never 0 0 [True, True]
    """
    users, targets = dataset.targets("test")
    counts = dataset.train_counts()
    popular = counts[targets - 1]
    head, mid = popularity_bounds(counts)
    most = int(counts.max(initial=0))
    bounds = [
        ("popularity", "head", head, most),
        ("popularity", "mid", mid, head - 1),
        ("popularity", "tail", 0, mid - 1),
        ("cold", "never", 0, 0),
        ("cold", "few", 1, FEW),
    ]
    found = [
        Stratum(
            kind,
            name,
            low,
            high,
            (popular >= low) & (popular <= high),
            int(np.count_nonzero((counts >= low) & (counts <= high))),
        )
        for kind, name, low, high in bounds
    ]
    length = np.array([len(dataset.visible(int(u), "test")) for u in users])
    first, second = (int(q) for q in np.quantile(length, [1 / 3, 2 / 3], method="inverted_cdf"))
    spans = [
        ("short", int(length.min()), first),
        ("medium", first + 1, second),
        ("long", second + 1, int(length.max())),
    ]
    return found + [
        Stratum("history", name, low, high, (length >= low) & (length <= high), None)
        for name, low, high in spans
    ]


def popularity_bounds(counts: np.ndarray) -> tuple[int, int]:
    """Least training interactions of a head item and of a mid item; both at least 1.

    >>> popularity_bounds(np.array([40, 30, 10, 10, 5, 5]))
    (40, 30)
    """
    ordered = np.sort(counts)[::-1]
    held = np.cumsum(ordered)
    if not len(held) or held[-1] == 0:
        return 1, 1
    thirds = [int(np.searchsorted(3 * held, share * held[-1])) for share in (1, 2)]
    return int(ordered[thirds[0]]), int(ordered[thirds[1]])


def strata_rows(
    per_user: pd.DataFrame,
    dataset: Dataset,
    *,
    metrics: Sequence[str] | None = None,
    samples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """The rows of `strata.json`: every model in every stratum, with its gain over the base of its backbone.

    `per_user`: rows of models and baselines (backbone "baseline", which have no gain). A user's values are averaged
    over seeds first; the gain is paired by user, on the seeds that both have. Within a stratum all rows share the
    drawn users. `mean` and `gain` are None where a stratum has no user, bounds where it has fewer than 20.

    Raises `InputError` where a model was tested on other users than the split names.
    """
    names = list(metrics) if metrics is not None else headline_metrics(metric_columns(per_user))
    tested = np.asarray(dataset.user_ids, dtype=object)[dataset.targets("test")[0]]
    columns: list[tuple[str, str, str]] = []
    values: list[np.ndarray] = []
    gains: list[np.ndarray | None] = []
    for backbone, variant in per_user[["backbone", "variant"]].drop_duplicates().itertuples(index=False):
        own, own_gain = _values(per_user, backbone, variant, names, tested)
        for place, metric in enumerate(names):
            columns.append((backbone, variant, metric))
            values.append(own[:, place])
            gains.append(None if own_gain is None else own_gain[:, place])
    level = np.stack(values, axis=1)
    change = np.stack([np.zeros(len(tested)) if g is None else g for g in gains], axis=1)
    out = []
    for stratum in strata(dataset):
        both = np.concatenate([level[stratum.users], change[stratum.users]], axis=1)
        found = _intervals(both, samples, confidence, seed)
        head = {
            "kind": stratum.kind,
            "stratum": stratum.name,
            "low": stratum.low,
            "high": stratum.high,
            "n_items": stratum.n_items,
            "n_users": int(stratum.users.sum()),
        }
        for place, (backbone, variant, metric) in enumerate(columns):
            mean = found[place]
            gain = found[len(columns) + place] if gains[place] is not None else (None, None, None)
            values_there = dict(zip(("mean", "lower", "upper"), mean, strict=True))
            gain_there = dict(zip(("gain", "gain_lower", "gain_upper"), gain, strict=True))
            names_there = {"backbone": backbone, "variant": variant, "metric": metric}
            out.append({**head, **names_there, **values_there, **gain_there, "confidence": confidence})
    return out


def _values(
    per_user: pd.DataFrame, backbone: str, variant: str, names: list[str], tested: np.ndarray
) -> tuple[np.ndarray, np.ndarray | None]:
    """Values and gains over the base of one model, (tested users, metrics); no gain for a base or a baseline."""
    own = per_user[(per_user["backbone"] == backbone) & (per_user["variant"] == variant)]
    value = _by_user(own, names, tested)
    base = per_user[(per_user["backbone"] == backbone) & (per_user["variant"] == "base")]
    common = set(own["seed"]) & set(base["seed"])
    if backbone == GROUP or variant == "base" or not common:
        return value, None
    paired = [_by_user(rows[rows["seed"].isin(common)], names, tested) for rows in (own, base)]
    return value, paired[0] - paired[1]


def _by_user(rows: pd.DataFrame, names: list[str], tested: np.ndarray) -> np.ndarray:
    found = rows.groupby("user_id")[names].mean()
    if len(found) != len(tested) or not found.index.isin(tested).all():
        head = rows.iloc[0]
        raise InputError(
            f"{head['backbone']}, {head['variant']} was tested on other users than the split names; "
            "evaluate it again on the same split"
        )
    return found.reindex(tested).to_numpy(np.float64)


Bounds = tuple[float | None, float | None, float | None]


def _intervals(values: np.ndarray, samples: int, confidence: float, seed: int) -> list[Bounds]:
    if len(values) == 0:
        return [(None, None, None)] * values.shape[1]
    if len(values) < FEWEST_USERS:
        return [(float(mean), None, None) for mean in values.mean(axis=0)]
    found = bootstrap_means(values, samples=samples, confidence=confidence, seed=seed)
    return [(finite(i.mean), finite(i.lower), finite(i.upper)) for i in found]
