"""Attributes for a new catalog, proposed from its texts: what its items are about, as scales that people can read and edit.

Non-negative matrix factorisation of word counts (Lee and Seung 1999; scikit-learn's) finds which words go together. A
topic whose items are those of another one is left out. Each that stays becomes an attribute whose high pole is its own words
and whose low pole is the leading words of the topics that share least with it; a language model then scores it as any other.
Words must be written apart, as they are in most languages.
"""

from __future__ import annotations

import html
import re
import unicodedata
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from sklearn.decomposition import NMF
from sklearn.exceptions import ConvergenceWarning

from guided_refine.errors import InputError
from guided_refine.scoring.attributes import Attribute, AttributeSet
from guided_refine.scoring.builtin.words import is_stop_word, stem

if TYPE_CHECKING:
    import pandas as pd
    from scipy.sparse import csr_matrix

# A word of over a fifth of the texts says little about any; one of fewer than these texts is a name, not a scale.
COMMON, RARE = 0.2, 3
# More topics than wanted are looked for, so that some may go.
SPARE = 1.5
# Rank correlation of item weights beyond which two topics are one.
ALIKE = 0.5
HIGH, LOW, EXAMPLES = 12, 8, 3
SHORTEST = 3
# Letters with the marks that many scripts write beside them, and apostrophes within.
_WORD = re.compile(r"(?:[^\W\d_][\u0300-\u036f\u0900-\u0fff]*)+(?:['’][^\W\d_]+)*")
_ADDRESS = re.compile(r"(?:https?://|www\.)\S+", re.IGNORECASE)


@dataclass(frozen=True)
class Topic:
    """One proposed attribute and what it was seen in.

    `share`: part of the texts (0 to 1) in which no other topic weighs more. `examples`: row numbers of the texts that are
    most about it.
    """

    attribute: Attribute
    share: float
    examples: list[int]


@dataclass(frozen=True)
class Proposal:
    """Topics from the most to the least frequent, and of how many texts they are.

    `weights` (texts, topics): how much of each topic is in each text, 0 and more, 0 where there is no text.
    """

    topics: list[Topic]
    texts: int
    weights: np.ndarray

    def attribute_set(self, domain: str) -> AttributeSet:
        """The topics as an attribute set of version 1."""
        return AttributeSet(
            domain=domain,
            version=1,
            description=f"What items are about, proposed from {self.texts:,} texts of the catalog; to be read and edited.",
            attributes=tuple(topic.attribute for topic in self.topics),
        )


def propose_attributes(texts: Sequence[str], count: int) -> Proposal:
    """Up to `count` attributes (1 to 64) from the texts of a catalog; the same texts give the same attributes.

    Raises `InputError` when there are fewer texts or words than topics to find in them.

    >>> shelf = ["apple pie", "apple and pear", "pear pie", "hammer and nail", "steel nail", "steel hammer"]
    >>> for topic in propose_attributes(shelf * 5, 2).topics:
    ...     print(topic.attribute.item_question)
    How much is it about apple, pie and pear?
    How much is it about steel, nail and hammer?
    """
    if not 1 <= count <= 64:
        raise InputError(f"{count} attributes are asked for; a set holds 1 to 64")
    known = [i for i, text in enumerate(texts) if text.strip()]
    matrix, words = _weighted([texts[i] for i in known])
    wanted = min(int(np.ceil(count * SPARE)), *matrix.shape)
    if wanted < count:
        raise InputError(
            f"{len(known)} texts with {len(words)} words that can tell them apart are too few for {count} attributes; "
            "ask for fewer, or name text columns that say more"
        )
    draft = NMF(wanted, init="nndsvda", random_state=0, max_iter=500)
    weights = _fitted(draft, matrix)
    # Weights in units of what they add to the texts, so that topics can be compared.
    size = np.linalg.norm(draft.components_, axis=1)
    kept = _distinct(weights * size, count)
    if not len(kept):
        raise InputError(f"{len(known)} texts hold no word that weighs anything; nothing can be proposed")
    # Those that stay take over what belonged to those that went.
    final = NMF(len(kept), init="custom", max_iter=500)
    weights = _fitted(final, matrix, W=weights[:, kept], H=draft.components_[kept])
    weights = weights * np.linalg.norm(final.components_, axis=1)
    leading = weights.argmax(axis=1)
    leading[weights.max(axis=1) == 0] = -1
    ranked = [_own_words(component, words) for component in final.components_]
    alike = _rank_correlations(weights)
    topics: list[Topic] = []
    names: set[str] = set()
    said = [t for t in range(len(kept)) if ranked[t]]
    order = sorted(said, key=lambda t: -np.mean(leading == t))
    for place in order:
        name = _name(ranked[place], names)
        names.add(name)
        others = sorted((t for t in said if t != place), key=lambda t: alike[place, t])
        examples = np.argsort(-weights[:, place], kind="stable")[:EXAMPLES]
        topics.append(
            Topic(
                _attribute(name, ranked[place], [ranked[t] for t in others]),
                float(np.mean(leading == place)),
                [known[i] for i in examples if weights[i, place] > 0],
            )
        )
    of_all = np.zeros((len(texts), len(order)))
    of_all[known] = weights[:, order]
    return Proposal(topics, len(known), of_all)


def topic_scores(proposal: Proposal, item_ids: Sequence[str]) -> pd.DataFrame:
    """How much every item is about each topic, in [0, 1]: item_id, attribute, value; items in the order of the texts.

    1 is the mean weight and three standard deviations, beyond which more says little. Such a table can teach `builtin`.

    >>> proposal = propose_attributes(["apple pie", "pear pie", "steel nail", "steel saw"] * 9, 2)
    >>> topic_scores(proposal, [f"i{n}" for n in range(36)]).groupby("attribute")["value"].max().round(2).tolist()
    [0.5, 0.5]
    """
    import pandas as pd

    weights = proposal.weights
    top = weights.mean(axis=0) + 3 * weights.std(axis=0)
    value = np.clip(weights / np.where(top > 0, top, 1.0), 0.0, 1.0)
    names = [topic.attribute.name for topic in proposal.topics]
    return pd.DataFrame(
        {
            "item_id": np.repeat(np.asarray(item_ids, dtype=object), len(names)),
            "attribute": names * len(item_ids),
            "value": value.ravel(),
        }
    )


def _fitted(model: NMF, matrix: csr_matrix, **start: np.ndarray) -> np.ndarray:
    """Weights (texts, topics). A factorisation that would still move in the last digits is good enough for a draft."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.simplefilter("ignore", RuntimeWarning)
        weights: np.ndarray = model.fit_transform(matrix, **start)
    return np.nan_to_num(weights)


def _words(text: str) -> Iterator[str]:
    """Words of three letters and more that are no stop words, in lower case; addresses of web pages are none."""
    plain = unicodedata.normalize("NFKC", html.unescape(_ADDRESS.sub(" ", text))).lower()
    for match in _WORD.finditer(plain):
        word = match.group().replace("’", "'").removesuffix("'s")
        if len(word) >= SHORTEST and not is_stop_word(word) and not word.endswith("n't"):
            yield word


def _weighted(texts: Sequence[str]) -> tuple[csr_matrix, list[str]]:
    """Weights (texts, stems) by frequency and rarity, and of each stem the form that is met most."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    forms: dict[str, dict[str, int]] = {}

    def stems(text: str) -> list[str]:
        found = []
        for word in _words(text):
            root = stem(word)
            of_root = forms.setdefault(root, {})
            of_root[word] = of_root.get(word, 0) + 1
            found.append(root)
        return found

    vectoriser = TfidfVectorizer(analyzer=stems, min_df=min(RARE, max(1, len(texts))), sublinear_tf=True)
    try:
        matrix = vectoriser.fit_transform(texts)
    except ValueError as error:  # no text, or no word in enough of them
        raise InputError(
            f"{len(texts)} texts have no word that {RARE} of them share, so nothing can be proposed"
        ) from error
    common = np.asarray((matrix > 0).mean(axis=0)).ravel() > COMMON
    roots = vectoriser.get_feature_names_out()
    # In a handful of texts, or a narrow catalog, frequent words are all there is.
    keep = np.flatnonzero(~common) if (~common).sum() >= len(roots) / 2 else np.arange(len(roots))
    said = [max(sorted(forms[root].items()), key=lambda met: met[1])[0] for root in roots[keep]]
    return matrix[:, keep].tocsr(), said


def _rank_correlations(weights: np.ndarray) -> np.ndarray:
    from scipy.stats import rankdata

    ranks = rankdata(weights, axis=0)
    std = ranks.std(axis=0)
    scaled = (ranks - ranks.mean(axis=0)) / np.where(std > 0, std, 1.0)
    correlations: np.ndarray = scaled.T @ scaled / len(weights)
    return correlations


def _distinct(weights: np.ndarray, count: int) -> np.ndarray:
    """Columns of at most `count` topics, those that explain most first, none alike to one before it."""
    alike = _rank_correlations(weights)
    kept: list[int] = []
    for topic in np.argsort(-(weights**2).sum(axis=0), kind="stable"):
        own = weights[:, topic]
        # What is in all texts alike tells none from another; alone it is still what they are about.
        tells = np.ptp(own) > 1e-6 * weights.max() or (not kept and own.any())
        if tells and all(alike[topic, other] < ALIKE for other in kept):
            kept.append(int(topic))
        if len(kept) == count:
            break
    return np.array(kept, dtype=np.int64)


def _own_words(component: np.ndarray, words: list[str]) -> list[str]:
    """The words of a topic, heaviest first."""
    return [words[i] for i in np.argsort(-component, kind="stable")[:HIGH] if component[i] > 0]


def _name(words: list[str], taken: set[str]) -> str:
    """Two words of the topic in a form that a column name may have; a third where that name is taken."""
    plain = [name for name in map(_ascii, words) if name]
    for length in (2, 3, 4, 5):
        name = "_".join(plain[:length])
        if name and name not in taken:
            return name
    number = 1 + sum(1 for name in taken if re.fullmatch(r"topic_\d+", name))
    return f"topic_{number}"


def _ascii(word: str) -> str:
    """The word without its accents; empty where other letters stay.

    >>> _ascii("café"), _ascii("кофе")
    ('cafe', '')
    """
    bare = unicodedata.normalize("NFKD", word).encode("ascii", "ignore").decode().replace("'", "").lower()
    return bare if len(bare) >= 3 and bare.isalpha() else ""


def _attribute(name: str, own: list[str], others: list[list[str]]) -> Attribute:
    mine = set(own)
    low = list(dict.fromkeys(word for words in others for word in words[:2] if word not in mine))[:LOW]
    about = _listed(own[:3])
    return Attribute(
        name=name,
        definition=f"How much it is about {about}.",
        low=f"{', '.join(low).capitalize()}." if low else "Nothing of the kind.",
        high=f"{', '.join(own).capitalize()}.",
        item_question=f"How much is it about {about}?",
        user_question=f"How much does this person look for {about}?",
    )


def _listed(words: list[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else words[0]
