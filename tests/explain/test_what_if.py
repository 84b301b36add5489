"""What if: other tastes as the model itself would rank them, wishes that are heard, smallest changes that suffice."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from tiny_run import SILENT

from guided_refine.errors import InputError
from guided_refine.explain.explainer import Explainer
from guided_refine.explain.what_if import WhatIf
from guided_refine.runfolder import RunFolder

USER = 6


@pytest.fixture(scope="module")
def explainer(either: RunFolder) -> Explainer:
    return Explainer.open(either.root)


@pytest.fixture(scope="module")
def what_if(explainer: Explainer) -> WhatIf:
    return WhatIf(explainer, USER)


def test_another_taste_is_what_the_model_makes_of_other_scores(explainer: Explainer, what_if: WhatIf) -> None:
    """By hand: other numbers in the place that the model reads a user's scores from."""
    wanted = {what_if.attributes[1]: 0.9, what_if.attributes[4]: 0.15}
    changed = copy.deepcopy(explainer.model)
    term = changed.model.term
    raw = np.full((1, term.attributes), np.nan)
    for name, value in wanted.items():
        raw[0, what_if.attributes.index(name)] = value
    rows = term.key // term.span == USER
    for name in wanted:
        column = what_if.attributes.index(name)
        term.value[rows, column] = float(term.normaliser.apply(raw)[0, column])
    expected = changed.score(np.array([USER]), "test", explainer.dataset)[0]
    found = what_if.with_scores(wanted)
    np.testing.assert_allclose(found.score, expected, rtol=1e-4, atol=1e-5)
    assert not np.allclose(found.score, explainer.contributions(USER).score, atol=1e-4)


def test_scores_now_are_those_of_the_profile(explainer: Explainer, what_if: WhatIf) -> None:
    rows = explainer.profile(USER).rows
    assert list(what_if.scores_now().values()) == pytest.approx([row["score"] for row in rows])
    silent = WhatIf(explainer, SILENT)
    assert silent.now.tolist() == [0] * len(rows), (
        "the model takes the catalog's mean for a user without scores"
    )
    mean = np.nanmean(explainer.scores.item_value, axis=0)
    assert list(silent.scores_now().values()) == pytest.approx(mean.tolist(), abs=1e-5)


def test_nothing_changed_is_as_it_was(explainer: Explainer, what_if: WhatIf) -> None:
    before = explainer.contributions(USER)
    for found in (
        what_if.with_scores({}),
        what_if.steered({}),
        what_if.steered({what_if.attributes[0]: 0.0}),
    ):
        np.testing.assert_allclose(found.score, before.score, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(found.values, before.values, rtol=1e-4, atol=1e-5)


def test_another_item_score_is_another_item_vector(explainer: Explainer, what_if: WhatIf) -> None:
    item, name = 11, what_if.attributes[2]
    changed = copy.deepcopy(explainer.model)
    raw = np.full((1, len(what_if.attributes)), np.nan)
    raw[0, 2] = 0.95
    value = changed.term.normaliser.apply(raw)[0, 2] * changed.table.scale
    state = explainer.model.states(np.array([USER]), "test", explainer.dataset)[0]
    with torch.no_grad():
        changed.table.guided[item - 1, 2] = float(value)
        expected = changed.item_vectors() @ state
    found = what_if.with_item(item, {name: 0.95})
    np.testing.assert_allclose(found.score, expected, rtol=1e-4, atol=1e-5)
    unseen = [i for i in range(1, explainer.dataset.n_items + 1) if i not in explainer.seen(USER)]
    rank = 1 + sum(expected[i - 1] > expected[item - 1] for i in unseen if i != item)
    assert found.ranks(explainer.seen(USER))[item - 1] == rank
    # Only the part of that attribute moved, and only this item's.
    moved = np.argwhere(~np.isclose(found.values, explainer.contributions(USER).values, rtol=1e-4, atol=1e-5))
    assert moved.tolist() == [[item - 1, 3]]
    assert what_if.with_item(item, {}).score[item - 1] == pytest.approx(
        explainer.contributions(USER).score[item - 1], rel=1e-4, abs=1e-5
    )
    with pytest.raises(InputError, match="between 0 and 1"):
        what_if.with_item(item, {name: -0.1})


def test_a_wish_is_never_answered_with_less(explainer: Explainer) -> None:
    for user in (0, 3, USER):
        what_if = WhatIf(explainer, user)
        seen = explainer.seen(user)
        for column, name in enumerate(what_if.attributes):
            held = explainer.vectors[:, -len(what_if.attributes) + column]
            means = [
                held[what_if.steered({name: strength}).top(10, seen) - 1].mean()
                for strength in (-2, -1, -0.5, 0, 0.5, 1, 2)
            ]
            assert (np.diff(means) >= -1e-9).all()
            assert means[-1] > means[0]


@pytest.mark.parametrize("out", [False, True])
def test_the_smallest_changes_just_suffice(explainer: Explainer, what_if: WhatIf, out: bool) -> None:
    k, seen = 5, explainer.seen(USER)
    ranks = explainer.contributions(USER).ranks(seen)
    unseen = np.setdiff1d(np.arange(1, explainer.dataset.n_items + 1), seen)
    place = 2 if out else 9
    item = int(next(i for i in unseen if ranks[i - 1] == place))
    found = what_if.smallest(item, k, out=out)
    assert found and all((change.rank > k) if out else (change.rank <= k) for change in found)
    assert [c.size for c in found if c.feasible] == sorted(c.size for c in found if c.feasible)
    checked = 0
    for change in found:
        ((name, (now, then)),) = change.scores.items()
        if then is None or not 0.001 < then < 0.999:
            continue
        assert 0 <= now <= 1
        there = what_if.with_scores({name: then + 1e-4 * np.sign(then - now)}).ranks(seen)[item - 1]
        before = what_if.with_scores({name: now + 0.99 * (then - now)}).ranks(seen)[item - 1]
        assert (there > k, before > k) == ((True, False) if out else (False, True))
        checked += 1
    assert checked, "no change stayed inside the scores' range, so nothing was tried"
    together = what_if.smallest_together(item, k, out=out)
    feasible = [c for c in found if c.feasible]
    if feasible:
        assert together is not None and together.size <= feasible[0].size + 1e-6
    if together is not None:
        assert (together.rank > k) if out else (together.rank <= k)
        row = together.as_row()
        assert set(row) == {"scores", "size", "feasible", "users", "rank"}


def test_the_share_is_of_users_who_are_that_far_with_all_scores_at_once(what_if: WhatIf) -> None:
    """By a plain loop over users; and two scores that nobody has together though somebody has each."""
    own, everyone = what_if.now, what_if.everyone
    for shift in (everyone[3] - own, (everyone[11] - own) * np.array([1, 0, 1] + [0] * 7)):
        moved = [a for a, by in enumerate(shift) if by != 0]
        far = 0
        for user in everyone:
            far += all(
                user[a] >= own[a] + shift[a] if shift[a] > 0 else user[a] <= own[a] + shift[a] for a in moved
            )
        found = what_if._change(shift, 1)
        assert found.users == pytest.approx(far / len(everyone)) and found.users > 0
        assert found.feasible
    highest = everyone.argmax(axis=0)
    first, second = next(
        (a, b) for a in range(10) for b in range(10) if everyone[highest[a], b] < everyone[:, b].max()
    )
    shift = np.zeros(10)
    shift[[first, second]] = everyone[:, [first, second]].max(axis=0) - own[[first, second]]
    both = what_if._change(shift, 1)
    assert (both.users, both.feasible) == (0, False)
    for one in (first, second):
        assert what_if._change(np.where(np.arange(10) == one, shift, 0), 1).users > 0


@pytest.mark.parametrize("user", [0, 3, USER, SILENT])
def test_the_rivals_are_those_of_a_plain_loop(explainer: Explainer, user: int) -> None:
    what_if = WhatIf(explainer, user)
    n_items, seen = explainer.dataset.n_items, set(explainer.seen(user).tolist())
    state = explainer.state(user).astype(np.float64)
    vectors, term = explainer.model.item_vectors().astype(np.float64), what_if.term
    with torch.no_grad():
        step = term.of_scores(torch.tensor([-1]), torch.eye(term.attributes)[None])[0].double().numpy()
    unseen = [i for i in range(1, n_items + 1) if i not in seen]
    for item in (unseen[0], unseen[-1], unseen[len(unseen) // 2]):
        lead, slope = [], []
        for rival in range(1, n_items + 1):
            if rival in seen or rival == item:
                continue
            apart = explainer.vectors[rival - 1] - explainer.vectors[item - 1]
            lead.append(apart @ state)
            slope.append(step @ (vectors[rival - 1] - vectors[item - 1]))
        race = what_if._race(item, 4, True)
        np.testing.assert_allclose(race.lead, lead, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(race.slope, slope, rtol=1e-4, atol=1e-6)
        assert (race.k, race.out) == (4, True)
        np.testing.assert_array_equal(race.unit, what_if.spread)


def test_what_is_there_needs_no_change(explainer: Explainer, what_if: WhatIf) -> None:
    best = int(explainer.contributions(USER).top(1, explainer.seen(USER))[0])
    assert what_if.smallest(best, 5) == [] and what_if.smallest_together(best, 5) is None


def test_wrong_wishes_are_said(explainer: Explainer, what_if: WhatIf) -> None:
    name = what_if.attributes[0]
    with pytest.raises(InputError, match=f"no attribute '{name}x': did you mean '{name}'"):
        what_if.with_scores({name + "x": 0.5})
    with pytest.raises(InputError, match="between 0 and 1"):
        what_if.with_scores({name: 1.2})
    with pytest.raises(InputError, match="must be a number"):
        what_if.steered({name: float("nan")})
    with pytest.raises(InputError, match="has this item already"):
        what_if.smallest(int(explainer.seen(USER)[0]), 5)
    with pytest.raises(InputError, match="k must be"):
        what_if.smallest(1 if 1 not in explainer.seen(USER) else 2, 0)


def test_a_model_that_no_user_score_enters_is_changed_by_none(silent: RunFolder) -> None:
    explainer = Explainer.open(silent.root)
    what_if = WhatIf(explainer, USER)
    before = explainer.contributions(USER)
    name = what_if.attributes[0]
    item = int(before.top(9, explainer.seen(USER))[-1])
    for asked in (
        lambda: what_if.with_scores({name: 1.0}),
        lambda: what_if.smallest(item, 5),
        lambda: what_if.smallest_together(item, 5),
    ):
        with pytest.raises(InputError, match="reads no user scores"):
            asked()
    assert not np.allclose(what_if.with_item(item, {name: 1.0}).score, before.score)
    assert not np.allclose(what_if.steered({name: 0.5}).score, before.score), "wishes need no user score"
    assert not explainer.user_term(USER).any()
