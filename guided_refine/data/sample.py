"""The embedded sample: films and viewers drawn from KNOWN attribute values, so that recovery can be measured.

Everything is made here, from the seed alone: a catalog whose texts and genres follow from true values of the
`movies` attributes, and viewers whose taste wanders between two tastes while popularity, sequels and the mood
of the last film pull as well. The next film is drawn from all films not yet seen with probability
softmax(taste . values + popularity + order), which is done by adding Gumbel noise and taking the best.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from guided_refine.data.sample_catalog import ATTRIBUTES, draw_catalog
from guided_refine.errors import InputError, nearest
from guided_refine.progress import Progress

if TYPE_CHECKING:
    import pandas as pd

    from guided_refine.data.raw import RawData

SHORTEST, LONGEST = 5, 25
_MEAN_LENGTH = 9.5
# Strengths on the log-odds of the next film.
_TASTE, _POPULARITY, _MOOD, _SEQUEL = 4.5, 1.6, 1.2, 5.0
_BIGGEST_HIT = 3.0
_CARED_FOR = 4
_DRIFT_STEP, _DRIFT_PULL = 0.14, 0.06
_START, _YEARS = 1_546_300_800, 4
_DAY = 86_400.0
# Films times users that are weighed at once: bounds memory, not the result.
_WEIGHED_AT_ONCE = 4_000_000

OPTIONS: dict[str, type] = {"seed": int, "n_items": int, "n_users": int, "drift": float, "popularity": float}


@dataclass(frozen=True)
class Sample:
    """A drawn world.

    `items`: item_id, title, genres, year, description. `interactions`: user_id, item_id, timestamp (seconds),
    sorted by user then time. `truth`: item_id, attribute, value in [0, 1]. `user_truth`: user_id, position,
    attribute, value in [0, 1]: the taste that chose event `position` (0 = wants the low pole, 1 = the high).
    """

    items: pd.DataFrame
    interactions: pd.DataFrame
    truth: pd.DataFrame
    user_truth: pd.DataFrame


def generate(
    seed: int = 0,
    *,
    n_items: int = 500,
    n_users: int = 2000,
    drift: float = 1.0,
    popularity: float = 1.0,
    progress: Progress | None = None,
) -> Sample:
    """Draw the sample. `drift` and `popularity` scale how much taste wanders and how skewed demand is.

    Films do not depend on the number of users. Raises `InputError` for sizes that leave too little to choose.

    >>> world = generate(n_items=60, n_users=20)
    >>> list(world.items.columns)
    ['item_id', 'title', 'genres', 'year', 'description']
    >>> len(world.truth), world.interactions["user_id"].nunique()
    (600, 20)
    """
    import pandas as pd

    if seed < 0:
        raise InputError(f"sample: seed is {seed}, but must be 0 or more")
    for name, value, least in (("n_items", n_items, LONGEST + 1), ("n_users", n_users, 1)):
        if value < least:
            raise InputError(f"sample: {name} is {value}, but must be at least {least}")
    for name, scale in (("drift", drift), ("popularity", popularity)):
        if not 0 <= scale <= 10:
            raise InputError(f"sample: {name} is {scale}, but must lie between 0 and 10")
    films, people = (np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(2))
    progress = progress or Progress(quiet=True)
    items, values, sequel = draw_catalog(films, n_items, progress)
    appeal = _POPULARITY * popularity * _appeal(films, values)
    lengths = _lengths(people, n_users)
    tastes = _tastes(people, lengths, drift)
    chosen = _watch(people, values, appeal, sequel, tastes, lengths, progress)
    digits = max(4, len(str(n_users)))
    user_ids = np.array([f"u{user + 1:0{digits}d}" for user in range(n_users)], dtype=object)
    held = np.arange(LONGEST) < lengths[:, None]
    interactions = pd.DataFrame(
        {
            "user_id": np.repeat(user_ids, lengths),
            "item_id": items["item_id"].to_numpy(dtype=object)[chosen[held]],
            "timestamp": _times(people, lengths)[held],
        }
    )
    truth = _long({"item_id": items["item_id"].to_numpy(dtype=object)}, values)
    positions = np.broadcast_to(np.arange(LONGEST), held.shape)[held]
    user_truth = _long(
        {"user_id": np.repeat(user_ids, lengths), "position": positions}, (tastes[held] + 1) / 2
    )
    return Sample(items, interactions, truth, user_truth)


def read(source: Path | None, options: dict[str, Any], raw: RawData) -> None:
    """Fill `raw` with the sample drawn with `options` (arguments of `generate`), truth and user_truth as extras.

    Raises `InputError` for a source, an unknown option or one of the wrong type.

    >>> from guided_refine.data.raw import RawData
    >>> raw = RawData.empty()
    >>> read(None, {"n_items": 60, "n_users": 20}, raw)
    >>> len(raw.catalog), sorted(raw.extras)
    (60, ['truth', 'user_truth'])
    """
    if source is not None:
        raise InputError("the reader 'sample' makes its own data and takes no source; leave data.path out")
    for name, value in options.items():
        if name not in OPTIONS:
            raise InputError(f"data.options: the sample has no option '{name}': {nearest(name, OPTIONS)}")
        allowed = (int, float) if OPTIONS[name] is float else (int,)
        if not isinstance(value, allowed) or isinstance(value, bool):
            raise InputError(
                f"data.options: {name} is {value!r}, expected {'a number' if float in allowed else 'a whole number'}"
            )
    sample = generate(**options, progress=raw.progress)
    for row, film in enumerate(sample.items.itertuples(index=False), start=1):
        fields = {"genres": film.genres, "year": film.year, "description": film.description}
        raw.catalog.add("sample items", row, film.item_id, film.title, fields)
    events = sample.interactions.itertuples(index=False, name=None)
    raw.events.extend(
        "sample interactions",
        ((row, user, item, None, time, None) for row, (user, item, time) in enumerate(events, start=1)),
    )
    raw.extras.update(truth=sample.truth, user_truth=sample.user_truth)


def _appeal(rng: np.random.Generator, values: np.ndarray) -> np.ndarray:
    """Popularity of each film, standardised, shape (n_items,): a long tail, partly earned by spectacle and fun."""
    earned = values[:, ATTRIBUTES.index("visual_spectacle")] + values[:, ATTRIBUTES.index("humour")] - 1
    raw = np.minimum(rng.gumbel(size=len(values)), _BIGGEST_HIT) + 0.6 * earned
    return (raw - raw.mean()) / raw.std()


def _lengths(rng: np.random.Generator, n_users: int) -> np.ndarray:
    extra = rng.geometric(1 / (_MEAN_LENGTH - SHORTEST + 2.5), size=n_users) - 1
    return np.minimum(SHORTEST + extra, LONGEST)


def _tastes(rng: np.random.Generator, lengths: np.ndarray, drift: float) -> np.ndarray:
    """Taste of each user at each position in [-1, 1], shape (users, LONGEST, attributes)."""
    users, width = len(lengths), len(ATTRIBUTES)
    ends = np.zeros((2, users, width))
    for end in ends:
        strength = rng.choice([-1.0, 1.0], size=(users, width)) * rng.uniform(0.5, 1.0, size=(users, width))
        rank = np.argsort(np.argsort(rng.random((users, width)), axis=1), axis=1)
        end[:] = np.where(rank < _CARED_FOR, strength, 0.1 * strength)
    steps = drift * (_DRIFT_PULL + _DRIFT_STEP * rng.standard_normal((users, LONGEST)))
    steps[:, 0] = 0.0
    walk = np.cumsum(steps, axis=1) % 2.0
    # A walk on [0, 1] that is reflected at both ends.
    share = np.minimum(walk, 2.0 - walk)[:, :, None]
    return (1 - share) * ends[0][:, None] + share * ends[1][:, None]


def _watch(
    rng: np.random.Generator,
    values: np.ndarray,
    appeal: np.ndarray,
    sequel: np.ndarray,
    tastes: np.ndarray,
    lengths: np.ndarray,
    progress: Progress,
) -> np.ndarray:
    """Places of the films each user sees, in order, shape (users, LONGEST); -1 after a history's end."""
    signed = (2 * values - 1).astype(np.float32)
    chosen = np.full((len(lengths), LONGEST), -1)
    block = max(1, _WEIGHED_AT_ONCE // len(values))
    with progress.task("draw histories", total=int(lengths.sum())) as task:
        for step in range(int(lengths.max())):
            present = np.flatnonzero(lengths > step)
            for begin in range(0, len(present), block):
                users = present[begin : begin + block]
                utility = _TASTE * tastes[users, step].astype(np.float32) @ signed.T
                utility += appeal.astype(np.float32)
                if step:
                    last = chosen[users, step - 1]
                    likeness = signed[last] @ signed.T / np.float32(signed.shape[1] ** 0.5)
                    utility += _MOOD * likeness
                    follows = np.flatnonzero(sequel[last] >= 0)
                    utility[follows, sequel[last[follows]]] += _SEQUEL
                # Gumbel noise is -log of a standard exponential, which in single precision can be 0.
                noise = rng.standard_exponential(utility.shape, dtype=np.float32)
                utility -= np.log(np.maximum(noise, np.float32(1e-8)))
                utility[np.arange(len(users))[:, None], chosen[users, :step]] = -np.inf
                chosen[users, step] = utility.argmax(axis=1)
                task.advance(len(users))
    return chosen


def _times(rng: np.random.Generator, lengths: np.ndarray) -> np.ndarray:
    """Whole seconds, rising along each row, shape (users, LONGEST): visits of a few films, days apart."""
    users = len(lengths)
    pause = np.where(
        rng.random((users, LONGEST)) < 0.6,
        rng.uniform(5400, 10_800, size=(users, LONGEST)),
        rng.exponential(9 * _DAY, size=(users, LONGEST)) + 10_800,
    )
    start = _START + rng.uniform(0, _YEARS * 365 * _DAY, size=(users, 1))
    return (start + np.cumsum(pause, axis=1)).astype(np.int64)


def _long(keys: dict[str, np.ndarray], values: np.ndarray) -> pd.DataFrame:
    import pandas as pd

    columns: dict[str, Any] = {name: np.repeat(key, len(ATTRIBUTES)) for name, key in keys.items()}
    columns["attribute"] = np.tile(np.array(ATTRIBUTES, dtype=object), len(values))
    columns["value"] = values.ravel().astype(np.float64)
    return pd.DataFrame(columns)
