"""Which user belongs to which stratum, and the gains inside, against loops."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic import make_dataset, random_dataset

from guided_refine.data.dataset import Dataset
from guided_refine.errors import InputError
from guided_refine.evaluation.statistics import bootstrap_means
from guided_refine.evaluation.strata import FEWEST_USERS, popularity_bounds, strata, strata_rows

METRICS = ("ndcg@10", "recall@10", "mrr")


def values(dataset: Dataset, backbone: str, variant: str, seed: int, level: float) -> pd.DataFrame:
    users = np.asarray(dataset.user_ids, dtype=object)[dataset.targets("test")[0]]
    rng = np.random.default_rng([seed, len(variant)])
    head = {
        "backbone": backbone,
        "variant": variant,
        "seed": seed,
        "user_id": rng.permutation(users),
        "rank": 1.0,
    }
    return pd.DataFrame({**head, **{m: level * rng.random(len(users)) for m in METRICS}})


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    rng = np.random.default_rng(0)
    draws = [np.minimum(rng.geometric(0.05, 4 + u % 9), 60).tolist() for u in range(200)]
    return make_dataset(draws, 60)


def test_groups_against_a_loop(dataset: Dataset) -> None:
    found = {(s.kind, s.name): s for s in strata(dataset)}
    counts = dataset.train_counts()
    users, targets = dataset.targets("test")
    for (kind, _), stratum in found.items():
        for place, (user, target) in enumerate(zip(users, targets, strict=True)):
            of = len(dataset.visible(int(user), "test")) if kind == "history" else counts[target - 1]
            assert stratum.users[place] == (stratum.low <= of <= stratum.high)
    for kind in ("popularity", "history"):
        members = np.stack([s.users for (k, _), s in found.items() if k == kind])
        assert (members.sum(axis=0) == 1).all()  # everybody is in exactly one
    assert sum(s.n_items or 0 for (k, _), s in found.items() if k == "popularity") == dataset.n_items
    cold = found["cold", "never"].users | found["cold", "few"].users
    assert (cold == (counts[targets - 1] <= 5)).all() and cold.any()


def test_head_and_mid_hold_a_third_each(dataset: Dataset) -> None:
    counts = dataset.train_counts()
    head, mid = popularity_bounds(counts)
    total = counts.sum()
    assert 3 * counts[counts >= head].sum() >= total > 3 * counts[counts > head].sum()
    assert 3 * counts[counts >= mid].sum() >= 2 * total > 3 * counts[counts > mid].sum()


def test_few_ends_at_five_training_interactions() -> None:
    """Items 1 to 4 with 6, 5, 1 and 0 training interactions; each user trains on one of them or on item 5."""
    trained = [1] * 6 + [2] * 5 + [3] + [5] * 4
    targets = [1, 2, 3, 4] * 4
    dataset = make_dataset([[item, 5, target] for item, target in zip(trained, targets, strict=True)], 5)
    assert dataset.train_counts().tolist() == [6, 5, 1, 0, 4]
    few = next(s for s in strata(dataset) if (s.kind, s.name) == ("cold", "few"))
    never = next(s for s in strata(dataset) if (s.kind, s.name) == ("cold", "never"))
    assert few.users.tolist() == [target in (2, 3) for target in targets] and few.n_items == 3
    assert never.users.tolist() == [target == 4 for target in targets] and never.n_items == 1


@pytest.mark.parametrize(("users", "bounded"), [(19, False), (20, True)])
def test_an_interval_needs_twenty_users(users: int, bounded: bool) -> None:
    dataset = make_dataset([[1, 2, 3, 4]] * users, 4)
    frames = [values(dataset, "sasrec", v, 0, 1.0) for v in ("base", "refined")]
    rows = strata_rows(pd.concat(frames), dataset, metrics=["mrr"], samples=100)
    whole = [r for r in rows if r["n_users"] == users]
    assert whole and all(r["mean"] is not None for r in whole)
    for row in whole:
        bounds = [row["lower"], row["upper"]]
        if row["variant"] == "refined":
            bounds += [row["gain_lower"], row["gain_upper"]]
        assert all((bound is not None) == bounded for bound in bounds)


@given(st.lists(st.integers(0, 20), min_size=0, max_size=30))
def test_bounds_for_any_catalog(counts: list[int]) -> None:
    head, mid = popularity_bounds(np.array(counts, dtype=np.int64))
    assert head >= mid >= 1


def test_rows_against_the_plain_bootstrap(dataset: Dataset) -> None:
    frames = [
        values(dataset, "sasrec", v, s, 1 + (v == "refined")) for v in ("base", "refined") for s in (0, 1)
    ]
    frames += [values(dataset, "baseline", "popularity", 0, 0.5)]
    per_user = pd.concat(frames, ignore_index=True)
    rows = strata_rows(per_user, dataset, samples=300, seed=4)
    assert len(rows) == 8 * 3 * 3
    tested = np.asarray(dataset.user_ids, dtype=object)[dataset.targets("test")[0]]
    wide = per_user.groupby(["backbone", "variant", "user_id"])["mrr"].mean().unstack([0, 1]).loc[tested]
    for stratum in strata(dataset):
        own = {
            (r["backbone"], r["variant"]): r
            for r in rows
            if (r["kind"], r["stratum"], r["metric"]) == (stratum.kind, stratum.name, "mrr")
        }
        refined = own["sasrec", "refined"]
        assert refined["n_users"] == stratum.users.sum()
        assert own["sasrec", "base"]["gain"] is own["baseline", "popularity"]["gain"] is None
        if refined["n_users"] == 0:
            assert refined["mean"] is None
            continue
        there = wide[stratum.users]
        deltas = (there["sasrec", "refined"] - there["sasrec", "base"]).to_numpy()
        assert refined["gain"] == pytest.approx(deltas.mean())
        assert own["baseline", "popularity"]["mean"] == pytest.approx(there["baseline", "popularity"].mean())
        if refined["n_users"] < FEWEST_USERS:
            assert refined["gain_lower"] is None and refined["lower"] is None
        else:
            alone = bootstrap_means(deltas[:, None], samples=300, seed=4)[0]
            assert (refined["gain_lower"], refined["gain_upper"]) == pytest.approx((alone.lower, alone.upper))


def test_gain_on_common_seeds_only() -> None:
    dataset = random_dataset(users=60)
    base, late = (values(dataset, "sasrec", "base", s, 1.0) for s in (0, 1))
    refined = base.assign(variant="refined", mrr=base["mrr"] + 0.25)
    rows = strata_rows(pd.concat([base, late, refined]), dataset, metrics=["mrr"], samples=100)
    gains = [r["gain"] for r in rows if r["variant"] == "refined" and r["n_users"]]
    assert gains and gains == pytest.approx([0.25] * len(gains))


def test_gains_of_groups_average_to_the_gain_of_all(dataset: Dataset) -> None:
    frames = [values(dataset, "sasrec", v, 0, 1.0) for v in ("base", "refined")]
    rows = strata_rows(pd.concat(frames), dataset, metrics=["mrr"], samples=100)
    whole = frames[1]["mrr"].mean() - frames[0]["mrr"].mean()
    for kind in ("popularity", "history"):
        own = [r for r in rows if r["kind"] == kind and r["variant"] == "refined" and r["n_users"]]
        assert sum(r["gain"] * r["n_users"] for r in own) / sum(r["n_users"] for r in own) == pytest.approx(
            whole
        )


def test_other_users_are_refused(dataset: Dataset) -> None:
    frame = values(dataset, "sasrec", "base", 0, 1.0)
    with pytest.raises(InputError, match="sasrec, base was tested on other users"):
        strata_rows(frame.iloc[1:], dataset)
