"""The builtin model's usual teacher: weak labels per item and attribute, from the catalog and the definitions alone.

An item's evidence for an attribute is how often it uses words of the high pole less how often it uses words of the
low pole. Most items use few of them, so the evidence is spread through the catalog (in the spirit of label
propagation and of cross-fitted self-training): a ridge regression learns to foresee it from the REST of the text,
where no pole word of that attribute is left, always on other items than the one it speaks about. Words that keep
company with pole words thus come to count, and pole words that keep odd company count less. No other knowledge
enters, and no interaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from guided_refine.scoring.attributes import AttributeSet
from guided_refine.scoring.builtin.bag_of_words import WordCounts, count_words, pole_words

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

_FOLDS = 5
_RIDGE = 3.0
_COMPANY = 0.6
_RAREST = 2
_ROUNDS = 3
_DOUBT, _TRUST, _RELIABILITY = 10, 3.0, (0.2, 3.0)
_USUAL_LENGTH = 5
_LEAST = 0.4


@dataclass(frozen=True)
class WeakLabels:
    """What the teacher believes; all shaped (n_items, attributes).

    `value` in (0, 1): the item's rank in the catalog, so that values are spread evenly. `confidence` in [0, 1]: 0 where
    neither a pole word nor a word that keeps company with one was found. Other teachers may give values that are no
    ranks, and say in `width` how many digits their bells are wide; without it the confidence says so.
    """

    value: np.ndarray
    confidence: np.ndarray
    width: np.ndarray | None = None

    @property
    def ranks(self) -> np.ndarray:
        """`value` where it is a rank already, else each value's rank in the catalog, in (0, 1)."""
        from scipy.stats import rankdata

        return self.value if self.width is None else (rankdata(self.value, axis=0) - 0.5) / len(self.value)

    def of(self, items: Sequence[int]) -> WeakLabels:
        """The labels of some items."""
        rows = list(items)
        width = None if self.width is None else self.width[rows]
        return WeakLabels(self.value[rows], self.confidence[rows], width)


def digit_distributions(
    value: np.ndarray, confidence: np.ndarray, width: np.ndarray | None = None
) -> np.ndarray:
    """Label distributions over the digits 1..9, shape (..., 9): a bell around `value`, the wider the less is known.

    `width` is the bell's deviation in digits, shaped as `value`; by default 0.75 (sure) to 1.5 (not at all).

    >>> mass = digit_distributions(np.array([0.5]), np.array([1.0]))
    >>> mass.shape, int(mass.argmax()) + 1, round(float(mass.sum()), 6)
    ((1, 9), 5, 1.0)
    """
    centre = 1 + 8 * value[..., None]
    deviation = 1.5 - 0.75 * confidence[..., None] if width is None else width[..., None]
    mass = np.exp(-0.5 * ((np.arange(1, 10) - centre) / deviation) ** 2)
    return mass / mass.sum(axis=-1, keepdims=True)


def weak_labels(texts: Sequence[str], attributes: AttributeSet, *, seed: int = 0) -> WeakLabels:
    """Label every text of a catalog; `seed` only draws the folds of the cross-fitting.

    >>> from guided_refine.scoring.attributes import load_attributes
    >>> labels = weak_labels(["a funny parody", "a grave tragedy", "a film"], load_attributes("movies"))
    >>> humour = labels.value[:, load_attributes("movies").names.index("humour")]
    >>> bool(humour[0] > humour[2] > humour[1])
    True
    """
    from scipy.stats import rankdata

    counts = count_words(texts)
    prior = weights = pole_words(attributes, counts.vocabulary)
    lengths = np.asarray(counts.matrix.sum(axis=1)).ravel()[:, None]
    company = np.zeros((len(texts), len(attributes.attributes)))
    # Each round learns from the one before, so that company of company counts as well.
    for _ in range(_ROUNDS):
        raw = _standard(np.asarray(counts.matrix @ weights) / np.sqrt(_USUAL_LENGTH + lengths))
        company = _standard(_company(counts, prior, raw + company, seed))
        weights = prior * _reliability(counts, prior, company)
    value = (rankdata(raw + _COMPANY * company, axis=0) - 0.5) / max(1, len(texts))
    # Two pole words, or company that speaks clearly, are as much as such a teacher can know.
    known = np.minimum(1.0, np.asarray(counts.matrix @ (prior != 0)) / 2 + np.abs(company) / 4)
    return WeakLabels(value, np.where(lengths > 0, np.maximum(known, _LEAST), 0.0))


def _reliability(counts: WordCounts, prior: np.ndarray, company: np.ndarray) -> np.ndarray:
    """How far each pole word may be trusted, shape (words, attributes): more than 1 where the rest of the texts that use
    it points the same way, little where it points the other way (a "war" of words, a "cool" drink)."""
    present = counts.matrix.copy()
    present.data[:] = 1.0
    texts_with = np.asarray(present.sum(axis=0)).ravel()[:, None]
    agreement = np.sign(prior) * np.asarray(present.T @ company) / (texts_with + _DOUBT)
    return np.clip(1 + _TRUST * agreement, *_RELIABILITY)


def _company(counts: WordCounts, weights: np.ndarray, target: np.ndarray, seed: int) -> np.ndarray:
    """Evidence foreseen from the rest of the text, each item by a model that has not seen it; shape of `target`."""
    from sklearn.linear_model import Ridge
    from sklearn.preprocessing import normalize

    n = len(target)
    folds = np.random.default_rng(seed).permutation(n) % _FOLDS
    weighted, kept = tf_idf(counts.matrix)
    answer = np.zeros_like(target)
    if not kept.any() or n < 2 * _FOLDS:
        return answer
    for column in range(target.shape[1]):
        rest = normalize(weighted[:, kept & (weights[:, column] == 0)])
        if target[:, column].std() == 0 or rest.nnz == 0:
            continue
        for fold in range(_FOLDS):
            seen = folds != fold
            ridge = Ridge(alpha=_RIDGE, solver="sparse_cg", tol=1e-4).fit(rest[seen], target[seen, column])
            answer[~seen, column] = ridge.predict(rest[~seen])
    return answer


def tf_idf(matrix: csr_matrix) -> tuple[csr_matrix, np.ndarray]:
    """Sublinear tf-idf, and which columns stand in enough texts to learn from."""
    from scipy.sparse import diags

    texts_with = np.bincount(matrix.indices, minlength=matrix.shape[1])
    weighted = matrix.copy()
    weighted.data = 1 + np.log(weighted.data)
    idf = np.log((1 + matrix.shape[0]) / (1 + texts_with))
    return (weighted @ diags(idf)).tocsr(), texts_with >= _RAREST


def _standard(values: np.ndarray) -> np.ndarray:
    """Zero mean and unit deviation per column; constant columns become zero."""
    centred = values - values.mean(axis=0)
    deviation = centred.std(axis=0)
    return np.divide(centred, deviation, out=np.zeros_like(centred, dtype=np.float64), where=deviation > 0)
