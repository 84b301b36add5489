"""The catalog of the embedded sample: attribute values first, then genres, titles and texts that follow from them."""

from __future__ import annotations

import math
from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from guided_refine.data import sample_phrases as words
from guided_refine.progress import Progress

if TYPE_CHECKING:
    import pandas as pd

ATTRIBUTES = tuple(words.HIGH)
"""Names in the order of the set `movies`; columns of every value matrix of the sample."""

# How attributes go together: four hidden moods; what they leave of each attribute's unit variance is its own.
_MOODS = {
    "dread": {"story_complexity": 0.3, "suspense": 0.55, "humour": -0.45, "darkness": 0.6, "family_friendliness": -0.5},
    "heart": {"emotional_intensity": 0.55, "action": -0.35, "romance": 0.5, "thought_provoking": 0.2},
    "scale": {"suspense": 0.15, "action": 0.5, "visual_spectacle": 0.55, "thought_provoking": -0.25},
    "mind": {"story_complexity": 0.5, "thought_provoking": 0.55, "family_friendliness": -0.2, "humour": -0.15},
}  # fmt: skip
# Values lie nearer to the ends than a uniform draw, so that most attributes are worth a phrase.
_SPREAD = 1.4
_LOW, _HIGH = 0.38, 0.62

# What a genre says about attributes, on the log-odds of carrying it; how common it is; how much is chance.
_GENRES: dict[str, tuple[float, dict[str, float]]] = {
    "Drama": (1.4, {"emotional_intensity": 2.0, "thought_provoking": 1.0, "humour": -1.0}),
    "Comedy": (1.0, {"humour": 2.5, "darkness": -0.8, "suspense": -0.6}),
    "Thriller": (0.3, {"suspense": 2.2, "darkness": 0.8, "story_complexity": 0.6}),
    "Romance": (0.6, {"romance": 2.5, "emotional_intensity": 0.5}),
    "Action": (0.2, {"action": 2.5, "visual_spectacle": 0.5}),
    "Adventure": (0.0, {"visual_spectacle": 1.2, "action": 1.0, "family_friendliness": 0.8}),
    "Crime": (-0.1, {"darkness": 1.3, "suspense": 0.8, "story_complexity": 0.6}),
    "Horror": (-0.4, {"darkness": 2.0, "suspense": 1.2, "family_friendliness": -1.5}),
    "Mystery": (-0.4, {"story_complexity": 2.2, "suspense": 1.0}),
    "Fantasy": (-0.4, {"visual_spectacle": 1.8, "family_friendliness": 0.6}),
    "Sci-Fi": (-0.3, {"visual_spectacle": 1.5, "thought_provoking": 0.8, "story_complexity": 0.6}),
    "Children": (-0.6, {"family_friendliness": 2.5, "darkness": -0.8}),
    "Animation": (-0.7, {"family_friendliness": 1.8, "visual_spectacle": 1.2}),
    "Documentary": (-1.2, {"thought_provoking": 2.2, "action": -1.2, "romance": -0.8}),
    "War": (-0.8, {"action": 1.5, "emotional_intensity": 0.6, "darkness": 0.8}),
    "Musical": (-1.0, {"romance": 1.0, "humour": 0.6, "darkness": -1.0}),
}
_GENRE_NOISE, _NO_GENRE = 1.6, 0.1
# After so many titles that are taken, a film takes one of them and a number: there are some thousand without.
_TRIES = 12

_SHORTEST, _LONGEST = 25, 55
_MENTIONED = 0.92
# What is striking about an item is now and then said in two ways: that ties phrases of one meaning together.
_STRIKING, _TWICE = 0.3, 0.2
_THINGS, _CLAUSES = 3, 5
# Words kept free for what joins the phrases.
_JOINTS = 7
_SERIES_SHARE, _LONGEST_SERIES = 0.3, 4


def draw_catalog(
    rng: np.random.Generator, n_items: int, progress: Progress
) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Draw `n_items` films.

    Returns the frame (item_id, title, genres, year, description), the true values (n_items, attributes) in
    [0, 1], and for each item the place of its sequel, -1 where there is none, shape (n_items,).
    """
    import pandas as pd

    values, sequel = _values_and_sequels(rng, n_items)
    weights = np.array([[said.get(name, 0.0) for name in ATTRIBUTES] for _, said in _GENRES.values()])
    common = np.array([how_common for how_common, _ in _GENRES.values()])
    genres = [_genres(rng, row, weights, common) for row in values]
    titles = _titles(rng, values, sequel)
    years = _years(rng, sequel)
    descriptions = []
    with progress.task("write descriptions", total=n_items) as task:
        for row in values:
            descriptions.append(describe(rng, row))
            task.advance()
    digits = max(3, len(str(n_items)))
    frame = pd.DataFrame(
        {
            "item_id": [f"f{place + 1:0{digits}d}" for place in range(n_items)],
            "title": titles,
            "genres": ["|".join(row) for row in genres],
            "year": years,
            "description": descriptions,
        }
    )
    return frame, values, sequel


def _values_and_sequels(rng: np.random.Generator, n_items: int) -> tuple[np.ndarray, np.ndarray]:
    loadings = np.array([[mood.get(name, 0.0) for name in ATTRIBUTES] for mood in _MOODS.values()])
    own = np.sqrt(1 - (loadings**2).sum(axis=0))
    latent = rng.standard_normal((n_items, len(_MOODS))) @ loadings
    latent += rng.standard_normal((n_items, len(ATTRIBUTES))) * own
    sequel = np.full(n_items, -1)
    free = rng.permutation(n_items).tolist()
    while len(free) > n_items * (1 - _SERIES_SHARE):
        parts = [free.pop() for _ in range(min(int(rng.integers(2, _LONGEST_SERIES + 1)), len(free)))]
        for earlier, later in pairwise(parts):
            sequel[earlier] = later
            # A sequel resembles what it follows, and has still a mind of its own.
            latent[later] = 0.8 * latent[earlier] + 0.6 * latent[later]
    return _normal_share(_SPREAD * latent), sequel


def _normal_share(latent: np.ndarray) -> np.ndarray:
    """Share of a standard normal below each value, in (0, 1)."""
    return 0.5 * (1 + np.vectorize(math.erf)(latent / math.sqrt(2)))


def _genres(rng: np.random.Generator, row: np.ndarray, weights: np.ndarray, common: np.ndarray) -> list[str]:
    """Genres of a film; `weights` (genres, attributes) and `common` (genres,) are those of `_GENRES`."""
    if rng.random() < _NO_GENRE:
        return []
    names = list(_GENRES)
    odds = common + weights @ (2 * row - 1) + _GENRE_NOISE * rng.gumbel(size=len(names))
    best = np.argsort(-odds, kind="stable")[: int(rng.choice([1, 2, 3], p=[0.35, 0.45, 0.2]))]
    return sorted(names[place] for place in best)


def _years(rng: np.random.Generator, sequel: np.ndarray) -> np.ndarray:
    years = 2018 - np.minimum(rng.geometric(0.06, size=len(sequel)), 60)
    for first in sorted(set(range(len(sequel))) - set(sequel.tolist())):
        place = first
        while sequel[place] >= 0:
            years[sequel[place]] = min(2018, years[place] + int(rng.integers(1, 4)))
            place = int(sequel[place])
    return years


def describe(rng: np.random.Generator, row: np.ndarray) -> str:
    """Two to four sentences about an item with attribute values `row`, shape (attributes,), 25 to 55 words.

    High and low attributes get a phrase of their own, the middle gets none; who, where and what are chance.

    >>> text = describe(np.random.default_rng(0), np.full(10, 0.9))
    >>> 25 <= len(text.split()) <= 55
    True
    """
    who, what = _one(rng, words.WHO), _one(rng, words.WHAT)
    opening = (
        f"{who} {what}" if rng.random() < 0.5 else f"{_upper(_one(rng, words.WHERE))}, {_lower(who)} {what}"
    )
    things: list[str] = []
    clauses: list[str] = []
    used = len(opening.split())
    extreme = np.abs(row - 0.5) + rng.uniform(0, 0.3, size=len(row))
    for place in np.argsort(-extreme, kind="stable"):
        value = row[place]
        if _LOW < value < _HIGH or rng.random() > _MENTIONED:
            continue
        pole = (words.HIGH if value >= _HIGH else words.LOW)[ATTRIBUTES[place]]
        kinds = [(things, pole.things, _THINGS), (clauses, pole.clauses, _CLAUSES)]
        if rng.random() < 0.5:
            kinds.reverse()
        twice = abs(value - 0.5) > _STRIKING and rng.random() < _TWICE
        for kind, bank, most in kinds if twice else kinds[:1]:
            phrase = _one(rng, bank)
            if len(kind) < most and used + len(phrase.split()) <= _LONGEST - _JOINTS:
                kind.append(phrase)
                used += len(phrase.split())
    return _compose(rng, opening, things, clauses)


def _compose(rng: np.random.Generator, opening: str, things: list[str], clauses: list[str]) -> str:
    sentences: list[str] = []
    if things:
        sentence = _one(rng, words.LEADS).format(_listed(things))
        sentences.append(f"{sentence}, and {clauses.pop()}" if len(clauses) % 2 else sentence)
    for place in range(0, len(clauses), 2):
        sentences.append((", while " if rng.random() < 0.3 else ", and ").join(clauses[place : place + 2]))
    sentences = [opening, *(sentences[place] for place in rng.permutation(len(sentences)))]
    asides = list(rng.permutation(words.ASIDES))
    while len(sentences) < 2 or sum(len(s.split()) for s in sentences) < _SHORTEST:
        sentences.append(asides.pop())
    return " ".join(f"{_upper(sentence)}." for sentence in sentences)


def _listed(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _titles(rng: np.random.Generator, values: np.ndarray, sequel: np.ndarray) -> list[str]:
    titles = [""] * len(values)
    taken: set[str] = set()
    numbers: Counter[str] = Counter()
    firsts = sorted(set(range(len(values))) - set(sequel.tolist()))
    for first in firsts:
        title = _title(rng, values[first])
        tries = 1
        while title in taken and tries < _TRIES:
            title = _title(rng, values[first])
            tries += 1
        if title in taken:
            numbers[title] += 1
            title = f"{title} No. {numbers[title] + 1}"
        forms = list(rng.permutation(words.SEQUELS))
        place, part = first, title
        while True:
            titles[place] = part
            taken.add(part)
            if sequel[place] < 0:
                break
            place, form = int(sequel[place]), str(forms.pop())
            bare = title.removeprefix("A ")
            # "Return to the Salt Orchard", but "The Salt Orchard: Homeward".
            part = form.format(bare.replace("The ", "the ", 1) if form.endswith("{}") else title)
    return titles


def _title(rng: np.random.Generator, row: np.ndarray) -> str:
    moods = [m for m in words.TITLE_THINGS if m in ATTRIBUTES and row[ATTRIBUTES.index(m)] > _HIGH]
    mood = _one(rng, tuple(moods)) if moods and rng.random() < 0.4 else "neutral"
    return _one(rng, words.TITLE_FORMS).format(
        word=_one(rng, words.TITLE_WORDS),
        thing=_one(rng, words.TITLE_THINGS[mood]),
        word_noun=_one(rng, words.TITLE_NOUNS),
        place=_one(rng, words.TITLE_PLACES),
    )


def _one(rng: np.random.Generator, options: tuple[str, ...]) -> str:
    return options[int(rng.integers(len(options)))]


def _upper(text: str) -> str:
    return text[0].upper() + text[1:]


def _lower(text: str) -> str:
    return text[0].lower() + text[1:]
