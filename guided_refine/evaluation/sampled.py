"""Ranking against a few sampled candidates, as many papers do: only on request, beside the full ranking.

Sampled metrics do not keep the order of models even in expectation and move towards the area under the curve as the
sample shrinks (Krichene and Rendle, "On Sampled Metrics for Item Recommendation", KDD 2020), so nothing here is
compared, tested or claimed; it only lets a run be laid beside a published table.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from guided_refine.data.dataset import Dataset

WARNING = (
    "Metrics over {count} sampled negatives per user are NOT comparable with full ranking and can order models "
    "wrongly; use them only beside a published table that was made the same way."
)


def warning(count: int) -> str:
    """The sentence that goes with every sampled number."""
    return WARNING.format(count=count)


@dataclass(frozen=True)
class Sampling:
    """`count` negatives per user, drawn uniformly from the items he never met, fixed by `seed`.

    The draw depends on seed, user and dataset alone, so all models of a run, and a run repeated, share it.
    """

    count: int
    seed: int

    def negatives(self, dataset: Dataset, user: int) -> np.ndarray:
        """Distinct item numbers outside the user's whole sequence (held-out items included), shape (<= count,).

        Fewer than `count` only where the catalog has not that many.

        >>> import pandas as pd
        >>> from guided_refine.data.dataset import from_frames
        >>> items = pd.DataFrame({"item_id": list("abcde"), "title": "", "text": ""})
        >>> rows = pd.DataFrame({"user_id": ["u"] * 3, "item_id": list("abc")})
        >>> sorted(Sampling(100, seed=0).negatives(from_frames("tiny", items, rows), 0).tolist())
        [4, 5]
        """
        rng = np.random.default_rng([self.seed, user])
        met = np.unique(dataset.sequences[user])
        n = dataset.n_items
        if n - len(met) <= 2 * self.count:
            free = np.setdiff1d(np.arange(1, n + 1), met, assume_unique=True)
            return rng.permutation(free)[: self.count]
        drawn = np.zeros(0, np.int64)
        while len(drawn) < self.count:
            drawn = np.concatenate([drawn, rng.integers(1, n + 1, 2 * self.count)])
            first = np.sort(np.unique(drawn, return_index=True)[1])
            drawn = drawn[first]
            drawn = drawn[~np.isin(drawn, met)]
        return drawn[: self.count]
