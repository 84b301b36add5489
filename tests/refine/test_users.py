"""The guided user term: which snapshot, which numbers, for whom."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import Ridge

from guided_refine.errors import InputError
from guided_refine.refine.estimate import fit_estimate
from guided_refine.refine.normalise import Normaliser
from guided_refine.refine.users import GuidedUserTerm, Snapshots
from guided_refine.scoring.scores import UserScores

WIDTH, M, ITEMS = 5, 2, 6
ITEM_SCORES = np.random.default_rng(1).standard_normal((ITEMS, M))


def make(places: list[tuple[int, int]], n_users: int = 5, **options: object) -> GuidedUserTerm:
    places = sorted(set(places))
    user = np.array([u for u, _ in places], dtype=np.int64)
    position = np.array([p for _, p in places], dtype=np.int64)
    # A value names its own snapshot.
    value = np.stack([user * 100.0 + position, np.ones(len(places))], axis=1)
    normaliser = Normaliser.fit(np.random.default_rng(0).random((9, M)), "minmax")
    estimate = fit_estimate(ITEM_SCORES, [], np.zeros((0, M)))
    return GuidedUserTerm(WIDTH, n_users, Snapshots(user, position, value), normaliser, estimate, **options)


PLACES = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 9)), max_size=15)


@given(PLACES, st.lists(st.tuples(st.integers(-1, 4), st.integers(0, 15)), min_size=1, max_size=10))
def test_latest_snapshot_and_never_a_later_one(
    places: list[tuple[int, int]], asked: list[tuple[int, int]]
) -> None:
    term = make(places)
    users, seen = (torch.tensor([a[i] for a in asked]) for i in (0, 1))
    got = term.scores(users, seen[:, None])[:, 0]
    for (user, limit), row in zip(asked, got, strict=True):
        allowed = [p for u, p in places if u == user and p <= limit]
        assert row.tolist() == ([user * 100 + max(allowed), 1] if allowed else [0, 0])


@given(PLACES)
def test_agrees_with_the_scores_own_lookup(places: list[tuple[int, int]]) -> None:
    places = sorted(set(places))
    user, position = (np.array([p[i] for p in places], dtype=np.int64) for i in (0, 1))
    oracle = UserScores(user, position, np.zeros((len(places), M)), np.zeros((len(places), M)))
    users, seen = np.repeat(np.arange(5), 12), np.tile(np.arange(12), 5)
    rows = make(places).latest(torch.tensor(users)[:, None], torch.tensor(seen)[:, None])[:, 0]
    assert rows.tolist() == oracle.latest(users, seen).tolist()


def test_calibration_and_residual_fill_the_last_columns_only() -> None:
    term = make([(0, 1), (1, 2)], user_weight=0.5)
    term.residual.data[0] = torch.tensor([7.0, 8.0])
    out = term(torch.tensor([0, 1, -1]), torch.tensor([[0, 1], [1, 2], [1, 2]]))
    assert out.tolist() == [
        [[0, 0, 0, 7, 8], [0, 0, 0, 7.5, 8.5]],
        [[0, 0, 0, 0, 0], [0, 0, 0, 51, 0.5]],
        [[0, 0, 0, 0, 0], [0, 0, 0, 0, 0]],
    ]


def test_weight_and_residual_train_and_start_where_they_should() -> None:
    term = make([(0, 1)], user_weight=2.0)
    assert torch.equal(term.weight, 2 * torch.eye(M)) and not term.residual.any()
    term(torch.tensor([0]), torch.tensor([[1]])).sum().backward()
    assert term.weight.grad.any() and term.residual.grad[0].all() and not term.residual.grad[1:].any()
    assert make([], residual=False).residual is None


def test_unknown_users_get_given_or_estimated_scores() -> None:
    draw = np.random.default_rng(2)
    histories = [draw.integers(1, ITEMS + 1, draw.integers(1, 7)) for _ in range(40)]
    known = draw.standard_normal((40, M))
    estimate = fit_estimate(ITEM_SCORES, histories, known)
    means = np.stack([ITEM_SCORES[h - 1].mean(axis=0) for h in histories])
    oracle = Ridge(alpha=1.0).fit(means, known).predict(ITEM_SCORES[[2, 4]].mean(axis=0)[None])
    term = make([(0, 1)])
    term.estimate = estimate
    items = torch.tensor([[3, 5, 0]])
    np.testing.assert_allclose(term.unknown(items)[0, -M:].detach().numpy(), oracle[0], atol=1e-5)
    given_scores = torch.tensor([[0.2, 0.9]])
    normaliser = Normaliser(term.knots_x.numpy(), term.knots_y.numpy(), term.fill.numpy())
    np.testing.assert_allclose(
        term.unknown(items, given_scores)[0, -M:].detach().numpy(), normaliser.apply(given_scores.numpy())[0]
    )
    with pytest.raises(InputError, match="expected 2, one per attribute"):
        term.unknown(items, torch.zeros(1, 3))


def test_blank_takes_the_saved_values() -> None:
    term = make([(0, 1), (1, 2), (1, 8)])
    term.residual.data += 3
    copy = GuidedUserTerm.blank(**term.options())
    copy.load_state_dict(term.state_dict())
    users, seen = torch.tensor([0, 1, 1]), torch.tensor([[1], [7], [30]])
    assert torch.equal(copy(users, seen), term(users, seen))
