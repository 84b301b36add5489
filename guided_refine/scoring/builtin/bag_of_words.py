"""Counting pole words: the baseline that a language model has to beat, and the teacher's raw evidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from guided_refine.scoring.attributes import Attribute, AttributeSet
from guided_refine.scoring.builtin.words import content_words

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

NEGATED = "¬"
"""Stands before a word in the vocabulary that was met under a negation."""
_NEGATED_WEIGHT = -0.5


@dataclass(frozen=True)
class WordCounts:
    """How often each text uses each content word: `matrix` (texts, words), `vocabulary` word -> column."""

    matrix: csr_matrix
    vocabulary: dict[str, int]


def count_words(texts: Sequence[str]) -> WordCounts:
    """Count stems of content words; a negated word is a word of its own (`¬funny`).

    >>> counts = count_words(["Funny, funny songs", "not funny"])
    >>> counts.matrix.toarray().tolist(), list(counts.vocabulary)
    ([[2.0, 1.0, 0.0], [0.0, 0.0, 1.0]], ['funny', 'song', '¬funny'])
    """
    from scipy.sparse import csr_matrix

    vocabulary: dict[str, int] = {}
    columns: list[int] = []
    bounds = [0]
    for text in texts:
        for word, negated in content_words(text):
            columns.append(vocabulary.setdefault(NEGATED + word if negated else word, len(vocabulary)))
        bounds.append(len(columns))
    matrix = csr_matrix(
        (np.ones(len(columns)), np.array(columns, dtype=np.int64), np.array(bounds, dtype=np.int64)),
        shape=(len(texts), len(vocabulary)),
    )
    matrix.sum_duplicates()
    return WordCounts(matrix, vocabulary)


def poles(attribute: Attribute) -> tuple[set[str], set[str]]:
    """Stems that only the high pole (or the attribute's name) uses, and stems that only the low pole uses."""
    high = {word for word, _ in content_words(f"{attribute.high}. {attribute.label}")}
    low = {word for word, _ in content_words(attribute.low)}
    return high - low, low - high


def pole_words(attributes: AttributeSet, vocabulary: Mapping[str, int]) -> np.ndarray:
    """Weight of every word for every attribute, shape (words, attributes).

    1 for words of the high pole and of the attribute's name, -1 for words of the low pole, 0 for words of both;
    a negated word counts half and the other way round.
    """
    weights = np.zeros((len(vocabulary), len(attributes.attributes)))
    for column, attribute in enumerate(attributes.attributes):
        high, low = poles(attribute)
        for word in sorted(high | low):
            sign = 1.0 if word in high else -1.0
            for form, weight in ((word, sign), (NEGATED + word, _NEGATED_WEIGHT * sign)):
                if form in vocabulary:
                    weights[vocabulary[form], column] = weight
    return weights


def bag_of_words(texts: Sequence[str], attributes: AttributeSet) -> np.ndarray:
    """High-pole words less low-pole words per text and attribute, shape (texts, attributes).

    >>> from guided_refine.scoring.attributes import load_attributes
    >>> movies = load_attributes("movies")
    >>> float(bag_of_words(["jokes and more jokes", "a grave war"], movies)[:, movies.names.index("humour")][0])
    2.0
    """
    counts = count_words(texts)
    return np.asarray(counts.matrix @ pole_words(attributes, counts.vocabulary))
