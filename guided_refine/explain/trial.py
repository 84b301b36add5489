"""Is the explanation true? What a sample of users says about both views, as numbers with intervals.

Deletion and insertion: attributes are taken away (put back) in the order that an explanation names them, and the model runs
again each time. A true explanation names first what moves the score most, so the curve falls (rises) faster than in random
order. Petsiuk et al., "RISE: Randomized Input Sampling for Explanation of Black-box Models", BMVC 2018,
https://arxiv.org/abs/1806.07421.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from guided_refine.evaluation.statistics import bootstrap_means
from guided_refine.explain.encoder_view import AttributeGame, background, interactions, shapley_values
from guided_refine.explain.explainer import Explainer
from guided_refine.explain.labels import Link, item_labels, linked_labels
from guided_refine.explain.trial_metadata import agreement, pulls
from guided_refine.explain.trial_segments import by_segment, segments
from guided_refine.explain.what_if import WhatIf
from guided_refine.progress import Progress

#: Random orders that the curves are held against.
RANDOM_ORDERS = 50
#: Places of the list that a changed taste should move.
TOP = 10
VIEWS, CURVES = ("direct", "encoder"), ("deletion", "insertion")


def try_explanations(
    explainer: Explainer,
    *,
    users: int = 100,
    seed: int = 0,
    others: Sequence[Explainer] = (),
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Hold the explanations of a sample of users against the model; JSON-ready.

    For each user of the sample the item is the one recommended first. Every entry is a mean over users with its bootstrap
    interval (`mean`, `lower`, `upper`, `p`):

    - `curves`: per view (direct, encoder) how much lower the deletion curve lies than that of random orders, and how much
      higher the insertion curve, in units of the model's score; `holds` where the interval is above zero.
    - `agreement`: rank correlation of the two views over attributes.
    - `monotone`: per attribute, what one standard deviation more of it in the user's scores does to its mean in the
      top 10, in standard deviations over the catalog.
    - `stability`: rank correlation of the explanation with that after one event of the history, drawn at random, is
      left out; random attributions would have 0. `seeds`: the same with the explanation by models of other seeds (`others`,
      of the same item for the same user), None without any.
    - `metadata`: agreement with the catalog's labels, see `trial_metadata`; None where it has none.
    - `importance`: per attribute and view the mean absolute contribution; the `share`s sum to 1. `segments`: the same for
      groups of users, see `trial_segments`.
    - `interactions`: per pair of attributes the mean absolute interaction through the encoder, largest first; None beyond
      12 attributes.

    `points` holds, per user, what each attribute did in either view and the item's scores, for plots; `curve_means` the mean
    curves. Raises `InputError` for a model without a user term.
    """
    sampled = _sample(explainer, users, seed)
    rng = np.random.default_rng(seed)
    attributes = list(explainer.scores.attributes)
    rows: list[dict[str, Any]] = []
    progress = progress or Progress(quiet=True)
    labels = item_labels(explainer.dataset.items)
    links = linked_labels(attributes, explainer.scores.item_value, labels, seed=seed)
    with progress.task("explain", total=len(sampled)) as task:
        for user in sampled:
            rows.append(_one(explainer, int(user), rng, links, others))
            task.advance()
    columns = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    return {
        "sample": {"users": len(rows), "of": explainer.dataset.n_users, "seed": seed},
        "background": background(explainer),
        "exact": bool(columns["exact"].all()),
        "curves": {view: {kind: _held(columns[f"{kind}_{view}"]) for kind in CURVES} for view in VIEWS},
        "agreement": _mean(columns["agreement"]),
        "stability": {
            **{view: _mean(columns[f"stability_{view}"]) for view in VIEWS},
            "seeds": {
                "seeds": [explainer.seed, *(other.seed for other in others)],
                **{view: _mean(columns[f"seeds_{view}"]) for view in VIEWS},
            }
            if others
            else None,
        },
        "metadata": agreement(columns, links, seed),
        "monotone": [
            {"attribute": name, **_held(columns["monotone"][:, a])} for a, name in enumerate(attributes)
        ],
        "importance": [
            {
                "attribute": name,
                **{
                    view: _mean(np.abs(columns[view][:, a]))
                    | {"share": _share(np.abs(columns[view]).mean(axis=0), a)}
                    for view in VIEWS
                },
            }
            for a, name in enumerate(attributes)
        ],
        "segments": by_segment(
            segments(explainer, sampled, columns["item"], labels),
            {view: columns[view] for view in VIEWS},
            attributes,
        ),
        "interactions": _pairs(columns["interactions"], attributes),
        "points": {
            **{view: columns[view].tolist() for view in VIEWS},
            "item_score": [[None if np.isnan(v) else float(v) for v in row] for row in columns["item_score"]],
        },
        "curve_means": {
            f"{kind}_{name}": columns[f"curve_{kind}_{name}"].mean(axis=0).tolist()
            for kind in CURVES
            for name in (*VIEWS, "random")
        },
    }


def _one(
    explainer: Explainer,
    user: int,
    rng: np.random.Generator,
    links: list[Link],
    others: Sequence[Explainer],
) -> dict[str, Any]:
    seen = explainer.seen(user)
    contributions = explainer.contributions(user)
    item = contributions.top(1, seen)
    game = AttributeGame(explainer, user, item)
    view = shapley_values(game, list(explainer.scores.attributes))
    together = interactions(game)
    found: dict[str, Any] = {
        "item": int(item[0]),
        "exact": view.exact,
        "direct": _lifts(contributions.values, int(item[0])),
        "encoder": view.values[0],
        "item_score": explainer.scores.item_value[int(item[0]) - 1],
        "monotone": _response(explainer, user),
        "interactions": np.zeros((0, 0)) if together is None else together[0],
        **pulls(explainer, user, game, links),
    }
    found["agreement"] = rank_correlation(found["direct"], found["encoder"])
    m = game.attributes
    orders = {
        "direct": np.argsort(-found["direct"], kind="stable"),
        "encoder": np.argsort(-view.values[0], kind="stable"),
    }
    drawn = [rng.permutation(m) for _ in range(RANDOM_ORDERS)]
    for kind, curve in (("deletion", deletion_curve), ("insertion", insertion_curve)):
        chance = np.mean([curve(game, order) for order in drawn], axis=0)
        found[f"curve_{kind}_random"] = chance
        for name, order in orders.items():
            own = curve(game, order)
            found[f"curve_{kind}_{name}"] = own
            better = chance - own if kind == "deletion" else own - chance
            found[f"{kind}_{name}"] = float(better.mean())
    found |= _after_an_event_less(explainer, user, item, found, rng)
    found |= _by_other_seeds(others, explainer.dataset.user_ids[user], item, found)
    return found


def deletion_curve(game: AttributeGame, order: np.ndarray) -> np.ndarray:
    """Scores of the game's first item while attributes are taken away in `order`; (attributes + 1,), whole first."""
    curve: np.ndarray = game(1 - _coming_in(order))[:, 0]
    return curve


def insertion_curve(game: AttributeGame, order: np.ndarray) -> np.ndarray:
    """Scores of the game's first item while attributes are put back in `order`; (attributes + 1,), background first."""
    curve: np.ndarray = game(_coming_in(order))[:, 0]
    return curve


def _coming_in(order: np.ndarray) -> np.ndarray:
    """Row n has the first n attributes of `order`; (attributes + 1, attributes).

    >>> _coming_in(np.array([1, 0])).tolist()
    [[0.0, 0.0], [0.0, 1.0], [1.0, 1.0]]
    """
    place = np.argsort(order)
    return (place[None] < np.arange(len(order) + 1)[:, None]).astype(np.float64)


def _response(explainer: Explainer, user: int) -> np.ndarray:
    """Per attribute: its mean in the top 10 after one standard deviation more of it in the user's scores, less before."""
    what_if = WhatIf(explainer, user)
    m = len(what_if.attributes)
    if not explainer.reads_users:
        return np.full(m, np.nan)
    held = explainer.vectors[:, -m:]
    spread = held.std(axis=0)
    held = held / np.where(spread > 0, spread, 1.0)
    seen = explainer.seen(user)
    before = held[what_if.shifted(np.zeros(m)).top(TOP, seen) - 1].mean(axis=0)
    after = [
        held[what_if.shifted(what_if.spread * step).top(TOP, seen) - 1].mean(axis=0)[a]
        for a, step in enumerate(np.eye(m))
    ]
    return np.array(after) - before


def _after_an_event_less(
    explainer: Explainer, user: int, item: np.ndarray, found: dict[str, Any], rng: np.random.Generator
) -> dict[str, float]:
    seen = explainer.seen(user)
    if len(seen) < 2:
        return {"stability_direct": float("nan"), "stability_encoder": float("nan")}
    without = np.delete(seen, rng.integers(len(seen)))
    game = AttributeGame(explainer, user, item, history=without)
    view = shapley_values(game, list(explainer.scores.attributes))
    direct = _lifts(explainer.contributions_of(game.state()).values, int(item[0]))
    return {
        "stability_direct": rank_correlation(found["direct"], direct),
        "stability_encoder": rank_correlation(found["encoder"], view.values[0]),
    }


def _by_other_seeds(
    others: Sequence[Explainer], user: str, item: np.ndarray, found: dict[str, Any]
) -> dict[str, float]:
    """Mean rank correlation with the explanations of the same item by models of other seeds."""
    same: dict[str, list[float]] = {view: [] for view in VIEWS}
    for other in others:
        number = other.user_number(user)
        view = shapley_values(AttributeGame(other, number, item), list(other.scores.attributes))
        direct = _lifts(other.contributions(number).values, int(item[0]))
        same["direct"].append(rank_correlation(found["direct"], direct))
        same["encoder"].append(rank_correlation(found["encoder"], view.values[0]))
    return {f"seeds_{view}": float(np.mean(rows)) if rows else float("nan") for view, rows in same.items()}


def _pairs(values: np.ndarray, attributes: list[str]) -> list[dict[str, Any]] | None:
    """`values` (users, attributes, attributes): each pair once, both of its entries together."""
    m = values.shape[1]
    if not m:
        return None
    rows = [
        {"attributes": [attributes[a], attributes[b]], **_mean(np.abs(values[:, a, b] + values[:, b, a]))}
        for a in range(m)
        for b in range(a + 1, m)
    ]
    return sorted(rows, key=lambda row: -row["mean"])


def _lifts(values: np.ndarray, item: int) -> np.ndarray:
    """What each attribute adds to an item's score more than to the average item's, (attributes,)."""
    lifts: np.ndarray = (values[item - 1] - values.mean(axis=0))[1:]
    return lifts


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's; NaN where one side has no variation.

    >>> round(rank_correlation(np.array([1.0, 2.0, 4.0]), np.array([0.1, 0.3, 0.9])), 6)
    1.0
    """
    from scipy.stats import rankdata

    x, y = rankdata(a), rankdata(b)
    if x.std() == 0 or y.std() == 0:
        return float("nan")
    return float(np.corrcoef(x, y)[0, 1])


def _sample(explainer: Explainer, users: int, seed: int) -> np.ndarray:
    """User numbers with a history and something left to recommend, drawn without replacement, in order."""
    data = explainer.dataset
    able = np.array(
        [u for u in range(data.n_users) if 0 < len(set(explainer.seen(u).tolist())) < data.n_items]
    )
    drawn = np.random.default_rng(seed).permutation(able)[:users]
    return np.sort(drawn)


def _mean(values: np.ndarray) -> dict[str, Any]:
    """Mean over users with its interval; users without a value are left out and counted."""
    kept = values[~np.isnan(values)]
    if not len(kept):
        return {"mean": None, "lower": None, "upper": None, "p": None, "users": 0}
    return {**asdict(bootstrap_means(kept[:, None])[0]), "users": len(kept)}


def _held(values: np.ndarray) -> dict[str, Any]:
    found = _mean(values)
    return found | {"holds": found["lower"] is not None and found["lower"] > 0}


def _share(sizes: np.ndarray, column: int) -> float:
    total = float(sizes.sum())
    return float(sizes[column] / total) if total else 0.0
