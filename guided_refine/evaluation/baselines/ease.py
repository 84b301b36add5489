"""EASE: a linear model of items from items, in closed form.

Steck, "Embarrassingly Shallow Autoencoders for Sparse Data", WWW 2019, equations 7 and 8: with the Gram matrix
G = X'X and P = (G + regularisation I)^-1, the weights are B_ij = -P_ij / P_jj off the diagonal and 0 on it; a
user's scores are his history times B.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from guided_refine.data.dataset import Dataset
from guided_refine.data.split import Part
from guided_refine.evaluation.baselines.baseline import Baseline, Score, choose
from guided_refine.evaluation.matrix import history_matrix, training_matrix

if TYPE_CHECKING:
    from scipy.sparse import csr_array

REGULARISATION = (10.0, 50.0, 250.0, 1000.0)
MOST_ITEMS = 20_000
"""Beyond this the inverse, n_items squared in double precision, takes more than 3 GB."""
_BLOCK = 1024


def ease(dataset: Dataset, *, regularisation: Sequence[float] = REGULARISATION) -> Baseline:
    """EASE with the regularisation chosen on validation; weights from training only."""

    def candidates() -> Iterator[tuple[dict[str, float], Score]]:
        matrix = training_matrix(dataset)
        for strength in regularisation:
            yield {"regularisation": strength}, _scorer(weights(matrix, strength), dataset)

    return choose("EASE", dataset, candidates())


def weights(matrix: csr_array, regularisation: float) -> np.ndarray:
    """B of the formula above, float64 (n_items, n_items); only this one matrix of that size is made.

    `matrix`: ones, (users, n_items); `regularisation`: above 0.

    >>> from scipy.sparse import csr_array
    >>> weights(csr_array(np.array([[1.0, 1.0], [1.0, 0.0]])), 1.0).round(3).tolist()
    [[0.0, 0.333], [0.5, 0.0]]
    """
    from scipy.linalg import lapack

    n_items = matrix.shape[1]
    by_item = matrix.T.tocsr()
    gram = np.empty((n_items, n_items))
    for start in range(0, n_items, _BLOCK):
        gram[start : start + _BLOCK] = (by_item[start : start + _BLOCK] @ matrix).toarray()
    gram[np.diag_indices(n_items)] += regularisation
    # LAPACK counts columns first; the transpose of a symmetric matrix is itself, so this makes no copy.
    inverse, failed = lapack.dpotrf(gram.T, lower=1, overwrite_a=1)
    if not failed:
        inverse, failed = lapack.dpotri(inverse, lower=1, overwrite_c=1)
    if failed:
        raise ValueError(
            f"the Gram matrix plus {regularisation} has no inverse; regularisation must be above 0"
        )
    _mirror(inverse)
    # Rows first again, which is what a sparse matrix times this one needs.
    out: np.ndarray = inverse.T
    diagonal = np.diagonal(out).copy()
    for start in range(0, n_items, _BLOCK):
        out[start : start + _BLOCK] /= -diagonal
    out[np.diag_indices(n_items)] = 0.0
    return out


def _mirror(lower: np.ndarray) -> None:
    """Copy the lower half, all that LAPACK fills, to the upper one, in place."""
    for start in range(0, len(lower), _BLOCK):
        end = min(start + _BLOCK, len(lower))
        corner = np.tril(lower[start:end, start:end])
        lower[start:end, start:end] = corner + np.tril(corner, -1).T
        lower[start:end, end:] = lower[end:, start:end].T


def _scorer(items: np.ndarray, dataset: Dataset) -> Score:
    def score(users: np.ndarray, part: Part) -> np.ndarray:
        found: np.ndarray = history_matrix(dataset, users, part).astype(np.float64) @ items
        return found

    return score
