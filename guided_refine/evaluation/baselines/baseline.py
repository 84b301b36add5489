"""`Baseline`: a simple recommender that a run measures beside its models, and how its settings are chosen."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np

from guided_refine.data.dataset import Dataset
from guided_refine.data.split import Part
from guided_refine.evaluation.metrics import ranking_metrics
from guided_refine.evaluation.ranking import rank_targets

Score = Callable[[np.ndarray, Part], np.ndarray]
"""(user numbers (batch,), part) -> scores of all items, (batch, n_items)."""

CHOSEN_BY = "ndcg@10"


@dataclass(frozen=True)
class Baseline:
    """A fitted baseline: how it scores, the settings it has, and what every setting reached on validation.

    `searched` is empty where there was nothing to choose, or nobody to validate on.
    """

    label: str
    score: Score
    settings: dict[str, float] = field(default_factory=dict)
    searched: list[dict[str, float]] = field(default_factory=list)


def choose(label: str, dataset: Dataset, candidates: Iterable[tuple[dict[str, float], Score]]) -> Baseline:
    """The candidate with the best validation NDCG@10; the test part is never read. Of equals the first.

    `candidates` may be lazy: only the best so far and the present one are in memory. Where nobody has a validation
    target the first is taken.

    Raises `ValueError` where there is no candidate.
    """
    validates = len(dataset.targets("valid")[0]) > 0
    best: tuple[float, dict[str, float], Score] | None = None
    searched = []
    for settings, score in candidates:
        if not validates:
            return Baseline(label, score, settings)
        value = _validation(score, dataset)
        searched.append({**settings, CHOSEN_BY: value})
        if best is None or value > best[0]:
            best = value, settings, score
    if best is None:
        raise ValueError(f"{label}: no settings to choose from")
    return Baseline(label, best[2], best[1], searched)


def _validation(score: Score, dataset: Dataset) -> float:
    ranks = rank_targets(lambda users: score(users, "valid"), dataset, "valid")
    values = ranking_metrics(ranks["greater"].to_numpy(), ranks["equal"].to_numpy(), [10])
    return float(values[CHOSEN_BY].mean())
