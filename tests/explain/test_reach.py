"""The smallest shift: against trying every point where two items draw level, and against a general solver."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from guided_refine.explain.reach import Reach, reach_alone, reach_together

WIDE = np.full(3, -50.0), np.full(3, 50.0)


def race(seed: int, k: int, out: bool, rivals: int = 12, coarse: bool = False) -> Reach:
    rng = np.random.default_rng(seed)
    lead, slope = rng.normal(size=rivals) + 0.3, rng.normal(size=(rivals, 3))
    if coarse:  # many draw level at the same point, and some never move
        lead, slope = np.round(lead), np.round(slope)
    return Reach(lead, slope, np.array([1.0, 0.5, 2.0]), k, out)


def by_trying(found: Reach, attribute: int) -> float | None:
    """Just beyond every point where a rival draws level, nearest first."""
    slope = found.slope[:, attribute]
    at = [-lead / s for lead, s in zip(found.lead, slope, strict=True) if s]
    for t in sorted([0.0, *at], key=abs):
        for beyond in (
            t * (1 + 1e-4) + 1e-4 * np.sign(t),
            1e-4 if t == 0 else None,
            -1e-4 if t == 0 else None,
        ):
            shift = np.zeros(3)
            if beyond is None:
                continue
            shift[attribute] = beyond
            if found.done(shift):
                return abs(t)
    return None


@settings(max_examples=150)
@given(st.integers(0, 10_000), st.integers(1, 6), st.booleans(), st.booleans(), st.integers(0, 2))
def test_alone_is_the_nearest_point_that_does_it(
    seed: int, k: int, out: bool, coarse: bool, attribute: int
) -> None:
    found = race(seed, k, out, coarse=coarse)
    shift = reach_alone(found, attribute)
    if found.done(np.zeros(3)):
        assert shift is None
        return
    expected = by_trying(found, attribute)
    if shift is None:
        assert expected is None
    else:
        assert found.done(shift) and np.count_nonzero(shift) <= 1
        assert expected == pytest.approx(abs(shift[attribute]), abs=2e-3)


@settings(max_examples=40)
@given(st.integers(0, 10_000))
def test_together_is_the_shortest_where_no_rival_may_be_left(seed: int) -> None:
    """To come first, every rival must fall behind: one problem, which a general solver solves too."""
    found = race(seed, k=1, out=False, rivals=6)
    shift = reach_together(found, *WIDE)
    if found.done(np.zeros(3)):
        assert shift is None
        return
    solved = minimize(
        lambda x: float(((x / found.unit) ** 2).sum()),
        np.zeros(3) if shift is None else shift,
        constraints={"type": "ineq", "fun": lambda x: -(found.lead + found.slope @ x)},
        bounds=list(zip(*WIDE, strict=True)),
        method="SLSQP",
    )
    behind = (found.lead + found.slope @ solved.x).max() < 1e-6
    if shift is None:
        assert not (solved.success and behind)
    else:
        assert found.done(shift)
        if solved.success and behind:
            assert np.linalg.norm(shift / found.unit) <= np.sqrt(solved.fun) * 1.001 + 1e-4


@settings(max_examples=80)
@given(st.integers(0, 10_000), st.integers(1, 6), st.booleans())
def test_together_does_it_within_its_bounds_and_never_further_than_alone(
    seed: int, k: int, out: bool
) -> None:
    found = race(seed, k, out)
    lowest, highest = np.full(3, -0.8), np.full(3, 1.5)
    shift = reach_together(found, lowest, highest)
    alone = [reach_alone(found, a) for a in range(3)]
    alone = [s for s in alone if s is not None and ((s >= lowest) & (s <= highest)).all()]
    if shift is None:
        assert found.done(np.zeros(3)) or not alone
        return
    assert found.done(shift)
    assert (shift >= lowest - 1e-6).all() and (shift <= highest + 1e-6).all()
    for other in alone:
        assert np.linalg.norm(shift / found.unit) <= np.linalg.norm(other / found.unit) + 1e-9


def test_together_misses_little_of_what_a_fine_grid_finds() -> None:
    """Random races of three attributes, their twelve rivals pulling any way; the grid has 29,791 points in the bounds."""
    lowest, highest = np.full(3, -0.8), np.full(3, 1.5)
    axis = np.linspace(0, 1, 31)
    points = lowest + np.stack(np.meshgrid(axis, axis, axis), axis=-1).reshape(-1, 3) * (highest - lowest)
    missed, ratios = 0, []
    for seed in range(600):
        found = race(seed, k=seed % 6 + 1, out=seed % 2 == 0)
        good = found.enough((found.lead[:, None] + found.slope @ points.T > 0).sum(axis=0))
        if found.done(np.zeros(3)) or not good.any():
            continue
        shift = reach_together(found, lowest, highest)
        if shift is None:
            missed += 1
            continue
        best = np.linalg.norm(points[good] / found.unit, axis=1).min()
        ratios.append(np.linalg.norm(shift / found.unit) / best)
    assert missed <= 4 and len(ratios) > 140
    assert np.quantile(ratios, 0.95) < 1.02


@settings(max_examples=60)
@given(st.integers(0, 10_000), st.integers(1, 6), st.booleans())
def test_rivals_who_cannot_matter_change_nothing(seed: int, k: int, out: bool) -> None:
    """Some far ahead and some far behind, wherever the taste goes: they only take places."""
    few = race(seed, k, out)
    bounds = np.full(3, -0.8), np.full(3, 1.5)
    ahead, behind = np.full(2, 1e4), np.full(5, -1e4)
    lead = np.concatenate([ahead, few.lead, behind])
    slope = np.concatenate([np.ones((2, 3)), few.slope, -np.ones((5, 3))])
    many = Reach(lead, slope, few.unit, k + 2, out)
    one, other = reach_together(few, *bounds), reach_together(many, *bounds)
    assert (one is None) == (other is None)
    if one is not None and other is not None:
        np.testing.assert_allclose(one, other, atol=1e-9)
    # With more of them ahead than there are places, nothing brings an item in, and everything keeps it out.
    assert reach_together(Reach(lead, slope, few.unit, 2, False), *bounds) is None
