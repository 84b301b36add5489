"""Likes out of ratings: against a loop, from training events only."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from toy_shop import make_shop

from guided_refine.data.dataset import Dataset
from guided_refine.errors import InputError
from guided_refine.tuning.batches import Examples
from guided_refine.tuning.ratings import likes, log_odds


def rated(seed: int = 0, gaps: float = 0.2) -> Dataset:
    """The toy shop, each event with 1 to 5 stars or none."""
    rng = np.random.default_rng(seed)
    shop = make_shop()
    stars = [rng.integers(1, 6, len(s)).astype(float) for s in shop.sequences]
    return replace(shop, ratings=[np.where(rng.random(len(s)) < gaps, np.nan, s) for s in stars])


@pytest.mark.parametrize("threshold", [None, 4.0])
def test_likes_match_the_loop(threshold: float | None) -> None:
    shop = rated()
    assert shop.ratings is not None
    found = likes(shop, threshold)
    counted = []
    for user in range(shop.n_users):
        stars = [float(r) for r in shop.ratings[user][: shop.split.n_train[user]]]
        known = [r for r in stars if r == r]
        least = threshold if threshold is not None else (sum(known) / len(known) if known else 0)
        wanted = [float("nan") if r != r else float(r >= least) for r in stars]
        np.testing.assert_array_equal(found[user], wanted)
        counted += [w for w in wanted if w == w]
    assert log_odds(found) == pytest.approx(np.log(sum(counted) / (len(counted) - sum(counted))))


def test_held_out_ratings_change_nothing() -> None:
    shop = rated()
    assert shop.ratings is not None
    other = [r.copy() for r in shop.ratings]
    for user, row in enumerate(other):
        row[shop.split.n_train[user] :] = 5.0 - np.nan_to_num(row[shop.split.n_train[user] :])
    for one, two in zip(likes(shop, None), likes(replace(shop, ratings=other), None), strict=True):
        np.testing.assert_array_equal(one, two)


def test_a_user_who_rates_all_alike_likes_all() -> None:
    shop = rated(gaps=0)
    assert shop.ratings is not None
    stars = [np.full(len(row), 3.3) if user == 0 else row for user, row in enumerate(shop.ratings)]
    assert likes(replace(shop, ratings=stars), None)[0].all()


def test_examples_are_rated_events_with_their_labels() -> None:
    shop = rated()
    labels = likes(shop, None)
    examples = Examples(
        shop,
        np.ones(shop.n_items, bool),
        steps=20,
        batch_size=6,
        negatives=9,
        template_texts=2,
        seed=0,
        likes=labels,
    )
    seen = set()
    for step in range(20):
        batch = examples[step]
        assert batch.labels is not None
        for u, p, t, y in zip(batch.users, batch.positions, batch.target, batch.labels, strict=True):
            assert batch.items[t] == shop.sequences[u][p] and p < shop.split.n_train[u]
            assert y == labels[u][p]
        seen |= set(batch.labels.tolist())
        assert len(batch.items) <= len(batch.users)
    assert seen == {0.0, 1.0}


def test_only_liked_events_are_held_out_to_be_ranked() -> None:
    shop = rated(gaps=0.1)
    labels = likes(shop, None)
    options = {"steps": 30, "batch_size": 6, "negatives": 9, "template_texts": 2, "seed": 0}
    every = np.ones(shop.n_items, bool)
    examples = Examples(shop, every, likes=labels, **options)
    held = examples.held_out()
    assert held is not None and held.labels is not None and held.labels.all()
    assert len(held.items) > len(held.users), "random items beside"
    # The others are not learnt from either: what is watched does not change what is learnt.
    alike = [np.where(np.isnan(row), row, 1.0) for row in labels]
    more = Examples(shop, every, likes=alike, **options)
    watched = more.held_out()
    assert watched is not None and set(held.users) < set(watched.users)
    for step in range(30):
        np.testing.assert_array_equal(examples[step].users, more[step].users)
        np.testing.assert_array_equal(examples[step].positions, more[step].positions)
    none = [np.where(np.isnan(row), row, 0.0) for row in labels]
    assert Examples(shop, every, likes=none, **options).held_out() is None


def test_what_is_missing_is_said() -> None:
    with pytest.raises(InputError, match="needs ratings, but toy has none"):
        likes(make_shop(), None)
    with pytest.raises(InputError, match="fall on one side of"):
        likes(rated(), 0.5)
