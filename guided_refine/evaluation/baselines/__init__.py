"""Simple recommenders that a run measures beside its models: what any of them has to beat.

They are fitted on the training part; what they have to be chosen from is chosen on validation; the test part is read once,
by the same pass over the scores as the models' (`measure.py`).
"""

from __future__ import annotations

from collections.abc import Callable

from guided_refine.data.dataset import Dataset
from guided_refine.evaluation.baselines.baseline import Baseline
from guided_refine.evaluation.baselines.ease import MOST_ITEMS, ease
from guided_refine.evaluation.baselines.item_knn import item_knn
from guided_refine.evaluation.baselines.popularity import popularity, popularity_last_week, random_order

__all__ = ["FIT", "Baseline", "why_not"]

FIT: dict[str, Callable[[Dataset], Baseline]] = {
    "random": random_order,
    "popularity": popularity,
    "popularity_last_week": popularity_last_week,
    "item_knn": item_knn,
    "ease": ease,
}
"""Names in `evaluate.baselines` -> what fits them."""


def why_not(name: str, dataset: Dataset) -> str | None:
    """The sentence for a baseline that these data do not allow, else None.

    >>> import pandas as pd
    >>> from guided_refine.data.dataset import from_frames
    >>> items = pd.DataFrame({"item_id": list("abc"), "title": "", "text": ""})
    >>> data = from_frames("tiny", items, pd.DataFrame({"user_id": ["u"] * 3, "item_id": list("abc")}))
    >>> why_not("ease", data), why_not("popularity_last_week", data)
    (None, 'popularity_last_week was left out: these data have an order but no times')
    """
    if name == "popularity_last_week" and dataset.times is None:
        return f"{name} was left out: these data have an order but no times"
    if name == "ease" and dataset.n_items > MOST_ITEMS:
        return (
            f"{name} was left out: it inverts a matrix of items by items, and {dataset.n_items:,} items are more than "
            f"the {MOST_ITEMS:,} that fit into a few GB; item_knn has no such limit"
        )
    return None
