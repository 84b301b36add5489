"""Normalisation of attribute scores on catalog statistics; users go through the items' map.

Every method is one piecewise linear map per attribute, so one small table of knots holds any of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

Method = Literal["zscore", "minmax", "quantile"]

# An attribute that hardly varies over the catalog says little about any item.
FLAT_STD = 0.02
FLAT_SHARE = 0.95


@dataclass(frozen=True)
class Normaliser:
    """Piecewise linear maps: attribute `a` goes from `x[a]` to `y[a]`, constant beyond the ends.

    `x` and `y` have shape (attributes, knots). Fit with `Normaliser.fit`.

    >>> items = np.array([[0.2], [0.4], [0.6]])
    >>> Normaliser.fit(items, "minmax").apply(np.array([[0.4], [0.9], [np.nan]])).round(6).tolist()
    [[0.0], [1.0], [0.0]]
    """

    x: np.ndarray
    y: np.ndarray
    fill: np.ndarray

    @classmethod
    def fit(cls, items: np.ndarray, method: Method, clip: float = 3.0) -> Normaliser:
        """Learn the maps from item scores (n_items, attributes); NaN rows are left out of the statistics.

        zscore: (value - mean) / std, cut at +-clip. minmax: the items' range becomes [-1, 1]. quantile: twice
        the share of items below, minus one, items with the same value in the middle of their ranks. An
        attribute without any variation maps to 0.
        """
        maps = [_knots(column[~np.isnan(column)], method, clip) for column in items.T.astype(np.float64)]
        knots = max(len(x) for x, _ in maps)
        x, y = (np.stack([np.pad(m[i], (0, knots - len(m[i])), mode="edge") for m in maps]) for i in (0, 1))
        return cls(x, y, column_means(items))

    def apply(self, values: np.ndarray) -> np.ndarray:
        """Map scores (..., attributes); NaN counts as the items' mean. Returns float32 of the same shape."""
        return self.normalised(values).astype(np.float32)

    def normalised(self, values: np.ndarray) -> np.ndarray:
        """The same in float64."""
        filled = np.where(np.isnan(values), self.fill, values)
        columns = [np.interp(filled[..., a], self.x[a], self.y[a]) for a in range(len(self.x))]
        return np.stack(columns, axis=-1)


def column_means(items: np.ndarray) -> np.ndarray:
    """Mean score per attribute over the items that have one, 0.5 where none has; shape (attributes,)."""
    known = ~np.isnan(items)
    count = known.sum(axis=0)
    total = np.where(known, items, 0.0).sum(axis=0, dtype=np.float64)
    return np.where(count > 0, total / np.maximum(count, 1), 0.5)


def flat_attributes(items: np.ndarray) -> np.ndarray:
    """Which attributes hardly vary: standard deviation below 0.02, or one value for over 95 % of items.

    `items` (n_items, attributes) are raw scores in [0, 1]; returns a boolean array (attributes,).

    >>> flat_attributes(np.array([[0.5, 0.1], [0.5, 0.9], [np.nan, 0.4]])).tolist()
    [True, False]
    """
    flags = []
    for column in items.T:
        known = column[~np.isnan(column)]
        _, counts = np.unique(known, return_counts=True)
        flags.append(
            len(known) == 0 or float(known.std()) < FLAT_STD or counts.max() > FLAT_SHARE * len(known)
        )
    return np.array(flags, dtype=bool)


def _knots(values: np.ndarray, method: Method, clip: float) -> tuple[np.ndarray, np.ndarray]:
    if len(values) == 0 or values.min() == values.max():
        return np.zeros(2), np.zeros(2)
    if method == "zscore":
        reach = clip * values.std()
        return values.mean() + np.array([-reach, reach]), np.array([-clip, clip])
    if method == "minmax":
        return np.array([values.min(), values.max()]), np.array([-1.0, 1.0])
    unique, counts = np.unique(values, return_counts=True)
    middle = counts.cumsum() - counts / 2
    return unique, 2 * middle / len(values) - 1
