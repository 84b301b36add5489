"""Where the builtin model's token embeddings start: what a token keeps company with, and what labels go with it.

Positive pointwise mutual information of tokens that share a text, reduced by a singular value decomposition (Levy and
Goldberg, 2014: what word2vec approximates), beside each token's association with the teacher's labels. A few seconds
of counting save minutes of gradient steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

_MEAN_SHRINK = 10.0


def starting_embeddings(
    texts: Sequence[Sequence[int]], labels: np.ndarray, groups: np.ndarray, width: int, *, seed: int
) -> np.ndarray:
    """Start values, shape (vocabulary, width), unit variance over all entries.

    `texts` are token ids; `labels` (texts, attributes) in [0, 1]; `groups` (vocabulary,) joins tokens that are forms of
    one word (`Dark` and ` dark`), so that rare forms start where common ones do.
    """
    from scipy.sparse import csr_matrix
    from sklearn.utils.extmath import randomized_svd

    rng = np.random.default_rng(seed)
    n_groups = int(groups.max()) + 1
    rows = np.repeat(np.arange(len(texts)), [len(t) for t in texts])
    columns = groups[np.concatenate([np.asarray(t, dtype=np.int64) for t in texts])]
    holds = csr_matrix((np.ones(len(rows)), (rows, columns)), shape=(len(texts), n_groups))
    holds.sum_duplicates()
    holds.data[:] = 1.0
    counts = np.asarray(holds.sum(axis=0)).ravel()
    named = min(labels.shape[1], width // 3)
    rest = width - named
    ppmi = _ppmi(holds, counts)
    places = min(rest, max(1, min(ppmi.shape) - 1))
    left, values, _ = randomized_svd(ppmi, n_components=places, random_state=seed)
    company = np.zeros((n_groups, rest))
    company[:, :places] = left * np.sqrt(values)
    # Mean label of the texts that hold a token, drawn towards the middle where they are few.
    mean = (holds.T @ (labels[:, :named] - 0.5)) / (counts + _MEAN_SHRINK)[:, None]
    table = np.concatenate([_scaled(mean), _scaled(company)], axis=1)[groups]
    return _scaled(table + 0.3 * rng.standard_normal(table.shape))


def _ppmi(holds: csr_matrix, counts: np.ndarray) -> csr_matrix:
    together = (holds.T @ holds).tocoo()
    expected = counts[together.row] * counts[together.col] / holds.shape[0]
    together.data = np.maximum(0.0, np.log(np.maximum(together.data, 1e-9) / np.maximum(expected, 1e-9)))
    # Tokens met once or twice would have the largest values of all.
    together.data[np.minimum(counts[together.row], counts[together.col]) < 3] = 0.0
    ppmi = together.tocsr()
    ppmi.eliminate_zeros()
    return ppmi


def _scaled(table: np.ndarray) -> np.ndarray:
    return table / max(float(table.std()), 1e-9)
