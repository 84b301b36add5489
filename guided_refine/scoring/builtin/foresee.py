"""From the scores of some items to those of all: ridge regression on the words of their texts.

Which weight decay is best, how well the regression foresees items that it has not seen, and by how much it errs, all
come from its leave-one-out residuals, which a ridge regression has in closed form (Allen, 1974: PRESS).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from guided_refine.scoring.attributes import AttributeSet
from guided_refine.scoring.builtin.bag_of_words import count_words
from guided_refine.scoring.builtin.teacher import tf_idf, weak_labels

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

_DECAYS = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
MOST = 4000
"""So many scored items are learned from, drawn at random: the regression holds a square matrix of them."""


@dataclass(frozen=True)
class Foreseen:
    """`value` (n_items, attributes) of every item; per attribute how well items left out are foreseen.

    `correlation` (attributes,) in [-1, 1], with the known values; `error` (attributes,): root of the mean square.
    """

    value: np.ndarray
    correlation: np.ndarray
    error: np.ndarray


def text_features(texts: Sequence[str], attributes: AttributeSet, *, seed: int) -> csr_matrix:
    """What the regression reads of each text: its words, and what the words of the definitions say of it."""
    from scipy.sparse import csr_matrix, hstack
    from sklearn.preprocessing import normalize

    weighted, kept = tf_idf(count_words(texts).matrix)
    evidence = (weak_labels(texts, attributes, seed=seed).value - 0.5) * (
        12 / len(attributes.attributes)
    ) ** 0.5
    return csr_matrix(hstack([normalize(weighted[:, kept]), evidence]))


def foresee(features: csr_matrix, known: np.ndarray, *, seed: int) -> Foreseen:
    """Learn from the rows of `known` (n_items, attributes) that are not NaN, and foresee all rows.

    Each attribute needs at least three known rows.

    >>> from scipy.sparse import csr_matrix
    >>> x = np.linspace(-1, 1, 20)[:, None]
    >>> half = np.where(np.arange(20)[:, None] % 2, np.nan, 3 * x)
    >>> found = foresee(csr_matrix(x), half, seed=0)
    >>> bool(np.abs(found.value - 3 * x).max() < 0.3), bool(found.correlation[0] > 0.99)
    (True, True)
    """
    rng = np.random.default_rng(seed)
    value = np.empty(known.shape)
    correlation, error = np.zeros(known.shape[1]), np.zeros(known.shape[1])
    masks = np.isfinite(known)
    for mask in np.unique(masks, axis=1).T:
        columns = np.flatnonzero((masks == mask[:, None]).all(axis=0))
        rows = np.flatnonzero(mask)
        if len(rows) > MOST:
            rows = np.sort(rng.choice(rows, MOST, replace=False))
        seen = features[rows]
        roots, vectors = np.linalg.eigh((seen @ seen.T).toarray())
        roots = np.maximum(roots, 0)
        for column in columns:
            mean = known[rows, column].mean()
            target = known[rows, column] - mean
            decay, left_out = _best_decay(roots, vectors, target)
            dual = vectors @ ((vectors.T @ target) / (roots + decay))
            value[:, column] = mean + features @ (seen.T @ dual)
            error[column] = np.sqrt(np.mean((target - left_out) ** 2))
            if np.ptp(target) > 0 and np.ptp(left_out) > 0:
                correlation[column] = np.corrcoef(left_out, target)[0, 1]
    return Foreseen(value, correlation, error)


def _best_decay(roots: np.ndarray, vectors: np.ndarray, target: np.ndarray) -> tuple[float, np.ndarray]:
    """The weight decay with the least leave-one-out error, and what it foresees of each row left out."""
    best: tuple[float, float, np.ndarray] | None = None
    turned = vectors.T @ target
    for decay in _DECAYS:
        inverse = 1 / (roots + decay)
        residual = (vectors @ (inverse * turned)) / (vectors**2 @ inverse)
        loss = float(np.mean(residual**2))
        if best is None or loss < best[0]:
            best = loss, decay, target - residual
    assert best is not None
    return best[1], best[2]
