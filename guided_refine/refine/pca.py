"""Principal components of the base embeddings: they make room for the guided columns at the same width."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from guided_refine.errors import InputError


@dataclass(frozen=True)
class Reduction:
    """A fitted PCA. `mean` (width,), `components` (kept, width), `explained` (kept,) share of the variance.

    Signs are fixed: the entry of each component that is largest in size is positive.
    """

    mean: np.ndarray
    components: np.ndarray
    explained: np.ndarray

    def apply(self, vectors: np.ndarray) -> np.ndarray:
        """Reduced vectors, float32 (n, kept)."""
        return self.project(vectors).astype(np.float32)

    def project(self, vectors: np.ndarray) -> np.ndarray:
        """The same in float64."""
        reduced: np.ndarray = (vectors - self.mean) @ self.components.T
        return reduced


def fit_pca(vectors: np.ndarray, kept: int) -> Reduction:
    """PCA of item vectors (n_items, width) with `kept` components.

    A catalog with fewer items or base columns than `kept` has fewer directions; the rest are zero columns.

    >>> fit_pca(np.array([[1.0, 0.0], [3.0, 0.0]]), 1).apply(np.array([[3.0, 5.0]])).tolist()
    [[1.0]]
    """
    from sklearn.decomposition import PCA

    vectors = np.asarray(vectors, dtype=np.float64)
    found = min(kept, *vectors.shape)
    pca = PCA(n_components=found, svd_solver="full").fit(vectors)
    largest = np.abs(pca.components_).argmax(axis=1)
    signs = np.sign(pca.components_[np.arange(found), largest])
    components = np.zeros((kept, vectors.shape[1]))
    components[:found] = pca.components_ * signs[:, None]
    explained = np.zeros(kept)
    explained[:found] = np.nan_to_num(pca.explained_variance_ratio_)
    return Reduction(pca.mean_, components, explained)


def kept_columns(width: int, attributes: int) -> int:
    """Columns left for the base in embeddings of `width`; raises `InputError` when there is none.

    >>> kept_columns(64, 8)
    56
    """
    if attributes >= width:
        raise InputError(
            f"{attributes} attributes do not fit into refined embeddings of width {width}: at least "
            f"{attributes + 1} columns are needed; raise refine.width (or train.width) or use fewer attributes"
        )
    return width - attributes
